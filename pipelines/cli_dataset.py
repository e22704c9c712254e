"""The commands on a finished data set: verify, train, evaluate. They need the base install only.

The flags of `train` and `evaluate` are the fields of `TrainOptions` and `EvaluateOptions`, with their defaults and
help lines; they are listed here once more because those modules import torch, which takes seconds, and
`openjft --help` should not. A test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from .console import steps

if TYPE_CHECKING:
    from openjft.loaders.training import EvaluateSummary

err = Console(stderr=True)
out = Console()

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
_PANEL = "A finished data set"


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command(epilog="Example: `openjft verify out/dataset`", rich_help_panel=_PANEL)(verify)
    app.command(
        epilog="Example: `openjft train out/dataset --output run --arch resnet50 --holdout 0.05`",
        rich_help_panel=_PANEL,
    )(train)
    app.command(epilog="Example: `openjft evaluate out/dataset run --json`", rich_help_panel=_PANEL)(evaluate)


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


def train(
    data: Annotated[str, typer.Argument(metavar="DIR", help="Folder or URI of a finished data set (dataset/).")],
    *,
    output: Annotated[Path, typer.Option(help="Folder for checkpoints/ and metrics.jsonl.")],
    arch: Annotated[str, typer.Option(help="resnet18, resnet50, resnet101 or resnet152.")] = "resnet50",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images; 4 if steps is not given.")] = None,
    steps_: Annotated[int | None, typer.Option("--steps", help="Length in batches, instead of epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images of a step.")] = 32,
    image_size: Annotated[int | None, typer.Option(help="Resize to this side first; none: as stored.")] = None,
    crop_size: Annotated[int, typer.Option(help="Random crop, pixels (paper: 299 of 340).")] = 299,
    lr: Annotated[float, typer.Option(help="Initial learning rate.")] = 1e-3,
    lr_decay: Annotated[float, typer.Option(help="Factor every lr-decay-images.")] = 0.9,
    lr_decay_images: Annotated[int, typer.Option(help="Images between two decays.")] = 96_000_000,
    weight_decay: Annotated[float, typer.Option(help="L2 on filters and head weights.")] = 1e-4,
    momentum: Annotated[float, typer.Option(help="RMSProp: share of the old update.")] = 0.9,
    rho: Annotated[float, typer.Option(help="RMSProp: share of the old mean square.")] = 0.9,
    epsilon: Annotated[float, typer.Option(help="RMSProp: inside the root.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of weights, order and crops.")] = 17,
    precision: Annotated[Precision, typer.Option(help="fp32, or bf16 autocast.")] = "fp32",
    subset: Annotated[float, typer.Option(help="Share of the images used: a nested uniform sample.")] = 1.0,
    holdout: Annotated[float, typer.Option(help="Last share of the images that is never trained on.")] = 0.0,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device where there is one.")] = "auto",
    num_threads: Annotated[int | None, typer.Option(help="Threads that decode.")] = None,
    checkpoint_every_steps: Annotated[int, typer.Option(help="Steps between two checkpoints.")] = 1_000,
    log_every: Annotated[int, typer.Option(help="Steps between two lines of metrics.jsonl.")] = 20,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in output.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a ResNet by the paper's recipe; killed, the same command goes on from the last checkpoint."""
    values = {name: value for name, value in locals().items() if name not in {"quiet", "as_json", "steps_"}}
    from openjft.loaders.training import ProgressEvent, TrainOptions
    from openjft.loaders.training import train as run

    options = TrainOptions(**values, steps=steps_)
    with steps(err, "train", 1, quiet=quiet) as (bar, task):

        def show(event: ProgressEvent) -> None:
            note = f"loss {event.loss:.4f}, {event.images_per_s:,.0f} images/s"
            bar.update(task, completed=event.step, total=event.steps, note=note)

        summary = run(options, on_progress=show)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
    elif not quiet:
        out.print(summary.message, highlight=False, soft_wrap=True, markup=False)
    if not summary.completed:
        raise typer.Exit(130)


def evaluate(
    data: Annotated[str, typer.Argument(metavar="DIR", help="Folder or URI of a finished data set.")],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint file, or a training's output folder.")],
    *,
    split: Annotated[Literal["holdout", "all"], typer.Option(help="Images left out of training, or all.")] = "holdout",
    subset: Annotated[float, typer.Option(help="Share of the split that is scored.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Images of a step.")] = 64,
    k: Annotated[int, typer.Option(help="Classes of an image that count.")] = 100,
    class_weight_alpha: Annotated[float, typer.Option(help="Weights are (frequency + alpha)^gamma.")] = 0.0,
    class_weight_gamma: Annotated[float, typer.Option(help="0 weighs all classes alike.")] = 1.0,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device where there is one.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="fp32, or bf16.")] = "fp32",
    num_threads: Annotated[int | None, typer.Option(help="Threads that decode.")] = None,
    per_class: Annotated[Path | None, typer.Option(help="Each class's average precision: a .csv or .parquet.")] = None,
    clean: Annotated[
        list[Path] | None, typer.Option(help="Ids of clean images: compare with the score on these; may repeat.")
    ] = None,
    allow_unknown_ids: Annotated[
        bool, typer.Option("--allow-unknown-ids", help="Pass over ids in a clean list that the data set lacks.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Resamples of such a comparison.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 17,
    table: Annotated[Path | None, typer.Option(help="The comparison as a table: a .md or .csv.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint: class-weighted mAP@100, unweighted beside it; --clean: before and after de-duplication."""
    values = {name: value for name, value in locals().items() if name not in {"quiet", "as_json"}}
    from openjft.loaders.training import EvaluateOptions, EvaluateProgress
    from openjft.loaders.training import evaluate as run

    options = EvaluateOptions(**values)
    with steps(err, "evaluate", 1, quiet=quiet) as (bar, task):

        def show(progress: EvaluateProgress) -> None:
            bar.update(task, completed=progress.images, total=progress.num_images, note=progress.unit)

        summary = run(options, on_progress=show)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
    elif not quiet:
        out.print(
            f"mAP@{summary.k} {summary.map_at_k:.4f} (class weights {summary.class_weights_sha256[:12]}), unweighted "
            f"{summary.unweighted_map_at_k:.4f}; {summary.num_images:,} images, {summary.classes_with_positives:,} of "
            f"{summary.num_classes:,} classes have positives; step {summary.step:,} of {summary.arch}",
            highlight=False,
            soft_wrap=True,
        )
        _print_comparisons(summary)


def _print_comparisons(summary: EvaluateSummary) -> None:
    from openjft.loaders.training.clean_table import HEADER, note, table_cells

    if not summary.comparisons:
        return
    table = Table(*(Column(name, overflow="fold") for name in HEADER))
    for cells in table_cells(summary.comparisons, summary.k):
        table.add_row(*map(escape, cells))
    out.print(table)
    for comparison in summary.comparisons:
        out.print(note(comparison), highlight=False, soft_wrap=True, markup=False)
