"""Stage `precision`: the states of every candidate, what of them is counted, and the model of the evidence.

In: evidence/, and the gold if there is any. Out, for each bucket: `precision/states/` (label, pattern), which the later
passes read instead of the evidence; counts of patterns, and of each class by source and state. At the end the driver
fits LR1 on the gold, or the latent-class model on the patterns, and writes precision/model.json. The arithmetic lies in
the other modules of this package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.config import Config, Precision, Source
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.hierarchy import CONFUSIONS_FILE, load_taxonomy
from openjft.pipelines.keys import buckets_of, key_words
from openjft.pipelines.schema import KEY, LABEL
from openjft.pipelines.storage import Store, bucket_file

from .bins import SourceBins, StateColumn, States, fit_bins, sample_columns, state_columns, state_matrix
from .em import fit_em
from .files import (
    COUNTS_FILE,
    COUNTS_FOLDER,
    CUTS_FILE,
    EVIDENCE,
    GOLD_ACCOUNT_FILE,
    GOLD_FILE,
    GOLD_FOLDER,
    MODEL_FILE,
    PATTERNS_FILE,
    STATES_FOLDER,
    EvidenceModel,
    add_counts,
    counts_table,
    read_bins,
)
from .gold import (
    CORRECT,
    GOLD_REASONS,
    GoldRows,
    check_gold,
    checked_digest,
    gold_schema,
    image_folds,
    match_rows,
    read_gold,
)
from .lr1 import fit_lr1
from .model import logit
from .patterns import PATTERN, Int64s, PatternTable, as_patterns, as_states, count_patterns, merge_counts

MAX_PATTERNS: Final = 4_000_000  # distinct ones that the driver holds; above it, a uniform sample of the images counts


@dataclasses.dataclass(frozen=True)
class CountStage(Stage):
    """Counts the states of each bucket and finds its gold; in the end fits the model of the evidence.

    The hierarchy's confusions are a column of the states only where there is gold: EM would take them for votes.
    """

    name: ClassVar[str] = "precision"
    noun: ClassVar[str] = "labels"
    sources: tuple[Source, ...]
    precision: Precision
    num_buckets: int
    seed: int = 17
    gold_digest: str | None = None
    labels: Literal["id", "name"] = "id"
    allowed_schemes: tuple[str, ...] = ("http", "https")

    @classmethod
    def from_config(cls, config: Config) -> CountStage:
        """The stage of a build.

        Raises:
            InputError: the gold's file cannot be read, or is not gold.
        """
        gold = config.precision.gold
        return cls(
            config.sources,
            config.precision,
            config.build.buckets,
            config.build.seed,
            checked_digest(gold) if gold is not None else None,
            config.taxonomy.labels,
            config.ingest.allowed_schemes,
        )

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """The gold counts by its content, wherever it lies; what later stages decide is theirs."""
        later = {"gold", "max_reject_share", "target", "use_classes", "class_floor"}
        return {
            "sources": [s.model_dump() for s in self.sources],
            "precision": self.precision.model_dump(exclude=later),
            "buckets": self.num_buckets,
            "seed": self.seed,
            "gold": self.gold_digest,
            "labels": self.labels,
            "allowed_schemes": self.allowed_schemes,
        }

    def prepare(self, store: Store) -> None:
        """Cut points from the first rows, and the gold resolved to keys and labels."""
        columns = sample_columns(self.sources)
        tables = (
            store.read_table(bucket_file(EVIDENCE, bucket, self.num_buckets), columns)
            for bucket in range(self.num_buckets)
        )
        bins = fit_bins(self.sources, tables)
        if self.precision.gold is not None:
            taxonomy = load_taxonomy(store)
            gold = read_gold(self.precision.gold, taxonomy, labels=self.labels, allowed_schemes=self.allowed_schemes)
            store.write_table(GOLD_FILE, gold.table)
            store.write_json(GOLD_ACCOUNT_FILE, gold.to_json())
        # Without gold nothing could tell what a confusion is worth; EM would take it for a vote.
        confusions = self.precision.use_confusions and self.precision.gold is not None
        if confusions:
            confusions = store.read_table(CONFUSIONS_FILE, [LABEL]).num_rows > 0
        store.write_json(CUTS_FILE, {"sources": [b.to_json() for b in bins], "confusions": confusions})

    def run(self, unit: int, store: Store) -> UnitResult:
        """The states of a bucket's candidates, their counts, and the patterns of its gold."""
        bins = read_bins(store)
        table = store.read_table(bucket_file(EVIDENCE, unit, self.num_buckets), state_columns(bins, KEY, LABEL))
        states = state_matrix(table, bins)
        label = table[LABEL].to_numpy()
        counters: dict[str, int] = {}
        if self.precision.gold is not None:
            counters = self._find_gold(unit, store, table, states)
        each = pa.table({LABEL: table[LABEL], PATTERN: as_patterns(states)})
        store.write_table(bucket_file(STATES_FOLDER, unit, self.num_buckets), each)
        num_states = [column.num_states for column in bins]
        counts = counts_table(count_states(label, states, num_states, int(label.max(initial=-1)) + 1), num_states)
        store.write_table(bucket_file(COUNTS_FOLDER, unit, self.num_buckets), counts)
        store.write_table(bucket_file(self.name, unit, self.num_buckets), count_patterns(states))
        return UnitResult(rows_in=len(states), rows_out=len(states), counters=counters)

    def _find_gold(self, unit: int, store: Store, table: pa.Table, states: States) -> dict[str, int]:
        gold = store.read_table(GOLD_FILE)
        gold = gold.filter(pa.array(buckets_of(gold[KEY], self.num_buckets) == unit))
        in_gold, rows = match_rows(gold, table[KEY].combine_chunks(), table[LABEL].to_numpy())
        patterns = as_patterns(states[rows])
        found = gold.take(pa.array(in_gold)).append_column(gold_schema(states.shape[1]).field(PATTERN), patterns)
        store.write_table(bucket_file(GOLD_FOLDER, unit, self.num_buckets), found)
        return {"gold": len(rows), "gold_without_evidence": gold.num_rows - len(rows)}

    def finish(self, store: Store, account: UnitResult) -> None:
        """Fits the model of the evidence.

        Raises:
            PipelineError: there is nothing to filter, or the gold cannot carry a fit.
        """
        if not account.rows_out:
            raise PipelineError(
                "precision: expected at least one (image, label) candidate in evidence/, found none. "
                "Look at the rejects of ingest: all rows were rejected, or the inputs are empty"
            )
        bins = read_bins(store)
        num_states = [column.num_states for column in bins]
        classes = load_taxonomy(store).num_categories
        counts = np.zeros((classes, sum(num_states)), np.int64)
        for bucket in range(self.num_buckets):
            add_counts(counts, store.read_table(bucket_file(COUNTS_FOLDER, bucket, self.num_buckets)), num_states)
        store.write_table(COUNTS_FILE, counts_table(counts, num_states))
        merged, buckets = merge_counts(
            (store.read_table(bucket_file(self.name, bucket, self.num_buckets)) for bucket in range(self.num_buckets)),
            MAX_PATTERNS,
        )
        store.write_table(PATTERNS_FILE, merged)
        gold, gold_account = collect_gold(store, self.num_buckets)
        fitted = fit_evidence(
            PatternTable.from_table(merged), bins, gold, self.precision, seed=self.seed, gold_account=gold_account
        )
        store.write_json(MODEL_FILE, {**fitted.to_json(), "buckets_of_patterns": buckets})


