"""The command `openjft export`. It needs the base install only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from .cli_dataset import PANEL, AsJson, Quiet

Weights = Literal["auto", "raw", "ema"]
out = Console()


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(epilog="Example: `openjft export run -o backbone.safetensors`", rich_help_panel=PANEL)(export)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training's output folder, or a checkpoint.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, ending in .safetensors.")],
    head: Annotated[bool, typer.Option("--head", help="With the classifier; else the backbone alone.")] = False,
    weights: Annotated[Weights, typer.Option(help="auto: the running mean if the training kept one.")] = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a trained network as one safetensors file with torchvision's names."""
    from openjft.loaders.training import export as write

    summary = write(run, output, head=head, weights=weights)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
    elif not quiet:
        out.print(summary.message, highlight=False, soft_wrap=True, markup=False)
