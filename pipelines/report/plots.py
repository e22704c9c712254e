"""The report's figures as SVG text: same data, same text.

Matplotlib draws them; text stays text, so that a page can be searched, and ids are salted with a constant, so
that two reports of one build are equal.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from .figures import many

BLUE, ORANGE, GREY, GREEN = "#2563eb", "#ea580c", "#94a3b8", "#16a34a"
_STYLE: Any = {
    "svg.hashsalt": "openjft",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
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
    "figure.constrained_layout.use": True,
}
_PAPER: Any = {"facecolor": "white", "alpha": 0.8, "pad": 1, "linewidth": 0}  # behind a text that a curve may cross


class Figure:
    """An open figure; `svg` is its text once the block of `figure` has ended."""

    def __init__(self, axes: Any) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def figure(width: float = 5.2, height: float = 3.0) -> Iterator[Figure]:
    """A figure of one pair of axes, in inches, drawn without a display."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as MplFigure

    with mpl.rc_context(_STYLE):
        drawing = MplFigure(figsize=(width, height))
        FigureCanvasSVG(drawing)
        open_figure = Figure(drawing.add_subplot())
        yield open_figure
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    open_figure.svg = text[text.index("<svg") :]


def long_tail(asserted: npt.NDArray[np.int64], expanded: npt.NDArray[np.int64]) -> str:
    """Images of each category by its rank, both axes logarithmic (the paper's long tail).

    Args:
        asserted: (n,) images of each category before expansion.
        expanded: (n,) the same with ancestors; of these the text tells how many are under 20 and 100.
    """
    used = expanded[expanded > 0]
    with figure() as f:
        for counts, colour, name in ((expanded, ORANGE, "with ancestors"), (asserted, BLUE, "asserted")):
            ranked = np.sort(counts[counts > 0])[::-1]
            if len(ranked):
                f.axes.loglog(np.arange(1, len(ranked) + 1), ranked, color=colour, label=name, lw=1.8)
        for limit in (20, 100):
            f.axes.axhline(limit, color=GREY, lw=0.8, ls="--")
            under = int((used < limit).sum())
            told = f"{many(under, 'category', 'categories')} ({under / max(len(used), 1):.1%}) under {limit} images"
            # On the right the curves lie below the lines: a tail is there.
            f.axes.text(
                max(len(used), 2), limit, told, va="bottom", ha="right", color="#475569", fontsize=8, bbox=_PAPER
            )
        f.axes.set_xlabel("category, by rank")
        f.axes.set_ylabel("images")
        f.axes.legend(frameon=False)
    return f.svg


def calibration(
    mean_p: Sequence[float],
    gold_rate: Sequence[float],
    n: Sequence[int],
    intervals: Sequence[tuple[float, float]],
) -> str:
    """Claimed probability against the share of gold labels that are right; dots by their number, bars of 95 %."""
    with figure(4.8, 3.4) as f:
        f.axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
        sizes = 12 + 160 * np.asarray(n, float) / max(max(n, default=1), 1)
        low, high = np.transpose(intervals)
        rate = np.asarray(gold_rate, float)
        f.axes.errorbar(mean_p, rate, yerr=[rate - low, high - rate], fmt="none", color=GREY, lw=1, zorder=2)
        f.axes.scatter(mean_p, gold_rate, s=sizes, color=BLUE, alpha=0.8, zorder=3)
        f.axes.set_xlim(-0.02, 1.02)
        f.axes.set_ylim(-0.02, 1.02)
        f.axes.set_xlabel("claimed probability (cross-fitted)")
        f.axes.set_ylabel("share right among gold")
    return f.svg


def by_size(
    bands: Sequence[str],
    kept: Sequence[float],
    expected: Sequence[float | None],
    gold: Sequence[Mapping[str, Any] | None],
) -> str:
    """Bars of the share kept, expected precision and precision on gold with its interval, for each size of class."""
    at = np.arange(len(bands))
    with figure(5.2, 3.4) as f:
        f.axes.bar(at, kept, width=0.55, color=GREY, alpha=0.45, label="share kept")
        told = [(i, value) for i, value in enumerate(expected) if value is not None]
        f.axes.plot(*np.transpose(told), color=BLUE, marker="o", lw=1.5, label="expected precision") if told else None
        judged = [(i, row) for i, row in enumerate(gold) if row is not None]
        if judged:
            place = np.array([i for i, _ in judged]) + 0.12
            rate = np.array([row["precision"] for _, row in judged])
            bars = [rate - [row["low"] for _, row in judged], [row["high"] for _, row in judged] - rate]
            f.axes.errorbar(place, rate, yerr=bars, fmt="s", color=ORANGE, lw=1.2, label="precision on gold")
        f.axes.set_xticks(at, bands, fontsize=8)
        f.axes.set_ylim(0, 1.05)
        f.axes.set_xlabel("candidates of a class")
        f.axes.legend(frameon=False, fontsize=8, loc="lower right")
    return f.svg


def trade_off(kept: npt.NDArray[np.float64], precision: npt.NDArray[np.float64], at: float, target: float) -> str:
    """Expected precision against the share of candidates kept, with the point that was chosen."""
    with figure(4.8, 3.4) as f:
        f.axes.plot(kept, precision, color=BLUE, lw=1.8)
        f.axes.axhline(target, color=GREY, lw=1, ls="--")
        f.axes.text(0.99, target, "target ", va="bottom", ha="right", color="#64748b", fontsize=8)
        f.axes.axvline(at, color=ORANGE, lw=1.2)
        f.axes.set_xlim(0, 1)
        f.axes.set_ylim(min(0.5, float(precision.min(initial=1.0))), 1.01)
        f.axes.set_xlabel("share of candidates kept")
        f.axes.set_ylabel("expected precision")
    return f.svg


def labels_per_image(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> str:
    """How many labels an image has, before and after expansion."""
    with figure() as f:
        top = int(max(before.max(initial=1), after.max(initial=1)))
        bins = np.arange(1, top + 2) - 0.5
        for values, colour, name in ((before, BLUE, "asserted"), (after, ORANGE, "with ancestors")):
            f.axes.hist(values, bins=bins, color=colour, alpha=0.65, label=name)
        f.axes.set_xlabel("labels an image")
        f.axes.set_ylabel("images")
        f.axes.legend(frameon=False)
    return f.svg


def histogram(values: npt.NDArray[np.float64], *, xlabel: str, line: float | None = None, bins: int = 40) -> str:
    """A plain histogram, with a vertical line where something was decided."""
    with figure() as f:
        f.axes.hist(values, bins=bins, color=BLUE, alpha=0.8)
        if line is not None:
            f.axes.axvline(line, color=ORANGE, lw=1.2)
        f.axes.set_xlabel(xlabel)
        f.axes.set_ylabel("number")
    return f.svg
