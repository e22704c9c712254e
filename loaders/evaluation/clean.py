"""A score before and after de-duplication of the evaluation images (Sun et al. 2017, tables 8 to 10).

In: a metric that can be asked for any multiset of n images, and which of them are clean. Out: `BeforeAfter`, the value
on all images and on the clean ones, and two answers to "is the change more than chance":

- a bootstrap interval of the change, paired: each resample draws n images with replacement, and takes both values;
- the range of the change when as many images are left out at random, and how rarely it is as far out as the one seen.

A metric is a function of `times`, (n,) int64, how often each image counts: for top-1 it is `np.average(correct,
weights=times)`, for mAP the mean of `Ranking.precision(times)`. So nothing is scored again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from .ranking import Times

Metric = Callable[[Times], float]
Metrics = Callable[[Times], Sequence[float]]

_TAIL_PERCENT: Final = 2.5  # on either side of a 95 % range


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """A value on all images and on the clean ones; ranges hold 95 of 100 resamples.

    Attributes:
        before: on all images.
        after: on the clean ones.
        change: after - before.
        change_low: bootstrap range of the change.
        change_high: its upper end.
        random_low: change when as many images are left out at random.
        random_high: its upper end.
        p_value: of the change seen, two-sided, among those at random.
        resamples: of each kind that gave a value, the smaller number; 0: every image is clean.
        seed: of the resamples.
    """

    before: float
    after: float
    change: float
    change_low: float
    change_high: float
    random_low: float
    random_high: float
    p_value: float
    resamples: int
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleanComparison:
    """One list of clean images against all images that were scored."""

    clean_list: str
    num_images: int
    num_clean: int
    num_removed: int
    unknown_ids: int
    map_at_k: BeforeAfter
    unweighted_map_at_k: BeforeAfter

    def named(self, k: int) -> list[tuple[str, BeforeAfter]]:
        """The values by name."""
        return [(f"mAP@{k}", self.map_at_k), (f"mAP@{k}, unweighted", self.unweighted_map_at_k)]


def before_after(
    metric: Metric, n: int, clean_mask: npt.NDArray[np.bool_], *, seed: int, resamples: int
) -> BeforeAfter:
    """Compares one metric; see `before_after_many`."""
    return before_after_many(lambda times: [metric(times)], n, clean_mask, seed=seed, resamples=resamples)[0]


def before_after_many(
    metrics: Metrics,
    n: int,
    clean_mask: npt.NDArray[np.bool_],
    *,
    seed: int,
    resamples: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[BeforeAfter]:
    """Compares the values of a metric that gives several, on the same resamples.

    Args:
        metrics: values for `times`; NaN where they are not defined.
        n: images.
        clean_mask: (n,) which images are clean.
        seed: of the resamples.
        resamples: of each kind, bootstrap and random removal.
        on_progress: called with resamples done and in all.

    Returns:
        One for each value.

    Raises:
        ValueError: the mask does not fit, no image is clean, or a value is not defined on all or on the clean images.
    """
    _check(n, clean_mask, resamples)
    clean = clean_mask.astype(np.int64)
    before = np.asarray(metrics(np.ones(n, np.int64)), np.float64)
    after = np.asarray(metrics(clean), np.float64)
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ValueError(
            f"expected labels among all {n:,} and among the {int(clean.sum()):,} clean images, found none that counts"
        )
    change = after - before
    if clean_mask.all():
        return [_unchanged(float(value), seed) for value in before]
    drawn, removed = np.empty((2, resamples, len(before)))
    rng_drawn, rng_removed = (np.random.default_rng([seed, stream]) for stream in range(2))
    for i in range(resamples):
        times = np.bincount(rng_drawn.integers(0, n, n), minlength=n)
        drawn[i] = np.subtract(metrics(times * clean), metrics(times))
        kept = np.ones(n, np.int64)
        kept[rng_removed.choice(n, n - int(clean.sum()), replace=False)] = 0
        removed[i] = np.subtract(metrics(kept), before)
        if on_progress is not None:
            on_progress(i + 1, resamples)
    return [
        _compare(float(before[j]), float(after[j]), float(change[j]), drawn[:, j], removed[:, j], seed)
        for j in range(len(before))
    ]


def _check(n: int, clean_mask: npt.NDArray[np.bool_], resamples: int) -> None:
    if clean_mask.shape != (n,) or clean_mask.dtype != np.bool_:
        raise ValueError(f"clean_mask: expected ({n},) bool, found {clean_mask.shape} {clean_mask.dtype}")
    if not clean_mask.any():
        raise ValueError(f"clean_mask: expected clean images, found none among {n:,}")
    if resamples < 1:
        raise ValueError(f"resamples: expected at least 1, found {resamples}")


def _unchanged(value: float, seed: int) -> BeforeAfter:
    return BeforeAfter(
        before=value, after=value, change=0.0, change_low=0.0, change_high=0.0, random_low=0.0, random_high=0.0,
        p_value=1.0, resamples=0, seed=seed,
    )  # fmt: skip


def _compare(
    before: float,
    after: float,
    change: float,
    drawn: npt.NDArray[np.float64],
    removed: npt.NDArray[np.float64],
    seed: int,
) -> BeforeAfter:
    drawn, removed = drawn[np.isfinite(drawn)], removed[np.isfinite(removed)]
    if not (len(drawn) and len(removed)):
        raise ValueError("resamples: expected some with labels, found none; there are too few images with labels")
    change_low, change_high = np.percentile(drawn, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
    random_low, random_high = np.percentile(removed, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
    # The removal seen is one of those possible, hence the 1s: no p of 0 from a finite number of draws. A change that
    # differs in the last bits only, from another order of sums, is the same change.
    near = 1e-12
    tail = min(int((removed <= change + near).sum()), int((removed >= change - near).sum()))
    return BeforeAfter(
        before=before,
        after=after,
        change=change,
        change_low=float(change_low),
        change_high=float(change_high),
        random_low=float(random_low),
        random_high=float(random_high),
        p_value=min(1.0, 2 * (1 + tail) / (1 + len(removed))),
        resamples=min(len(drawn), len(removed)),
        seed=seed,
    )
