"""The command `openjft train`. It needs the base install only.

The flags are the fields of `TrainOptions`, with their defaults and help lines; they are listed here once more because
that module imports torch, which takes seconds, and `openjft --help` should not. A test compares the two.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from .cli_dataset import (
    PANEL,
    AsJson,
    Cache,
    CacheGb,
    ClassesBelow,
    Device,
    LabelCache,
    Precision,
    Quiet,
    TableTaxonomy,
    Unlabelled,
)
from .console import steps

LabelWeights = Literal["one", "probability"]
ScheduleKind = Literal["steps", "cosine", "constant"]
err = Console(stderr=True)
out = Console()


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog="Example: `openjft train out/dataset --output run --arch resnet50 --holdout 0.05`; on 8 GPUs: "
        "`torchrun --nproc-per-node 8 -m openjft.pipelines train out/dataset --output run --batch-size 256`",
        rich_help_panel=PANEL,
    )(train)


def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Finished data set, or plain tars: a folder or URI.")],
    *,
    output: Annotated[Path, typer.Option(help="Folder for checkpoints/ and metrics.jsonl.")],
    arch: Annotated[str, typer.Option(help="resnet18, resnet50, resnet101 or resnet152.")] = "resnet50",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images; 4 if steps is not given.")] = None,
    steps_: Annotated[int | None, typer.Option("--steps", help="Length in batches, instead of epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images of a step, over all processes.")] = 32,
    bn_images: Annotated[
        int | None, typer.Option(help="Images of a batch-norm group; 32 if it divides batch-size, else all.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Resize to this side first; none: as stored.")] = None,
    crop_size: Annotated[int, typer.Option(help="Random crop, pixels (paper: 299 of 340).")] = 299,
    lr: Annotated[float, typer.Option(help="Initial learning rate.")] = 1e-3,
    lr_decay: Annotated[float, typer.Option(help="Factor every lr-decay-images.")] = 0.9,
    lr_decay_images: Annotated[int, typer.Option(help="Images between two decays.")] = 96_000_000,
    schedule: Annotated[
        ScheduleKind, typer.Option(help="Learning rate: steps (lr-decay), cosine, constant.")
    ] = "steps",
    warmup_images: Annotated[int, typer.Option(help="Images over which the rate rises from 0.")] = 0,
    ema: Annotated[float | None, typer.Option(help="Running mean of the weights: decay of 32 images.")] = None,
    weight_decay: Annotated[float, typer.Option(help="L2 on filters and head weights.")] = 1e-4,
    momentum: Annotated[float, typer.Option(help="RMSProp: share of the old update.")] = 0.9,
    rho: Annotated[float, typer.Option(help="RMSProp: share of the old mean square.")] = 0.9,
    epsilon: Annotated[float, typer.Option(help="RMSProp: inside the root.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of weights, order and crops.")] = 17,
    precision: Annotated[Precision, typer.Option(help="fp32, or bf16 autocast.")] = "fp32",
    tf32: Annotated[bool, typer.Option(help="CUDA: float32 products with 10 bits of mantissa.")] = True,
    init: Annotated[Path | None, typer.Option(help="Initial weights: exported file or checkpoint.")] = None,
    subset: Annotated[float, typer.Option(help="Share of the images used: a nested uniform sample.")] = 1.0,
    holdout: Annotated[float, typer.Option(help="Last share of the images that is never trained on.")] = 0.0,
    labels: Annotated[
        str | None, typer.Option(help="Other labels: a data set, a build's expanded/, CSV or Parquet.")
    ] = None,
    taxonomy: TableTaxonomy = None,
    unlabelled: Unlabelled = "drop",
    classes: Annotated[Path | None, typer.Option(help="Category ids, one a line: these classes alone.")] = None,
    classes_below: ClassesBelow = False,
    label_cache: LabelCache = None,
    ignore_descendants: Annotated[
        bool, typer.Option(help="Classes below an asserted label, not denied, are left out of the loss.")
    ] = False,
    ignore_below: Annotated[float, typer.Option(help="Less probable labels are left out of the loss.")] = 0.0,
    label_weights: Annotated[LabelWeights, typer.Option(help="Target of a label: one, or its probability.")] = "one",
    class_weights: Annotated[Path | None, typer.Option(help="CSV with id and weight, of positives.")] = None,
    cache: Cache = None,
    cache_gb: CacheGb = 50.0,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device where there is one.")] = "auto",
    num_threads: Annotated[int | None, typer.Option(help="Threads that decode.")] = None,
    compile: Annotated[bool, typer.Option(help="Compile the network (torch.compile).")] = False,
    split_head: Annotated[bool, typer.Option(help="Split the head's classes over the processes.")] = False,
    check_sha256: Annotated[bool, typer.Option(help="Compare each image with its hash in the index.")] = True,
    max_skipped: Annotated[float, typer.Option(help="Damaged images left out: a share, or a count.")] = 0.0,
    checkpoint_every_steps: Annotated[int, typer.Option(help="Steps between two checkpoints.")] = 1_000,
    log_every: Annotated[int, typer.Option(help="Steps between two lines of metrics.jsonl.")] = 20,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in output.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a ResNet by the paper's recipe; killed, the same command goes on from the last checkpoint.

    Started by torchrun, the processes train together; one alone prints.
    """
    values = {name: value for name, value in locals().items() if name not in {"quiet", "as_json", "steps_"}}
    from openjft.loaders.training import LabelProgress, PeerError, ProgressEvent, TrainOptions
    from openjft.loaders.training import train as run

    options = TrainOptions(**values, steps=steps_)
    first = os.environ.get("RANK", "0") == "0"
    with steps(err, "train", 1, quiet=quiet or not first) as (bar, task):

        def show(event: ProgressEvent) -> None:
            note = f"loss {event.loss:.4f}, {event.images_per_s:,.0f} images/s, {event.waiting:.0%} waiting"
            bar.update(task, completed=event.step, total=event.steps, note=note)

        def show_labels(event: LabelProgress) -> None:
            bar.update(task, note=f"{event.what}: {event.done:,} of {event.total:,} images")
            if event.account is not None and first and not quiet:
                err.print(f"{event.what}: {event.account}", highlight=False, soft_wrap=True, markup=False)

        try:
            summary = run(options, on_progress=show, on_labels=show_labels)
        except PeerError as error:  # the process that failed tells it
            raise typer.Exit(1) from error
    if not first:
        pass
    elif as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
    elif not quiet:
        out.print(summary.message, highlight=False, soft_wrap=True, markup=False)
    if not summary.completed:
        raise typer.Exit(130)
