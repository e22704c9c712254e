"""Stage `evidence`, the second half of `ingest`: the runs of one bucket merged into one row for each (image, label).

In: the bucket's batches of all files in `spill/`. Out: `evidence/00003-of-00016.parquet` in the columns of
`evidence_schema`, and `negatives/00003-of-00016.parquet` in those of `NEGATIVES`, the labels that a person refused;
both sorted by (image_key, label). A pair that a person refused is no candidate, whatever else speaks for it. The
number and order of the runs do not change a byte. Memory is bounded by the bucket.
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
from ..schema import KEY, LABEL, NEGATIVES, URI, VERIFIED_NEGATIVE, evidence_schema
from ..storage import Store, bucket_file
from .aggregate import Images, Pairs, distinct_images, merge_pairs, starts_of
from .domains import NO_DOMAIN
from .raw import NO_LABEL
from .runs import empty_run, read_bucket
from .spill import SPILL
from .validate import REFUSED

EVIDENCE = "evidence"
NEGATIVES_FOLDER = "negatives"
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


@dataclasses.dataclass(frozen=True)
class Merged:
    """A bucket's pairs, parted.

    Attributes:
        pairs: what sources say for labels.
        negatives: verified negatives, one row for each (image, label).
        unlabelled: rows that say only that a source looked.
        opposed: what sources say for labels that a person refused.
        opportunity: (images,) uint64 with bit i set where source i said anything about the image.
    """

    pairs: Pairs
    negatives: Pairs
    unlabelled: Pairs
    opposed: Pairs
    opportunity: npt.NDArray[np.uint64]


def part(images: Images, pairs: Pairs) -> Merged:
    """Parts merged and sorted pairs."""
    refused = pairs.source == REFUSED
    labelled = (pairs.label != NO_LABEL) & ~refused
    opportunity = np.zeros(len(images.keys), np.uint64)
    # A person who refuses one label has not looked for the others.
    looked = np.flatnonzero(~refused)
    if len(looked):
        bits = np.uint64(1) << pairs.source[looked].astype(np.uint64)
        starts = starts_of(pairs.key[looked])
        opportunity[pairs.key[looked][starts]] = np.bitwise_or.reduceat(bits, starts)
    opposed = np.zeros(len(refused), bool)
    if refused.any():
        starts = starts_of(pairs.key, pairs.label)
        group = np.logical_or.reduceat(refused, starts)
        opposed = np.repeat(group, np.diff(starts, append=len(refused))) & labelled
    return Merged(
        pairs=_select(pairs, np.flatnonzero(labelled & ~opposed)),
        negatives=_select(pairs, np.flatnonzero(refused)),
        unlabelled=_select(pairs, np.flatnonzero(~labelled & ~refused)),
        opposed=_select(pairs, np.flatnonzero(opposed)),
        opportunity=opportunity,
    )


def negatives_table(images: Images, negatives: Pairs) -> pa.Table:
    """Verified negatives in the columns of `NEGATIVES`."""
    rows = np.minimum(negatives.rows, _MAX_INT32).astype(np.int32)
    columns = [images.keys.take(pa.array(negatives.key)), pa.array(negatives.label), pa.array(rows)]
    return pa.table(columns, schema=NEGATIVES)


def evidence_table(
    images: Images, pairs: Pairs, opportunity: npt.NDArray[np.uint64], sources: tuple[str, ...]
) -> pa.Table:
    """Evidence as one row for each (image, label), in the columns of `evidence_schema`.

    Args:
        images: of the bucket.
        pairs: merged and sorted, each with a label and a source.
        opportunity: (images,) uint64, as `Merged` has it.
        sources: names of the sources.
    """
    schema = evidence_schema(sources)
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

    def outputs(self) -> tuple[str, ...]:
        """Candidates, and what is none."""
        return (EVIDENCE, NEGATIVES_FOLDER)

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
        merged = part(images, pairs)
        table = evidence_table(images, merged.pairs, merged.opportunity, self.sources)
        store.write_table(bucket_file(EVIDENCE, unit, self.num_buckets), table)
        negatives = negatives_table(images, merged.negatives)
        store.write_table(bucket_file(NEGATIVES_FOLDER, unit, self.num_buckets), negatives)
        opposed = int(merged.opposed.rows.sum())
        counters = {
            "evidence": table.num_rows,
            "images": len(starts_of(table.column(KEY).to_numpy())) if table.num_rows else 0,
            "opportunity_rows": int(merged.unlabelled.rows.sum()),
            "negatives": negatives.num_rows,
            "negative_rows": int(merged.negatives.rows.sum()),
        }
        rows = int(pairs.rows.sum())
        return UnitResult(
            rows_in=rows, rows_out=rows - opposed, rejects={VERIFIED_NEGATIVE: opposed}, counters=counters
        )
