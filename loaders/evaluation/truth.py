"""What a score is measured against: batches of images, and the labels that count for each.

In: the options and a checkpoint. Out: `ScoredSet`, of a finished dataset (its labels; what it does not say is absent)
or of a folder of images with a table of judgements (what nobody judged counts neither way).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from openjft.loaders import Dataset, Loader
from openjft.loaders.errors import CheckpointError, DatasetError, LoaderError
from openjft.loaders.folders import Ids, ImageFolder, read_id_list
from openjft.loaders.folders.walk import some
from openjft.loaders.labels import read_classes, with_classes
from openjft.loaders.source import Source
from openjft.loaders.training.checkpoint import Checkpoint
from openjft.loaders.training.device import DeviceBatch
from openjft.loaders.training.split import vocabulary_sha256
from openjft.taxonomy import Csr
from openjft.taxonomy.csr import offsets_of

from .clean_list import count_unknown, read_clean_list
from .judgements import UNJUDGED, YES, Judgements, columns_of, read_judgements
from .options import EvaluateOptions
from .split import evaluation_loader


class Truth(NamedTuple):
    """The n images' classes, and (n, c) bool which classes are judged; None: all."""

    labels: Csr
    judged: npt.NDArray[np.bool_] | None


class CleanList(NamedTuple):
    """A list of clean images: its keys, and how many of its ids name no image."""

    path: Path
    keys: frozenset[bytes]
    unknown: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoredSet:
    """What is scored.

    Attributes:
        loader: of the images.
        vocabulary: whose categories the network's outputs are, and whose frequencies give the class weights.
        truth: of a batch.
        lists: of clean images.
        fingerprint: of the images.
        counts: what was left out, by name; empty where nothing can be.
    """

    loader: Loader
    vocabulary: Source
    truth: Callable[[DeviceBatch], Truth]
    lists: Sequence[CleanList]
    fingerprint: str
    counts: dict[str, int]


def scored_set(options: EvaluateOptions, checkpoint: Checkpoint) -> ScoredSet:
    """The set that the options name.

    Raises:
        DatasetError: dataset, folder or table is not as it should be.
        CheckpointError: the network is for another vocabulary, or was trained on what it shall be scored on.
        LoaderError: a list of clean images is not of this set.
    """
    return _dataset(options, checkpoint) if options.labels is None else _folder(options, checkpoint, options.labels)


def _check_vocabulary(options: EvaluateOptions, checkpoint: Checkpoint, dataset: Source) -> None:
    if checkpoint.vocabulary_sha256 != vocabulary_sha256(dataset):
        raise CheckpointError(
            f"{options.checkpoint}: expected a network for the vocabulary of {dataset.root} "
            f"({dataset.num_categories:,} categories, sha256 {vocabulary_sha256(dataset)}), found one for another "
            f"({checkpoint.num_categories:,}, sha256 {checkpoint.vocabulary_sha256})"
        )


# -- a finished dataset --------------------------------------------------------------------------------------


def _dataset(options: EvaluateOptions, checkpoint: Checkpoint) -> ScoredSet:
    dataset = Dataset.open(options.data)
    lists = [_keys_listed(path, dataset, options) for path in options.clean or ()]
    source: Source = dataset
    if options.classes is not None:
        source = with_classes(dataset, read_classes(options.classes), with_descendants=options.classes_below)
    _check_vocabulary(options, checkpoint, source)
    _check_split(options, checkpoint, dataset)
    return ScoredSet(
        loader=evaluation_loader(source, options, recipe=checkpoint.recipe),
        vocabulary=source if options.frequencies is None else _frequencies(options, checkpoint),
        truth=lambda batch: Truth(batch.labels, None),
        lists=lists,
        fingerprint=source.fingerprint,
        counts={},
    )


def _keys_listed(path: Path, dataset: Dataset, options: EvaluateOptions) -> CleanList:
    keys = read_clean_list(path)
    return CleanList(path, keys, count_unknown(keys, dataset, path=path, allow=options.allow_unknown_ids))


def _check_split(options: EvaluateOptions, checkpoint: Checkpoint, dataset: Dataset) -> None:
    if options.split != "holdout":
        return
    if checkpoint.recipe["holdout"] == 0.0:
        raise CheckpointError(
            f"{options.checkpoint}: expected a training with held-out images, found holdout 0.0: it saw them all. "
            "Train with holdout 0.1, or score a dataset that it was not trained on with split 'all'"
        )
    # Held-out images are the same whatever labels they were given.
    if checkpoint.images_fingerprint != dataset.fingerprint:
        raise CheckpointError(
            f"{options.checkpoint}: expected split 'holdout' of the dataset that it was trained on (manifest sha256 "
            f"{checkpoint.images_fingerprint}), found {dataset.fingerprint}. For another dataset say split 'all'"
        )


# -- a folder with judgements --------------------------------------------------------------------------------


def _frequencies(options: EvaluateOptions, checkpoint: Checkpoint) -> Dataset:
    """The dataset that the network was trained on: ids and frequencies of its classes."""
    assert options.frequencies is not None
    dataset = Dataset.open(options.frequencies)
    _check_vocabulary(options, checkpoint, dataset)
    return dataset


