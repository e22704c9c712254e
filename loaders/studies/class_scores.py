"""Scores of some classes alone, for networks that know different ones.

A network trained on a subset of the classes has an output for each of these, one trained on all has more. Both are
scored on the held-out images that have one of the subset's classes, by the columns of these classes: an image's best
classes are chosen among them alone, so that what else a network believes does not count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from openjft.loaders import Loader
from openjft.loaders.errors import CheckpointError, LoaderError
from openjft.loaders.evaluation import MapCollector, MeanAveragePrecision, frequency_weights
from openjft.loaders.evaluation.split import evaluation_loader
from openjft.loaders.source import Source
from openjft.loaders.training import build_model, load_checkpoint
from openjft.loaders.training.checkpoint import restore
from openjft.loaders.training.device_choice import choose_device
from openjft.loaders.training.scores import network_scores

from .options import StudyOptions
from .scoring import Progress, Score, evaluate_options


def score_classes(
    options: StudyOptions, checkpoint: Path, known: Sequence[str], source: Source, on_progress: Progress
) -> Score:
    """Scores a network on the classes of a source.

    Args:
        options: how to score.
        checkpoint: of the network.
        known: category id of each of its outputs.
        source: the images, their labels in the subset's numbers.
        on_progress: called after each batch.

    Raises:
        LoaderError: the checkpoint does not fit, or there is nothing to score.
    """
    settings = evaluate_options(options, checkpoint)
    read = load_checkpoint(checkpoint, optimizer=False)
    columns = _columns(known, source.category_ids, checkpoint)
    model = build_model(read.recipe["arch"], len(known), seed=0)
    restore(read, model, where=checkpoint)
    loader = evaluation_loader(source, settings, recipe=read.recipe)
    weights = frequency_weights(
        source.class_counts, source.num_samples, alpha=options.class_weight_alpha, gamma=options.class_weight_gamma
    )
    try:
        result = _collect(model, loader, columns, options, read.recipe["crop_size"], on_progress).compute(weights)
    except ValueError as error:
        raise LoaderError(f"{source.root}, classes of the subset: {error}") from error
    return _score(result, len(columns))


def _columns(known: Sequence[str], wanted: Sequence[str], checkpoint: Path) -> torch.Tensor:
    """(m,) int64 outputs of the network that stand for the wanted categories."""
    place = {identifier: i for i, identifier in enumerate(known)}
    missing = [identifier for identifier in wanted if identifier not in place]
    if missing:
        raise CheckpointError(
            f"{checkpoint}: expected a network that knows the subset's {len(wanted):,} classes, found none of "
            f"{len(missing):,} of them, the first {missing[0]!r}"
        )
    return torch.tensor([place[identifier] for identifier in wanted], dtype=torch.int64)


def _collect(
    model: nn.Module, loader: Loader, columns: torch.Tensor, options: StudyOptions, size: int, on_progress: Progress
) -> MapCollector:
    device = choose_device(options.device)
    model, columns = model.to(device).eval(), columns.to(device)
    collector = MapCollector(len(columns), k=options.k)
    images = 0
    outputs = network_scores(
        model, loader, device, crop_size=size, num_classes=len(columns), precision=options.precision
    )
    with contextlib.closing(outputs):
        for batch, scores in outputs:
            collector.add(scores[:, columns], batch.labels, batch.keys)
            images += len(batch.keys)
            on_progress(images, loader.num_samples)
    return collector


def _score(result: MeanAveragePrecision, num_classes: int) -> Score:
    return Score(
        map_at_k=result.weighted,
        unweighted_map_at_k=result.unweighted,
        k=result.k,
        class_weights_sha256=result.weights_sha256,
        num_images=result.num_images,
        num_classes=num_classes,
        classes_with_positives=int((result.num_positives > 0).sum()),
    )
