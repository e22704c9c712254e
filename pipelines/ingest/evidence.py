"""Stage `evidence`, the second half of `ingest`: the runs of one bucket merged into one row for each (image, label).

In: the bucket's batches of all files in `spill/`. Out: `evidence/00003-of-00016.parquet` in the columns of
`evidence_schema`, sorted by (image_key, label). The number and order of the runs do not change a byte. Memory
is bounded by the bucket.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .. import config as cfg
from ..engine import Stage, UnitResult
from ..errors import PipelineError
from ..schema import KEY, LABEL, URI, evidence_schema
from ..storage import Store, bucket_file
from .aggregate import Images, Pairs, distinct_images, merge_pairs, starts_of
from .domains import NO_DOMAIN
from .runs import empty_run, read_bucket
from .spill import SPILL
from .validate import NO_LABEL

EVIDENCE = "evidence"
_MAX_URI_BYTES = 2**31 - 2**20  # of one Arrow string column
_MAX_INT32 = np.iinfo(np.int32).max


def merge_runs(batches: list[pa.RecordBatch]) -> tuple[Images, Pairs]:
    """The distinct images of batches of runs, and their pairs merged and sorted."""
    if not batches:
        batches = [empty_run()]
    # Each batch has its own images: a row's image is the one last named above it.
    first = [batch.column(URI).is_valid().to_numpy(zero_copy_only=False) for batch in batches]
    keys = pa.concat_arrays([b.column(KEY).filter(pa.array(f)) for b, f in zip(batches, first, strict=True)])
    uris = pa.concat_arrays([b.column(URI).drop_null() for b in batches])
    images, rank = distinct_images(keys, uris)
    image = np.cumsum(np.concatenate(first)) - 1

    def column(name: str) -> Any:
        return np.concatenate([batch.column(name).to_numpy() for batch in batches])

    return images, merge_pairs(
        Pairs(rank[image], *(column(f) for f in (LABEL, "source", "domain", "score", "rows", "clicks", "impressions")))
    )


def evidence_table(images: Images, pairs: Pairs, sources: tuple[str, ...]) -> pa.Table:
    """Merged and sorted pairs as one row for each (image, label), in the columns of `evidence_schema`."""
    schema = evidence_schema(sources)
    opportunity = np.zeros(len(images.keys), np.uint64)
    if len(pairs.key):
        bits = np.uint64(1) << pairs.source.astype(np.uint64)
        # Every image has a row, and rows are in the images' order.
        opportunity = np.bitwise_or.reduceat(bits, starts_of(pairs.key))
    pairs = _select(pairs, np.flatnonzero(pairs.label != NO_LABEL))
    if not len(pairs.key):
        return schema.empty_table()
    signals = starts_of(pairs.key, pairs.label, pairs.source)
    by_source = _reduced(pairs, signals)
    starts = starts_of(by_source.key, by_source.label)
    row_of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(signals)))
    image = by_source.key[starts]
    columns = [
        images.keys.take(pa.array(image)), pa.array(by_source.label[starts]), images.uris.take(pa.array(image)),
        pa.array(opportunity[image]),
    ]  # fmt: skip
    domains = np.add.reduceat((pairs.domain != NO_DOMAIN).astype(np.int64), signals)
    for source in range(len(sources)):
        mine = np.flatnonzero(by_source.source == source)
        columns += _source_columns(by_source, domains, mine, row_of[mine], len(starts))
    return pa.table(columns, schema=schema)


def _select(pairs: Pairs, rows: npt.NDArray[np.intp]) -> Pairs:
    return Pairs(*(getattr(pairs, field.name)[rows] for field in dataclasses.fields(Pairs)))


def _reduced(pairs: Pairs, starts: npt.NDArray[np.intp]) -> Pairs:
    """Pairs merged over their domains."""
    return Pairs(
        pairs.key[starts], pairs.label[starts], pairs.source[starts], pairs.domain[starts],
        np.fmax.reduceat(pairs.score, starts), np.add.reduceat(pairs.rows, starts),
        np.add.reduceat(pairs.clicks, starts), np.add.reduceat(pairs.impressions, starts),
    )  # fmt: skip


def _source_columns(
    pairs: Pairs, domains: npt.NDArray[np.int64], mine: npt.NDArray[np.intp], at: npt.NDArray[np.intp], size: int
) -> list[pa.Array]:
    """Rows, domains, score, clicks and impressions of one source, spread over all (image, label)."""

    def spread(values: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        out = np.full(size, fill, values.dtype)
        out[at] = values[mine]
        return out

    def count(values: npt.NDArray[np.int64]) -> pa.Array:
        return pa.array(np.minimum(spread(values, 0), _MAX_INT32).astype(np.int32))

    score = spread(pairs.score, np.nan)
    return [
        count(pairs.rows), count(domains), pa.array(score, mask=np.isnan(score)),
        pa.array(spread(pairs.clicks, 0)), pa.array(spread(pairs.impressions, 0)),
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EvidenceStage(Stage):
    """Merges the runs of one bucket."""

    name: ClassVar[str] = EVIDENCE
    noun: ClassVar[str] = "pairs"

    sources: tuple[str, ...]
    num_buckets: int

    @classmethod
    def from_config(cls, config: cfg.Config) -> EvidenceStage:
        """The stage of a build."""
        return cls(config.source_names, config.build.buckets)

    def num_units(self) -> int:
        """The number of buckets."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """Names of the columns, and buckets."""
        return {"sources": list(self.sources), "buckets": self.num_buckets}

    def run(self, unit: int, store: Store) -> UnitResult:
        """Merges one bucket."""
        files = [path for path in store.list_files(SPILL) if path.endswith(".arrow")]
        batches = [batch for path in files for batch in read_bucket(store, path, unit)]
        uri_bytes = sum(batch.column(URI).nbytes for batch in batches)
        if uri_bytes > _MAX_URI_BYTES:
            raise PipelineError(
                f"evidence: expected a bucket's URIs to take at most {_MAX_URI_BYTES:,} bytes, found {uri_bytes:,} in "
                f"bucket {unit} of {self.num_buckets}. Raise build.buckets"
            )
        images, pairs = merge_runs(batches)
        del batches
        table = evidence_table(images, pairs, self.sources)
        store.write_table(bucket_file(EVIDENCE, unit, self.num_buckets), table)
        merged = int(pairs.rows.sum())
        counters = {
            "evidence": table.num_rows,
            "images": len(starts_of(table.column(KEY).to_numpy())) if table.num_rows else 0,
            "opportunity_rows": int(pairs.rows[pairs.label == NO_LABEL].sum()),
        }
        return UnitResult(rows_in=merged, rows_out=merged, counters=counters)
