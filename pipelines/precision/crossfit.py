"""What the gold says of the filter: precision before and after with intervals, and calibration.

In: gold states with truth, folds by image, the models of each fold, and what is known of the classes. Out: numbers for
precision.json. Every gold row is judged by weights that were made without the gold of its image (k-fold
cross-fitting), so the estimate is not flattered by the fit. The class priors are those of the whole fit: made of all
candidates, they have seen the gold only through LR1's few weights. Intervals: Clopper and Pearson (1934). It is an
estimate, not the certificate, which needs an audit sample of its own (`openjft.pipelines.audit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from openjft.dedup.interval import clopper_pearson
from openjft.taxonomy import Closure

from .files import EvidenceModel
from .gold import Bools, GoldRows
from .lr2 import fit_lr2
from .model import Floats, sigmoid
from .patterns import Int64s
from .priors import means_of
from .threshold import STEPS, to_steps

CALIBRATION_BINS: Final = 10


def proportion(correct: Bools) -> dict[str, Any]:
    """A precision with its interval, as JSON; null without rows."""
    n, k = len(correct), int(correct.sum())
    low, high = clopper_pearson(k, n)
    return {"precision": k / n if n else None, "low": low, "high": high, "correct": k, "n": n}


def cross_fitted_steps(
    gold: GoldRows,
    fold: npt.NDArray[np.int64],
    evidence: EvidenceModel,
    classes: tuple[Sequence[Int64s], Floats, tuple[str, ...]] | None,
    closure: Closure,
) -> Int64s:
    """Each gold row's probability by the models that have not seen its image, in millionths.

    Args:
        gold: n judged rows.
        fold: (n,) fold of each.
        evidence: LR1, whole and by fold.
        classes: (counts of each column, (c,) priors, names of the columns); None where classes do not count.
        closure: of the hierarchy.
    """
    odds = np.empty(len(gold))
    for i, model in enumerate(evidence.folds):
        held = fold == i
        ratio = model.log_odds(gold.states) - evidence.base
        if classes is None:
            odds[held] = ratio[held] + evidence.base
            continue
        counts, priors, names = classes
        seen = ~held
        means = means_of(counts, model, closure)
        fitted = fit_lr2(ratio[seen], gold.labels[seen], gold.correct[seen], priors, means, names)
        odds[held] = fitted.log_odds(ratio[held], gold.labels[held])
    return to_steps(sigmoid(odds))


def calibration_table(steps: Int64s, correct: Bools, *, num_bins: int = CALIBRATION_BINS) -> list[dict[str, Any]]:
    """Mean probability against the gold's rate in equal ranges of the probability, as JSON; empty ranges too."""
    index = np.minimum(steps * num_bins // STEPS, num_bins - 1)
    rows: list[dict[str, Any]] = []
    for i in range(num_bins):
        inside = index == i
        mean = float(steps[inside].mean() / STEPS) if inside.any() else None
        rate = proportion(correct[inside])
        rows.append(
            {
                "from": i / num_bins,
                "to": (i + 1) / num_bins,
                "mean_probability": mean,
                "gold_rate": rate["precision"],
                "low": rate["low"],
                "high": rate["high"],
                "n": rate["n"],
            }
        )
    return rows


def calibration_error(rows: Sequence[dict[str, Any]]) -> float | None:
    """Expected calibration error of a table's ranges (Naeini et al. 2015); None without gold."""
    used = [row for row in rows if row["n"]]
    total = sum(row["n"] for row in used)
    return sum(row["n"] * abs(row["mean_probability"] - row["gold_rate"]) for row in used) / total if total else None