def count_states(label: npt.NDArray[np.int32], states: States, num_states: Sequence[int], num_classes: int) -> Int64s:
    """(c, all states) candidates of each class by the state of each column: N of METHODS.md, section 1."""
    width, start = sum(num_states), 0
    counts = np.zeros((num_classes, width), np.int64)
    for column, size in enumerate(num_states):
        place = label.astype(np.int64) * size + states[:, column]
        counts[:, start : start + size] = np.bincount(place, minlength=num_classes * size).reshape(num_classes, size)
        start += size
    return counts


def fit_evidence(
    table: PatternTable,
    bins: Sequence[StateColumn],
    gold: GoldRows | None,
    settings: Precision,
    *,
    seed: int,
    gold_account: Mapping[str, Any] | None = None,
) -> EvidenceModel:
    """LR1 with gold, and once without each fold of it; the latent-class model without gold.

    Args:
        table: of all candidates.
        bins: of each source; with gold, further columns of states may follow.
        gold: found in the evidence; None where none was given.
        settings: of the section `precision`.
        seed: of the folds.
        gold_account: rows of the gold's file, and what became of those not used; for the error.

    Raises:
        PipelineError: the gold is too small or of one kind.
    """
    num_states = [b.num_states for b in bins]
    if gold is None:
        sources = [b for b in bins if isinstance(b, SourceBins)]
        assert len(sources) == len(bins), "without gold a column that is no source would be taken for a vote"
        em = fit_em(table, sources, max_iterations=settings.em_iterations)
        told = {
            "iterations": len(em.log_posteriors),
            "converged": em.converged,
            "log_posterior": em.log_posteriors[-1],
            "correct_share": em.correct_share,
        }
        # Its log-odds are probabilities already; no class is told apart, so the base stays in.
        return EvidenceModel(em.model, 0.0, em=told)
    check_gold(gold.correct, gold_account)
    fold = image_folds(gold.keys, settings.folds, seed=seed)
    models = [
        fit_lr1(gold.states[rows], gold.correct[rows], num_states, l2=settings.l2)
        for rows in (np.ones(len(fold), bool), *(fold != i for i in range(settings.folds)))
    ]
    return EvidenceModel(models[0], float(logit(gold.correct.mean(keepdims=True))[0]), tuple(models[1:]))


def collect_gold(store: Store, num_buckets: int) -> tuple[GoldRows | None, dict[str, Any] | None]:
    """The gold of all buckets in key order, and the account of every row of its file; (None, None) without gold."""
    if not store.exists(GOLD_ACCOUNT_FILE):
        return None, None
    found = pa.concat_tables(
        store.read_table(bucket_file(GOLD_FOLDER, bucket, num_buckets)) for bucket in range(num_buckets)
    ).combine_chunks()
    rows = GoldRows(
        key_words(found[KEY]), found[LABEL].to_numpy(), as_states(found[PATTERN]), found[CORRECT].to_numpy()
    )
    account = store.read_json(GOLD_ACCOUNT_FILE)
    usable = account["rows"] - sum(account["rejects"].values())
    rejects = {**account["rejects"], "without_evidence": usable - found.num_rows}
    ordered = {reason: rejects[reason] for reason in GOLD_REASONS}
    return rows, {**account, "used": found.num_rows, "rejects": ordered}
