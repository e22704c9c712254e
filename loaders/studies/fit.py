"""Does the value grow with the logarithm of the data, or does it saturate? Two laws fitted, compared and extrapolated.

In: values at several sizes, several seeds of each where there are. Out: `Comparison`: both laws with intervals, the
tests that could reject them, what each foretells at 10 and 100 times the data, and a verdict in words. The laws are
those of `laws.py`: y = a + b log10 N, and y = a - b N^-c with an exponent c that closes half of the gap to the limit
within 1,000 times the data. Each is tested against the best curve of any exponent, by F (by chi-square where the
noise is given). With four sizes and one seed, one degree of freedom is left, so F would have to exceed 161: such data
reject next to nothing, and the verdict says so because it was computed, not because it was written down.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from .laws import ANY, HALF_GAIN_FACTOR, LOG_LINEAR, SATURATING, Fit, Interval
from .levels import Levels, Noise, make_levels

ALPHA: Final = 0.05  # a law is rejected below this probability
FACTORS: Final = (10, 100)
Outcome = Literal["untested", "both", "log-linear", "saturating", "neither"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a law foretells at `factor` times the largest size, with its 95 % interval if the law holds."""

    factor: int
    size: float
    value: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Law:
    """A fitted law.

    `p_value` is the probability of so bad a fit by chance if the law holds, None where nothing tells the noise; `aicc`
    is None where it is not defined.
    """

    name: str
    formula: str
    parameters: dict[str, Interval]
    left_over: float
    p_value: float | None
    aicc: float | None
    predictions: tuple[Prediction, ...]

    @property
    def rejected(self) -> bool:
        """By the test at 5 %."""
        return self.p_value is not None and self.p_value < ALPHA


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both laws and what can be said between them.

    `sd` is the noise of one value, `noise` where it is known from, `df` its degrees of freedom (None: given);
    `exponent` is the best of any, 0 being the log-linear law, and `misfit` how probable so bad a fit is by chance even
    for that curve.
    """

    num_sizes: int
    num_values: int
    noise: Noise
    sd: float | None
    df: int | None
    log_linear: Law
    saturating: Law
    exponent: Interval
    misfit: float | None
    outcome: Outcome
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""

        def law(of: Law) -> dict[str, Any]:
            return {**dataclasses.asdict(of), "parameters": {k: v._asdict() for k, v in of.parameters.items()}}

        plain = dataclasses.asdict(self)
        laws = {"log_linear": law(self.log_linear), "saturating": law(self.saturating)}
        return {**plain, **laws, "exponent": self.exponent._asdict()}


def fit_curves(
    sizes: npt.ArrayLike, values: npt.ArrayLike, deviations: npt.ArrayLike | None = None
) -> tuple[Comparison, Fit, Fit]:
    """Fits and compares both laws.

    Args:
        sizes: (n,) above 0; equal ones are seeds of one size.
        values: (n,) measured at them.
        deviations: (n,) standard deviations of the values, where they are known from elsewhere.

    Returns:
        The comparison, and the curves themselves: log-linear, saturating.

    Raises:
        LoaderError: see `make_levels`.
    """
    levels = make_levels(sizes, values, deviations)
    line, power, free = (Fit(levels, family) for family in (LOG_LINEAR, SATURATING, ANY))
    log_linear, saturating = _log_linear(line, free), _saturating(power, free)
    misfit = None
    if levels.noise != "residuals" and levels.num_sizes > ANY.parameters:
        misfit = _p_value(free.left_over, levels.num_sizes - ANY.parameters, free)
    comparison = Comparison(
        num_sizes=levels.num_sizes,
        num_values=levels.num_values,
        noise=levels.noise,
        sd=None if levels.noise == "given" or not free.tells_noise else math.sqrt(free.variance),
        df=free.df,
        log_linear=log_linear,
        saturating=saturating,
        exponent=free.exponents(),
        misfit=misfit,
        outcome=_outcome(log_linear, saturating),
        verdict="",
    )
    return dataclasses.replace(comparison, verdict=_verdict(comparison)), line, power


def _log_linear(line: Fit, free: Fit) -> Law:
    return Law(
        name="log-linear",
        formula="y = a + b log10 N",
        parameters={"a": line.intercept(), "b": line.slope()},
        left_over=line.left_over,
        p_value=_p_value(line.left_over - free.left_over, 1, free),
        aicc=_aicc(line),
        predictions=_predictions(line),
    )


def _saturating(power: Fit, free: Fit) -> Law:
    return Law(
        name="saturating",
        formula="y = a - b N^-c",
        parameters={"a": power.limit(), "b": power.scale(), "c": power.exponents()},
        left_over=power.left_over,
        p_value=_p_value(power.left_over - free.left_over, 1, free),
        aicc=_aicc(power),
        predictions=_predictions(power),
    )


def _p_value(more: float, parameters: int, free: Fit) -> float | None:
    """Probability that chance alone leaves so much more over, for each parameter less."""
    import scipy.stats

    more = max(more, 0.0)
    if free.df is None:
        return float(scipy.stats.chi2.sf(more, parameters))
    if free.df == 0:
        return None
    return float(scipy.stats.f.sf(more / parameters / free.variance, parameters, free.df))


def _aicc(fit: Fit) -> float | None:
    """Akaike's criterion, corrected for small samples (Hurvich and Tsai 1989); None where it is not defined."""
    levels, p = fit.levels, fit.family.parameters
    if levels.noise == "given":
        return fit.left_over + 2 * p  # known noise: no correction is needed
    n, k = levels.num_values, p + 1  # and the noise
    left_over = fit.left_over + levels.within
    if n - k - 1 <= 0 or left_over <= levels.rounding:
        return None
    return n * math.log(left_over / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _predictions(fit: Fit) -> tuple[Prediction, ...]:
    largest = fit.levels.sizes[-1]
    sizes = largest * np.array(FACTORS, np.float64)
    value, low, high = fit.at(sizes)
    return tuple(
        Prediction(
            factor=factor,
            size=float(sizes[i]),
            value=float(value[i]),
            low=None if low is None else float(low[i]),
            high=None if high is None else float(high[i]),
        )
        for i, factor in enumerate(FACTORS)
    )


def _outcome(line: Law, power: Law) -> Outcome:
    if line.p_value is None or power.p_value is None:
        return "untested"
    if line.rejected and power.rejected:
        return "neither"
    if line.rejected:
        return "saturating"
    return "log-linear" if power.rejected else "both"


def _verdict(c: Comparison) -> str:
    sizes = f"{c.num_sizes} sizes"
    p = f"p = {c.log_linear.p_value:.2g} and {c.saturating.p_value:.2g}" if c.outcome != "untested" else ""
    said = {
        "untested": f"{sizes} and no second seed leave nothing to tell the noise from: no law can be rejected.",
        "both": f"Both laws fit these {sizes}: neither the log-linear nor the saturating one is rejected ({p}). The "
        "data do not tell whether the value saturates.",
        "log-linear": "The log-linear law is not rejected; a saturation that closes half of the gap within "
        f"{HALF_GAIN_FACTOR:,} times the data is ({p}). Slower ones, of an exponent near 0, no data can reject.",
        "saturating": f"The log-linear law is rejected, the saturating one is not ({p}).",
        "neither": f"Both laws are rejected ({p}): " + _between(c.exponent),
    }[c.outcome]
    if c.misfit is not None and c.misfit < ALPHA:
        said += (
            f" Take care: even the best curve of any exponent leaves more over than the noise ({c.noise}) explains "
            f"(p = {c.misfit:.2g}), so intervals are too narrow."
        )
    return f"{said} {_parting(c)}"


def _between(exponent: Interval) -> str:
    if exponent.value < 0:
        return "the values rise faster than the logarithm of the size."
    return (
        f"the best exponent, {exponent.value:.2g}, lies between them: a slower saturation than any that is told apart."
    )


def _parting(c: Comparison) -> str:
    parts = []
    for a, b in zip(c.log_linear.predictions, c.saturating.predictions, strict=True):
        parts.append(f"at {a.factor} times the largest size {ranged(a)} against {ranged(b)}")
    return f"Log-linear against saturating, {'; '.join(parts)}."


def ranged(value: Prediction | Interval) -> str:
    """'0.4321 [0.4012, 0.463]'; an end that is open is '..'; the value alone where there is no interval."""
    if value.low is None and value.high is None:
        return f"{value.value:.4g}"
    low, high = (".." if end is None else f"{end:.4g}" for end in (value.low, value.high))
    return f"{value.value:.4g} [{low}, {high}]"


__all__ = ["ALPHA", "Comparison", "Interval", "Law", "Levels", "Prediction", "fit_curves", "ranged"]
