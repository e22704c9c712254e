"""A batch in host memory: images (or their encoded bytes), labels, keys, and where each sample stood in the step."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from openjft.taxonomy.csr import offsets_of

from .images import Pixels
from .plan import BatchPlan

Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Images and labels of n samples, in the order of the epoch.

    Attributes:
        images: (n, h, w, 3) uint8 RGB; (0, h, w, 3) where the loader does not decode.
        keys: (n, 16) uint8 image keys.
        label_values: (nnz,) int32 label ids; those of image i are `[label_offsets[i]:label_offsets[i + 1]]`.
        label_offsets: (n + 1,) int64.
        label_probabilities: (nnz,) float32.
        label_asserted: (nnz,) bool; False: inferred through the hierarchy.
        label_from: (nnz,) int32 asserted label that each comes from, itself where asserted.
        negative_values: (q,) int32 verified negatives, by `negative_offsets` as the labels are.
        negative_offsets: (n + 1,) int64.
        slots: (n,) int64 place of each sample in the global batch, before any was left out.
        encoded: the n images as they are stored, where the loader does not decode; else empty.
        epoch: that it belongs to.
        step: its number in the epoch.
    """

    images: Pixels
    keys: npt.NDArray[np.uint8]
    label_values: npt.NDArray[np.int32]
    label_offsets: Int64s
    label_probabilities: npt.NDArray[np.float32]
    label_asserted: npt.NDArray[np.bool_]
    label_from: npt.NDArray[np.int32]
    negative_values: npt.NDArray[np.int32]
    negative_offsets: Int64s
    slots: Int64s
    encoded: tuple[bytes, ...] = ()
    epoch: int = 0
    step: int = 0

    def __len__(self) -> int:
        return len(self.keys)


def batch_of(plan: BatchPlan, images: Pixels, slots: Int64s, *, epoch: int, step: int) -> Batch:
    """The batch of a plan, over the memory that its images are decoded into."""
    return Batch(
        images=images,
        keys=plan.keys,
        label_values=plan.label_values,
        label_offsets=plan.label_offsets,
        label_probabilities=plan.label_probabilities,
        label_asserted=plan.label_asserted,
        label_from=plan.label_from,
        negative_values=plan.negative_values,
        negative_offsets=plan.negative_offsets,
        slots=slots,
        epoch=epoch,
        step=step,
    )


def without(batch: Batch, bad: list[int]) -> Batch:
    """The batch without the samples at some places of it."""
    kept = np.ones(len(batch), np.bool_)
    kept[bad] = False
    keep = np.flatnonzero(kept)
    lengths, negative_lengths = np.diff(batch.label_offsets), np.diff(batch.negative_offsets)
    labels = np.repeat(kept, lengths)
    return dataclasses.replace(
        batch,
        images=batch.images[keep] if len(batch.images) else batch.images,
        encoded=tuple(batch.encoded[i] for i in keep.tolist()) if batch.encoded else (),
        keys=batch.keys[keep],
        slots=batch.slots[keep],
        label_values=batch.label_values[labels],
        label_offsets=offsets_of(lengths[keep]),
        label_probabilities=batch.label_probabilities[labels],
        label_asserted=batch.label_asserted[labels],
        label_from=batch.label_from[labels],
        negative_values=batch.negative_values[np.repeat(kept, negative_lengths)],
        negative_offsets=offsets_of(negative_lengths[keep]),
    )
