"""What a batch is made of, before a pixel is read: where each sample lies, its key, hash and labels.

In: numbers of samples. Out: `BatchPlan`, gathered from the shards' indexes without a loop over samples.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from openjft.taxonomy.csr import offsets_of

from .ragged import ragged_places
from .schema import KEY_BYTES
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
    groups = [(dataset.index(shard), np.flatnonzero(shards == shard)) for shard in np.unique(shards).tolist()]
    n = len(numbers)
    lengths, negative_lengths = np.empty(n, np.int64), np.empty(n, np.int64)
    for index, here in groups:
        lengths[here] = _lengths(index.labels.offsets, rows[here])
        negative_lengths[here] = _lengths(index.negatives.offsets, rows[here])
    label_offsets, negative_offsets = offsets_of(lengths), offsets_of(negative_lengths)
    plan = BatchPlan(
        shards=shards,
        offsets=np.empty(n, np.int64),
        sizes=np.empty(n, np.int64),
        shapes=np.empty((n, 2), np.int64),
        keys=np.empty((n, KEY_BYTES), np.uint8),
        sha256=np.empty((n, 32), np.uint8),
        label_values=np.empty(label_offsets[-1], np.int32),
        label_offsets=label_offsets,
        label_probabilities=np.empty(label_offsets[-1], np.float32),
        label_asserted=np.empty(label_offsets[-1], np.bool_),
        label_from=np.empty(label_offsets[-1], np.int32),
        negative_values=np.empty(negative_offsets[-1], np.int32),
        negative_offsets=negative_offsets,
    )
    for index, here in groups:
        at = rows[here]
        plan.offsets[here], plan.sizes[here] = index.offsets[at], index.sizes[at]
        plan.shapes[here, 0], plan.shapes[here, 1] = index.heights[at], index.widths[at]
        plan.keys[here], plan.sha256[here] = index.keys[at], index.sha256[at]
        source, target = ragged_places(index.labels.offsets[at], label_offsets[here], lengths[here])
        plan.label_values[target] = index.labels.values[source]
        plan.label_probabilities[target] = index.probabilities[source]
        plan.label_asserted[target] = index.asserted[source]
        plan.label_from[target] = index.from_labels[source]
        source, target = ragged_places(index.negatives.offsets[at], negative_offsets[here], negative_lengths[here])
        plan.negative_values[target] = index.negatives.values[source]
    return plan


def _lengths(offsets: Int64s, rows: Int64s) -> Int64s:
    return offsets[rows + 1] - offsets[rows]
