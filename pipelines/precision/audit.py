"""What the gold says of the filter: precision before and after with intervals, and calibration.

In: gold states with truth, folds by image, and the pattern table. Out: numbers for precision.json. Every gold row is
judged by a model and a threshold that were made without the gold of its image (k-fold cross-fitting), so the
estimate is not flattered by the fit. Intervals: Clopper and Pearson (1934). It is an estimate, not the certificate of
METHODS.md, section 1, which needs an audit sample of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from openjft.dedup.interval import clopper_pearson

from .bins import States
from .lr1 import fit_lr1
from .patterns import Int64s, PatternTable
from .threshold import STEPS, find_threshold, to_steps

CALIBRATION_BINS: Final = 10

Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class GoldRows:
    """Gold with evidence: `keys` (n, 16) uint8, `states` (n, sources) uint8, `correct` (n,) bool; in key order."""

    keys: npt.NDArray[np.uint8]
    states: States
    correct: Bools


def proportion(correct: Bools) -> dict[str, Any]:
    """A precision with its interval, as JSON; null without rows."""
    n, k = len(correct), int(correct.sum())
    low, high = clopper_pearson(k, n)
    return {"precision": k / n if n else None, "low": low, "high": high, "correct": k, "n": n}


def image_folds(keys: npt.NDArray[np.uint8], folds: int, *, seed: int) -> npt.NDArray[np.int64]:
    """(n,) fold of each row in [0, folds): images at random in near-equal folds, one image's labels together."""
    _, image = np.unique(keys, axis=0, return_inverse=True)
    image = image.ravel()
    order = np.random.default_rng(seed).permutation(int(image.max()) + 1 if len(image) else 0)
    return order[image] % folds


@dataclasses.dataclass(frozen=True)
class CrossFit:
    """Each gold row as a model that has not seen its image judges it: `steps` (n,) millionths, `kept` (n,) bool."""

    steps: Int64s
    kept: Bools


def cross_fit(
    gold: GoldRows,
    table: PatternTable,
    num_states: Sequence[int],
    *,
    l2: float,
    target: float,
    folds: int,
    seed: int,
) -> CrossFit:
    """Fits without each fold in turn, thresholds on the pattern table, and judges the fold."""
    fold = image_folds(gold.keys, folds, seed=seed)
    steps = np.zeros(len(fold), np.int64)
    kept = np.zeros(len(fold), bool)
    for i in range(folds):
        held = fold == i
        model = fit_lr1(gold.states[~held], gold.correct[~held], num_states, l2=l2)
        found = find_threshold(to_steps(model.probabilities(table.states)), table.counts, target)
        steps[held] = to_steps(model.probabilities(gold.states[held]))
        if found is not None:
            kept[held] = steps[held] >= found.steps
    return CrossFit(steps, kept)


def calibration_table(fit: CrossFit, correct: Bools, *, num_bins: int = CALIBRATION_BINS) -> list[dict[str, Any]]:
    """Mean probability against the gold's rate in equal ranges of the probability, as JSON; empty ranges too."""
    index = np.minimum(fit.steps * num_bins // STEPS, num_bins - 1)
    rows: list[dict[str, Any]] = []
    for i in range(num_bins):
        inside = index == i
        mean = float(fit.steps[inside].mean() / STEPS) if inside.any() else None
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
