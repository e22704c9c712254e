"""Stage `evidence`, the second half of `ingest`: the runs of one bucket merged into one row for each (image, label).

In: the bucket's batches of all files in `spill/`. Out: `evidence/00003-of-00016.parquet` in the columns of
`evidence_schema`, and `negatives/00003-of-00016.parquet` in those of `NEGATIVES`, the labels that a person refused;
both sorted by (image_key, label). A pair that a person refused is no candidate, whatever else speaks for it. The
number and order of the runs do not change a byte. Memory is bounded by the bucket.
"""

from __future__ import annotations

import dataclasses
import functools
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
from .aggregate import Images, Pairs, distinct_images, merge_pairs, reduce_pairs, select_pairs, starts_of
from .dependence import Dependence, Floats, page_correlations
from .domains import NO_DOMAIN
from .numbers import EXPOSURE_UNIT
from .raw import NO_LABEL
from .runs import empty_run, read_bucket
from .spill import SPILL, TEMPLATES
from .templates import TemplateCounts
from .validate import REFUSED

EVIDENCE = "evidence"
DEPENDENCE_FILE = "evidence/_dependence.json"
TEMPLATES_FILE = "evidence/_templates.zst"
SAMPLE_IMAGES = 200_000  # correlations stand to a hundredth, and the driver merges a bucket or two
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

    others = (field.name for field in dataclasses.fields(Pairs)[1:])
    return images, merge_pairs(Pairs(rank[image], *(column(LABEL if f == "label" else f) for f in others)))


@dataclasses.dataclass(frozen=True)
class Merged:
    """A bucket's pairs, parted.

    Attributes:
        pairs: what sources say for labels.
        effective: (pairs,) independent statements that each is worth.
        statements: (images, sources) the same of all that a source says about an image.
        negatives: verified negatives, one row for each (image, label).
        unlabelled: rows that say only that a source looked.
        opposed: what sources say for labels that a person refused.
        opportunity: (images,) uint64 with bit i set where source i said anything about the image.
    """

    pairs: Pairs
    effective: Floats
    statements: Floats
    negatives: Pairs
    unlabelled: Pairs
    opposed: Pairs
    opportunity: npt.NDArray[np.uint64]


def part(images: Images, pairs: Pairs, dependence: Dependence) -> Merged:
    """Parts merged and sorted pairs."""
    refused = pairs.source == REFUSED
    effective = dependence.effective(pairs, int(REFUSED))
    num_sources = len(dependence.page)
    slots = pairs.key * num_sources + np.where(refused, 0, pairs.source)  # a refusal is worth nothing
    statements = np.bincount(slots, effective, len(images.keys) * num_sources).astype(np.float64)
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
    candidates = np.flatnonzero(labelled & ~opposed)
    return Merged(
        pairs=select_pairs(pairs, candidates),
        effective=effective[candidates],
        statements=statements.reshape(-1, num_sources),
        negatives=select_pairs(pairs, np.flatnonzero(refused)),
        unlabelled=select_pairs(pairs, np.flatnonzero(~labelled & ~refused)),
        opposed=select_pairs(pairs, np.flatnonzero(opposed)),
        opportunity=opportunity,
    )


def negatives_table(images: Images, negatives: Pairs) -> pa.Table:
    """Verified negatives in the columns of `NEGATIVES`."""
    rows = np.minimum(negatives.rows, _MAX_INT32).astype(np.int32)
    columns = [images.keys.take(pa.array(negatives.key)), pa.array(negatives.label), pa.array(rows)]
    return pa.table(columns, schema=NEGATIVES)


def evidence_table(images: Images, merged: Merged, sources: tuple[str, ...]) -> pa.Table:
    """Evidence as one row for each (image, label), in the columns of `evidence_schema`.

    Args:
        images: of the bucket.
        merged: their pairs, parted.
        sources: names of the sources.
    """
    schema, pairs, opportunity = evidence_schema(sources), merged.pairs, merged.opportunity
    if not len(pairs.key):
        return schema.empty_table()
    signals = starts_of(pairs.key, pairs.label, pairs.source)
    by_source = reduce_pairs(pairs, signals)
    support = np.add.reduceat(merged.effective, signals)
    starts = starts_of(by_source.key, by_source.label)
    row_of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(signals)))
    image = by_source.key[starts]
    columns = [
        images.keys.take(pa.array(image)), pa.array(by_source.label[starts]), images.uris.take(pa.array(image)),
        pa.array(opportunity[image]),
    ]  # fmt: skip
    domains = _distinct_domains(pairs, signals)
    for source in range(len(sources)):
        mine = np.flatnonzero(by_source.source == source)
        spread = _Spread(mine, row_of[mine], len(starts))
        columns += [
            spread.count(by_source.rows), spread.count(domains), spread.real(support),
            pa.array(merged.statements[image, source].astype(np.float32)), spread.score(by_source.score),
            spread.whole(by_source.clicks), spread.whole(by_source.impressions),
            spread.real(by_source.exposure.astype(np.float64) * EXPOSURE_UNIT),
        ]  # fmt: skip
    return pa.table(columns, schema=schema)


