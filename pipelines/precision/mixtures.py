"""Two kinds of candidates, told apart by one source's counts alone: what a count is worth before any gold is seen.

In: counts of a sample. Out: the two rates of a mixture, and from them a log-likelihood ratio, the one number by which
pairs of counts (3 of 5 statements, 2 clicks for 80 impressions) can be put in order and cut into levels. The levels'
weights come from the fitted filter, so the mixture need only get the order right.

`statements`: a of n independent statements say the label, binomial with two rates. `clicks`: c clicks on an exposure E,
Poisson with a rate that is Gamma distributed in each of two classes (METHODS.md section 1; Greenland and Robins 1985).
Both by EM from a fixed start; deterministic.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit, gammaln, xlogy

Floats = npt.NDArray[np.float64]

MAX_ROWS: Final = 50_000  # rates stand to a percent
_ITERATIONS: Final = 200
_TOLERANCE: Final = 1e-7  # of the mean log-likelihood
_SHAPES: Final = (0.5, 1.0, 2.0, 3.0, 5.0)  # of the Gamma law of click rates; the best is taken
_MIN_RATIO: Final = 1.2  # of the two rates, below which there is one kind
_EDGE: Final = 1e-3  # rates of statements stay inside


@dataclasses.dataclass(frozen=True)
class StatementRates:
    """`low`, `high`: share of a wrong and of a right candidate's statements that say the label, 0 < low < high < 1."""

    low: float
    high: float

    def log_ratio(self, support: npt.NDArray[Any], statements: npt.NDArray[Any]) -> Floats:
        """(n,) log-likelihood ratio of high to low."""
        against = np.maximum(statements.astype(np.float64) - support, 0.0)
        ratio: Floats = support * np.log(self.high / self.low) + against * np.log((1 - self.high) / (1 - self.low))
        return ratio


@dataclasses.dataclass(frozen=True)
class ClickRates:
    """`low`, `high`: mean clicks of an impression at the first place in the two classes; `shape` of the Gamma laws."""

    low: float
    high: float
    shape: float

    def log_ratio(self, clicks: npt.NDArray[Any], exposure: npt.NDArray[Any]) -> Floats:
        """(n,) log-likelihood ratio of high to low."""
        ratio: Floats = _click_likelihood(clicks, exposure, self.high, self.shape) - _click_likelihood(
            clicks, exposure, self.low, self.shape
        )
        return ratio


def fit_statement_rates(support: Floats, statements: Floats) -> StatementRates | None:
    """The two rates; None where the counts show one kind only.

    Args:
        support: (n,) statements for the label, of the first `MAX_ROWS` of which the fit is made.
        statements: (n,) all statements, at least as many and above 0.
    """
    a, n = support[:MAX_ROWS].astype(np.float64), statements[:MAX_ROWS].astype(np.float64)
    if len(a) == 0 or not 0 < a.sum() < n.sum():
        return None
    mean = a.sum() / n.sum()
    low, high, share = mean / 2, (1 + mean) / 2, 0.5
    last = -np.inf
    for _ in range(_ITERATIONS):
        first = np.log1p(-share) + xlogy(a, low) + xlogy(n - a, 1 - low)
        second = np.log(share) + xlogy(a, high) + xlogy(n - a, 1 - high)
        total = float(np.logaddexp(first, second).mean())
        weight = expit(second - first)
        share = float(np.clip(weight.mean(), _EDGE, 1 - _EDGE))
        low, high = (float(np.clip((w @ a) / max(w @ n, 1e-12), _EDGE, 1 - _EDGE)) for w in (1 - weight, weight))
        if total - last < _TOLERANCE:
            break
        last = total
    low, high = min(low, high), max(low, high)
    return StatementRates(low, high) if high >= _MIN_RATIO * low else None


def _click_likelihood(clicks: npt.NDArray[Any], exposure: npt.NDArray[Any], mean: float, shape: float) -> Floats:
    """(n,) log-probability of a negative binomial count, up to what does not depend on the mean."""
    seen = exposure.astype(np.float64) * mean
    likelihood: Floats = -shape * np.log1p(seen / shape) + xlogy(clicks, seen / (shape + seen))
    return likelihood


def fit_click_rates(clicks: npt.NDArray[np.int64], exposure: Floats) -> ClickRates | None:
    """The two rates and the shape of highest likelihood; None where the clicks show one kind only.

    Args:
        clicks: (n,), of the first `MAX_ROWS` of which the fit is made.
        exposure: (n,) above 0.
    """
    c, e = clicks[:MAX_ROWS].astype(np.float64), exposure[:MAX_ROWS].astype(np.float64)
    if len(c) == 0 or c.sum() <= 0:
        return None
    fits = [_fit_shape(c, e, shape) for shape in _SHAPES]
    _, best = max(fits, key=lambda fit: fit[0])
    return best if best.high >= _MIN_RATIO * best.low else None


def _fit_shape(c: Floats, e: Floats, shape: float) -> tuple[float, ClickRates]:
    """(mean log-likelihood, rates) for one shape of the Gamma laws."""
    mean = c.sum() / e.sum()
    low, high, share = mean / 2, 2 * mean, 0.5
    constant = float((gammaln(c + shape) - gammaln(shape) - gammaln(c + 1)).mean())
    last = total = -np.inf
    for _ in range(_ITERATIONS):
        first = np.log1p(-share) + _click_likelihood(c, e, low, shape)
        second = np.log(share) + _click_likelihood(c, e, high, shape)
        total = float(np.logaddexp(first, second).mean()) + constant
        weight = expit(second - first)
        share = float(np.clip(weight.mean(), _EDGE, 1 - _EDGE))
        # The rate's posterior mean given the class: Gamma(shape + c) over shape / mean + E.
        low, high = (
            float((w @ ((shape + c) / (shape / max(m, 1e-12) + e))) / max(w.sum(), 1e-12))
            for w, m in ((1 - weight, low), (weight, high))
        )
        if total - last < _TOLERANCE:
            break
        last = total
    return total, ClickRates(min(low, high), max(low, high), shape)
