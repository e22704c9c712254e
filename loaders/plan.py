"""What a batch is made of, before a pixel is read: where each sample lies, its key, hash and labels.

In: numbers of samples. Out: `BatchPlan`, gathered from the shards' indexes without a loop over samples.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from openjft.taxonomy.csr import list_places, offsets_of, run_starts

from .schema import KEY_BYTES
from .shard_index import ShardIndex
from .source import Int64s, Source


@dataclasses.dataclass(frozen=True, eq=False)
class BatchPlan:
    """n samples with nnz labels, in the order asked for.

    Attributes:
        shards: (n,) int64 shard of each.
        offsets: (n,) int64 of the JPEG in the shard's tar, bytes.
        sizes: (n,) int64, bytes.
        shapes: (n, 2) int64 height and width, pixels.
        keys: (n, 16) uint8.
        sha256: (n, 32) uint8 of the JPEG.
        label_values: (nnz,) int32.
        label_offsets: (n + 1,) int64.
        label_probabilities: (nnz,) float32.
        label_asserted: (nnz,) bool.
        label_from: (nnz,) int32.
        negative_values: (q,) int32.
        negative_offsets: (n + 1,) int64.
    """

    shards: Int64s
    offsets: Int64s
    sizes: Int64s
    shapes: Int64s
    keys: npt.NDArray[np.uint8]
    sha256: npt.NDArray[np.uint8]
    label_values: npt.NDArray[np.int32]
    label_offsets: Int64s
    label_probabilities: npt.NDArray[np.float32]
    label_asserted: npt.NDArray[np.bool_]
    label_from: npt.NDArray[np.int32]
    negative_values: npt.NDArray[np.int32]
    negative_offsets: Int64s


def plan_batch(dataset: Source, numbers: Int64s) -> BatchPlan:
    """Looks samples up.

    Args:
        dataset: the dataset.
        numbers: (n,) int64 in [0, num_samples).

    Raises:
        DatasetError: an index is missing or damaged.
    """
    shards, rows = dataset.locate(numbers)
    order = np.argsort(shards, kind="stable")
    stored, stored_rows = shards[order], rows[order]
    ends = [*run_starts(stored).tolist(), len(order)]
    # A batch touches as many shards as a window has blocks, so what is done for each is as little as can be.
    parts = [_part(dataset.index(int(stored[a])), stored_rows[a:b]) for a, b in itertools.pairwise(ends)]
    found = _Part(*(np.concatenate(columns) for columns in zip(_NONE, *parts, strict=True)))
    label_offsets, negative_offsets = offsets_of(found.lengths), offsets_of(found.negative_lengths)
    here = np.argsort(order)
    labels: slice | Int64s = slice(None)
    negatives: slice | Int64s = slice(None)
    if (here[1:] < here[:-1]).any():  # asked for in another order than that of storage
        lengths, labels = list_places(label_offsets, here)
        negative_lengths, negatives = list_places(negative_offsets, here)
        label_offsets, negative_offsets = offsets_of(lengths), offsets_of(negative_lengths)
    return BatchPlan(
        shards=shards,
        offsets=found.offsets[here],
        sizes=found.sizes[here],
        shapes=np.stack([found.heights[here], found.widths[here]], axis=1),
        keys=found.keys[here],
        sha256=found.sha256[here],
        label_values=found.values[labels],
        label_offsets=label_offsets,
        label_probabilities=found.probabilities[labels],
        label_asserted=found.asserted[labels],
        label_from=found.from_labels[labels],
        negative_values=found.negatives[negatives],
        negative_offsets=negative_offsets,
    )


class _Part(NamedTuple):
    """The columns of m samples of one shard, with k labels and q negatives."""

    offsets: Int64s
    sizes: npt.NDArray[Any]
    heights: npt.NDArray[Any]
    widths: npt.NDArray[Any]
    keys: npt.NDArray[np.uint8]
    sha256: npt.NDArray[np.uint8]
    lengths: Int64s
    values: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float32]
    asserted: npt.NDArray[np.bool_]
    from_labels: npt.NDArray[np.int32]
    negative_lengths: Int64s
    negatives: npt.NDArray[np.int32]


_NUMBERS: Final = np.empty(0, np.int64)
_LABELS: Final = np.empty(0, np.int32)
# Of no sample: gives the columns' types.
_NONE: Final = _Part(
    offsets=_NUMBERS,
    sizes=_NUMBERS,
    heights=_NUMBERS,
    widths=_NUMBERS,
    keys=np.empty((0, KEY_BYTES), np.uint8),
    sha256=np.empty((0, 32), np.uint8),
    lengths=_NUMBERS,
    values=_LABELS,
    probabilities=np.empty(0, np.float32),
    asserted=np.empty(0, np.bool_),
    from_labels=_LABELS,
    negative_lengths=_NUMBERS,
    negatives=_LABELS,
)


def _part(index: ShardIndex, rows: Int64s) -> _Part:
    lengths, at = list_places(index.labels.offsets, rows)
    negative_lengths, denied = list_places(index.negatives.offsets, rows)
    return _Part(
        index.offsets.take(rows),
        index.sizes.take(rows),
        index.heights.take(rows),
        index.widths.take(rows),
        index.keys.take(rows, 0),
        index.sha256.take(rows, 0),
        lengths,
        index.labels.values.take(at),
        index.probabilities.take(at),
        index.asserted.take(at),
        index.from_labels.take(at),
        negative_lengths,
        index.negatives.values.take(denied),
    )
