"""Stage `scores`: the probability of every candidate, and the threshold.

In: `precision/states/`, and the fitted models of evidence and classes. Out, for each bucket: `scores/` (label,
probability) row for row of evidence/, and counts by probability, of all candidates and of each class. At the end the
driver chooses the threshold and, where they are wanted, the floors of the classes, and writes scores/precision.json,
the account of the filter that the report and an auditor read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.config import Audit, Config, Precision
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.hierarchy import load_closure
from openjft.pipelines.schema import KEY, KEY_TYPE, LABEL, SCORES
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Closure

from .counting import collect_gold
from .crossfit import cross_fitted_steps
from .files import (
    CLASS_SCORES_FILE,
    CLASSES_FILE,
    GOLD_SCORES_FILE,
    HISTOGRAM_FILE,
    STATES_FOLDER,
    SUMMARY_FILE,
    EvidenceModel,
    load_class_model,
    read_bins,
    read_state_counts,
)
from .gold import GoldRows, image_folds
from .model import sigmoid
from .patterns import Int64s, read_states
from .summary import Fitted, summarise
from .threshold import NO_FLOOR, STEPS, ClassScores, Histogram, choose_threshold, class_floors, from_steps, to_steps

CLASS_BINS: Final = 200
_BIN: Final = STEPS // CLASS_BINS
BY_PROBABILITY: Final = "scores/by_probability"
BY_CLASS: Final = "scores/by_class"


@dataclasses.dataclass(frozen=True)
class ScoresStage(Stage):
    """Gives every candidate its probability; in the end chooses what is kept."""

    name: ClassVar[str] = "scores"
    section: ClassVar[str] = "precision"
    noun: ClassVar[str] = "labels"
    num_buckets: int
    precision: Precision
    audit: Audit
    seed: int = 17

    @classmethod
    def from_config(cls, config: Config) -> ScoresStage:
        """The stage of a build."""
        return cls(config.build.buckets, config.precision, config.audit, config.build.seed)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """What is decided here."""
        return {
            "target": self.precision.target,
            "class_floor": self.precision.class_floor,
            "audit_margin": self.audit.margin,
            "buckets": self.num_buckets,
        }

    def run(self, unit: int, store: Store) -> UnitResult:
        """Scores one bucket."""
        label, states, index = read_states(store, bucket_file(STATES_FOLDER, unit, self.num_buckets))
        ratio = EvidenceModel.load(store).log_ratio(states)
        steps = to_steps(sigmoid(load_class_model(store).log_odds(ratio[index], label)))
        scores = pa.table([pa.array(label), pa.array(from_steps(steps))], schema=SCORES)
        store.write_table(bucket_file(self.name, unit, self.num_buckets), scores)
        store.write_table(bucket_file(BY_PROBABILITY, unit, self.num_buckets), count_steps(steps))
        store.write_table(bucket_file(BY_CLASS, unit, self.num_buckets), count_by_class(label, steps))
        return UnitResult(rows_in=len(label), rows_out=len(label))

    def finish(self, store: Store, account: UnitResult) -> None:
        """Chooses the threshold and writes precision.json.

        Raises:
            PipelineError: the target is out of reach; says what can be reached.
        """
        _, closure = load_closure(store)
        histogram = self._histogram(store)
        scores = self._class_scores(store, closure.num_categories)
        floors = np.full(closure.num_categories, NO_FLOOR, np.int64)
        if self.precision.class_floor is not None:
            floors = class_floors(scores, self.precision.class_floor)
            histogram = self._above_floors(store, floors)
        threshold = choose_threshold(histogram, self.precision.target)
        store.write_table(HISTOGRAM_FILE, pa.table({"steps": histogram.steps, "count": histogram.counts}))
        labels = np.arange(len(floors), dtype=np.int32)
        store.write_table(
            CLASS_SCORES_FILE, pa.table({LABEL: labels, "candidates": scores.candidates, "floor": floors})
        )
        gold, gold_account = collect_gold(store, self.num_buckets)
        steps = None
        if gold is not None:
            steps = self._cross_fitted(store, gold, closure)
            keys = pa.FixedSizeBinaryArray.from_buffers(KEY_TYPE, len(gold), [None, pa.py_buffer(gold.keys.copy())])
            columns = {KEY: keys, LABEL: gold.labels, "steps": steps, "correct": gold.correct}
            store.write_table(GOLD_SCORES_FILE, pa.table(columns))
        fitted = Fitted(
            columns=read_bins(store),
            counts=read_state_counts(store, closure.num_categories, [c.num_states for c in read_bins(store)]),
            evidence=EvidenceModel.load(store),
            histogram=histogram,
            threshold=threshold,
            floors=floors,
            scores=scores,
        )
        summary = summarise(fitted, self.precision, self.audit, gold=gold, gold_steps=steps, gold_account=gold_account)
        store.write_json(SUMMARY_FILE, {**summary, "classes": _class_model(store, gold, closure)})

    def _histogram(self, store: Store) -> Histogram:
        counts = np.zeros(STEPS + 1, np.int64)
        for bucket in range(self.num_buckets):
            table = store.read_table(bucket_file(BY_PROBABILITY, bucket, self.num_buckets))
            counts[table["steps"].to_numpy()] += table["count"].to_numpy()
        return Histogram.of(counts)

    def _above_floors(self, store: Store, floors: Int64s) -> Histogram:
        """Counts of the candidates at or above the floor of their class: the others are never kept."""
        counts = np.zeros(STEPS + 1, np.int64)
        for bucket in range(self.num_buckets):
            table = store.read_table(bucket_file(self.name, bucket, self.num_buckets))
            steps = to_steps(table["probability"].to_numpy())
            steps = steps[steps >= floors[table[LABEL].to_numpy()]]
            counts += np.bincount(steps, minlength=STEPS + 1)
        return Histogram.of(counts)

    def _class_scores(self, store: Store, num_classes: int) -> ClassScores:
        counts, sums = (np.zeros((num_classes, CLASS_BINS + 1), np.int64) for _ in range(2))
        for bucket in range(self.num_buckets):
            table = store.read_table(bucket_file(BY_CLASS, bucket, self.num_buckets))
            at = (table[LABEL].to_numpy(), table["bin"].to_numpy())
            counts[at] += table["count"].to_numpy()
            sums[at] += table["steps"].to_numpy()
        return ClassScores(counts, sums, _BIN)

    def _cross_fitted(self, store: Store, gold: GoldRows, closure: Closure) -> Int64s:
        fold = image_folds(gold.keys, self.precision.folds, seed=self.seed)
        columns = read_bins(store)
        classes = None
        if self.precision.use_classes:
            counts = read_state_counts(store, closure.num_categories, [c.num_states for c in columns])
            priors = store.read_table(CLASSES_FILE, ["prior"])["prior"].to_numpy()
            classes = (counts, priors, tuple(c.name for c in columns))
        return cross_fitted_steps(gold, fold, EvidenceModel.load(store), classes, closure)


def _class_model(store: Store, gold: GoldRows | None, closure: Closure) -> dict[str, Any]:
    """What the classes add, and how many the gold has none of: those are judged by their branch of the hierarchy."""
    coefficients = load_class_model(store).coefficients
    candidates = store.read_table(CLASSES_FILE, ["candidates"])["candidates"].to_numpy()
    judged = np.zeros(closure.num_categories, bool)
    if gold is not None:
        judged[gold.labels] = True
    alone = (candidates > 0) & ~judged
    return {
        "coefficients": coefficients,
        "with_candidates": int((candidates > 0).sum()),
        "without_gold": int(alone.sum()),
        "candidates_without_gold": int(candidates[alone].sum()),
    }


def count_steps(steps: Int64s) -> pa.Table:
    """(steps, count): candidates by their probability in millionths, those that occur."""
    counts = np.bincount(steps)
    used = np.flatnonzero(counts)
    return pa.table({"steps": used, "count": counts[used].astype(np.int64)})


def count_by_class(label: npt.NDArray[np.int32], steps: Int64s) -> pa.Table:
    """(label, bin, count, steps): candidates of each class by two hundredths of the probability, and its sum there."""
    place = label.astype(np.int64) * (CLASS_BINS + 1) + steps // _BIN
    used, index, counts = np.unique(place, return_inverse=True, return_counts=True)
    sums = np.zeros(len(used), np.int64)
    np.add.at(sums, index, steps)
    label_of, bin_of = np.divmod(used, CLASS_BINS + 1)
    columns = {LABEL: label_of.astype(np.int32), "bin": bin_of.astype(np.int32), "count": counts, "steps": sums}
    return pa.table(columns)
