"""A study's plot as SVG and PNG: points of every seed, their means, and for sizes both laws with their bands.

Same results, same bytes: ids are salted with a constant, and neither file carries a date or a version.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from .laws import Fit, Interval
from .levels import Float64s

BLUE, ORANGE, GREY, DARK = "#2563eb", "#ea580c", "#94a3b8", "#0f172a"
_STYLE: Final[Any] = {
    "svg.hashsalt": "openjft",
    "svg.fonttype": "path",  # the same letters everywhere: a plot may go into a paper
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#64748b",
    "axes.labelcolor": "#334155",
    "xtick.color": "#64748b",
    "ytick.color": "#64748b",
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
}
_AHEAD: Final = 10  # the curves are drawn to so many times the largest size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Points:
    """What is drawn.

    Attributes:
        x: (n,) of each value, and y: (n,) the value.
        centers: (k,) places of the levels, with the mean and its interval of each.
        means: k of them.
        names: k, for places that are no numbers; else None.
    """

    x: Float64s
    y: Float64s
    centers: Float64s
    means: Sequence[Interval]
    names: Sequence[str] | None = None


def draw(
    points: Points, *, title: str, xlabel: str, ylabel: str, curves: tuple[Fit, Fit] | None = None, log: bool = False
) -> tuple[bytes, bytes]:
    """The plot as SVG and as PNG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.2, 4.0))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if log:
            _log_scale(axes, points)
        _draw_points(axes, points, fitted=curves is not None)
        if curves is not None:
            _draw_curves(axes, points, curves)
        axes.set_title(title, loc="left", fontsize=11, color=DARK)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        _limits(axes, points, curves)
        figure.legend(loc="outside lower center", ncols=3)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def _log_scale(axes: Any, points: Points) -> None:
    """Ticks at 1, 3, 10, 30, ... as the paper has them; over many decades at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    wide = points.x.max() / points.x.min() > 1e4
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0,) if wide else (1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def short(number: float) -> str:
    """30000 -> '30K', 3e8 -> '300M'."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= unit:
            return f"{number / unit:.4g}{name}"
    return f"{number:.4g}"


def _draw_points(axes: Any, points: Points, *, fitted: bool) -> None:
    several = len(points.y) > len(points.centers)
    joined = points.names is None and not fitted
    means = np.array([mean.value for mean in points.means])
    if several:
        axes.scatter(points.x, points.y, s=18, color=GREY, label="one seed", zorder=3)
    axes.plot(
        points.centers, means, "o-" if joined else "o", color=DARK, ms=6, lw=1.5,
        label="mean of the seeds" if several else "measured", zorder=4,
    )  # fmt: skip
    told = [(x, mean) for x, mean in zip(points.centers, points.means, strict=True) if mean.low is not None]
    if told and not fitted:  # beside curves the bands tell the noise, from all sizes together
        x, value, low, high = np.array([(x, m.value, m.low, m.high) for x, m in told], np.float64).T
        axes.errorbar(x, value, yerr=[value - low, high - value], fmt="none", color=DARK, lw=1.2, capsize=4, zorder=4)
        axes.plot([], [], color=DARK, lw=1.2, label="95 % (t over the seeds)")
    if points.names is not None:
        axes.set_xticks(points.centers, points.names)
        axes.set_xlim(points.centers[0] - 0.5, points.centers[-1] + 0.5)
    elif axes.get_xscale() == "linear":
        axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_curves(axes: Any, points: Points, curves: tuple[Fit, Fit]) -> None:
    smallest, largest = float(points.x.min()), float(points.x.max())
    sizes = np.geomspace(smallest / 1.15, largest * _AHEAD, 200)
    told = False
    for fit, colour, name, line in zip(
        curves, (BLUE, ORANGE), ("log-linear: a + b log N", r"saturating: a - b N$^{-c}$"), ("-", "--"), strict=True
    ):
        value, low, high = fit.at(sizes)
        axes.plot(sizes, value, line, color=colour, lw=1.8, label=name)
        if low is not None and high is not None:
            axes.fill_between(sizes, low, high, color=colour, alpha=0.12, lw=0)
            told = True
    if told:
        axes.fill_between([], [], color=GREY, alpha=0.4, lw=0, label="95 %, if the law holds")
    axes.axvline(largest, color=GREY, lw=0.8, ls=":")
    axes.annotate(
        "extrapolated", (largest, 0.02), xycoords=("data", "axes fraction"), xytext=(4, 0),
        textcoords="offset points", fontsize=8, color="#64748b",
    )  # fmt: skip


def _limits(axes: Any, points: Points, curves: tuple[Fit, Fit] | None) -> None:
    """The values decide, not the bands, and not the intervals of two seeds: these may span everything."""
    shown = [*points.y]
    if curves is not None:
        ends = np.array([points.x.min(), points.x.max() * _AHEAD])
        shown += [value for fit in curves for value in fit.at(ends)[0]]
    elif len(points.y) >= 3 * len(points.centers):
        shown += [end for mean in points.means for end in (mean.low, mean.high) if end is not None]
    low, high = min(shown), max(shown)
    pad = 0.12 * (high - low) or 0.05
    axes.set_ylim(low - pad, high + pad)
