"""A folder of image files with a table of judgements, as a set to score on; what nobody judged counts neither way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from openjft.loaders import Loader
from openjft.loaders.errors import DatasetError, LoaderError
from openjft.loaders.folders import Ids, ImageFolder
from openjft.loaders.folders.walk import some
from openjft.loaders.source import Source
from openjft.loaders.training.checkpoint import Checkpoint
from openjft.loaders.training.data import LabelWatch
from openjft.loaders.training.device import DeviceBatch
from openjft.taxonomy import Csr
from openjft.taxonomy.csr import offsets_of

from .judgements import UNJUDGED, YES, Judgements, columns_of, read_judgements
from .options import EvaluateOptions
from .truth import ScoredSet, Truth, clean_files, network_source


def judged_set(options: EvaluateOptions, checkpoint: Checkpoint, on_labels: LabelWatch | None = None) -> ScoredSet:
    """The folder that the options name, with its judgements.

    Args:
        options: of the evaluation, with judgements. Labels and classes are those that the network was trained with.
        checkpoint: of the network.
        on_labels: called while the labels of the images that were trained on are looked up.

    Raises:
        DatasetError: folder or table is not as it should be.
        CheckpointError: the network is for another vocabulary.
        LoaderError: what was trained on cannot be read, or a list of clean images is not of this folder.
    """
    assert options.judgements is not None
    assert options.frequencies is not None
    vocabulary = network_source(options.frequencies, options, checkpoint, on_labels)
    judgements = read_judgements(options.judgements)
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
    return ScoredSet(
        loader=_folder_loader(folder, vocabulary, options, checkpoint.recipe),
        vocabulary=vocabulary,
        truth=truth,
        lists=[clean_files(path, every, ids, options) for path in options.clean or ()],
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
