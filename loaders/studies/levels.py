"""Values measured at several sizes, reduced to what a fit needs: a mean and a weight for each size, and the noise.

In: (size, value) pairs, several of one size where it was measured with several seeds. Out: `Levels`. The noise comes
from one of three places, in this order: standard deviations that are given, the scatter of the seeds around the mean
of their size (pooled over the sizes, since two or three seeds say little about the scatter at one of them), or else
only what a curve leaves over, which is for the fit to find.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from openjft.loaders.errors import LoaderError

Float64s = npt.NDArray[np.float64]
Noise = Literal["given", "seeds", "residuals"]

MIN_SIZES: Final = 3  # two sizes have every curve through them
MAX_POINTS: Final = 100_000
_ROUNDING: Final = 1e-9  # relative to the values: scatter below this is that of the arithmetic and of the search


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """K sizes, each with the mean of its values.

    Attributes:
        sizes: (K,) rising, above 0.
        means: (K,) weighted means of the values at each size.
        weights: (K,) number of values at each size; with given standard deviations the sum of 1 / sd^2.
        noise: where the noise is known from.
        within: weighted sum of squares of the values around the means of their size.
        within_df: its degrees of freedom, values - K.
        num_values: of all sizes.
    """

    sizes: Float64s
    means: Float64s
    weights: Float64s
    noise: Noise
    within: float
    within_df: int
    num_values: int

    @property
    def num_sizes(self) -> int:
        """K."""
        return len(self.sizes)

    @property
    def rounding(self) -> float:
        """Weighted sum of squares that is nothing but rounding."""
        return float(self.weights.sum() * (_ROUNDING * np.abs(self.means).max()) ** 2)

    def variance(self, left_over: float, parameters: int) -> tuple[float, int | None]:
        """Variance of a value of weight 1, and its degrees of freedom.

        Args:
            left_over: weighted sum of squares of the means around a curve.
            parameters: of that curve.

        Returns:
            The variance, and the degrees of freedom: None where the noise is given and so known, 0 where there is
            nothing to tell it from.
        """
        if self.noise == "given":
            return 1.0, None
        if self.noise == "seeds":
            return self.within / self.within_df, self.within_df
        df = self.num_sizes - parameters
        return (max(left_over, self.rounding) / df if df > 0 else float("nan")), max(df, 0)


def make_levels(sizes: npt.ArrayLike, values: npt.ArrayLike, deviations: npt.ArrayLike | None = None) -> Levels:
    """Reduces values to levels.

    Args:
        sizes: (n,) above 0.
        values: (n,) measured at them.
        deviations: (n,) standard deviation of each value, above 0, where it is known.

    Raises:
        LoaderError: the arrays are not of one length, a number is not finite, a size or deviation is not above 0, there
            are fewer than three different sizes, or all values are equal; all mistakes at once.
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    given = None if deviations is None else np.asarray(deviations, np.float64)
    _check(x, y, given)
    weights = np.ones_like(y) if given is None else given**-2.0
    different, of = np.unique(x, return_inverse=True)
    total = np.bincount(of, weights).astype(np.float64)
    means = np.bincount(of, weights * y) / total
    within = float((weights * (y - means[of]) ** 2).sum())
    levels = Levels(
        sizes=different,
        means=means,
        weights=total,
        noise="residuals" if given is None else "given",
        within=within,
        within_df=len(y) - len(different),
        num_values=len(y),
    )
    if np.ptp(means) <= _ROUNDING * np.abs(means).max():
        raise LoaderError(
            f"fit: expected values that differ from size to size, found {means[0]:.6g} at all {len(different)} sizes; "
            "there is no slope to fit. Train longer, or score on more images"
        )
    scattered = given is None and levels.within_df > 0 and within > levels.rounding
    return dataclasses.replace(levels, noise="seeds") if scattered else levels


def _check(x: Float64s, y: Float64s, given: Float64s | None) -> None:
    if x.ndim != 1 or x.shape != y.shape or (given is not None and given.shape != x.shape):
        shapes = [str(a.shape) for a in (x, y, given) if a is not None]
        raise LoaderError(f"fit: expected sizes and values of one length, found shapes {', '.join(shapes)}")
    if len(x) > MAX_POINTS:
        raise LoaderError(f"fit: expected at most {MAX_POINTS:,} values, found {len(x):,}")
    mistakes = [
        *_wrong("size", x, np.isfinite(x) & (x > 0), "finite and above 0"),
        *_wrong("value", y, np.isfinite(y), "finite"),
        *([] if given is None else _wrong("standard deviation", given, np.isfinite(given) & (given > 0), "above 0")),
    ]
    found = len(np.unique(x[np.isfinite(x)]))
    if found < MIN_SIZES:
        mistakes.append(f"expected at least {MIN_SIZES} different sizes, found {found}: any curve passes through two")
    if mistakes:
        raise LoaderError("fit: " + "; ".join(mistakes))


def _wrong(what: str, values: Float64s, ok: npt.NDArray[np.bool_], expected: str) -> list[str]:
    rows = np.flatnonzero(~ok)
    if not len(rows):
        return []
    more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
    return [f"expected every {what} {expected}, found {values[rows[0]]:g} in row {rows[0] + 1}{more}"]