def _folder(options: EvaluateOptions, checkpoint: Checkpoint, table: Path) -> ScoredSet:
    vocabulary = _frequencies(options, checkpoint)
    judgements = read_judgements(table)
    every = ImageFolder.unlabelled(options.data, vocabulary.category_ids)
    ids = Ids(every)
    rows, unknown = _image_rows(judgements, ids, options)
    known = np.flatnonzero(rows >= 0)
    order = known[np.argsort(rows[known])]
    folder = every.only(rows[order])
    columns, strange = columns_of(judgements, vocabulary.category_ids)
    _check_classes(judgements, strange, options)
    kept = columns >= 0
    truth = FolderTruth(folder.keys, judgements.cells[order][:, kept], columns[kept], vocabulary.num_categories)
    lists = [
        read_id_list(p, ids, allow_unknown=options.allow_unknown_ids, where=options.data) for p in options.clean or ()
    ]
    return ScoredSet(
        loader=_folder_loader(folder, vocabulary, options, checkpoint.recipe),
        vocabulary=vocabulary,
        truth=truth,
        lists=[
            CleanList(item.path, frozenset(every.keys[r].tobytes() for r in item.rows), item.unknown) for item in lists
        ],
        fingerprint=folder.fingerprint,
        counts={
            "images_without_judgements": every.num_samples - folder.num_samples,
            "judgements_without_image": unknown,
            "classes_of_the_network_that_are_judged": int(kept.sum()),
            "classes_that_the_network_does_not_know": len(strange),
            "cells_not_judged": int((truth.cells == UNJUDGED).sum()),
            **{f"files_{reason}": count for reason, count in every.files.ignored.items()},
        },
    )


def _image_rows(judgements: Judgements, ids: Ids, options: EvaluateOptions) -> tuple[npt.NDArray[np.int64], int]:
    """(n,) the folder's number of each judged image, -1 where it is not there, and how many are not."""
    found = [ids.row(text) for text in judgements.images]
    rows = np.array([-1 if row is None else row for row in found], np.int64)
    unknown = [text for text, row in zip(judgements.images, found, strict=True) if row is None]
    if unknown and not options.allow_unknown_ids:
        raise DatasetError(
            f"{judgements.path}: expected images of {options.data}, found {len(unknown):,} of {len(rows):,} that name "
            f"none, or several: {some(unknown)}; name the folder of these judgements, or allow them with "
            "--allow-unknown-ids"
        )
    if len(unknown) == len(rows):
        raise DatasetError(
            f"{judgements.path}: expected images of {options.data}, found none of its {len(rows):,} there"
        )
    known = rows[rows >= 0]
    if len(np.unique(known)) < len(known):
        raise DatasetError(f"{judgements.path}: expected a row for each image, found two that name the same")
    return rows, len(unknown)


def _check_classes(judgements: Judgements, strange: list[str], options: EvaluateOptions) -> None:
    if strange and not options.allow_unknown_classes:
        raise DatasetError(
            f"{judgements.path}: expected ids of the network's classes, found {len(strange):,} of "
            f"{len(judgements.classes):,} that are none: {some(strange)}; leave them out with --allow-unknown-classes"
        )
    if len(strange) == len(judgements.classes):
        raise DatasetError(f"{judgements.path}: expected ids of the network's classes, found none: {some(strange)}")


class FolderTruth:
    """The judgements of a folder's images, by key.

    Args:
        keys: (n, 16) uint8 of the images.
        cells: (n, m) int8 as `Judgements.cells`.
        columns: (m,) the network's number of each class.
        num_classes: of the network. Those without a column are judged for no image.
    """

    def __init__(
        self,
        keys: npt.NDArray[np.uint8],
        cells: npt.NDArray[np.int8],
        columns: npt.NDArray[np.int64],
        num_classes: int,
    ) -> None:
        order = np.argsort(columns)
        self.cells, self._columns, self._num_classes = cells[:, order], columns[order], num_classes
        self._row = {key.tobytes(): row for row, key in enumerate(keys)}

    def __call__(self, batch: DeviceBatch) -> Truth:
        """Labels and what is judged of a batch."""
        cells = self.cells[[self._row[key.tobytes()] for key in batch.keys]]
        positive = cells == YES
        labels = Csr(
            self._columns[positive.nonzero()[1]].astype(np.int32), offsets_of(positive.sum(1).astype(np.int64))
        )
        judged = np.zeros((len(cells), self._num_classes), np.bool_)
        judged[:, self._columns] = cells != UNJUDGED
        return Truth(labels, judged)


def _folder_loader(folder: ImageFolder, vocabulary: Source, options: EvaluateOptions, recipe: dict[str, Any]) -> Loader:
    """Middle squares, resized to the size that the network's images were cropped from."""
    stored = recipe["image_size"] or vocabulary.image_size
    # Photos of anyone, where training images had no one size: the paper crops 299 of 340 pixels.
    size = options.image_size or stored or round(recipe["crop_size"] * 340 / 299)
    if size < recipe["crop_size"]:
        raise LoaderError(f"image_size: expected at least the network's crop, {recipe['crop_size']}, found {size}")
    return Loader(
        folder,
        batch_size=options.batch_size,
        seed=recipe["seed"],
        image_size=size,
        num_threads=options.num_threads,
        subset=options.subset,
        shuffle=False,
        drop_last=False,
    )
