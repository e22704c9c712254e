"""A small hierarchy with a diamond, vectors drawn around its classes, and a build's files written by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup import embeddings_table
from openjft.pipelines.keys import buckets_of, image_keys
from openjft.pipelines.schema import SCORES, evidence_schema
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Category, Closure, Edge, Taxonomy, ancestor_closure, build_taxonomy

DIM = 12


@dataclasses.dataclass
class World:
    """Images of a hierarchy, in key order: image i has the labels where `row == i`."""

    taxonomy: Taxonomy
    closure: Closure
    uris: list[str]
    keys: pa.Array
    vectors: np.ndarray  # (images, DIM) unit vectors, float16
    row: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    right: np.ndarray

    def label_of(self, name: str) -> int:
        return self.taxonomy.index_of(name)

    def write(self, store: Store, num_buckets: int, *, vectors: np.ndarray | None = None, lost=()) -> None:
        """evidence/, scores/, embeddings/ and the hierarchy; images `lost` have no vector."""
        self.write_hierarchy(store)
        vectors = self.vectors if vectors is None else vectors
        buckets = buckets_of(self.keys, num_buckets)
        there = ~np.isin(np.arange(len(self.keys)), list(lost))
        for bucket in range(num_buckets):
            rows = np.flatnonzero(buckets[self.row] == bucket)
            self._write_bucket(store, bucket, num_buckets, rows)
            images = np.flatnonzero((buckets == bucket) & there)
            table = self.vector_table(self.keys.take(pa.array(images)), vectors[images])
            store.write_table(bucket_file("embeddings", bucket, num_buckets), table)

    def write_hierarchy(self, store: Store, confusions=()) -> None:
        for name, table in zip(("vocabulary", "edges"), self.taxonomy.to_tables(), strict=True):
            store.write_table(f"taxonomy/{name}.parquet", table)
        left, right = ([pair[i] for pair in confusions] for i in (0, 1))
        pairs = {"label": pa.array(left, pa.int32()), "inside_label": pa.array(right, pa.int32())}
        store.write_table("taxonomy/confusions.parquet", pa.table(pairs))

    @staticmethod
    def vector_table(keys: pa.Array, vectors: np.ndarray) -> pa.Table:
        """As `embeddings_table`, but for NaN, which that refuses."""
        table = embeddings_table(keys, np.where(np.isfinite(vectors), vectors, 0))
        flat = pa.array(np.ascontiguousarray(vectors, np.float16).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, type=table.schema.field("vector").type)
        return table.set_column(1, table.schema.field("vector"), column)

    def _write_bucket(self, store: Store, bucket: int, num_buckets: int, rows: np.ndarray) -> None:
        schema = evidence_schema(("alt",))
        given = {
            "image_key": self.keys.take(pa.array(self.row[rows])),
            "label": pa.array(self.label[rows]),
            "uri": pa.array([self.uris[i] for i in self.row[rows]], pa.string()),
            "alt.score": pa.nulls(len(rows), pa.float32()),
        }
        ones = np.ones(len(rows), np.int64)
        columns = [given[f.name] if f.name in given else pa.array(ones).cast(f.type) for f in schema]
        store.write_table(bucket_file("evidence", bucket, num_buckets), pa.table(columns, schema=schema))
        scores = [pa.array(self.label[rows]), pa.array(self.probability[rows].astype(np.float32))]
        store.write_table(bucket_file("scores", bucket, num_buckets), pa.table(scores, schema=SCORES))


def draw_world(seed: int = 0, images: int = 240, spread: float = 0.35) -> World:
    """Nearly every image has one label that is right; a fifth have, beside it or instead, one of another class."""
    taxonomy = build_taxonomy(
        [Category(i) for i in ("thing", "animal", "pet", "cat", "dog", "poodle", "vehicle", "car", "bus")],
        [
            *(Edge(child, "animal") for child in ("pet", "dog", "cat")),
            *(Edge(child, "pet") for child in ("dog", "cat")),
            Edge("poodle", "dog"),
            *(Edge(child, "vehicle") for child in ("car", "bus")),
            *(Edge(child, "thing") for child in ("animal", "vehicle")),
        ],
        origin="test",
    )
    rng = np.random.default_rng(seed)
    leaves = np.array([taxonomy.index_of(i) for i in ("cat", "dog", "poodle", "car", "bus")], np.int32)
    centres = rng.normal(size=(taxonomy.num_categories, DIM))
    uris = [f"https://example.org/{i}.jpg" for i in range(images)]
    order = np.argsort(np.array(image_keys(uris).to_pylist(), object))
    uris = [uris[i] for i in order]
    shown = rng.choice(leaves, images)
    vectors = centres[shown] + spread * rng.normal(size=(images, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = rng.choice(leaves, images)
    extra, instead = rng.random(images) < 0.1, rng.random(images) < 0.1
    first = np.where(instead, wrong, shown)
    pairs = {(i, int(c)) for i, c in enumerate(first)} | {(i, int(wrong[i])) for i in np.flatnonzero(extra)}
    row, label = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    right = label == shown[row]
    probability = np.round(np.where(right, rng.beta(5, 2, len(row)), rng.beta(2, 3, len(row))), 6)
    return World(
        taxonomy,
        ancestor_closure(taxonomy),
        uris,
        image_keys(uris),
        vectors.astype(np.float16),
        row.astype(np.int64),
        label.astype(np.int32),
        probability,
        right,
    )


@pytest.fixture(scope="session")
def world() -> World:
    return draw_world()


@pytest.fixture
def tiny_world() -> World:
    return draw_world(images=3)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "out"))
