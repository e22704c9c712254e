"""Stage `expanded`: the kept labels and their ancestors through the hierarchy, bucket by bucket.

In: `labels/` and `taxonomy/`. Out: `expanded/`, the same labels (asserted) and their inferred ancestors, sorted by
(image_key, label); where trivial ancestors are dropped, `expanded/_information.json` says which. Source: METHODS
section 3. It adds no negatives and drops no asserted label.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.taxonomy import Closure, Taxonomy, ancestor_closure, expand_labels, information_content

from .config import Expand
from .engine import Stage, UnitResult
from .keys import KEY_BYTES, key_words
from .schema import EXPANDED, KEY, LABEL
from .storage import Store, bucket_file

LABELS_STAGE: Final = "labels"
INFORMATION: Final = "expanded/_information.json"

# A prefix of the buckets is a uniform sample: of 1M labels, a share near 1/2 has a standard error of 0.0005,
# which is 0.0015 bit.
SAMPLE_LABELS: Final = 1_000_000


@dataclasses.dataclass(frozen=True)
class ExpandStage(Stage):
    """Adds ancestors to the labels of each bucket."""

    config: Expand
    num_buckets: int

    name: ClassVar[str] = "expanded"
    noun: ClassVar[str] = "labels"

    def num_units(self) -> int:
        """One a bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """The configuration's section."""
        return self.config.model_dump(mode="json")

    def prepare(self, store: Store) -> None:
        """Measures which ancestors say too little, where any are to be dropped."""
        if self.config.min_information_bits > 0:
            store.write_json(INFORMATION, measure_information(store, self.config, self.num_buckets))

    def run(self, unit: int, store: Store) -> UnitResult:
        """Expands one bucket."""
        table = store.read_table(bucket_file(LABELS_STAGE, unit, self.num_buckets), [KEY, LABEL, "probability"])
        _, closure = load_taxonomy(store)
        expanded, images = expand_table(table, closure, keep=self._kept_ancestors(store, closure))
        store.write_table(bucket_file(self.name, unit, self.num_buckets), expanded)
        return UnitResult(
            rows_in=len(table),
            rows_out=len(table),
            counters={"asserted": len(table), "inferred": len(expanded) - len(table), "images": images},
        )

    def _kept_ancestors(self, store: Store, closure: Closure) -> npt.NDArray[np.bool_] | None:
        if self.config.min_information_bits == 0:
            return None
        keep = np.ones(closure.num_categories, np.bool_)
        keep[[item["label"] for item in store.read_json(INFORMATION)["dropped"]]] = False
        return keep


def load_taxonomy(store: Store) -> tuple[Taxonomy, Closure]:
    """The build's hierarchy and its closure; built once for each worker, by content."""
    return _build(store.read_bytes("taxonomy/vocabulary.parquet"), store.read_bytes("taxonomy/edges.parquet"))


@functools.lru_cache(maxsize=2)
def _build(vocabulary: bytes, edges: bytes) -> tuple[Taxonomy, Closure]:
    tables = (pq.read_table(pa.BufferReader(data)) for data in (vocabulary, edges))
    taxonomy = Taxonomy.from_tables(*tables)
    return taxonomy, ancestor_closure(taxonomy)


def expand_table(
    labels: pa.Table, closure: Closure, *, keep: npt.NDArray[np.bool_] | None = None
) -> tuple[pa.Table, int]:
    """A bucket's labels and their ancestors.

    Args:
        labels: rows of `LABELS` (key, label and probability are enough), sorted by (image_key, label).
        closure: of the labels' taxonomy.
        keep: (num_categories,) ancestors that may be added; None adds all.

    Returns:
        (table, images): rows of `EXPANDED`, and how many images there are.
    """
    # Two words at a time: the keys are compared, never read.
    words = np.ascontiguousarray(key_words(labels[KEY])).view(np.uint64)
    changes = (words[1:] != words[:-1]).any(axis=1)
    image = np.zeros(len(words), np.int64)
    np.cumsum(changes, out=image[1:])
    first = np.concatenate([[0], np.flatnonzero(changes) + 1]) if len(words) else np.empty(0, np.int64)
    result = expand_labels(image, labels[LABEL].to_numpy(), labels["probability"].to_numpy(), closure, keep=keep)
    keys = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(KEY_BYTES), len(result.label), [None, pa.py_buffer(words[first[result.image_index]])]
    )
    columns = [keys, pa.array(result.label), pa.array(result.probability), pa.array(result.asserted)]
    return pa.table(columns, schema=EXPANDED), len(first)


def measure_information(store: Store, config: Expand, num_buckets: int) -> dict[str, Any]:
    """Information content on a prefix of the buckets, and the ancestors below the configured bits.

    Returns:
        JSON values: the sample's `buckets` and `labels`, and `dropped`, each with label, id, name, bits.
    """
    taxonomy, closure = load_taxonomy(store)
    counts = np.zeros(taxonomy.num_categories, np.int64)
    buckets = 0
    while buckets < num_buckets and counts.sum() < SAMPLE_LABELS:
        labels = store.read_table(bucket_file(LABELS_STAGE, buckets, num_buckets), [LABEL])[LABEL]
        counts += np.bincount(labels.to_numpy(), minlength=taxonomy.num_categories)
        buckets += 1
    bits = information_content(closure, counts)
    dropped = [
        {"label": label, "id": taxonomy.ids[label], "name": taxonomy.names[label], "bits": round(float(bits[label]), 6)}
        for label in np.flatnonzero(bits < config.min_information_bits).tolist()
    ]
    return {"buckets": buckets, "labels": int(counts.sum()), "dropped": dropped}
