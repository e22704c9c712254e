"""A toy hierarchy, tables of labels, and what a source says of its samples."""

from __future__ import annotations

import csv
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.loaders import Dataset
from openjft.loaders.labels import LabelTable
from openjft.loaders.labels.own import own_rows
from openjft.pipelines.schema import EXPANDED
from openjft.taxonomy import Category, Edge, build_taxonomy

IDS = ["animal", "beagle", "dog", "rock", "spaniel"]
EDGES = [("dog", "animal"), ("beagle", "dog"), ("spaniel", "dog")]
TAXONOMY = build_taxonomy([Category(i) for i in IDS], [Edge(*pair) for pair in EDGES], origin="test")


@pytest.fixture(scope="session")
def dataset(make_dataset, tmp_path_factory) -> Dataset:
    """40 images in 3 shards; classes 0, 1 and 2, and 3 above them."""
    return Dataset.open(make_dataset(tmp_path_factory.mktemp("data"), 40, 3, 32, 0, shards=3))


def keys_of(source):
    """Keys of the samples, by number."""
    shards, rows = source.locate(np.arange(source.num_samples))
    return [source.index(s).keys[r].tobytes() for s, r in zip(shards.tolist(), rows.tolist(), strict=True)]


def labels_of(source):
    """{key: {label: (probability, asserted, from)}} of the samples that are numbered."""
    found = {}
    for shard, row in zip(*(part.tolist() for part in source.locate(np.arange(source.num_samples))), strict=True):
        index = source.index(shard)
        part = slice(*index.labels.offsets[row : row + 2].tolist())
        columns = (index.labels.values, index.probabilities, index.asserted, index.from_labels)
        found[index.keys[row].tobytes()] = {
            c: (round(p, 5), a, f) for c, p, a, f in zip(*(column[part].tolist() for column in columns), strict=True)
        }
    return found


def subset_keys(source, low, high):
    """Keys of the samples of a subset, in its order."""
    subset = source.subset(low, high)
    shards, rows = source.locate(subset.numbers(np.arange(subset.num_samples)))
    return [source.index(s).keys[r].tobytes() for s, r in zip(shards.tolist(), rows.tolist(), strict=True)]


def write_csv(path, rows, columns=("image_key", "label", "probability")):
    """A CSV table; its path as text."""
    with path.open("w", newline="") as sink:
        csv.writer(sink).writerows([columns, *rows])
    return str(path)


def expanded_build(folder, rows, buckets=1, *, row_group_rows=None):
    """A build's folders: `rows` of (key, label, probability, asserted, from_label) by bucket, and the hierarchy."""
    for name, table in zip(("vocabulary", "edges"), TAXONOMY.to_tables(), strict=True):
        (folder / "taxonomy").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"taxonomy/{name}.parquet")
    (folder / "expanded").mkdir()
    for i, part in enumerate(np.array_split(np.arange(len(rows)), buckets)):
        columns = list(zip(*(rows[j] for j in part.tolist()), strict=True)) or [()] * 5
        table = pa.table(list(columns), schema=EXPANDED)
        pq.write_table(table, folder / f"expanded/{i:05d}.parquet", row_group_size=row_group_rows)
    return folder


class Parts:
    """Labels that are in memory, as a part of a table."""

    rejected: ClassVar = {}
    taxonomy = TAXONOMY

    def __init__(self, rows, fingerprint="x"):
        self.rows, self.fingerprint = rows, fingerprint
        self.first_keys = [rows.keys[0].tobytes()]

    def read(self, _part):
        return self.rows


def table_of(pairs, **columns):
    """A label table of {(key, label): probability}."""
    table = pa.table(
        {
            "image_key": pa.array([key for key, _ in pairs], pa.binary(16)),
            "label": pa.array([label for _, label in pairs], pa.int64()),
            "probability": pa.array(list(pairs.values()), pa.float64()),
            **columns,
        }
    )
    return LabelTable(Parts(own_rows(table, TAXONOMY, where="t").rows))


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """The hierarchy and the helpers of this module."""
    return SimpleNamespace(
        ids=IDS,
        taxonomy=TAXONOMY,
        keys_of=keys_of,
        labels_of=labels_of,
        subset_keys=subset_keys,
        table_of=table_of,
        write_csv=write_csv,
        expanded_build=expanded_build,
    )
