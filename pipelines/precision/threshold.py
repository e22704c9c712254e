"""The threshold: most labels at a mean probability of at least the target. METHODS.md, section 1.

In: how many candidates have which probability. Out: one global threshold on the probability, and where they are
wanted a floor for each class: kept is p >= max(t, t_c). Probabilities are whole millionths, so that sums are exact
integers, equal ones are kept or dropped together, and the last bits of a fit on another machine do not move a label.
What the labels kept are truly worth is not known here: that is what an audit certifies.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

from openjft.pipelines.errors import PipelineError

from .patterns import Int64s

STEPS: Final = 1_000_000
NO_FLOOR: Final = 0
OUT_OF_REACH: Final = STEPS + 1  # the floor of a class that cannot reach the mean wanted: nothing of it is kept


def to_steps(probability: npt.NDArray[np.floating]) -> Int64s:
    """(n,) probabilities as whole millionths."""
    return np.rint(probability.astype(np.float64) * STEPS).astype(np.int64)


def from_steps(steps: Int64s) -> npt.NDArray[np.float32]:
    """(n,) float32 probabilities of whole millionths, as the build's files hold them."""
    return (steps / STEPS).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Threshold:
    """What is kept: probabilities of at least `steps` millionths.

    Attributes:
        steps: the least probability kept, in millionths.
        kept: how many labels.
        expected_precision: their mean probability.
    """

    steps: int
    kept: int
    expected_precision: float

    @property
    def probability(self) -> float:
        """The least probability kept."""
        return self.steps / STEPS


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Candidates by probability: `steps` (m,) distinct millionths, rising; `counts` (m,) of each, at least 1."""

    steps: Int64s
    counts: Int64s

    @classmethod
    def of(cls, dense: Int64s) -> Histogram:
        """From (STEPS + 1,) counts of every millionth."""
        steps = np.flatnonzero(dense)
        return cls(steps, dense[steps])

    @property
    def total(self) -> int:
        """All candidates."""
        return int(self.counts.sum())

    def kept(self, steps: int) -> tuple[int, float | None]:
        """(how many have at least so many millionths, their mean probability)."""
        above = self.steps >= steps
        number = int(self.counts[above].sum())
        mean = float((self.counts[above] * self.steps[above]).sum() / number / STEPS) if number else None
        return number, mean


def find_threshold(histogram: Histogram, target: float) -> Threshold | None:
    """The lowest threshold at which the labels kept reach the target; None where the best ones do not.

    Args:
        histogram: sums up to 9e12 candidates are exact.
        target: mean probability wanted, in [0, 1].
    """
    steps, counts = histogram.steps[::-1], histogram.counts[::-1]
    kept, total = np.cumsum(counts), np.cumsum(counts * steps)
    # The mean over a prefix only falls as it grows, so those that reach the target are the first ones.
    enough = int(np.count_nonzero(total >= kept * round(target * STEPS)))
    if not enough:
        return None
    last = enough - 1
    return Threshold(int(steps[last]), int(kept[last]), float(total[last] / kept[last] / STEPS))


def choose_threshold(histogram: Histogram, target: float) -> Threshold:
    """`find_threshold`, where none is an error.

    Raises:
        PipelineError: the target cannot be reached; says what can.
    """
    found = find_threshold(histogram, target)
    if found is not None:
        return found
    if not len(histogram.steps):
        raise PipelineError(
            "precision.class_floor: expected classes whose labels can reach it, found none. Lower it, or leave it out"
        )
    raise PipelineError(
        f"precision: expected labels with a mean probability of at least {target:g} (precision.target), found that "
        f"the best reachable is {histogram.steps[-1] / STEPS:.3f}, for {histogram.counts[-1]:,} of "
        f"{histogram.total:,} labels. Lower precision.target, or add a source that tells right from wrong"
    )


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """Candidates of each class by bins of the probability.

    `counts`, `sums` (c, bins) candidates and their millionths; `width` of a bin, in millionths.
    """

    counts: Int64s
    sums: Int64s
    width: int

    @property
    def candidates(self) -> Int64s:
        """(c,) of each class."""
        candidates: Int64s = self.counts.sum(axis=1)
        return candidates


def class_floors(scores: ClassScores, floor: float) -> Int64s:
    """(c,) the least threshold, in millionths, at which the mean probability of a class's labels reaches the floor.

    `NO_FLOOR` where all of them do, `OUT_OF_REACH` where none do. To the width of a bin.
    """
    counts, sums = (np.cumsum(v[:, ::-1], axis=1)[:, ::-1] for v in (scores.counts, scores.sums))
    enough = (counts > 0) & (sums >= counts * round(floor * STEPS))
    # Means fall as bins are added from the top: the first bin that is enough is the least threshold.
    first = enough.argmax(axis=1)
    floors: Int64s = np.where(enough.any(axis=1), first * scores.width, OUT_OF_REACH).astype(np.int64)
    floors[(scores.candidates == 0) | (sums[:, 0] >= counts[:, 0] * round(floor * STEPS))] = NO_FLOOR
    return floors
