"""The account of a fitted filter: what goes to precision.json.

In: what was fitted, and the gold with its cross-fitted probabilities. Out: one JSON value with all that the report and
an auditor need. Pure: files are the stages' matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from openjft.dedup.interval import CONFIDENCE
from openjft.pipelines.config import Audit, Precision

from .bins import StateColumn
from .crossfit import calibration_error, calibration_table, proportion
from .em import MIN_SOURCES
from .files import EvidenceModel
from .gold import GoldRows
from .patterns import Int64s
from .threshold import STEPS, ClassScores, Histogram, Threshold, find_threshold


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted filter.

    Attributes:
        columns: of the state matrix.
        counts: of each column (c, states of it) candidates of each class.
        evidence: what the evidence says.
        histogram: candidates by probability, those below the floor of their class left out.
        threshold: the plug-in one, by the model's own probabilities.
        floors: (c,) least millionths of each class.
        scores: candidates of each class by probability.
    """

    columns: Sequence[StateColumn]
    counts: Sequence[Int64s]
    evidence: EvidenceModel
    histogram: Histogram
    threshold: Threshold
    floors: Int64s
    scores: ClassScores


def summarise(
    fitted: Fitted,
    settings: Precision,
    audit: Audit,
    *,
    gold: GoldRows | None = None,
    gold_steps: Int64s | None = None,
    gold_account: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The account.

    Args:
        fitted: the filter.
        settings: of the section `precision`.
        audit: of the section `audit`.
        gold: judged rows; None without.
        gold_steps: (n,) their cross-fitted probabilities, in millionths.
        gold_account: rows of the gold's file, and what became of those not used.
    """
    loosest = find_threshold(fitted.histogram, max(settings.target - audit.margin, 0.0))
    assert loosest is not None, "what reaches the target reaches less"
    value: dict[str, Any] = {
        "method": _method(fitted, settings),
        "calibrated": gold is not None,
        "target": settings.target,
        "class_floor": settings.class_floor,
        "threshold": fitted.threshold.probability,
        "expected_precision": fitted.threshold.expected_precision,
        "candidates": int(fitted.scores.candidates.sum()),
        "kept": fitted.threshold.kept,
        "below_class_floor": int(fitted.scores.candidates.sum()) - fitted.histogram.total,
        "audit_floor": loosest.probability,
        "intercept": fitted.evidence.model.intercept,
        "sources": _sources(fitted),
        "em": fitted.evidence.em,
        "gold": gold_account,
        "before": None,
        "after": None,
        "calibration": [],
        "calibration_error": None,
        "folds": None,
        "confidence": None,
    }
    if gold is not None and gold_steps is not None:
        kept = gold_steps >= np.maximum(fitted.threshold.steps, fitted.floors[gold.labels])
        calibration = calibration_table(gold_steps, gold.correct)
        value |= {
            "before": proportion(gold.correct),
            "after": proportion(gold.correct[kept]),
            "calibration": calibration,
            "calibration_error": calibration_error(calibration),
            "folds": settings.folds,
            "confidence": CONFIDENCE,
        }
    return {**value, "notes": _notes(value, fitted)}


def _method(fitted: Fitted, settings: Precision) -> str:
    if fitted.evidence.em is not None:
        return "em"
    return "lr2" if settings.use_classes else "lr1"


def _sources(fitted: Fitted) -> list[dict[str, Any]]:
    """For each source its states with the candidates in them and their weight in log-odds."""
    found = []
    for i, (source, counts) in enumerate(zip(fitted.columns, fitted.counts, strict=True)):
        weights = fitted.evidence.model.weights[i]
        states = [
            {"state": name, "count": int(count), "weight": float(weight)}
            for name, count, weight in zip(source.state_names(), counts.sum(axis=0), weights, strict=True)
        ]
        found.append({**source.to_json(), "states": states})
    return found


def _notes(value: Mapping[str, Any], fitted: Fitted) -> list[str]:
    """What a reader must know before believing the numbers."""
    notes = []
    if not value["calibrated"]:
        notes.append(
            "Fitted without gold: the probabilities put labels in order, but they are not calibrated, and the true "
            "precision may be far from the target. Judge some hundred labels and give them as precision.gold."
        )
        if len(fitted.columns) < MIN_SOURCES:
            notes.append(
                f"With fewer than {MIN_SOURCES} sources the evidence cannot tell right from wrong by itself: the "
                "probabilities are little more than the starting guess that more evidence is better."
            )
        if not value["em"]["converged"]:
            notes.append("EM stopped before it came to rest; raise precision.em_iterations.")
    if len(fitted.histogram.steps) == 1:
        notes.append(
            f"All candidates have one probability, {fitted.histogram.steps[0] / STEPS:.3f}: the evidence does not tell "
            "them apart, and they are kept or dropped together."
        )
    after = value["after"]
    if after and after["n"] and after["high"] < value["target"]:
        notes.append("The gold's interval of the precision lies below the target.")
    return notes
