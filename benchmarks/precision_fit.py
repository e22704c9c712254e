"""The filter on a drawn web held in memory, without a build: what the benchmarks of its quality share.

In: a `SyntheticWeb`, a number of gold labels. Out: `Scored`, the log-odds of each candidate by EM, LR1, LR1 with class
priors, and LR2, as the build's own functions give them, with one bucket.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from synthetic_web import SOURCES, SyntheticWeb

from openjft.pipelines.config import Precision, Source
from openjft.pipelines.keys import key_words
from openjft.pipelines.precision.bins import fit_bins, state_matrix
from openjft.pipelines.precision.classes import ratio_bins
from openjft.pipelines.precision.counting import count_states, fit_evidence
from openjft.pipelines.precision.em import fit_em
from openjft.pipelines.precision.gold import GoldRows, image_folds
from openjft.pipelines.precision.lr2 import fit_lr2
from openjft.pipelines.precision.model import sigmoid
from openjft.pipelines.precision.patterns import PatternTable, count_patterns
from openjft.pipelines.precision.priors import fit_classes
from openjft.pipelines.precision.threshold import to_steps
from openjft.taxonomy import Closure, Taxonomy, ancestor_closure

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Scored:
    """n candidates and their log-odds by each method; `steps` are LR2's probabilities in millionths."""

    label: npt.NDArray[np.int32]
    correct: npt.NDArray[np.bool_]
    gold: npt.NDArray[np.int64]
    closure: Closure
    states: npt.NDArray[np.uint8]
    bins: tuple[Any, ...]
    log_odds: dict[str, Floats]

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """(n,) millionths."""
        return to_steps(sigmoid(self.log_odds["lr2"]))


def score_web(web: SyntheticWeb, *, gold: int, seed: int, sources: tuple[Source, ...] = SOURCES) -> Scored:
    """Fits all methods on one gold sample of a web."""
    return fit_filter(web.evidence(), web.correct, web.taxonomy, web.gold(gold, seed), sources=sources)


def fit_filter(
    table: pa.Table,
    correct: npt.NDArray[np.bool_],
    taxonomy: Taxonomy,
    gold: npt.NDArray[np.int64],
    *,
    sources: tuple[Source, ...],
) -> Scored:
    """Fits all methods.

    Args:
        table: evidence, n candidates in key order.
        correct: (n,) truth.
        taxonomy: of their labels.
        gold: rows whose truth the filter sees.
        sources: as in a configuration.
    """
    label = table["label"].to_numpy()
    bins = fit_bins(sources, [table])
    states = state_matrix(table, bins)
    judged = GoldRows(key_words(table["image_key"])[gold], label[gold], states[gold], correct[gold])
    patterns = PatternTable.from_table(count_patterns(states))
    settings = Precision()
    evidence = fit_evidence(patterns, bins, judged, settings, seed=17)
    ratio = evidence.log_ratio(states)
    closure = ancestor_closure(taxonomy)
    num_states = [column.num_states for column in bins]
    counts = np.split(
        count_states(label, states, num_states, closure.num_categories), np.cumsum(num_states)[:-1], axis=1
    )
    parts = ratio_bins(evidence.log_ratio(patterns.states), patterns.counts)
    hist = np.zeros((closure.num_categories, len(parts.middle)), np.int64)
    np.add.at(hist, (label, parts.of(ratio)), 1)
    fold = image_folds(judged.keys, settings.folds, seed=17)
    terms = fit_classes(hist, parts, counts, evidence, judged, fold, closure, bins)
    none = np.zeros((closure.num_categories, 1))
    prior_only = fit_lr2(ratio[gold], judged.labels, judged.correct, terms.priors, none, ("none",))
    log_odds = {
        "em": fit_em(patterns, bins).model.log_odds(states),
        "lr1": ratio + evidence.base,
        "lr1_prior": prior_only.log_odds(ratio, label),
        "lr2": terms.model.log_odds(ratio, label),
    }
    return Scored(label, correct, gold, closure, states, bins, log_odds)
