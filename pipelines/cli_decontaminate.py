"""`openjft decontaminate`: finds images that overlap the evaluation sets, applies a review, and gates a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from .cli_build import AsJson, ConfigPath, Output, Quiet, Workers, account_table, load, with_progress
from .config import Config
from .storage import Store

err = Console(stderr=True)
out = Console()
TOO_MANY = 3  # exit status of --max-overlap


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog="Example: `openjft decontaminate openjft.toml --decisions overlap-decisions.json --max-overlap 100`",
        rich_help_panel="One stage of the build",
    )(decontaminate)


def decontaminate(
    config: ConfigPath,
    *,
    decisions: Annotated[
        list[Path] | None, typer.Option(help="A review that the overlap page exported; it stays with the build.")
    ] = None,
    remove_from: Annotated[
        Literal["train", "eval", "none"] | None, typer.Option(help="Overrides decontaminate.remove_from.")
    ] = None,
    max_overlap: Annotated[
        int | None,
        typer.Option(min=0, help="End with status 3 when more evaluation images have a copy in the training images."),
    ] = None,
    workers: Workers = None,
    output: Output = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find training images that show an evaluation image; leave them out, or say which evaluation images are clean.

    Writes the page to review the pairs on, and the lists of clean evaluation images in each benchmark's own format. A
    new evaluation set in the configuration is embedded alone and searched in the stored vectors; no image is fetched
    again.
    """
    from .decontaminate.verdicts import keep_decisions
    from .evalsets.files import SUMMARY_FILE
    from .overlap_report.write import PAGE_FILE

    loaded = _with_choice(load(config, workers, output), remove_from)
    store = Store(loaded.build.output)
    keep_decisions(store, decisions or [])
    run = with_progress(loaded, ("decontaminate",), quiet=quiet)
    summary: dict[str, Any] = store.read_json(SUMMARY_FILE) if loaded.eval_sets else {"sets": []}
    page = store.path(PAGE_FILE) if store.exists(PAGE_FILE) else None
    if as_json:
        typer.echo(json.dumps({**run.to_json(), "overlap": summary, "page": page}, indent=1))
    elif not quiet:
        out.print(account_table(run.stages))
        out.print(_sets_table(summary))
        if page:
            out.print(f"Pairs, to look at and to judge: {page}", highlight=False, soft_wrap=True)
    overlap = sum(each["overlap"] for each in summary["sets"])
    if max_overlap is not None and overlap > max_overlap:
        err.print(
            f"[bold red]error:[/] expected at most {max_overlap:,} evaluation images with a copy among the training "
            f"images, found {overlap:,}",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(TOO_MANY)


def _with_choice(config: Config, remove_from: str | None) -> Config:
    if remove_from is None:
        return config
    section = config.decontaminate.model_copy(update={"remove_from": remove_from})
    return config.model_copy(update={"decontaminate": section})


def _sets_table(summary: dict[str, Any]) -> Table:
    """Each set in the form of the paper's appendix A."""
    table = Table(title="Evaluation images among the training images", title_justify="left", header_style="bold")
    table.add_column("evaluation set", overflow="fold")  # on a narrow terminal too two sets must be told apart
    for name in ("images", "with a copy", "share", "met at all", "pairs", "undecodable"):
        table.add_column(name, justify="right")
    for each in summary["sets"]:
        numbers = [each["images"], each["overlap"], each["hit"], each["pairs"], each["undecodable"]]
        texts = [f"{n:,}" for n in numbers]
        share = f"{each['overlap'] / each['images']:.1%}" if each["images"] else "-"
        table.add_row(each["name"], texts[0], texts[1], share, *texts[2:])
    return table
