"""Learn-then-Test: the loosest threshold at which a precision is certified, whatever the score is like.

In: thresholds that were frozen before anybody judged, and judged labels, drawn uniformly from all labels that could be
kept. Out: the certified threshold. With probability 1 - delta over the drawing, the labels at or above it have at least
the precision wanted; it holds for a finite sample, with no assumption on the score (Angelopoulos, Bates, Candes, Jordan
and Lei 2021, fixed-sequence testing; METHODS.md, section 1).

Why it holds. Of the judged labels, those at or above threshold t are a uniform sample of all such labels: given their
number n, the number k of right ones is Binomial(n, precision at t), so `P(Bin(n, target) >= k)` is a valid p-value. The
thresholds are walked from strict to loose, and the walk ends at the first that is not rejected at delta. Let t be the
first one whose precision is below the target: to certify it or anything looser, the walk must reject it, which happens
with probability delta at most. Drawn without replacement, k is hypergeometric with lighter tails (Hoeffding 1963): at a
delta up to 0.1 the test is only more careful, as the tests try for small numbers.

The walk starts where `min_judged` labels are *expected*, which `threshold_grid` knows before the drawing. To start
where so many *were* drawn would not do for a proof: how many lie above one threshold says something of the mixture
above another, and the k given both numbers is no longer Binomial(n, precision).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from openjft.dedup.interval import clopper_pearson

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STEPS: Final = 1_000_000
PRIOR_STRENGTH: Final = 12.0  # labels that the model's own mean is worth for a single class
_MOST_LABELS: Final = 1_000_000
_BLOCK: Final = 1024  # sizes tried at once


def threshold_grid(steps: Int64s, counts: Int64s, *, floor: int, num: int, judged: int, min_judged: int) -> Int64s:
    """Thresholds from strict to loose, evenly spaced in the number of labels kept, frozen before anybody judges.

    Args:
        steps: (m,) distinct probabilities of the candidates, millionths, rising.
        counts: (m,) candidates of each.
        floor: least millionths that the sample was drawn from; the last threshold is the first probability above it.
        num: thresholds wanted; fewer where probabilities are few.
        judged: labels that will be judged.
        min_judged: labels expected to be judged at the first threshold.

    Returns:
        (k,) falling millionths; none where there are no candidates or too few to judge.
    """
    inside = steps >= floor
    steps, counts = steps[inside][::-1], counts[inside][::-1]
    if not len(steps):
        return np.empty(0, np.int64)
    kept = np.cumsum(counts)
    total = int(kept[-1])
    first = min(1.0, min_judged / max(judged, 1))
    wanted = np.linspace(1.0, first, num)[::-1] * total
    place = np.searchsorted(kept, wanted - 1e-6 * total)
    grid: Int64s = steps[np.unique(np.minimum(place, len(steps) - 1))]
    return grid[judged * np.cumsum(counts)[np.searchsorted(-steps, -grid)] >= min_judged * total * (1 - 1e-9)]


@dataclasses.dataclass(frozen=True)
class Step:
    """One threshold of the walk: `n` judged labels at or above it, `k` right, and the p-value."""

    steps: int
    n: int
    k: int
    p_value: float


@dataclasses.dataclass(frozen=True)
class Certificate:
    """How the walk ended.

    Attributes:
        steps: the certified threshold, millionths; None where nothing is certified.
        n, k: judged and right labels at it; at the first threshold where nothing is certified.
        p_value: at it.
        reason: why nothing is certified; '' otherwise.
        walk: every threshold tested, the last of them not rejected unless it is the loosest.
    """

    steps: int | None
    n: int
    k: int
    p_value: float
    reason: str
    walk: tuple[Step, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson interval, 95 %, two-sided, of the precision at the threshold as if it had been the only one.

        What is certified is the target, at delta and one-sided: the interval's low end may lie below it.
        """
        return clopper_pearson(self.k, self.n)


def p_values(n: npt.NDArray[Any], k: npt.NDArray[Any], target: float) -> Floats:
    """P(Bin(n, target) >= k): small where so many right labels would be odd below the target; 1 where n is 0."""
    values: Floats = np.asarray(stats.binom.sf(np.asarray(k) - 1, n, target), np.float64)
    return values


def count_above(steps: Int64s, correct: Bools, grid: Int64s) -> tuple[Int64s, Int64s]:
    """((k,) judged, (k,) right) labels at or above each threshold of a grid."""
    order = np.sort(steps)
    right = np.sort(steps[correct])
    judged = len(order) - np.searchsorted(order, grid)
    return judged.astype(np.int64), (len(right) - np.searchsorted(right, grid)).astype(np.int64)


