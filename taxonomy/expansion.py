"""Positives go up, verified negatives go down: the labels of each image through the hierarchy.

In: (image, label, probability) of asserted labels; or (image, label) of verified negatives. Out: the asserted labels
and the inferred ancestors, told apart, each with the label it comes from; or the negatives and all below them. Source:
METHODS section 3: p(ancestor) = max(own, 1 - prod over child subtrees of (1 - max in the subtree)), then never below
its best descendant.

The product runs over distinct evidence. "Max in the subtree" is the probability of the subtree's best asserted
label, and below a category with several parents the same label is the best of several child subtrees (a dog is a
canine and a domestic animal, both are animals). It counts once: one asserted label gives all its ancestors just its
own probability. In a tree this is the formula as it stands. It is computed in float64, the surest label's factor
first (equal ones by label), so the result is the same to the bit however rows are ordered or split between calls.

An asserted label's probability is lifted in the same way where labels below it say more: the hierarchy makes those
a lower bound. Positives and negatives are not compared here, and nothing is counted.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .closure import Closure
from .csr import Int32s, Int64s, sorted_unique

Float32s = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_ALL: Final = np.empty(0, np.bool_)  # the kernel's word for a `keep` that leaves nothing out


class ExpandedLabels(NamedTuple):
    """Asserted labels and their ancestors, sorted by (image_index, label), each pair once.

    Attributes:
        image_index: (m,) int64.
        label: (m,) int32.
        probability: (m,) float32.
        asserted: (m,) bool, False where only inferred.
        from_label: (m,) int32, the asserted label that the row comes from: itself where asserted, else the surest
            asserted label of the image below it (ties: the smaller label).
    """

    image_index: Int64s
    label: Int32s
    probability: Float32s
    asserted: Bools
    from_label: Int32s


def expand_labels(
    image_index: Int64s, label: Int32s, probability: Float32s, closure: Closure, *, keep: Bools | None = None
) -> ExpandedLabels:
    """Adds the ancestors of every asserted label.

    Rows that come sorted by (image, label) are not sorted again. Time goes with the rows that come out, memory too:
    21 bytes each.

    Args:
        image_index: (n,) int64, not negative, which image a label belongs to.
        label: (n,) int32 in [0, num_categories).
        probability: (n,) float32 in [0, 1].
        closure: of the labels' taxonomy.
        keep: (num_categories,) ancestors that may be added; None adds all. Asserted labels stay in any case, and
            an ancestor left out passes on what it knows.

    Raises:
        ValueError: shapes differ, an (image, label) stands twice, or a value is out of range.
        ModuleNotFoundError: numba, of the extra `pipeline`, is not installed.
    """
    if keep is not None and keep.shape != (closure.num_categories,):
        raise ValueError(f"expected `keep` for {closure.num_categories} categories, found shape {keep.shape}")
    kernels = _load_kernels()
    image_index, label, probability = _sorted(kernels, image_index, label, probability, closure.num_categories)
    lists = closure.with_self
    # An upper bound: what several labels of an image share is written once. Pages that are not written cost nothing.
    most = int(lists.lengths.take(label).sum())
    out = ExpandedLabels(
        np.empty(most, np.int64),
        np.empty(most, np.int32),
        np.empty(most, np.float32),
        np.empty(most, np.bool_),
        np.empty(most, np.int32),
    )
    above = (*lists, *closure.parents, closure.depth)
    kept = _ALL if keep is None else np.ascontiguousarray(keep, np.bool_)
    rows = kernels.expand_rows(image_index, label, probability, *above, kept, *out)
    return ExpandedLabels(
        out.image_index[:rows], out.label[:rows], out.probability[:rows], out.asserted[:rows], out.from_label[:rows]
    )


def expand_negatives(image_index: Int64s, label: Int32s, closure: Closure) -> tuple[Int64s, Int32s]:
    """Adds the descendants of every verified negative: what is no animal is no dog.

    Args:
        image_index: (n,) int64, not negative, which image a label belongs to.
        label: (n,) int32 in [0, num_categories); an (image, label) may stand several times.
        closure: of the labels' taxonomy.

    Returns:
        (image_index, label): (m,) int64 and (m,) int32, sorted, each pair once.

    Raises:
        ValueError: shapes differ, or a value is out of range.
    """
    image_index, label = np.asarray(image_index, np.int64), np.asarray(label, np.int32)
    if not image_index.shape == label.shape == (len(label),):
        raise ValueError(f"expected two columns of one length, found {image_index.shape}, {label.shape}")
    _check_range(image_index, label, closure.num_categories)
    images, dense = np.unique(image_index, return_inverse=True)
    below = closure.descendants.take(label)
    image = np.concatenate([dense, np.repeat(dense, below.lengths)])
    keys = sorted_unique(image * closure.num_categories + np.concatenate([label, below.values]))
    return images[keys // closure.num_categories], (keys % closure.num_categories).astype(np.int32)


def _load_kernels() -> ModuleType:
    """Compiled at the first call: a trainer, who imports this package for its vocabulary, needs no numba."""
    try:
        from . import _kernels
    except ModuleNotFoundError as error:
        line = f"expanding labels needs {error.name}, which is not installed: pip install 'openjft[pipeline]'"
        raise ModuleNotFoundError(line, name=error.name) from error
    return _kernels


def _sorted(
    kernels: ModuleType, image_index: Int64s, label: Int32s, probability: Float32s, num_categories: int
) -> tuple[Int64s, Int32s, Float32s]:
    """The checked columns by (image, label), contiguous."""
    image_index, label = np.ascontiguousarray(image_index, np.int64), np.ascontiguousarray(label, np.int32)
    probability = np.asarray(probability, np.float32) + np.float32(0)  # no -0.0 goes out
    if not image_index.shape == label.shape == probability.shape == (len(label),):
        raise ValueError(
            f"expected three columns of one length, found {image_index.shape}, {label.shape}, {probability.shape}"
        )
    found = kernels.check_rows(image_index, label, probability, num_categories)
    if found == kernels.SORTED:
        return image_index, label, probability
    if found == kernels.OUT_OF_RANGE:
        _check_range(image_index, label, num_categories)
        raise ValueError(f"expected probabilities in [0, 1], found {probability.min()} to {probability.max()}")
    order = np.lexsort((label, image_index))
    image_index, label, probability = image_index[order], label[order], probability[order]
    twice = np.flatnonzero((np.diff(image_index) == 0) & (np.diff(label) == 0))
    if twice.size:
        i = twice[0]
        raise ValueError(f"expected each (image, label) once, found ({image_index[i]}, {label[i]}) twice")
    return image_index, label, probability


def _check_range(image_index: Int64s, label: Int32s, num_categories: int) -> None:
    if len(label) and (image_index.min() < 0 or label.min() < 0 or label.max() >= num_categories):
        raise ValueError(
            f"expected images of 0 or more and labels in [0, {num_categories}), found images from "
            f"{image_index.min()} and labels from {label.min()} to {label.max()}. Is the taxonomy that of the labels?"
        )
