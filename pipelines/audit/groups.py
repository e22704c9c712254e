"""Certificates of groups: branches of the hierarchy by size of class, all of them right together.

In: judged labels with their group, and the grid of thresholds. Out: for each group how loose a threshold is certified
for it. The claims are about the labels kept in the end, at a threshold that the same answers have chosen; so that any
choice is allowed, every claim (group, threshold) is tested in one procedure with family-wise error delta: each group
walks its own thresholds from strict to loose at its share of delta, and a group that has come to its end passes its
share on to the others. With one threshold this is Holm's (1979) procedure; with several its graphical form (Bretz,
Maurer, Brannath and Posch 2009). Where a group's walk starts and ends is fixed before anybody judges.

It is a family of its own beside the overall certificate: each of the two is wrong with probability delta at most, both
together with twice that.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from openjft.dedup.interval import clopper_pearson

from .certificate import Bools, Int64s, count_above, p_values


@dataclasses.dataclass(frozen=True)
class GroupResult:
    """One group.

    Attributes:
        start: index in the grid at which its walk starts: nothing is claimed of stricter thresholds, where too few of
            its labels are expected; None where that is so everywhere, and it took no part.
        passed: index of the loosest threshold that is certified for it; None where none is.
        n, k: judged and right labels at each threshold of the grid, (k,) each.
    """

    start: int | None
    passed: int | None
    n: Int64s
    k: Int64s

    @property
    def tested(self) -> bool:
        """Whether it took part."""
        return self.start is not None

    def enough_judged(self, index: int) -> bool:
        """Whether its walk has started at a threshold of the grid."""
        return self.start is not None and index >= self.start

    def interval(self, index: int) -> tuple[float, float]:
        """Clopper-Pearson interval of its precision at a threshold of the grid, for itself alone."""
        return clopper_pearson(int(self.k[index]), int(self.n[index]))

    def certified(self, index: int) -> bool:
        """Whether its precision is certified at a threshold of the grid."""
        return self.enough_judged(index) and self.passed is not None and index <= self.passed


def first_thresholds(expected: npt.NDArray[np.float64], min_judged: float) -> Int64s:
    """(g,) where each group's walk starts: the first threshold with so many judged labels expected; -1 for none.

    Args:
        expected: (g, k) judged labels expected of each group at or above each threshold, from the candidates alone.
        min_judged: of a group.
    """
    enough = expected >= min_judged
    return np.where(enough.any(axis=1), enough.argmax(axis=1), -1).astype(np.int64)


def certify_groups(
    group: npt.NDArray[np.integer],
    steps: Int64s,
    correct: Bools,
    grid: Int64s,
    starts: Int64s,
    *,
    end: int,
    target: float,
    delta: float,
) -> tuple[GroupResult, ...]:
    """Tests all groups together.

    Args:
        group: (n,) group of each judged label, in [0, g).
        steps: (n,) probabilities, millionths.
        correct: (n,) bool.
        grid: (k,) thresholds from strict to loose.
        starts: (g,) as `first_thresholds` gives them.
        end: index of the loosest threshold that counts; groups that start behind it are not tested.
        target: precision wanted of each group.
        delta: probability, at most, that any certified claim is false.
    """
    counts = [count_above(steps[group == g], correct[group == g], grid) for g in range(len(starts))]
    p = [p_values(n, k, target) for n, k in counts]
    tested = [g for g in range(len(starts)) if 0 <= starts[g] <= end]
    share = {g: delta / len(tested) for g in tested}
    at = {g: int(starts[g]) for g in tested}  # the next threshold to reject
    walking = set(tested)
    moved = True
    while moved and walking:
        moved = False
        for g in sorted(walking):
            while at[g] <= end and p[g][at[g]] <= share[g]:
                at[g] += 1
                moved = True
            if at[g] > end:
                walking.remove(g)
                for other in walking:
                    share[other] += share[g] / len(walking)
                break
    return tuple(
        GroupResult(start, at[g] - 1 if start is not None and at[g] > start else None, *counts[g])
        for g, start in enumerate(int(starts[g]) if g in at else None for g in range(len(starts)))
    )
