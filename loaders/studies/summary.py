"""From the scores of all runs to what is compared: a mean for each level, with an interval where there are seeds.

Intervals are those of Student's t over the seeds, 95 %; differences to the first level are paired by seed. With one
seed there is no interval: none is made up. The seeds share the held-out images and the subsets, so the intervals tell
how much weights, order and crops matter, and nothing of other images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from openjft.loaders.errors import LoaderError

from .fit import Comparison, fit_curves
from .laws import LEVEL, Fit, Interval
from .plan import Study
from .runs import Planned
from .scoring import Score


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One score: a line of `table.csv`."""

    run: str
    level: str
    x: float
    seed: int
    images: int
    step: int
    images_seen: int
    score: Score

    def value(self, metric: str) -> float:
        """Of the metric that is compared."""
        return float(getattr(self.score, metric))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LevelSummary:
    """A level: mean over its seeds, interval, difference to the first level (None for the first itself)."""

    level: str
    x: float
    images: int
    values: dict[int, float]
    mean: Interval
    difference: Interval | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """All that a finished study found. `curves`: log-linear and saturating, where they were fitted."""

    study: Study
    runs: tuple[Planned, ...]
    rows: tuple[Row, ...]
    levels: tuple[LevelSummary, ...]
    comparison: Comparison | None
    curves: tuple[Fit, Fit] | None
    no_fit: str | None


def mean_interval(values: list[float]) -> Interval:
    """Mean and 95 % interval of Student's t; no interval for one value."""
    import scipy.stats

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Interval(mean, None, None)
    reach = float(np.std(values, ddof=1) / math.sqrt(len(values)) * scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return Interval(mean, mean - reach, mean + reach)


def summarize(study: Study, planned: list[Planned]) -> Results:
    """Means, differences and, for sizes, the fits.

    Args:
        study: what was compared.
        planned: its runs, all finished.
    """
    rows = tuple(
        Row(
            run=item.run.name,
            level=piece.level,
            x=piece.x,
            seed=item.run.seed,
            images=item.run.images,
            step=piece.step,
            images_seen=piece.step * study.options.batch_size,
            score=item.scores[piece.step],
        )
        for item in planned
        for piece in item.run.pieces
    )
    comparison, curves, no_fit = None, None, None
    metric = study.options.metric
    if study.fits:
        try:
            comparison, *fits = fit_curves([r.images for r in rows], [r.value(metric) for r in rows])
            curves = (fits[0], fits[1])
        except LoaderError as error:
            no_fit = str(error)
    return Results(
        study=study,
        runs=tuple(planned),
        rows=rows,
        levels=_levels(study, rows),
        comparison=comparison,
        curves=curves,
        no_fit=no_fit,
    )


def _levels(study: Study, rows: tuple[Row, ...]) -> tuple[LevelSummary, ...]:
    by_level = {name: [row for row in rows if row.level == name] for name in study.levels}
    values = {name: {r.seed: r.value(study.options.metric) for r in of} for name, of in by_level.items()}
    first = values[study.levels[0]]
    return tuple(
        LevelSummary(
            level=name,
            x=of[0].x,
            images=of[0].images,
            values=values[name],
            mean=mean_interval(list(values[name].values())),
            difference=_difference(values[name], first) if values[name] is not first else None,
        )
        for name, of in by_level.items()
    )


def _difference(values: Mapping[int, float], first: Mapping[int, float]) -> Interval:
    return mean_interval([values[seed] - first[seed] for seed in values if seed in first])


def plain_level(level: LevelSummary) -> dict[str, Any]:
    """Plain values."""
    return {
        "level": level.level,
        "x": level.x,
        "images": level.images,
        "seeds": len(level.values),
        "values": {str(seed): value for seed, value in level.values.items()},
        "mean": level.mean._asdict(),
        "difference_to_first": level.difference and level.difference._asdict(),
    }
