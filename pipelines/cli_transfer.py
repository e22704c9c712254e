"""The command `openjft transfer`. It needs the base install only.

The flags are the fields of `TransferOptions`, with their defaults and help lines; they are listed here once more
because that module imports torch, which takes seconds, and `openjft --help` should not. A test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from .cli_clean import print_comparisons
from .cli_dataset import PANEL, AsJson, Device, Precision, Quiet
from .console import steps

if TYPE_CHECKING:
    from openjft.loaders.transfer import TransferSummary

err = Console(stderr=True)
out = Console()


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog="Example: `openjft transfer backbone.safetensors photos --output transfer --clean photos.clean.txt`",
        rich_help_panel=PANEL,
    )(transfer)


def transfer(
    weights: Annotated[str, typer.Argument(help="File of `openjft export`, a checkpoint, or: random.")],
    data: Annotated[Path, typer.Argument(metavar="FOLDER", help="With train/ and val/, a folder a class in each.")],
    *,
    output: Annotated[Path, typer.Option(help="Folder for result.json, predictions.parquet, checkpoints/.")],
    mode: Annotated[
        Literal["finetune", "freeze"], typer.Option(help="All weights, or a linear classifier on features.")
    ] = "finetune",
    which: Annotated[Literal["auto", "raw", "ema"], typer.Option(help="Of a checkpoint's weights.")] = "auto",
    arch: Annotated[str | None, typer.Option(help="With random: the network; none: resnet50.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images; none: 30, freeze 100.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images of a step.")] = 64,
    image_size: Annotated[int, typer.Option(help="The middle square is resized to this side.")] = 256,
    crop_size: Annotated[int, typer.Option(help="Random crop to train on, middle crop to score.")] = 224,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate; none: 0.03, freeze 0.1.")] = None,
    momentum: Annotated[float, typer.Option(help="Of SGD, in Nesterov's form.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="L2, not on norms and biases.")] = 1e-4,
    warmup_images: Annotated[int | None, typer.Option(help="Images of the warm-up; none: a twentieth of all.")] = None,
    label_smoothing: Annotated[float, typer.Option(help="Share of the target spread over all classes.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of weights, order, crops and resamples.")] = 17,
    precision: Annotated[Precision, typer.Option(help="fp32, or bf16 autocast.")] = "fp32",
    train: Annotated[str, typer.Option(help="Name of the folder that is trained on.")] = "train",
    val: Annotated[str, typer.Option(help="Name of the folder that is scored on.")] = "val",
    train_list: Annotated[Path | None, typer.Option(help="Train on the images of this list only.")] = None,
    val_list: Annotated[Path | None, typer.Option(help="Score on the images of this list only.")] = None,
    clean: Annotated[
        list[Path] | None, typer.Option(help="Clean val images: compare with the score on these; may repeat.")
    ] = None,
    allow_unknown_ids: Annotated[
        bool, typer.Option("--allow-unknown-ids", help="Pass over ids in lists that name no image.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Resamples of such a comparison.")] = 1_000,
    table: Annotated[Path | None, typer.Option(help="The comparison as a table: a .md or .csv.")] = None,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device where there is one.")] = "auto",
    num_threads: Annotated[int | None, typer.Option(help="Threads that decode.")] = None,
    checkpoint_every_steps: Annotated[int, typer.Option(help="Steps between two checkpoints.")] = 1_000,
    log_every: Annotated[int, typer.Option(help="Steps between two lines of metrics.jsonl.")] = 20,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in output.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Transfer a network to class folders: top-1 and top-5 with intervals; --clean: before and after de-duplication."""
    values = {name: value for name, value in locals().items() if name not in {"quiet", "as_json"}}
    from openjft.loaders.transfer import TransferOptions, TransferProgress
    from openjft.loaders.transfer import transfer as run

    options = TransferOptions(**values)
    with steps(err, "transfer", 1, quiet=quiet) as (bar, task):

        def show(progress: TransferProgress) -> None:
            note = progress.phase if progress.loss is None else f"{progress.phase}, loss {progress.loss:.4f}"
            bar.update(task, completed=progress.done, total=progress.total, note=note)

        summary = run(options, on_progress=show)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
    elif not quiet:
        _print(summary)
    if not summary.completed:
        raise typer.Exit(130)


def _print(summary: TransferSummary) -> None:
    out.print(
        f"{summary.mode} of {summary.arch} from {summary.weights}: {summary.train_images:,} images of "
        f"{summary.num_classes:,} classes, {summary.epochs:,} epochs, seed {summary.seed}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    if summary.top1 is None or summary.top5 is None:
        out.print(summary.message, highlight=False, soft_wrap=True, markup=False)
        return
    table = Table("", "right", Column("share", justify="right"), Column("95 % interval", justify="right"))
    for name, value in (("top-1", summary.top1), ("top-5", summary.top5)):
        interval = f"{value.low:.2%} to {value.high:.2%}"
        table.add_row(name, f"{value.correct:,} of {value.total:,}", f"{value.value:.2%}", interval)
    out.print(table)
    for name, count in summary.ignored.items():
        out.print(f"not used: {count:,} {name}", highlight=False, soft_wrap=True, markup=False)
    print_comparisons(out, summary.comparisons, k=0)