def _distinct_domains(pairs: Pairs, signals: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Domains of each signal, that of no page left out; several texts of one domain are one."""
    new = np.zeros(len(pairs.key), np.int64)
    new[starts_of(pairs.key, pairs.label, pairs.source, pairs.domain)] = 1
    return np.add.reduceat(new * (pairs.domain != NO_DOMAIN), signals)


@dataclasses.dataclass(frozen=True)
class _Spread:
    """Values of one source's signals `mine`, spread over the `size` rows of the evidence; they belong to rows `at`."""

    mine: npt.NDArray[np.intp]
    at: npt.NDArray[np.intp]
    size: int

    def _over(self, values: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        out = np.full(self.size, fill, values.dtype)
        out[self.at] = values[self.mine]
        return out

    def count(self, values: npt.NDArray[np.int64]) -> pa.Array:
        return pa.array(np.minimum(self._over(values, 0), _MAX_INT32).astype(np.int32))

    def whole(self, values: npt.NDArray[np.int64]) -> pa.Array:
        return pa.array(self._over(values, 0))

    def real(self, values: npt.NDArray[np.floating]) -> pa.Array:
        return pa.array(self._over(values, 0.0).astype(np.float32))

    def score(self, values: npt.NDArray[np.float32]) -> pa.Array:
        spread = self._over(values, np.nan)
        return pa.array(spread, mask=np.isnan(spread))


_load_templates = functools.lru_cache(maxsize=1)(TemplateCounts.from_bytes)  # 40 MB, for every bucket of a worker


@dataclasses.dataclass(frozen=True)
class EvidenceStage(Stage):
    """Merges the runs of one bucket."""

    name: ClassVar[str] = EVIDENCE
    noun: ClassVar[str] = "pairs"

    sources: tuple[cfg.Source, ...]
    num_buckets: int

    @classmethod
    def from_config(cls, config: cfg.Config) -> EvidenceStage:
        """The stage of a build."""
        return cls(config.sources, config.build.buckets)

    def num_units(self) -> int:
        """The number of buckets."""
        return self.num_buckets

    def outputs(self) -> tuple[str, ...]:
        """Candidates, and what is none."""
        return (EVIDENCE, NEGATIVES_FOLDER)

    def settings(self) -> Mapping[str, Any]:
        """Names of the columns, what their statements are worth, and buckets."""
        sources = [(s.name, s.page_correlation, s.template_correlation) for s in self.sources]
        return {"sources": sources, "buckets": self.num_buckets}

    def prepare(self, store: Store) -> None:
        """How alike a domain's pages are, from the first images, and how many images bear each text."""
        found = page_correlations(self._sample(store), [source.page_correlation for source in self.sources])
        pages = {source.name: one.to_json() for source, one in zip(self.sources, found, strict=True)}
        counts = [path for path in store.list_files(SPILL) if path.endswith(f".{TEMPLATES}")]
        if counts:
            total = TemplateCounts.empty()
            for path in counts:
                total.merge(TemplateCounts.from_bytes(store.read_bytes(path)))
            store.write_bytes(TEMPLATES_FILE, total.to_bytes())
        store.write_json(DEPENDENCE_FILE, {"page_correlation": pages, "templates": bool(counts)})

    def _sample(self, store: Store) -> Pairs:
        """Merged pairs of the first images in key order: the same ones for any number of buckets."""
        parts: list[Pairs] = []
        images = 0
        for bucket in range(self.num_buckets):
            found, pairs = self._merged(bucket, store)
            keep = pairs.key < SAMPLE_IMAGES - images
            parts.append(dataclasses.replace(select_pairs(pairs, np.flatnonzero(keep)), key=pairs.key[keep] + images))
            images += len(found.keys)
            if images >= SAMPLE_IMAGES:
                break
        names = [field.name for field in dataclasses.fields(Pairs)]
        return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _dependence(self, store: Store) -> Dependence:
        value = store.read_json(DEPENDENCE_FILE)
        pages = np.array([value["page_correlation"][source.name]["value"] for source in self.sources])
        templates = _load_templates(store.read_bytes(TEMPLATES_FILE)) if value["templates"] else None
        return Dependence(pages, np.array([source.template_correlation for source in self.sources]), templates)

    def _merged(self, bucket: int, store: Store) -> tuple[Images, Pairs]:
        """The images and the merged pairs of one bucket."""
        files = [path for path in store.list_files(SPILL) if path.endswith(".arrow")]
        batches = [batch for path in files for batch in read_bucket(store, path, bucket)]
        uri_bytes = sum(batch.column(URI).nbytes for batch in batches)
        if uri_bytes > _MAX_URI_BYTES:
            raise PipelineError(
                f"evidence: expected a bucket's URIs to take at most {_MAX_URI_BYTES:,} bytes, found {uri_bytes:,} in "
                f"bucket {bucket} of {self.num_buckets}. Raise build.buckets"
            )
        return merge_runs(batches)

    def run(self, unit: int, store: Store) -> UnitResult:
        """Merges one bucket."""
        images, pairs = self._merged(unit, store)
        merged = part(images, pairs, self._dependence(store))
        table = evidence_table(images, merged, tuple(source.name for source in self.sources))
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
