"""Stage `spill`, the first half of `ingest`: raw pairs of any format into sorted runs, bucket by bucket.

In: one split of the input. Out: `spill/00003-of-00040.arrow`, its valid rows as runs merged by (image, label,
source, domain), and `rejects/00003-of-00040.parquet`, the other rows with the reason. Memory is bounded by
`ingest.spill_rows`, whatever the size of the split.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa

from openjft.taxonomy import Taxonomy

from .. import config as cfg
from ..engine import Stage, UnitResult
from ..keys import image_keys
from ..storage import Store, bucket_file
from .aggregate import Pairs, distinct_images, merge_pairs
from .domains import NO_DOMAIN
from .readers import read_piece
from .rejects import RejectsWriter
from .runs import RunsWriter, run_table
from .splits import Split, format_of
from .uris import key_bases
from .validate import NO_LABEL, Accepted, Validator

SPILL = "spill"
REJECTED = "rejects"
# A run is also written when its URIs take so much: 1.5M of the longest would take 12 GB, and Arrow's string
# columns hold 2 GB.
_MAX_URI_BYTES: Final = 256 << 20


@functools.lru_cache(maxsize=2)
def _taxonomy(store_root: str, _size: int, _modified_ns: int) -> Taxonomy:
    """The build's taxonomy, read once by a worker; size and time of its file tell a new one."""
    store = Store(store_root)
    return Taxonomy.from_tables(
        store.read_table("taxonomy/vocabulary.parquet"), store.read_table("taxonomy/edges.parquet")
    )


def load_taxonomy(store: Store) -> Taxonomy:
    """The taxonomy that the driver wrote into the build's folder."""
    info = store.fs.get_file_info(store.path("taxonomy/vocabulary.parquet"))
    return _taxonomy(store.root, int(info.size or 0), int(info.mtime_ns or 0))


class _Run:
    """Accepted rows that wait to be written as one run."""

    def __init__(self, *, locators: bool) -> None:
        self._locators = locators  # whether URIs may end in one; looking for it costs as much as a tenth of hashing
        self._clear()

    def _clear(self) -> None:
        self.rows = 0
        self.uri_bytes = 0
        self._uris = 0
        self._batches: list[Accepted] = []
        self._keys: list[pa.FixedSizeBinaryArray] = []

    def add(self, accepted: Accepted) -> None:
        """Holds a batch; hashes its distinct URIs."""
        shifted = accepted.uri + np.int32(self._uris)
        self._batches.append(dataclasses.replace(accepted, uri=shifted))
        uris = key_bases(accepted.uris) if self._locators else accepted.uris
        self._keys.append(image_keys(uris.to_pylist()))
        self._uris += len(accepted.uris)
        self.uri_bytes += int(accepted.uris.nbytes)
        self.rows += len(shifted)

    def merged(self) -> pa.RecordBatch:
        """The rows as one sorted run; forgets them."""
        batches = self._batches
        images, rank = distinct_images(pa.concat_arrays(self._keys), pa.concat_arrays([b.uris for b in batches]))

        def column(name: str) -> Any:
            return np.concatenate([getattr(batch, name) for batch in batches])

        pairs = Pairs(
            rank[column("uri")], column("label"), column("source"), column("domain"), column("score"),
            np.ones(self.rows, np.int64), column("clicks"), column("impressions"),
        )  # fmt: skip
        self._clear()
        return run_table(images, merge_pairs(pairs))


@dataclasses.dataclass(frozen=True)
class SpillStage(Stage):
    """Reads, checks, hashes and sorts raw pairs, one split at a time."""

    name: ClassVar[str] = SPILL
    noun: ClassVar[str] = "pairs"
    unit_noun: ClassVar[str] = "splits"
    section: ClassVar[str] = "ingest"

    inputs: tuple[cfg.Input, ...]
    sources: tuple[str, ...]
    labels: str
    ingest: cfg.Ingest
    num_buckets: int
    splits: tuple[Split, ...]

    @classmethod
    def from_config(cls, config: cfg.Config, splits: tuple[Split, ...]) -> SpillStage:
        """The stage of a build; `splits` come from `plan_splits`."""
        return cls(
            config.inputs, config.source_names, config.taxonomy.labels, config.ingest, config.build.buckets, splits
        )

    def num_units(self) -> int:
        """The number of splits."""
        return len(self.splits)

    def input_bytes(self) -> int:
        """Of the raw pairs, as they lie."""
        return sum(piece.stop - piece.start for split in self.splits for piece in split.pieces)

    def settings(self) -> Mapping[str, Any]:
        """All but sizes of batches and runs, which do not change what `evidence` makes of it."""
        return {
            "inputs": [item.model_dump(mode="json") for item in self.inputs],
            "sources": list(self.sources),
            "labels": self.labels,
            "allowed_schemes": list(self.ingest.allowed_schemes),
            "buckets": self.num_buckets,
            "splits": [dataclasses.asdict(split) for split in self.splits],
        }

    def outputs(self) -> tuple[str, ...]:
        """Runs and rejects."""
        return (SPILL, REJECTED)

    def max_reject_share(self) -> float:
        """As configured."""
        return self.ingest.max_reject_share

    def run(self, unit: int, store: Store) -> UnitResult:
        """Spills one split.

        Raises:
            InputError: a file cannot be read, or not to its end.
        """
        split = self.splits[unit]
        item = self.inputs[split.input]
        counters = dict.fromkeys(("bytes", "empty_files", "opportunity_rows", "no_domain_rows"), 0)
        rows_in = rows_out = 0
        run = _Run(locators="tar" in self.ingest.allowed_schemes)
        validators: dict[str, Validator] = {}
        with (
            store.writing(bucket_file(SPILL, unit, self.num_units(), "arrow")) as sink,
            RejectsWriter(store, bucket_file(REJECTED, unit, self.num_units())) as rejects,
        ):
            runs = RunsWriter(sink, self.num_buckets)
            for piece in split.pieces:
                kind = format_of(piece.path, item.format)
                validate = validators.setdefault(kind, self._validator(item, kind, store))
                before = rows_in
                for batch in read_piece(item, piece, self.ingest.batch_rows):
                    accepted, rejected = validate(batch)
                    rejects.add(rejected, piece.name)
                    rows_in += len(batch.rows) + len(batch.bad)
                    rows_out += len(accepted.uri)
                    counters["opportunity_rows"] += int(np.count_nonzero(accepted.label == NO_LABEL))
                    counters["no_domain_rows"] += int(np.count_nonzero(accepted.domain == NO_DOMAIN))
                    run.add(accepted)
                    if run.rows >= self.ingest.spill_rows or run.uri_bytes >= _MAX_URI_BYTES:
                        runs.add(run.merged())
                counters["bytes"] += piece.stop - piece.start
                counters["empty_files"] += piece.is_whole and rows_in == before
            if run.rows:
                runs.add(run.merged())
            runs.close()
        counters |= {"runs": runs.runs, "spilled": runs.rows}
        return UnitResult(rows_in=rows_in, rows_out=rows_out, rejects=dict(rejects.counts), counters=counters)

    def _validator(self, item: cfg.Input, kind: str, store: Store) -> Validator:
        return Validator(
            load_taxonomy(store),
            labels_are_names=self.labels == "name",
            sources=self.sources,
            source=item.source,
            allowed_schemes=self.ingest.allowed_schemes,
            uri_template=item.uri_template,
            keep_unlabelled=item.empty_label == "opportunity",
            open_images=kind == "open_images",
        )
