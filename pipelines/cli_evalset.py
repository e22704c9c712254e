"""`openjft evalset`: a library of evaluation sets, embedded once and used by many builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
import typer
from rich.console import Console
from rich.table import Table

from .cli_build import AsJson, Quiet
from .config import Config, Decontaminate, Embed, EvalSet, Fetch, load_config
from .config_errors import describe_errors
from .console import steps
from .errors import ConfigError
from .storage import Store

if TYPE_CHECKING:
    from .evalsets.stored import SetHeader

err = Console(stderr=True)
out = Console()

app = typer.Typer(
    name="evalset",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Evaluation sets, embedded once for many builds: add, list, remove.",
    epilog="Example: `openjft evalset add mine --format folder --root photos --config openjft.toml`",
)
Library = Annotated[str, typer.Option(help="Folder or URI of the library.")]
_LIBRARY = "evalsets"


@app.command(
    epilog="Example: `openjft evalset add coco-minival --format coco --root eval/coco --annotations "
    "annotations/instances_val2014.json --ids minival.txt --config openjft.toml`"
)
def add(
    name: Annotated[str | None, typer.Argument(help="How reports call it; none: all of CONFIG's sets.")] = None,
    *,
    format_: Annotated[str | None, typer.Option("--format", help="coco, voc, imagenet, folder or webdataset.")] = None,
    root: Annotated[Path | None, typer.Option(help="Its folder, or tars.")] = None,
    annotations: Annotated[str | None, typer.Option(help="coco: annotations JSON, below root.")] = None,
    images: Annotated[str | None, typer.Option(help="coco: image folder; webdataset: ending of the image.")] = None,
    split: Annotated[str | None, typer.Option(help="voc: test, Segmentation/val; imagenet: folder.")] = None,
    ids: Annotated[Path | None, typer.Option(help="File with the ids that count (minival*).")] = None,
    ground_truth: Annotated[str | None, typer.Option(help="imagenet: the devkit's .txt, or Kaggle's .csv.")] = None,
    config: Annotated[Path | None, typer.Option(help="Build whose model, views and image frame are taken.")] = None,
    library: Library = _LIBRARY,
    replace: Annotated[bool, typer.Option("--replace", help="Make a set anew that is there already.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Embed an evaluation set, or all those of a configuration, into a library.

    A build takes it with `format = "stored"` and `root = "LIBRARY/NAME"`. Its model, views and frame must be the
    build's own: name the build's configuration, or the defaults are taken.
    """
    from .evalsets.library import add_sets
    from .evalsets.sets import spec_of

    loaded = None if config is None else load_config(config)
    if name is None:
        sections = _all_of(loaded)
    else:
        told = {
            "format": format_, "root": root and str(root.absolute()), "annotations": annotations, "images": images,
            "split": split, "ids": ids and str(ids.absolute()), "ground_truth": ground_truth,
        }  # fmt: skip
        sections = [_section({"name": name, **{k: v for k, v in told.items() if v is not None}})]
    with steps(err, "evalset", 1, quiet=quiet) as (bar, task):

        def show(set_: str, total: int, done: int) -> None:
            bar.update(task, completed=done, total=total, note=set_)

        headers = add_sets(
            Store(library),
            [spec_of(section) for section in sections],
            embed=loaded.embed if loaded else Embed(),
            fetch=loaded.fetch if loaded else Fetch(),
            decontaminate=loaded.decontaminate if loaded else Decontaminate(),
            replace=replace,
            told=show,
        )
    _tell(headers, library, quiet=quiet, as_json=as_json)


@app.command("list", epilog="Example: `openjft evalset list --library evalsets`")
def list_(*, library: Library = _LIBRARY, as_json: AsJson = False) -> None:
    """The sets of a library: images, model, views."""
    from .evalsets.library import list_sets

    _tell(list_sets(Store(library)), library, quiet=False, as_json=as_json)


@app.command(epilog="Example: `openjft evalset remove coco-minival`")
def remove(name: Annotated[str, typer.Argument(help="Of the set.")], *, library: Library = _LIBRARY) -> None:
    """Delete a set from a library."""
    from .evalsets.library import remove_set

    remove_set(Store(library), name)


def _all_of(config: Config | None) -> list[EvalSet]:
    if config is None:
        raise ConfigError("evalset add: expected a NAME, or --config with the sets of a build, found neither")
    sections = [section for section in config.eval_sets if section.format != "stored"]
    if not sections:
        raise ConfigError("evalset add: expected [[eval_sets]] in the configuration, found none to embed")
    return sections


def _section(told: dict[str, Any]) -> EvalSet:
    try:
        section = EvalSet.model_validate(told)
    except pydantic.ValidationError as error:
        lines = "\n".join(f"  {line}" for line in describe_errors(error, EvalSet))
        raise ConfigError(f"evalset add {told['name']}:\n{lines}") from None
    if section.format == "stored":
        raise ConfigError("evalset add: --format stored names a set of a library; it needs no adding")
    return section


def _tell(headers: list[SetHeader], library: str, *, quiet: bool, as_json: bool) -> None:
    rows = [
        {
            "name": header.name,
            "images": header.images,
            "undecodable": len(header.undecodable),
            "vectors": header.counts["rows"],
            "model": header.model,
            "fingerprint": header.made.embedder,
            "views": len(header.made.views),
            "root": f"{library}/{header.name}",
        }
        for header in headers
    ]
    if as_json:
        typer.echo(json.dumps({"sets": rows}, indent=1))
        return
    if quiet:
        return
    table = Table(header_style="bold")
    for column in ("name", "images", "undecodable", "vectors", "model", "fingerprint", "views", "root"):
        number = column in {"images", "undecodable", "vectors", "views"}
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown = {**row, "fingerprint": str(row["fingerprint"])[:12]}
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in shown.values()))
    out.print(table)
