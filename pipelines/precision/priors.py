"""Stage `priors`: what each class adds to the evidence of its candidates.

In: `precision/states/` and the model of the evidence. Out, for each bucket: candidates of each class by their
log-likelihood ratio, `H[class, bin]`. At the end the driver makes class means and priors and fits LR2 on the gold:
`priors/classes.parquet`, one row for each class, and `priors/model.json`. Without gold, or with `precision.use_classes`
off, no bucket is read and every class adds the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.config import Config
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.hierarchy import load_closure
from openjft.pipelines.schema import LABEL
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Closure

from .bins import StateColumn
from .classes import RatioBins, class_means, class_priors, ratio_bins, weight_sums
from .counting import collect_gold
from .files import (
    CLASS_MODEL_FILE,
    CLASSES_FILE,
    PATTERNS_FILE,
    STATES_FOLDER,
    EvidenceModel,
    read_bins,
    read_state_counts,
)
from .gold import GoldRows, image_folds
from .lr2 import ClassModel, fit_lr2
from .model import AdditiveModel, Floats, sigmoid
from .patterns import Int64s, PatternTable, read_states

BINS_FILE: Final = "priors/bins.json"


@dataclasses.dataclass(frozen=True)
class ClassTerms:
    """What is known of each class: `counts` (c,) candidates, `priors` (c,), `means` (c, columns), and the model."""

    counts: Int64s
    priors: Floats
    means: Floats
    model: ClassModel


@dataclasses.dataclass(frozen=True)
class PriorsStage(Stage):
    """Counts the evidence of each class; in the end fits what the classes add."""

    name: ClassVar[str] = "priors"
    section: ClassVar[str] = "precision"
    noun: ClassVar[str] = "labels"
    num_buckets: int
    with_classes: bool
    folds: int = 5
    seed: int = 17

    @classmethod
    def from_config(cls, config: Config) -> PriorsStage:
        """The stage of a build."""
        with_classes = config.precision.use_classes and config.precision.gold is not None
        return cls(config.build.buckets, with_classes, config.precision.folds, config.build.seed)

    def num_units(self) -> int:
        """One for each bucket; none where classes do not count."""
        return self.num_buckets if self.with_classes else 0

    def settings(self) -> Mapping[str, Any]:
        """Whether classes count; folds and seed belong to the stage before."""
        return {"classes": self.with_classes, "buckets": self.num_buckets}

    def prepare(self, store: Store) -> None:
        """Cuts the log-likelihood ratio into bins."""
        table = PatternTable.from_table(store.read_table(PATTERNS_FILE))
        bins = ratio_bins(EvidenceModel.load(store).log_ratio(table.states), table.counts)
        store.write_json(BINS_FILE, {"edges": bins.edges.tolist(), "middle": bins.middle.tolist()})

    def run(self, unit: int, store: Store) -> UnitResult:
        """H of one bucket."""
        label, states, index = read_states(store, bucket_file(STATES_FOLDER, unit, self.num_buckets))
        bins = _load_bins(store)
        of_pattern = bins.of(EvidenceModel.load(store).log_ratio(states))
        place = label.astype(np.int64) * len(bins.middle) + of_pattern[index]
        counts = np.bincount(place)
        used = np.flatnonzero(counts)
        columns = [(used // len(bins.middle)).astype(np.int32), (used % len(bins.middle)).astype(np.int32)]
        table = pa.table({LABEL: columns[0], "bin": columns[1], "count": counts[used].astype(np.int64)})
        store.write_table(bucket_file(self.name, unit, self.num_buckets), table)
        return UnitResult(rows_in=len(label), rows_out=len(label))

    def finish(self, store: Store, account: UnitResult) -> None:
        """Fits LR2 and writes what each class adds."""
        bins, evidence = read_bins(store), EvidenceModel.load(store)
        _, closure = load_closure(store)
        counts = read_state_counts(store, closure.num_categories, [column.num_states for column in bins])
        gold, _ = collect_gold(store, self.num_buckets)
        if gold is None or not self.with_classes:
            terms = _no_terms(counts, evidence, bins)
        else:
            ratio = _load_bins(store)
            hist = self._histogram(store, closure.num_categories, len(ratio.middle))
            fold = image_folds(gold.keys, self.folds, seed=self.seed)
            terms = fit_classes(hist, ratio, counts, evidence, gold, fold, closure, bins)
        store.write_table(CLASSES_FILE, classes_table(terms, [column.name for column in bins]))
        value = {"slope": terms.model.slope, "coefficients": terms.model.coefficients, "classes": self.with_classes}
        store.write_json(CLASS_MODEL_FILE, value)

    def _histogram(self, store: Store, num_classes: int, num_bins: int) -> Int64s:
        hist = np.zeros((num_classes, num_bins), np.int64)
        for bucket in range(self.num_buckets):
            table = store.read_table(bucket_file(self.name, bucket, self.num_buckets))
            hist[table[LABEL].to_numpy(), table["bin"].to_numpy()] += table["count"].to_numpy()
        return hist


def _load_bins(store: Store) -> RatioBins:
    value = store.read_json(BINS_FILE)
    return RatioBins(np.array(value["edges"]), np.array(value["middle"]))


def _no_terms(counts: Sequence[Int64s], evidence: EvidenceModel, bins: Sequence[StateColumn]) -> ClassTerms:
    """Every class adds the log-odds of all candidates."""
    n = len(counts[0])
    offset = np.full(n, evidence.base)
    share = sigmoid(offset)
    model = ClassModel(1.0, offset, {"intercept": evidence.base, "evidence": 1.0})
    return ClassTerms(counts[0].sum(axis=1), share, np.zeros((n, len(bins))), model)


def fit_classes(
    hist: Int64s,
    ratio: RatioBins,
    counts: Sequence[Int64s],
    evidence: EvidenceModel,
    gold: GoldRows,
    fold: npt.NDArray[np.int64],
    closure: Closure,
    bins: Sequence[StateColumn],
) -> ClassTerms:
    """Class means, class priors and LR2.

    Args:
        hist: (c, bins) candidates of each class by log-likelihood ratio.
        ratio: these bins.
        counts: of each column (c, states of it) candidates of each class.
        evidence: LR1, whole and by fold.
        gold: n judged rows.
        fold: (n,) fold of each.
        closure: of the hierarchy.
        bins: the columns, for their names.
    """
    overall = float(gold.correct.mean())
    priors = class_priors(hist, ratio.middle, overall, closure)
    means = means_of(counts, evidence.model, closure)
    unseen = np.empty(len(fold))
    for i, model in enumerate(evidence.folds):
        held = fold == i
        unseen[held] = model.log_odds(gold.states[held]) - evidence.base
    names = tuple(column.name for column in bins)
    return ClassTerms(
        counts[0].sum(axis=1), priors, means, fit_lr2(unseen, gold.labels, gold.correct, priors, means, names)
    )


def means_of(counts: Sequence[Int64s], model: AdditiveModel, closure: Closure) -> Floats:
    """(c, columns) class means of a model's weights."""
    return class_means(weight_sums(counts, model.weights), counts[0].sum(axis=1), closure)


def classes_table(terms: ClassTerms, names: Sequence[str]) -> pa.Table:
    """One row for each class: candidates, prior, what it adds to the log-odds, and the mean weight of each source."""
    columns: dict[str, Any] = {
        LABEL: np.arange(len(terms.counts), dtype=np.int32),
        "candidates": terms.counts,
        "prior": terms.priors,
        "offset": terms.model.offset,
    }
    return pa.table({**columns, **{f"mean.{name}": terms.means[:, i] for i, name in enumerate(names)}})
