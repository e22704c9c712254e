"""What the commands on a build share: options, the configuration with what overrides it, running it, the account."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from .config import Config, load_config

if TYPE_CHECKING:
    from .build import BuildSummary, StageSummary

err = Console(stderr=True)
out = Console()

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file; `openjft config` prints one.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Overrides runner.workers.")]
Output = Annotated[str | None, typer.Option(help="Overrides build.output.")]


def load(path: Path, workers: int | None, output: str | None) -> Config:
    """The configuration of a file, with what the command line overrides.

    Raises:
        ConfigError: the file is missing, is not TOML, or holds mistakes.
    """
    config = load_config(path)
    if workers is not None:
        config = config.model_copy(update={"runner": config.runner.model_copy(update={"workers": workers})})
    if output is not None:
        config = config.model_copy(update={"build": config.build.model_copy(update={"output": output})})
    return config


def with_progress(config: Config, commands: tuple[str, ...] | None, *, quiet: bool) -> BuildSummary:
    """Runs a build or some of its commands, and shows how far it is."""
    from .build import build
    from .console import BuildProgress

    with BuildProgress(err, quiet=quiet) as listener:
        return build(config, commands=commands, listener=listener)


def run_build(config: Config, commands: tuple[str, ...] | None, *, quiet: bool, as_json: bool) -> None:
    """Runs a build or some of its commands, and tells how it went."""
    summary = with_progress(config, commands, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
    elif not quiet:
        out.print(account_table(summary.stages))
        if summary.report:
            out.print(f"Report: {summary.report}", highlight=False, soft_wrap=True)


def account_table(stages: Iterable[StageSummary]) -> Table:
    """Rows in = rows out + rejects, stage by stage."""
    table = Table(title="What became of every row", title_justify="left", header_style="bold")
    for name, justify in (("stage", "left"), ("rows", "left"), ("in", "right"), ("out", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("rejected, by reason")
    table.add_column("ran", justify="right")
    for s in stages:
        reasons = sorted(s.account.rejects.items(), key=lambda item: (-item[1], item[0]))
        table.add_row(
            s.name,
            s.noun,
            f"{s.account.rows_in:,}",
            f"{s.account.rows_out:,}",
            ", ".join(f"{reason} {count:,}" for reason, count in reasons if count) or "-",
            f"{s.units_run}/{s.units} in {s.seconds:.1f} s",
        )
    return table
