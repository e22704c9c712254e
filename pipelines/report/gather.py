"""Everything that the report tells, gathered from the build's folder: what is there, be the build finished or not.

In: a `Store`. Out: `Gathered`, of which `facts` is report.json. Bounded: counts come from records and summaries;
distributions from the first buckets, which are a uniform sample of the images since keys are hashes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.loaders.schema import CLASS_COUNTS_FILE, index_file, shard_name
from openjft.pipelines.accounts import ROWS, stage_totals
from openjft.pipelines.config import Config
from openjft.pipelines.evalsets import files as evalsets
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.precision.files import HISTOGRAM_FILE, SUMMARY_FILE
from openjft.pipelines.schema import CATALOG, EXPANDED, KEY, LABEL, LABELS, STATUS_OK
from openjft.pipelines.shard import DATASET
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Taxonomy

from .certificate import certificate_facts
from .contradictions import contradiction_facts, read_contradictions
from .duplicates import duplicate_facts
from .hierarchy import hierarchy_facts, read_hierarchy
from .kept import kept_facts, worst_classes
from .texts import text_facts

SAMPLE_ROWS = 500_000
CLASS_COUNTS = f"{DATASET}/{CLASS_COUNTS_FILE}"


@dataclasses.dataclass(frozen=True)
class Gathered:
    """What the sections are made of.

    Attributes:
        facts: JSON values, the content of report.json.
        taxonomy: the hierarchy; None before it is written.
        names: category names, by label.
        asserted: (categories,) images of each category before expansion; of `sample` until the data set is there.
        expanded: (categories,) the same with ancestors.
        labels: sample of kept labels (LABELS).
        sample: sample of expanded labels (EXPANDED), of images in the shards once these are written.
        catalog: sample of the catalog (CATALOG).
        overlaps: all overlaps of the sample of buckets, strongest first.
        histogram: candidates by probability (steps, count), or None.
        contradictions: sample of the flagged pairs of labels (CONTRADICTIONS).
    """

    facts: dict[str, Any]
    taxonomy: Taxonomy | None
    names: Sequence[str]
    asserted: npt.NDArray[np.int64]
    expanded: npt.NDArray[np.int64]
    labels: pa.Table
    sample: pa.Table
    catalog: pa.Table
    overlaps: pa.Table | None
    histogram: pa.Table | None
    contradictions: pa.Table

    @property
    def counts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """(asserted, expanded) images of each category; None while no image has a label."""
        return (self.asserted, self.expanded) if self.expanded.any() else None


def gather(config: Config, store: Store) -> Gathered:
    """Reads what is there of a build."""
    n = config.build.buckets
    taxonomy = read_hierarchy(store)
    labels = _sample(store, "labels", n, LABELS)
    sample = _shipped(store, config, _sample(store, "expanded", n, EXPANDED))
    names, asserted, expanded = _classes(store, sample)
    catalog = _sample(store, "catalog", n, CATALOG)
    flagged = read_contradictions(store, n)
    account = accounts(store)
    facts: dict[str, Any] = {
        "name": config.build.name,
        "account": account,
        "texts": text_facts(store, account),
        "precision": _json(store, SUMMARY_FILE),
        "kept": kept_facts(store),
        "worst_classes": worst_classes(store, names, config.report.examples),
        "certificate": certificate_facts(store),
        "decontamination": _json(store, evalsets.SUMMARY_FILE),
        "duplicates": duplicate_facts(store, account, config.duplicates.policy, largest=config.report.examples),
        "planted": _json(store, evalsets.PLANTED_FILE),
        "thresholds": _threshold_facts(store),
        "categories": _category_facts(names, asserted, expanded)
        | {"counted_on": "dataset" if store.exists(CLASS_COUNTS) else "sample"},
        "hierarchy": hierarchy_facts(store, taxonomy, asserted),
        "contradictions": contradiction_facts(store, account, flagged, n),
        "labels_per_image": _labels_per_image(sample),
        "images": _image_facts(catalog),
        "configuration": config.model_dump(mode="json", exclude={"build": {"output"}, "runner": True}),
    }
    histogram = store.read_table(HISTOGRAM_FILE) if store.exists(HISTOGRAM_FILE) else None
    overlaps = _overlaps(store, n)
    return Gathered(
        facts, taxonomy, names, asserted, expanded, labels, sample, catalog, overlaps, histogram, flagged[0]
    )


def accounts(store: Store) -> list[dict[str, Any]]:
    """The account of every stage that has records, in the order of the build."""
    return [
        {"stage": name, "rows": ROWS[name], **dataclasses.asdict(total)} for name, total in stage_totals(store).items()
    ]


def _json(store: Store, path: str) -> Any:
    return store.read_json(path) if store.exists(path) else None


def _threshold_facts(store: Store) -> dict[str, Any] | None:
    """The thresholds and what they rest on; the resamples, which only an interval needs, stay in their file."""
    value = _json(store, evalsets.THRESHOLDS_FILE)
    if value is None:
        return None
    tails = ("tail_images", "tail_pairs")
    fits = {name: value[name] and {k: v for k, v in value[name].items() if k != "resampled"} for name in tails}
    return {**value, **fits}


def _sample(store: Store, stage: str, num_buckets: int, schema: pa.Schema, rows: int = SAMPLE_ROWS) -> pa.Table:
    """The first buckets of a stage up to so many rows; empty when there are none."""
    tables, total = [schema.empty_table()], 0
    for bucket in range(num_buckets):
        path = bucket_file(stage, bucket, num_buckets)
        if total >= rows or not store.exists(path):
            break
        tables.append(store.read_table(path).cast(schema))
        total += tables[-1].num_rows
    return pa.concat_tables(tables).combine_chunks()


def _shipped(store: Store, config: Config, sample: pa.Table) -> pa.Table:
    """The rows of images that are in the shards; all rows while there are no shards."""
    tables = []
    for bucket in np.unique(buckets_of(sample[KEY], config.build.buckets)):
        path = f"{DATASET}/{index_file(shard_name(config.build.name, int(bucket)))}"
        if not store.exists(path):
            return sample
        tables.append(store.read_table(path, [KEY]))
    if not tables:
        return sample
    keys = pa.concat_tables(tables)[KEY].combine_chunks().cast(pa.binary())
    return sample.filter(pc.is_in(pc.cast(sample[KEY], pa.binary()), value_set=keys))


def _overlaps(store: Store, num_buckets: int) -> pa.Table | None:
    tables = []
    for bucket in range(num_buckets):
        path = bucket_file("verdicts", bucket, num_buckets)
        if store.exists(path):
            table = store.read_table(path)
            tables.append(table.append_column("bucket", pa.array(np.full(table.num_rows, bucket, np.int32))))
        if sum(t.num_rows for t in tables) > SAMPLE_ROWS:
            break
    if not tables:
        return None
    return pa.concat_tables(tables).combine_chunks().sort_by([("similarity", "descending"), (KEY, "ascending")])


def _classes(store: Store, sample: pa.Table) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Names of the categories, and their images in the data set, or in the sample before there is one."""
    if not store.exists("taxonomy/vocabulary.parquet"):
        return [], np.zeros(0, np.int64), np.zeros(0, np.int64)
    vocabulary = store.read_table("taxonomy/vocabulary.parquet")
    names = [name or id_ for name, id_ in zip(*(vocabulary[c].to_pylist() for c in ("name", "id")), strict=True)]
    asserted, expanded = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    if not store.exists(CLASS_COUNTS):
        labels, said = sample[LABEL].to_numpy(), sample["asserted"].to_numpy(zero_copy_only=False)
        asserted, expanded = (np.bincount(found, minlength=len(names)) for found in (labels[said], labels))
    else:
        counts = store.read_table(CLASS_COUNTS)
        labels = counts[LABEL].to_numpy()
        asserted[labels], expanded[labels] = counts["asserted"].to_numpy(), counts["expanded"].to_numpy()
    return names, asserted, expanded


