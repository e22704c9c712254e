"""The stages `precision` (count patterns, fit, choose the threshold) and `labels` (keep what passes).

In: evidence/ of each bucket, and the gold if there is any. Out: precision/precision.json with the account of the
filter, precision/patterns.parquet (pattern, count, probability), and labels/ of each bucket. Between the two maps
only the pattern counts and the gold meet in the driver, so the fit costs the same for any number of candidates.
The arithmetic lies in the other modules of this package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa

from openjft.pipelines.config import Config, Precision, Source
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.hierarchy import CONFUSIONS_FILE, load_taxonomy
from openjft.pipelines.keys import buckets_of, first_of_image, key_words
from openjft.pipelines.schema import KEY, LABEL, LABELS, URI
from openjft.pipelines.storage import Store, bucket_file

from .audit import GoldRows
from .bins import SourceBins, StateColumn, fit_bins, sample_columns, state_columns, state_matrix
from .confusion import Confusions
from .gold import CORRECT, GOLD_REASONS, checked_digest, gold_schema, match_rows, read_gold
from .patterns import (
    PATTERN,
    PROBABILITY,
    PatternTable,
    as_patterns,
    as_states,
    count_patterns,
    encode,
    fired_bits,
    indices_in,
    merge_counts,
)
from .summary import fit_filter
from .threshold import from_steps

EVIDENCE: Final = "evidence"
CUTS_FILE: Final = "precision/cuts.json"
GOLD_FILE: Final = "precision/gold.parquet"
GOLD_ACCOUNT_FILE: Final = "precision/gold.json"
PATTERNS_FILE: Final = "precision/patterns.parquet"
SUMMARY_FILE: Final = "precision/precision.json"


@dataclasses.dataclass(frozen=True)
class PatternsStage(Stage):
    """Counts the patterns of each bucket and finds its gold; in the end fits the filter.

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
    def from_config(cls, config: Config) -> PatternsStage:
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
        """The gold counts by its content, wherever it lies."""
        return {
            "sources": [s.model_dump() for s in self.sources],
            "precision": self.precision.model_dump(exclude={"gold", "max_reject_share"}),
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
            store.write_json(GOLD_ACCOUNT_FILE, {"rows": gold.rows, "rejects": dict(gold.rejects)})
        # Without gold nothing could tell what a confusion is worth; EM would take it for a vote.
        confusions = self.precision.use_confusions and self.precision.gold is not None
        if confusions:
            confusions = store.read_table(CONFUSIONS_FILE, [LABEL]).num_rows > 0
        store.write_json(CUTS_FILE, {"sources": [b.to_json() for b in bins], "confusions": confusions})

    def run(self, unit: int, store: Store) -> UnitResult:
        """Counts the patterns of a bucket's candidates, and gives its gold their patterns."""
        bins = read_bins(store)
        evidence = bucket_file(EVIDENCE, unit, self.num_buckets)
        states = state_matrix(store.read_table(evidence, state_columns(bins)), bins)
        counters: dict[str, int] = {}
        if self.precision.gold is not None:
            gold = store.read_table(GOLD_FILE)
            gold = gold.filter(pa.array(buckets_of(gold[KEY], self.num_buckets) == unit))
            keys = store.read_table(evidence, [KEY, LABEL])
            in_gold, rows = match_rows(gold, keys[KEY].combine_chunks(), keys[LABEL].to_numpy())
            found = gold.take(pa.array(in_gold)).append_column(
                gold_schema(len(bins)).field(PATTERN), as_patterns(states[rows])
            )
            store.write_table(bucket_file("precision/gold", unit, self.num_buckets), found)
            counters = {"gold": len(rows), "gold_without_evidence": gold.num_rows - len(rows)}
        store.write_table(bucket_file(self.name, unit, self.num_buckets), count_patterns(states))
        return UnitResult(rows_in=len(states), rows_out=len(states), counters=counters)

    def finish(self, store: Store, account: UnitResult) -> None:
        """Fits the filter and writes patterns.parquet, then precision.json.

        Raises:
            PipelineError: there is nothing to filter, the gold cannot carry a fit, or the target is out of reach.
        """
        counts = merge_counts(
            store.read_table(bucket_file(self.name, bucket, self.num_buckets)) for bucket in range(self.num_buckets)
        )
        table = PatternTable.from_table(counts)
        gold, gold_account = self._gold(store)
        fitted = fit_filter(table, read_bins(store), gold, self.precision, seed=self.seed, gold_account=gold_account)
        store.write_table(PATTERNS_FILE, table.to_table(from_steps(fitted.steps)))
        store.write_json(SUMMARY_FILE, fitted.summary)

    def _gold(self, store: Store) -> tuple[GoldRows | None, dict[str, Any] | None]:
        """The gold of all buckets in key order, and the account of every row of its file."""
        if self.precision.gold is None:
            return None, None
        found = pa.concat_tables(
            store.read_table(bucket_file("precision/gold", bucket, self.num_buckets))
            for bucket in range(self.num_buckets)
        ).combine_chunks()
        rows = GoldRows(key_words(found[KEY]), as_states(found[PATTERN]), found[CORRECT].to_numpy())
        account = store.read_json(GOLD_ACCOUNT_FILE)
        usable = account["rows"] - sum(account["rejects"].values())
        rejects = {**account["rejects"], "without_evidence": usable - found.num_rows}
        ordered = {reason: rejects[reason] for reason in GOLD_REASONS}
        return rows, {"rows": account["rows"], "used": found.num_rows, "rejects": ordered}


@dataclasses.dataclass(frozen=True)
class LabelsStage(Stage):
    """Keeps the labels whose pattern's probability reaches the threshold."""

    name: ClassVar[str] = "labels"
    section: ClassVar[str] = "precision"
    noun: ClassVar[str] = "labels"
    num_buckets: int
    allowed_reject_share: float = 1.0

    @classmethod
    def from_config(cls, config: Config) -> LabelsStage:
        """The stage of a build."""
        return cls(config.build.buckets, config.precision.max_reject_share)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """All that counts stands in the files of `precision`, whose fingerprint is upstream of this one."""
        return {"buckets": self.num_buckets}

    def max_reject_share(self) -> float:
        """As `precision.max_reject_share` allows."""
        return self.allowed_reject_share

    def run(self, unit: int, store: Store) -> UnitResult:
        """Writes the labels of a bucket that pass, in the order of the evidence."""
        bins = read_bins(store)
        num_sources = sum(isinstance(column, SourceBins) for column in bins)
        model = store.read_table(PATTERNS_FILE, [PATTERN, PROBABILITY])
        threshold = np.float32(store.read_json(SUMMARY_FILE)["threshold"])
        evidence = bucket_file(EVIDENCE, unit, self.num_buckets)
        patterns, index = encode(state_matrix(store.read_table(evidence, state_columns(bins)), bins))
        of_pattern = model[PROBABILITY].to_numpy()[indices_in(patterns, model[PATTERN])]
        keep = (of_pattern >= threshold)[index]
        rows = store.read_table(evidence, [KEY, LABEL, URI])
        kept = rows.filter(pa.array(keep))
        kept_index = index[keep]
        labels = pa.table(
            [
                *kept.columns,
                pa.array(of_pattern[kept_index], pa.float32()),
                pa.array(fired_bits(as_states(patterns), num_sources)[kept_index], pa.uint64()),
            ],
            schema=LABELS,
        )
        store.write_table(bucket_file(self.name, unit, self.num_buckets), labels)
        images, with_label = num_images(rows[KEY]), num_images(kept[KEY])
        return UnitResult(
            rows_in=rows.num_rows,
            rows_out=kept.num_rows,
            rejects={"below_threshold": rows.num_rows - kept.num_rows},
            counters={"images": with_label, "images_without_label": images - with_label},
        )


def read_bins(store: Store) -> tuple[StateColumn, ...]:
    """The columns of the state matrix that `PatternsStage.prepare` chose: the sources' bins, then the confusions."""
    value = store.read_json(CUTS_FILE)
    sources = [SourceBins.from_json(item) for item in value["sources"]]
    if not value["confusions"]:
        return tuple(sources)
    return (*sources, Confusions.from_table(store.read_table(CONFUSIONS_FILE, [LABEL, "inside_label"])))


def num_images(keys: pa.ChunkedArray) -> int:
    """Distinct keys of a sorted column."""
    return int(np.count_nonzero(first_of_image(keys)))
