"""Fitting the filter to a build, and the account of it that goes to precision.json.

In: the pattern table, the bins, the gold if there is any. Out: the probability of each pattern, the threshold, and
one JSON value with all that the report and an auditor need. Pure: files are `stages`' matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from openjft.dedup.interval import CONFIDENCE
from openjft.pipelines.config import Precision
from openjft.pipelines.errors import PipelineError

from .audit import GoldRows, calibration_table, cross_fit, proportion
from .bins import SourceBins, StateColumn
from .em import MIN_SOURCES, EmFit, fit_em
from .lr1 import fit_lr1
from .model import AdditiveModel
from .patterns import Int64s, PatternTable
from .threshold import Threshold, choose_threshold, to_steps

MIN_GOLD: Final = 20  # rows; a fit on fewer says nothing, though it would run
MIN_GOLD_OF_A_KIND: Final = 5


@dataclasses.dataclass(frozen=True)
class Filter:
    """A fitted filter: `steps` (m,) probability of each pattern in millionths, and precision.json's value."""

    steps: Int64s
    threshold: Threshold
    summary: dict[str, Any]


def fit_filter(
    table: PatternTable,
    bins: Sequence[StateColumn],
    gold: GoldRows | None,
    settings: Precision,
    *,
    seed: int,
    gold_account: Mapping[str, Any] | None = None,
) -> Filter:
    """LR1 with gold, the latent-class model without; then the threshold.

    Args:
        table: of all candidates.
        bins: of each source; with gold, further columns of states may follow.
        gold: found in the evidence; None where none was given.
        settings: of the section `precision`.
        seed: of the folds.
        gold_account: rows of the gold's file, and what became of those not used; goes into the summary.

    Raises:
        PipelineError: there are no candidates, the gold is too small or of one kind, or the target is out of reach.
    """
    if not len(table.counts):
        raise PipelineError(
            "precision: expected at least one (image, label) candidate in evidence/, found none. "
            "Look at the rejects of ingest: all rows were rejected, or the inputs are empty"
        )
    num_states = [b.num_states for b in bins]
    em: EmFit | None = None
    if gold is not None:
        check_gold(gold, gold_account)
        model = fit_lr1(gold.states, gold.correct, num_states, l2=settings.l2)
    else:
        sources = [b for b in bins if isinstance(b, SourceBins)]
        assert len(sources) == len(bins), "without gold a column that is no source would be taken for a vote"
        em = fit_em(table, sources, max_iterations=settings.em_iterations)
        model = em.model
    steps = to_steps(model.probabilities(table.states))
    threshold = choose_threshold(steps, table.counts, settings.target)
    summary: dict[str, Any] = {
        "method": "em" if em else "lr1",
        "calibrated": em is None,
        "target": settings.target,
        "threshold": threshold.probability,
        "expected_precision": threshold.expected_precision,
        "candidates": int(table.counts.sum()),
        "kept": threshold.kept,
        "patterns": len(table.counts),
        "intercept": model.intercept,
        "sources": _sources(table, bins, model),
        "em": _em(em),
        "gold": gold_account,
        **_gold_estimates(table, gold, num_states, settings, seed),
    }
    return Filter(steps, threshold, {**summary, "notes": _notes(summary, bins)})


def check_gold(gold: GoldRows, account: Mapping[str, Any] | None) -> None:
    """Refuses gold that cannot carry a fit.

    Raises:
        PipelineError: too few rows, or too few of one kind.
    """
    right = int(gold.correct.sum())
    wrong = len(gold.correct) - right
    if right + wrong < MIN_GOLD or min(right, wrong) < MIN_GOLD_OF_A_KIND:
        why = {reason: n for reason, n in (account or {}).get("rejects", {}).items() if n}
        raise PipelineError(
            f"precision.gold: expected at least {MIN_GOLD} judged candidates, {MIN_GOLD_OF_A_KIND} of them correct and "
            f"{MIN_GOLD_OF_A_KIND} wrong, found {right:,} correct and {wrong:,} wrong"
            + (f" (not used: {', '.join(f'{n:,} {reason}' for reason, n in why.items())})" if why else "")
            + ". Judge more labels, drawn at random from evidence/, or leave precision.gold out to filter without"
        )


def _gold_estimates(
    table: PatternTable, gold: GoldRows | None, num_states: Sequence[int], settings: Precision, seed: int
) -> dict[str, Any]:
    if gold is None:
        return {"before": None, "after": None, "calibration": [], "folds": None, "confidence": None}
    fit = cross_fit(gold, table, num_states, l2=settings.l2, target=settings.target, folds=settings.folds, seed=seed)
    return {
        "before": proportion(gold.correct),
        "after": proportion(gold.correct[fit.kept]),
        "calibration": calibration_table(fit, gold.correct),
        "folds": settings.folds,
        "confidence": CONFIDENCE,
    }


def _sources(table: PatternTable, bins: Sequence[StateColumn], model: AdditiveModel) -> list[dict[str, Any]]:
    """For each source its states with the candidates in them and their weight in log-odds."""
    found = []
    for i, source in enumerate(bins):
        counts = np.zeros(source.num_states, np.int64)
        np.add.at(counts, table.states[:, i], table.counts)
        states = [
            {"state": name, "count": int(count), "weight": float(weight)}
            for name, count, weight in zip(source.state_names(), counts, model.weights[i], strict=True)
        ]
        found.append({**source.to_json(), "states": states})
    return found


def _em(fit: EmFit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "iterations": len(fit.log_posteriors),
        "converged": fit.converged,
        "log_posterior": fit.log_posteriors[-1],
        "correct_share": fit.correct_share,
    }


def _notes(summary: Mapping[str, Any], bins: Sequence[StateColumn]) -> list[str]:
    """What a reader must know before believing the numbers."""
    notes = []
    if not summary["calibrated"]:
        notes.append(
            "Fitted without gold: the probabilities put labels in order, but they are not calibrated, and the true "
            "precision may be far from the target. Judge some hundred labels and give them as precision.gold."
        )
        if len(bins) < MIN_SOURCES:
            notes.append(
                f"With fewer than {MIN_SOURCES} sources the evidence cannot tell right from wrong by itself: the "
                "probabilities are little more than the starting guess that more evidence is better."
            )
        if not summary["em"]["converged"]:
            notes.append("EM stopped before it came to rest; raise precision.em_iterations.")
    after = summary["after"]
    if after and after["n"] and after["high"] < summary["target"]:
        notes.append("The gold's interval of the precision lies below the target.")
    return notes
