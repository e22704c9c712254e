"""The command `openjft evaluate`. It needs the base install only.

The flags are the fields of `EvaluateOptions`, with their defaults and help lines; they are listed here once more
because that module imports torch, which takes seconds, and `openjft --help` should not. A test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from .cli_clean import print_comparisons
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

err = Console(stderr=True)
out = Console()


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog="Example: `openjft evaluate out/dataset run --json`, "
        "`openjft evaluate photos run --judgements judged.csv --frequencies out/dataset`",
        rich_help_panel=PANEL,
    )(evaluate)


def evaluate(
    data: Annotated[
        str, typer.Argument(metavar="DIR", help="Images, as for train; with --judgements, a folder of image files.")
    ],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint file, or a training's output folder.")],
    *,
    split: Annotated[
        Literal["holdout", "all"] | None, typer.Option(help="Images left out of training, or all.")
    ] = None,
    judgements: Annotated[
        Path | None, typer.Option(help="Of a folder's images: .csv or .parquet, a column a class.")
    ] = None,
    frequencies: Annotated[
        str | None, typer.Option(help="What was trained on: class ids and weights (with --judgements).")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels of another table, as in training; with --judgements, of --frequencies.")
    ] = None,
    taxonomy: TableTaxonomy = None,
    unlabelled: Unlabelled = "drop",
    classes: Annotated[Path | None, typer.Option(help="Category ids, one a line, as in training.")] = None,
    classes_below: ClassesBelow = False,
    label_cache: LabelCache = None,
    weights: Annotated[Literal["auto", "raw", "ema"], typer.Option(help="auto: the running mean if there is one.")] = (
        "auto"
    ),
    image_size: Annotated[int | None, typer.Option(help="A folder's images are resized to this side.")] = None,
    allow_unknown_classes: Annotated[
        bool, typer.Option("--allow-unknown-classes", help="Pass over classes that the network lacks.")
    ] = False,
    subset: Annotated[float, typer.Option(help="Share of the split that is scored.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Images of a step.")] = 64,
    k: Annotated[int, typer.Option(help="Classes of an image that count.")] = 100,
    class_weight_alpha: Annotated[float, typer.Option(help="Weights are (frequency + alpha)^gamma.")] = 0.0,
    class_weight_gamma: Annotated[float, typer.Option(help="0 weighs all classes alike.")] = 1.0,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device where there is one.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="fp32, or bf16.")] = "fp32",
    num_threads: Annotated[int | None, typer.Option(help="Threads that decode.")] = None,
    cache: Cache = None,
    cache_gb: CacheGb = 50.0,
    per_class: Annotated[Path | None, typer.Option(help="Each class's average precision: a .csv or .parquet.")] = None,
    clean: Annotated[
        list[Path] | None, typer.Option(help="Ids of clean images: compare with the score on these; may repeat.")
    ] = None,
    allow_unknown_ids: Annotated[
        bool, typer.Option("--allow-unknown-ids", help="Pass over ids in lists and tables that name no image.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Resamples of such a comparison.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 17,
    table: Annotated[Path | None, typer.Option(help="The comparison as a table: a .md or .csv.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint: class-weighted mAP@100, unweighted beside it; --clean: before and after de-duplication.

    A network that was trained with other labels, or on some classes, is scored with the same --labels and --classes.
    With --judgements DIR is a folder of image files, and the table says which shows what: a row an image, a column a
    class (its id), 1, 0 or empty (not judged); or rows of file, label, value.
    """
    values = {name: value for name, value in locals().items() if name not in {"quiet", "as_json"}}
    from openjft.loaders.evaluation import EvaluateOptions, EvaluateProgress
    from openjft.loaders.evaluation import evaluate as run

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
            f"{summary.num_classes:,} classes have positives; step {summary.step:,} of {summary.arch}, "
            f"{summary.weights} weights",
            highlight=False,
            soft_wrap=True,
        )
        if summary.counts:
            told = (f"{count:,} {name.replace('_', ' ')}" for name, count in summary.counts.items())
            out.print("; ".join(told), highlight=False, soft_wrap=True, markup=False)
        print_comparisons(out, summary.comparisons, k=summary.k)
