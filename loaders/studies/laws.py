"""Curves of a value against the size of the data, one family that holds both laws.

    y = alpha + beta * (1 - (N / N0)^-c) / c          N0: the geometric mean of the sizes

With c -> 0 this is the log-linear law, y = a + b log10 N (what Sun et al. 2017 found); with c > 0 it is the saturating
power law, y = a - b N^-c, whose limit is a; with c < 0 it rises faster than the logarithm. For a fixed exponent c the
curve is a straight line in a transformed size, so that least squares has a closed form and only c is searched for, on
a grid and then around its best place: no initial guess, no local minimum that a solver stops at.

Intervals are of the profile likelihood (for a straight line these are the usual ones of t): a value is inside when some
curve of the law that has it leaves no more over than the best one does, by more than chance.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from .levels import Float64s, Levels

# A saturation that can be told from the log-linear law at all: where the last size still has a gap to the limit, 1,000
# times the data close half of it. With smaller exponents the two laws grow together, so that no data can part them.
HALF_GAIN_FACTOR: Final = 1_000
MIN_EXPONENT: Final = math.log10(2) / math.log10(HALF_GAIN_FACTOR)
MAX_EXPONENT: Final = 5.0
LEVEL: Final = 0.95
_GRID: Final = 801

# Exponents (m,) to u (m, 1 or k) and v (m, 1 or k) of a linear function u alpha + v beta of a curve's parameters.
_Functional = Callable[[Float64s], tuple[Float64s, Float64s]]


class Interval(NamedTuple):
    """A value, and its 95 % interval where the noise is known; an end that the data leave open is None."""

    value: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class Family:
    """Exponents that a law may have, and how many parameters that makes."""

    low: float
    high: float

    @property
    def parameters(self) -> int:
        """alpha, beta, and c where it is free."""
        return 2 if self.low == self.high else 3


LOG_LINEAR: Final = Family(0.0, 0.0)
SATURATING: Final = Family(MIN_EXPONENT, MAX_EXPONENT)
ANY: Final = Family(-MAX_EXPONENT, MAX_EXPONENT)


class _Lines(NamedTuple):
    """Least squares for each of m exponents: (m,) mean of the basis, its sum of squares, slope, what is left over."""

    center: Float64s
    spread: Float64s
    beta: Float64s
    left_over: Float64s


class Fit:
    """A family fitted to levels.

    Attributes:
        exponent: of the best curve.
        left_over: weighted sum of squares of the means around it.
        variance: of a value of weight 1; NaN where nothing tells it.
        df: its degrees of freedom; None: known.
    """

    def __init__(self, levels: Levels, family: Family) -> None:
        self.levels, self.family = levels, family
        logs = np.log(levels.sizes)
        self._origin = float(logs.mean())
        self._t = logs - self._origin
        self._mean = float(np.average(levels.means, weights=levels.weights))
        self.exponent = self._best()
        self.left_over = float(self._lines(np.array([self.exponent])).left_over[0])
        self.variance, self.df = levels.variance(self.left_over, family.parameters)
        self._grid = self._inside()

    @property
    def tells_noise(self) -> bool:
        """Whether there is anything to make an interval from."""
        return self.df is None or self.df > 0

    def exponents(self) -> Interval:
        """The exponent; an end at the border of the family is open."""
        if not self.tells_noise or self.family.parameters == 2:
            return Interval(self.exponent, None, None)
        low, high = float(self._grid[0]), float(self._grid[-1])
        return Interval(
            self.exponent,
            None if low <= self.family.low else low,
            None if high >= self.family.high else high,
        )

    def at(self, sizes: Float64s) -> tuple[Float64s, Float64s | None, Float64s | None]:
        """The curve at sizes (m,), with the two ends of its interval there, (m,) each."""
        t = np.log(sizes) - self._origin
        return self._functional(lambda c: (np.ones((len(c), 1)), basis(c, t)))

    def limit(self) -> Interval:
        """The value that a saturating curve never exceeds: alpha + beta / c."""
        return self._one(lambda c: (np.ones((len(c), 1)), 1 / c[:, None]))

    def scale(self) -> Interval:
        """The b of a - b N^-c: beta / c * N0^c."""
        return self._one(lambda c: (np.zeros((len(c), 1)), np.exp(c * self._origin)[:, None] / c[:, None]))

    def intercept(self) -> Interval:
        """The a of a + b log10 N."""
        return self._one(lambda c: (np.ones((len(c), 1)), np.full((len(c), 1), -self._origin)))

    def slope(self) -> Interval:
        """The b of a + b log10 N: what ten times the data add."""
        return self._one(lambda c: (np.zeros((len(c), 1)), np.full((len(c), 1), math.log(10))))

    # -- the profile -----------------------------------------------------------------------------------------

    def _lines(self, exponents: Float64s) -> _Lines:
        w, y = self.levels.weights, self.levels.means - self._mean
        g = basis(exponents, self._t)
        center = g @ w / w.sum()
        g = g - center[:, None]
        spread = g**2 @ w
        beta = g @ (w * y) / spread
        return _Lines(center, spread, beta, (y - beta[:, None] * g) ** 2 @ w)

    def _left_over(self, exponent: float) -> float:
        return float(self._lines(np.array([exponent])).left_over[0])

    def _best(self) -> float:
        if self.family.parameters == 2:
            return self.family.low
        grid = np.linspace(self.family.low, self.family.high, _GRID)
        left_over = self._lines(grid).left_over
        best = int(np.argmin(left_over))
        import scipy.optimize

        around = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
        found = scipy.optimize.minimize_scalar(
            self._left_over, bounds=around, method="bounded", options={"xatol": 1e-10}
        )
        return float(found.x) if found.fun < left_over[best] else float(grid[best])

    def _allowed(self) -> float:
        """How much more than the best curve may be left over: the 95 % point of chance."""
        import scipy.stats

        if self.df is None:
            return float(scipy.stats.chi2.ppf(LEVEL, 1))
        return float(self.variance * scipy.stats.f.ppf(LEVEL, 1, self.df))

    def _inside(self) -> Float64s:
        """A grid over the exponents that are not rejected, from end to end, with the best one."""
        if self.family.parameters == 2 or not self.tells_noise:
            return np.array([self.exponent])
        most = self.left_over + self._allowed()
        grid = np.linspace(self.family.low, self.family.high, _GRID)
        inside = grid[self._lines(grid).left_over <= most]
        step = grid[1] - grid[0]
        low = self._end(min([self.exponent, *inside]), -step, most)
        high = self._end(max([self.exponent, *inside]), step, most)
        return np.unique([*np.linspace(low, high, _GRID), self.exponent])

    def _end(self, inside: float, step: float, most: float) -> float:
        """The border of what is not rejected, beyond a place that is inside; at most one step away."""
        import scipy.optimize

        outside = min(max(inside + step, self.family.low), self.family.high)
        if self._left_over(outside) <= most:
            return outside
        return float(scipy.optimize.brentq(lambda c: self._left_over(c) - most, inside, outside, xtol=1e-12))

    def _one(self, functional: _Functional) -> Interval:
        value, low, high = self._functional(functional)
        return Interval(
            float(value[0]), None if low is None else float(low[0]), None if high is None else float(high[0])
        )

    def _functional(self, functional: _Functional) -> tuple[Float64s, Float64s | None, Float64s | None]:
        """The best curve's value of a linear function of (alpha, beta), and its profile interval.

        For a fixed exponent, asking for another value than the fitted one costs (value - fitted)^2 / h.
        """
        lines = self._lines(self._grid)
        u, v = functional(self._grid)
        v = v - u * lines.center[:, None]  # alpha = mean - beta * center
        fitted = u * self._mean + v * lines.beta[:, None]
        best = int(np.argmin(np.abs(self._grid - self.exponent)))
        if not self.tells_noise:
            return fitted[best], None, None
        h = u**2 / self.levels.weights.sum() + v**2 / lines.spread[:, None]
        room = np.maximum(self._allowed() - (lines.left_over - self.left_over), 0.0)
        reach = np.sqrt(h * room[:, None])
        return fitted[best], (fitted - reach).min(0), (fitted + reach).max(0)


def basis(exponents: Float64s, t: Float64s) -> Float64s:
    """(1 - exp(-c t)) / c for exponents (m,) and log sizes (k,): (m, k); t itself where c is 0."""
    c = exponents[:, None]
    tiny = np.abs(c) < 1e-9
    return np.where(tiny, t[None, :], -np.expm1(-c * t[None, :]) / np.where(tiny, 1.0, c))
