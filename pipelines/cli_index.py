"""The command `openjft index`: plain tars of anyone for our loader, and any tars for other readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from .cli_dataset import PANEL, AsJson, Quiet
from .console import steps

if TYPE_CHECKING:
    from openjft.loaders.tars import IndexOptions, IndexSummary, TarNames
    from openjft.loaders.tars.peers import Peer
    from openjft.taxonomy import Taxonomy

KeyRule = Literal["name", "path"]
Unknown = Literal["error", "drop"]
err = Console(stderr=True)
out = Console()


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog="Example: `openjft index 'web/{00000..00331}.tar' --label-field class`; for other readers: "
        "`openjft index out/dataset --for dali --for energon`",
        rich_help_panel=PANEL,
    )(index)


def index(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder of tars, a tar, or 'name-{000..127}.tar'.")],
    *,
    label_field: Annotated[str | None, typer.Option(help="Of a sample's JSON; none: .cls, or our own JSON.")] = None,
    key: Annotated[KeyRule | None, typer.Option(help="path: names repeat from tar to tar. Default: name.")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="Data set, or file of label ids, one a line.")] = None,
    unknown_labels: Annotated[Unknown | None, typer.Option(help="Labels outside of it. Default: error.")] = None,
    index_dir: Annotated[Path | None, typer.Option(help="Folder for the index; none: DATA/.openjft.")] = None,
    for_: Annotated[list[str] | None, typer.Option("--for", help="dali, energon or open_clip; may repeat.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for these files, with links to the tars.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Tars at a time; none: as many as cores.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Index plain WebDataset tars, those that are new or changed; write the files that other readers look for."""
    from openjft.loaders.open import is_dataset
    from openjft.loaders.tars import index_tars, tar_names

    peers = _known(for_ or [])
    tars, finished = tar_names(data), is_dataset(data)
    summary: IndexSummary | None = None
    if not finished:  # that has one of its own
        with steps(err, "index", 1, quiet=quiet) as (bar, task):
            summary = index_tars(
                tars,
                _options(tars, index_dir, label_field, key),
                output=index_dir,
                taxonomy=None if vocabulary is None else _vocabulary(vocabulary),
                unknown=unknown_labels,
                num_threads=threads,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total, note="bytes"),
            )
    written = _peers(tars, peers, output, quiet=quiet)
    if as_json:
        typer.echo(json.dumps({"index": summary and summary.to_json(), "side_files": written}, indent=1))
    elif not quiet:
        for line in _lines(summary) if summary else [f"{data}: a finished data set, which has its index"]:
            out.print(line, highlight=False, soft_wrap=True, markup=False)
        if written:
            out.print(f"{len(written):,} side files for {', '.join(peers)}: {written[0]} ...", highlight=False)


def _options(tars: TarNames, index_dir: Path | None, label_field: str | None, key: KeyRule | None) -> IndexOptions:
    """What is told, else what the index there was made with, else the defaults."""
    from openjft.loaders.tars import IndexOptions
    from openjft.loaders.tars.listing import index_folder, read_collection

    found = read_collection(index_folder(tars, index_dir))
    former = found.options if found else IndexOptions()
    return IndexOptions(label_field=label_field or former.label_field, key=key or former.key)


def _known(names: list[str]) -> list[Peer]:
    """The readers that are meant, each once."""
    from openjft.loaders import LoaderError
    from openjft.loaders.tars import PEERS

    wrong = [name for name in names if name not in PEERS]
    if wrong:
        raise LoaderError(f"for: expected {', '.join(PEERS)}, found {', '.join(map(repr, wrong))}")
    return [peer for peer in PEERS if peer in names]


def _vocabulary(place: str) -> Taxonomy:
    """The hierarchy of a data set, or the ids of a file without one."""
    from openjft.loaders import Dataset
    from openjft.loaders.labels import read_classes
    from openjft.loaders.open import is_dataset
    from openjft.taxonomy.build import flat_taxonomy

    if is_dataset(place):
        return Dataset.open(place).taxonomy
    return flat_taxonomy(read_classes(Path(place)), origin=place)


def _peers(tars: TarNames, peers: list[Peer], output: Path | None, *, quiet: bool) -> list[str]:
    from openjft.loaders import LoaderError
    from openjft.loaders.tars import write_peer_files

    if not peers:
        if output is not None:
            raise LoaderError("output: expected --for with the reader that the files are for, found none")
        return []
    target = output or tars.folder.local_path
    if target is None:
        raise LoaderError(f"{tars.folder.shown_root}: expected --output with a local folder for the files, found none")
    with steps(err, "side files", 1, quiet=quiet) as (bar, task):
        return write_peer_files(
            tars, peers, target, on_progress=lambda done, total: bar.update(task, completed=done, total=total)
        )


def _lines(summary: IndexSummary) -> list[str]:
    """The account, for people."""
    found = summary.samples + sum(summary.rejects.values())
    counts = f"{found:,} samples, {summary.samples:,} kept; {summary.categories:,} categories"
    tars = f"{summary.tars:,} tar{'s' * (summary.tars != 1)}"
    lines = [f"{tars} ({summary.indexed:,} read now): {counts}. Index: {summary.index}"]
    lines += [f"  rejected, {reason}: {count:,}" for reason, count in summary.rejects.items()]
    lines += [f"  lost, {reason}: {count:,}" for reason, count in summary.lost.items()]
    if summary.lost_bytes:
        lines.append(f"  {summary.lost_bytes:,} bytes in all belong to no sample")
    if summary.unknown_labels:
        lines.append(f"  {summary.unknown_labels:,} labels are not of the vocabulary and left out")
    return lines + [f"  {example}" for example in summary.examples[:5]]
