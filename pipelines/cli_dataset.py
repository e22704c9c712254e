"""The command `openjft verify`, and what all commands on a finished data set share. They need the base install only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from .console import steps

err = Console(stderr=True)
out = Console()

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
TableTaxonomy = Annotated[str | None, typer.Option(help="Folder with taxonomy/ of a label table of your own.")]
Unlabelled = Annotated[Literal["drop", "keep"], typer.Option(help="Images that the table has not: drop or keep.")]
ClassesBelow = Annotated[bool, typer.Option(help="With what lies below the listed classes.")]
LabelCache = Annotated[Path | None, typer.Option(help="Folder that keeps which images have labels.")]
Cache = Annotated[Path | None, typer.Option(help="Local folder that keeps what is read from afar.")]
CacheGb = Annotated[float, typer.Option(help="The most that the cache may hold, GB.")]
PANEL = "A finished data set"


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command(epilog="Example: `openjft verify out/dataset`", rich_help_panel=PANEL)(verify)


def verify(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder or URI with manifest.json.")],
    *,
    shallow: Annotated[bool, typer.Option("--shallow", help="Sizes and hashes only; decode nothing.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Check a finished data set against its manifest and name the first thing wrong."""
    from openjft.loaders import VerifyProgress, verify_dataset

    with steps(err, "verify", 1, quiet=quiet) as (bar, task):

        def show(progress: VerifyProgress) -> None:
            bar.update(task, completed=progress.bytes_done, total=progress.bytes, note="bytes")

        summary = verify_dataset(folder, deep=not shallow, on_progress=show)
    if as_json:
        typer.echo(json.dumps({"ok": True, **_plain(summary)}, indent=1))
    elif not quiet:
        out.print(
            f"{summary.name}: {summary.samples:,} samples in {summary.shards:,} shards, {summary.files:,} files, "
            f"{summary.bytes:,} bytes: all as the manifest says (sha256 {summary.manifest_sha256[:12]}).",
            highlight=False,
            soft_wrap=True,
        )


def _plain(summary: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(summary)
