"""The learning rate as a function of the images seen, so that one recipe holds for any batch size."""

from __future__ import annotations

import dataclasses
import math
from typing import Final, Literal, get_args

ScheduleKind = Literal["steps", "cosine", "constant"]
SCHEDULES: Final[tuple[str, ...]] = get_args(ScheduleKind)


def learning_rate(images: int, *, initial: float, decay: float, decay_images: int) -> float:
    """The learning rate after `images` training images: `initial` times `decay` for each `decay_images` seen.

    A staircase, as in TensorFlow's `exponential_decay(staircase=True)`.
    """
    return initial * math.pow(decay, images // decay_images)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning rate over the whole of a training.

    Attributes:
        kind: `steps` is `learning_rate`; `cosine` falls to 0 at `total_images`; `constant` stays.
        initial: learning rate after the warm-up.
        decay: factor of `steps`.
        decay_images: between two decays of `steps`.
        warmup_images: over which the rate rises linearly; the schedule itself runs on from the start.
        total_images: of the training.
    """

    kind: ScheduleKind
    initial: float
    decay: float
    decay_images: int
    warmup_images: int
    total_images: int

    def rate(self, images: int, batch_images: int) -> float:
        """The rate of the step that takes `batch_images` after `images` were seen."""
        if self.kind == "cosine":
            rate = self.initial * 0.5 * (1.0 + math.cos(math.pi * min(images / self.total_images, 1.0)))
        elif self.kind == "steps":
            rate = learning_rate(images, initial=self.initial, decay=self.decay, decay_images=self.decay_images)
        else:
            rate = self.initial
        if images + batch_images < self.warmup_images:
            rate *= (images + batch_images) / self.warmup_images
        return rate
