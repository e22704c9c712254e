"""The exact interval of a share, for every count that is published: recall here, precision in the pipelines."""

from __future__ import annotations

from typing import Final

CONFIDENCE: Final = 0.95


def clopper_pearson(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact binomial interval of successes / trials (Clopper and Pearson 1934); (0, 1) without trials."""
    from scipy.special import betaincinv  # here, since a reader of the package's face need not load it

    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(successes, trials - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, trials - successes, 1.0 - tail)) if successes < trials else 1.0
    return low, high
