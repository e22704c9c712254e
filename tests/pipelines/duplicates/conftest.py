"""A small training set with known duplicates: catalog and embeddings, and the four stages run on it."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup import embeddings_table
from openjft.pipelines.duplicates import CellsStage, DuplicatesStage, EdgesStage, MembersStage
from openjft.pipelines.engine import Records, fingerprint, run_unit, start_stage
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.schema import CATALOG, EXPANDED
from openjft.pipelines.storage import Store, bucket_file

DIM = 8
THRESHOLD = 0.9
BUCKETS = 3


def key(i: int) -> bytes:
    return hashlib.blake2b(str(i).encode(), digest_size=16).digest()


class Image:
    """One image of the set; `vector` None: it could not be embedded."""

    def __init__(self, i, vector, *, content=None, side=100, perceptual=None, ok=True):
        self.key, self.vector, self.side, self.perceptual, self.ok = key(i), vector, side, perceptual, ok
        self.sha256 = hashlib.sha256(str(content if content is not None else f"own {i}").encode()).digest()

    def catalog(self):
        row = {"image_key": self.key, "uri": self.key.hex(), "attempts": 1, "status": "ok" if self.ok else "timeout"}
        return row | ({"sha256": self.sha256, "original_width": self.side, "original_height": 10} if self.ok else {})


class Built:
    """The set in a store."""

    def __init__(self, folder, images, *, buckets=BUCKETS):
        self.store, self.buckets = Store(str(folder)), buckets
        self.images = sorted(images, key=lambda image: image.key)
        numbers = buckets_of(pa.array([i.key for i in self.images], pa.binary(16)), buckets).tolist()
        for bucket in range(buckets):
            mine = [i for i, b in zip(self.images, numbers, strict=True) if b == bucket]
            catalog = pa.Table.from_pylist([i.catalog() for i in mine], CATALOG)
            self.store.write_table(bucket_file("catalog", bucket, buckets), catalog)
            has = [i for i in mine if i.ok and i.vector is not None]
            vectors = np.array([i.vector for i in has], np.float32).reshape(-1, DIM)
            hashes = pa.array([i.perceptual for i in has], pa.uint64())
            table = embeddings_table(pa.array([i.key for i in has], pa.binary(16)), vectors, hashes)
            self.store.write_table(bucket_file("embeddings", bucket, buckets), table)

    def expanded(self, labels):
        """Writes expanded/: key -> rows (label, probability, asserted, from_label)."""
        numbers = buckets_of(pa.array([i.key for i in self.images], pa.binary(16)), self.buckets).tolist()
        for bucket in range(self.buckets):
            rows = [
                dict(zip(EXPANDED.names, (i.key, *row), strict=True))
                for i, b in zip(self.images, numbers, strict=True)
                if b == bucket
                for row in labels.get(i.key, ())
            ]
            self.store.write_table(bucket_file("expanded", bucket, self.buckets), pa.Table.from_pylist(rows, EXPANDED))

    def run(self, *, cells=None, policy="keep-largest", threshold=THRESHOLD, whole=32_768, order=None):
        """The four stages; the accounts by name."""
        n, accounts = self.buckets, {}
        for stage in (
            CellsStage(cells, 17, n),
            EdgesStage(threshold, n, whole),
            MembersStage(threshold, n),
            DuplicatesStage(policy, n),
        ):
            print_ = fingerprint(stage, [])
            start_stage(stage, self.store, print_)
            stage.prepare(self.store)
            for unit in order or range(n):
                run_unit(stage, unit, self.store, print_)
            records = Records(stage, self.store, print_)
            records.refresh()
            accounts[stage.name] = records.total()
            stage.finish(self.store, accounts[stage.name])
        return accounts

    def rows(self):
        """All rows of duplicates/, by bucket and then in its order."""
        paths = [bucket_file("duplicates", bucket, self.buckets) for bucket in range(self.buckets)]
        return [row for path in paths for row in self.store.read_table(path).to_pylist()]

    def groups(self):
        """Representative -> its members, itself among them."""
        found = defaultdict(set)
        for row in self.rows():
            found[row["group"]].add(row["image_key"])
        return dict(found)


@pytest.fixture
def built(tmp_path):
    def make(images, *, name="out", buckets=BUCKETS):
        return Built(tmp_path / name, images, buckets=buckets)

    return make


def unit_vector(rng):
    vector = rng.standard_normal(DIM)
    return vector / np.linalg.norm(vector)


def near(vector, rng, amount=0.05):
    """Another unit vector at a cosine of about 1 - amount^2 dim / 2."""
    moved = vector + amount * rng.standard_normal(DIM)
    return moved / np.linalg.norm(moved)