def certify(steps: Int64s, correct: Bools, grid: Int64s, *, target: float, delta: float) -> Certificate:
    """Walks the thresholds.

    Args:
        steps: (n,) probabilities of the judged labels, millionths.
        correct: (n,) bool.
        grid: (k,) thresholds from strict to loose, frozen before the judging.
        target: precision wanted.
        delta: probability, at most, that a certified precision is not reached.
    """
    if not len(grid):
        return Certificate(None, 0, 0, 1.0, "too few labels could be judged for any threshold to be tried", ())
    judged, right = count_above(steps, correct, grid)
    p = p_values(judged, right, target)
    failed = np.flatnonzero(p > delta)
    end = int(failed[0]) if len(failed) else len(grid)
    walk = tuple(
        Step(int(t), int(n), int(k), float(value))
        for t, n, k, value in zip(grid[: end + 1], judged, right, p, strict=False)
    )
    if end == 0:
        reason = _why_not(walk[0], len(steps), target, delta)
        return Certificate(None, walk[0].n, walk[0].k, walk[0].p_value, reason, walk)
    last = walk[end - 1]
    return Certificate(last.steps, last.n, last.k, last.p_value, "", walk)


def _why_not(step: Step, audited: int, target: float, delta: float) -> str:
    if not step.n:
        return "no label at or above the strictest threshold was judged"
    rate = step.k / step.n
    text = (
        f"at the strictest threshold, {step.steps / STEPS:.3f}, {step.k:,} of {step.n:,} judged labels are right, "
        f"which does not show a precision of {target:g} (p = {step.p_value:.3f}, needed {delta:g})"
    )
    if rate <= target:
        return f"{text}; they are too often wrong for more judging to help"
    needed = labels_needed(target, rate, delta=delta)
    if needed is None:
        return text
    audit = math.ceil(needed * audited / step.n)
    return (
        f"{text}; were {rate:.1%} of them right, some {needed:,} judged above it would be needed, in an audit of some "
        f"{audit:,}"
    )


def labels_needed(target: float, true_precision: float, *, delta: float = 0.05, power: float = 0.8) -> int | None:
    """The least number of judged labels with which one exact binomial test certifies the target.

    Args:
        target: precision to certify.
        true_precision: what the precision is.
        delta: of the certificate.
        power: probability that it succeeds.

    Returns:
        The least n with that power. To certify 0.80: 82 when the truth is 0.90, 365 when it is 0.85; the power of an
        exact test goes up in a saw-tooth, and from 94 and 398 on it never falls below again. (METHODS.md says 82 and
        384; 384 is enough, with a power of 0.802, and not the least.) None where a million are not enough.
    """
    if true_precision <= target:
        return None
    spread, true_spread = math.sqrt(target * (1 - target)), math.sqrt(true_precision * (1 - true_precision))
    quantiles = stats.norm.isf(delta) * spread + stats.norm.ppf(power) * true_spread
    near = (max(quantiles, 0.0) / (true_precision - target)) ** 2
    # A tooth is some 2 sqrt(n) / spread wide: three of them below the normal approximation nothing is enough, and a
    # search from 1 would take ten seconds for a near miss. The tests compare the two.
    start = max(1, math.floor(near - 6 * math.sqrt(near) / max(spread, 0.03)))
    for low in range(start, _MOST_LABELS, _BLOCK):
        n = np.arange(low, low + _BLOCK)
        critical = stats.binom.isf(delta, n, target) + 1  # the least k with P(Bin >= k) <= delta
        enough = stats.binom.sf(critical - 1, n, true_precision) >= power
        found = np.flatnonzero(enough)
        if len(found):
            return int(n[found[0]])
    return None


def class_intervals(model_mean: Floats, judged: Int64s, correct: Int64s) -> tuple[Floats, Floats, Floats]:
    """What is to be believed of single classes: a Bayesian statement, and no certificate.

    The prior is Beta with the model's own mean and the strength of `PRIOR_STRENGTH` labels; the posterior adds the
    judged ones.

    Args:
        model_mean: (c,) mean probability of each class's kept labels.
        judged: (c,) judged labels among the kept ones.
        correct: (c,) of them right.

    Returns:
        (mean, low, high): (c,) each; low and high are the equal-tailed 95 % interval.
    """
    mean = np.clip(model_mean, 1e-6, 1 - 1e-6)
    a, b = PRIOR_STRENGTH * mean + correct, PRIOR_STRENGTH * (1 - mean) + judged - correct
    return a / (a + b), np.asarray(stats.beta.ppf(0.025, a, b)), np.asarray(stats.beta.ppf(0.975, a, b))
