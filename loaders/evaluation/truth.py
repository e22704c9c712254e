"""What a score is measured against: batches of images, and the labels that count for each.

`stored_set` makes a `ScoredSet` of whatever a training reads, `judged_set` one of image files that people judged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openjft.loaders import Loader
from openjft.loaders.errors import CheckpointError
from openjft.loaders.folders import Ids, ImageFolder, read_id_list
from openjft.loaders.labels import LabelView
from openjft.loaders.open import open_source
from openjft.loaders.source import Source
from openjft.loaders.storage.cache import ChunkCache
from openjft.loaders.training.checkpoint import Checkpoint
from openjft.loaders.training.data import LabelWatch, joined_source
from openjft.loaders.training.device import DeviceBatch
from openjft.loaders.training.split import vocabulary_sha256
from openjft.taxonomy import Csr

from .options import EvaluateOptions


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
        fingerprint: of the images and, of what a training reads, their labels.
        counts: what was left out, by name; empty where nothing can be.
    """

    loader: Loader
    vocabulary: Source
    truth: Callable[[DeviceBatch], Truth]
    lists: Sequence[CleanList]
    fingerprint: str
    counts: dict[str, int]


def network_source(
    place: str,
    options: EvaluateOptions,
    checkpoint: Checkpoint,
    on_labels: LabelWatch | None,
    *,
    cache: ChunkCache | None = None,
) -> Source:
    """What lies at a place, with the labels and classes that the options join to it: the network's categories.

    Raises:
        LoaderError: it cannot be read, or the labels or the classes are not of these images.
        CheckpointError: the network is for other categories.
    """
    source = joined_source(open_source(place, cache=cache), options, on_labels)
    if checkpoint.vocabulary_sha256 == vocabulary_sha256(source):
        return source
    raise CheckpointError(
        f"{options.checkpoint}: expected a network for the vocabulary of {source.root} ({source.num_categories:,} "
        f"categories, sha256 {vocabulary_sha256(source)}), found one for another ({checkpoint.num_categories:,}, "
        f"sha256 {checkpoint.vocabulary_sha256}); a network that was trained with other labels or on some classes is "
        "scored with the same --labels, --taxonomy and --classes"
    )


def clean_files(path: Path, folder: ImageFolder, ids: Ids, options: EvaluateOptions) -> CleanList:
    """A list of clean files of a folder.

    Args:
        path: of the list.
        folder: with all images that it may name.
        ids: of that folder.
        options: say whether ids that name no image are passed over.

    Raises:
        LoaderError: it cannot be read, or names other images.
    """
    found = read_id_list(path, ids, allow_unknown=options.allow_unknown_ids, where=options.data)
    return CleanList(path, frozenset(folder.keys[row].tobytes() for row in found.rows), found.unknown)


def label_counts(source: Source) -> dict[str, int]:
    """Images that have none of the labels, and images of the table that are none of the source's."""
    counts: dict[str, int] = {}
    while isinstance(source, LabelView):
        table = source.account.foreign is not None
        kind = "label_in_the_table" if table else "label_of_the_classes"
        counts[f"images_without_a_{kind}"] = source.account.unlabelled
        if table:
            counts["images_of_the_table_that_are_not_here"] = source.account.foreign or 0
        source = source.inner
    return counts
