"""mAP@k of a checkpoint on the held-out images (or on all) of a dataset, or on a folder with a table of judgements.

In: a checkpoint, and images with labels of the same vocabulary, or image files and who judged what. Out:
`EvaluateSummary` with the weighted and the unweighted value and the hash of the weights, and on request each class's
average precision as CSV or Parquet, and the values on the clean images alone beside those on all (Sun et al. 2017,
tables 8 to 10), from the same pass. Images are cropped in the middle, at the size that the network was trained with.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from torch import nn

from openjft.loaders.errors import LoaderError
from openjft.loaders.source import Source
from openjft.loaders.training.checkpoint import Checkpoint, load_checkpoint, restore
from openjft.loaders.training.data import LabelProgress
from openjft.loaders.training.device_choice import choose_device
from openjft.loaders.training.models import build_model
from openjft.loaders.training.scores import network_scores

from .clean import CleanComparison, before_after_many
from .clean_list import mask_of
from .clean_table import write_table
from .judged_set import judged_set
from .metric import MapCollector, MeanAveragePrecision, frequency_weights, mean_precision
from .options import EvaluateOptions
from .ranking import Times
from .stored_set import stored_set
from .truth import CleanList, ScoredSet


@dataclasses.dataclass(frozen=True)
class EvaluateProgress:
    """How many of the images have been scored, or have got their labels, or how many resamples have been drawn."""

    images: int
    num_images: int
    unit: Literal["labels", "images", "resamples"] = "images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateSummary:
    """A score and all that it depends on; the scores are in [0, 1].

    `weights` is raw or ema; `fingerprint` is of the images, and of their labels where there are no judgements; `counts`
    says what of the images and of tables was not used.
    """

    map_at_k: float
    unweighted_map_at_k: float
    k: int
    class_weights_sha256: str
    class_weight_alpha: float
    class_weight_gamma: float
    num_images: int
    num_classes: int
    classes_with_positives: int
    split: str
    subset: float
    checkpoint: Path
    step: int
    weights: str
    arch: str
    fingerprint: str
    per_class: Path | None
    counts: Mapping[str, int]
    comparisons: tuple[CleanComparison, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        paths = {"checkpoint": str(self.checkpoint), "per_class": self.per_class and str(self.per_class)}
        return {**dataclasses.asdict(self), **paths}


def evaluate(
    options: EvaluateOptions, on_progress: Callable[[EvaluateProgress], None] | None = None
) -> EvaluateSummary:
    """Scores a checkpoint.

    Args:
        options: what to do.
        on_progress: called after every batch, and while labels are looked up.

    Raises:
        DatasetError: the dataset is not whole.
        CheckpointError: there is no checkpoint, or it does not fit the dataset or the split.
        LoaderError: the split has no images or no labels, the scores are not numbers, or a clean list is not one of
            this dataset.
    """
    checkpoint = load_checkpoint(options.checkpoint, optimizer=False)

    def joining(event: LabelProgress) -> None:
        if on_progress is not None:
            on_progress(EvaluateProgress(event.done, event.total, "labels"))

    scored = (stored_set if options.judgements is None else judged_set)(options, checkpoint, joining)
    vocabulary = scored.vocabulary
    model = build_model(checkpoint.recipe["arch"], vocabulary.num_categories, seed=0)
    restore(checkpoint, model, where=options.checkpoint, which=options.weights)
    weights = frequency_weights(
        vocabulary.class_counts,
        vocabulary.num_samples,
        alpha=options.class_weight_alpha,
        gamma=options.class_weight_gamma,
    )
    try:
        collector = _score(model, scored, checkpoint.recipe["crop_size"], options, on_progress)
        result = collector.compute(weights)
        comparisons = _compare(options, collector, weights, scored.lists, on_progress)
    except ValueError as error:
        raise LoaderError(f"{options.data}, split {options.split!r}: {error}") from error
    if options.per_class is not None:
        _write_per_class(options.per_class, vocabulary, result)
    if options.table is not None:
        write_table(options.table, comparisons, result.k)
    return dataclasses.replace(_summary(options, checkpoint, scored, result), comparisons=tuple(comparisons))


def _score(
    model: nn.Module,
    scored: ScoredSet,
    crop_size: int,
    options: EvaluateOptions,
    on_progress: Callable[[EvaluateProgress], None] | None,
) -> MapCollector:
    loader, num_classes = scored.loader, scored.vocabulary.num_categories
    device = choose_device(options.device)
    model = model.to(device).eval()
    collector = MapCollector(num_classes, k=options.k)
    images = 0
    outputs = network_scores(
        model, loader, device, crop_size=crop_size, num_classes=num_classes, precision=options.precision
    )
    with contextlib.closing(outputs):
        for batch, scores in outputs:
            truth = scored.truth(batch)
            collector.add(scores, truth.labels, batch.keys, truth.judged)
            images += len(batch.keys)
            if on_progress is not None:
                on_progress(EvaluateProgress(images, loader.num_samples))
    return collector


def _compare(
    options: EvaluateOptions,
    collector: MapCollector,
    weights: npt.NDArray[np.float64],
    lists: Sequence[CleanList],
    on_progress: Callable[[EvaluateProgress], None] | None,
) -> list[CleanComparison]:
    """The values on the clean images of each list beside those on all."""
    if not lists:
        return []
    ranking, keys = collector.ranking(), collector.keys()

    def values(times: Times) -> tuple[float, float]:
        return mean_precision(*ranking.precision(times), weights)

    def progress(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(EvaluateProgress(done, total, "resamples"))

    found = []
    for item in lists:
        mask = mask_of(item.keys, keys, path=item.path)
        weighted, unweighted = before_after_many(
            values, len(mask), mask, seed=options.seed, resamples=options.resamples, on_progress=progress
        )
        found.append(
            CleanComparison(
                clean_list=str(item.path),
                num_images=len(mask),
                num_clean=int(mask.sum()),
                num_removed=int((~mask).sum()),
                unknown_ids=item.unknown,
                map_at_k=weighted,
                unweighted_map_at_k=unweighted,
            )
        )
    return found


def _write_per_class(path: Path, dataset: Source, result: MeanAveragePrecision) -> None:
    """One row a class with positives, in order of the class id."""
    table = pa.table(
        {
            "label": pa.array(range(dataset.num_categories), pa.int32()),
            "id": pa.array(dataset.category_ids, pa.string()),
            "name": pa.array(dataset.category_names, pa.string()),
            "positives": pa.array(result.num_positives, pa.int64()),
            "weight": pa.array(result.class_weights, pa.float64()),
            "average_precision": pa.array(result.average_precision, pa.float64()),
        }
    ).filter(pa.array(result.num_positives > 0))
    write = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(table, path)
    except OSError as error:
        raise LoaderError(f"{path}: could not be written: {error}") from error


def _summary(
    options: EvaluateOptions, checkpoint: Checkpoint, scored: ScoredSet, result: MeanAveragePrecision
) -> EvaluateSummary:
    mean = options.weights != "raw" and checkpoint.ema is not None
    return EvaluateSummary(
        map_at_k=result.weighted,
        unweighted_map_at_k=result.unweighted,
        k=result.k,
        class_weights_sha256=result.weights_sha256,
        class_weight_alpha=options.class_weight_alpha,
        class_weight_gamma=options.class_weight_gamma,
        num_images=result.num_images,
        num_classes=scored.vocabulary.num_categories,
        classes_with_positives=int((result.num_positives > 0).sum()),
        split=str(options.split),
        subset=options.subset,
        checkpoint=options.checkpoint,
        step=checkpoint.step,
        weights="ema" if mean else "raw",
        arch=checkpoint.recipe["arch"],
        fingerprint=scored.fingerprint,
        counts=scored.counts,
        per_class=options.per_class,
    )
