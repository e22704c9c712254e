"""What a training reads, as a set to score on: a finished dataset, plain tars or class folders, and their labels.

In: the options and a checkpoint. Out: `ScoredSet`; what the labels do not say is absent.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from openjft.loaders.errors import CheckpointError
from openjft.loaders.folders import Ids, ImageFolder
from openjft.loaders.labels import images_fingerprint, images_of
from openjft.loaders.source import Source
from openjft.loaders.training.checkpoint import Checkpoint
from openjft.loaders.training.data import LabelWatch

from .clean_list import count_unknown, read_clean_list
from .options import EvaluateOptions
from .split import evaluation_loader
from .truth import CleanList, ScoredSet, Truth, clean_files, label_counts, network_source


def stored_set(options: EvaluateOptions, checkpoint: Checkpoint, on_labels: LabelWatch | None = None) -> ScoredSet:
    """The set that the options name.

    Args:
        options: of the evaluation, without judgements.
        checkpoint: of the network.
        on_labels: called while the labels of all images are looked up.

    Raises:
        DatasetError: there is no data, or it is damaged.
        CheckpointError: the network is for another vocabulary, or was trained on what it shall be scored on.
        LoaderError: the labels, the classes or a list of clean images is not of these images.
    """
    source = network_source(options.data, options, checkpoint, on_labels, cache=options.open_cache())
    _check_split(options, checkpoint, source)
    vocabulary = source
    if options.frequencies is not None:
        # Its own labels, since the table is of the images that are scored; some classes are some classes anywhere.
        own = dataclasses.replace(options, labels=None, taxonomy=None, unlabelled="drop")
        vocabulary = network_source(options.frequencies, own, checkpoint, on_labels)
    images = images_of(source)
    return ScoredSet(
        loader=evaluation_loader(source, options, recipe=checkpoint.recipe),
        vocabulary=vocabulary,
        truth=lambda batch: Truth(batch.labels, None),
        lists=[_clean_list(path, images, options) for path in options.clean or ()],
        fingerprint=source.fingerprint,
        counts=label_counts(source),
    )


def _clean_list(path: Path, images: Source, options: EvaluateOptions) -> CleanList:
    """A list of keys; of image files one of paths. It may name images that have no label, or are not scored."""
    if isinstance(images, ImageFolder):
        return clean_files(path, images, Ids(images), options)
    keys = read_clean_list(path)
    return CleanList(path, keys, count_unknown(keys, images, path=path, allow=options.allow_unknown_ids))


def _check_split(options: EvaluateOptions, checkpoint: Checkpoint, source: Source) -> None:
    if options.split != "holdout":
        return
    if checkpoint.recipe["holdout"] == 0.0:
        raise CheckpointError(
            f"{options.checkpoint}: expected a training with held-out images, found holdout 0.0: it saw them all. "
            "Train with holdout 0.1, or score a dataset that it was not trained on with split 'all'"
        )
    # Held-out images are the same whatever labels they were given.
    if checkpoint.images_fingerprint != images_fingerprint(source):
        raise CheckpointError(
            f"{options.checkpoint}: expected split 'holdout' of the images that it was trained on (sha256 "
            f"{checkpoint.images_fingerprint}), found {images_fingerprint(source)}. For others say split 'all'"
        )