def _category_facts(
    names: Sequence[str], asserted: npt.NDArray[np.int64], expanded: npt.NDArray[np.int64]
) -> dict[str, Any]:
    used = expanded > 0
    largest = np.argsort(-expanded, kind="stable")[:20]
    return {
        "in_hierarchy": len(names),
        "with_images": int(used.sum()),
        "asserted": int((asserted > 0).sum()),
        "under_20_images": int((used & (expanded < 20)).sum()),
        "under_100_images": int((used & (expanded < 100)).sum()),
        "largest": [
            {"name": names[i], "asserted": int(asserted[i]), "expanded": int(expanded[i])}
            for i in largest
            if expanded[i]
        ],
    }


def label_counts(sample: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(images,) asserted and all labels of each image of a sample of expanded labels."""
    if not sample.num_rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    grouped = sample.append_column("one", pc.cast(sample["asserted"], pa.int64())).group_by(KEY, use_threads=False)
    counts = grouped.aggregate([("one", "sum"), ("one", "count")])
    return counts["one_sum"].to_numpy().astype(np.int64), counts["one_count"].to_numpy().astype(np.int64)


def _labels_per_image(sample: pa.Table) -> dict[str, Any]:
    before, after = label_counts(sample)
    if not len(after):
        return {"images": 0, "before": None, "after": None}
    return {"images": len(after), "before": float(before.mean()), "after": float(after.mean())}


def _image_facts(catalog: pa.Table) -> dict[str, Any]:
    """Of the sample: how it went, sizes as received, and exact duplicates by sha256."""
    ok = catalog.filter(pc.equal(catalog["status"], STATUS_OK))
    statuses = catalog["status"].value_counts().to_pylist() if catalog.num_rows else []
    distinct = len(pc.unique(ok["sha256"]))
    return {
        "sample": catalog.num_rows,
        "status": {s["values"]: s["counts"] for s in sorted(statuses, key=lambda s: (-s["counts"], s["values"]))},
        "exact_duplicates": ok.num_rows - distinct,
        "mean_original_bytes": float(pc.mean(ok["original_bytes"]).as_py() or 0),
        "mean_bytes": float(pc.mean(ok["bytes"]).as_py() or 0),
        "median_original_width": float(np.median(ok["original_width"].to_numpy())) if ok.num_rows else None,
        "median_original_height": float(np.median(ok["original_height"].to_numpy())) if ok.num_rows else None,
    }
