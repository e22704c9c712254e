"""Duplicates inside a training set: recall of the cells against comparing all with all, time, memory.

Run: python benchmarks/bench_duplicates.py [images] [dim] [threshold]

Draws `images` vectors around as many centres as a set of this size has themes, plants copies of 5 % of them at drawn
similarities above the threshold, and runs the stages in one process. 5,000 vectors are one placeholder. Truth: all
pairs of a planted copy with any vector, by exact search; no others are near each other. It measures the search alone.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import tempfile
import time

import faiss
import numpy as np
import pyarrow as pa

from openjft.dedup import embeddings_table
from openjft.dedup.groups import connected, make_groups
from openjft.pipelines.duplicates import CellsStage, DuplicatesStage, EdgesStage, MembersStage
from openjft.pipelines.engine import Records, run_unit, start_stage
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.schema import CATALOG, KEY_TYPE
from openjft.pipelines.storage import Store, bucket_file

BUCKETS = 8
PLANTED = 0.05
THEMES = 2_000  # centres that vectors lie around: web images are no uniform noise
COPIES_OF_PLACEHOLDER = 5_000


def draw(images: int, dim: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(images, dim) float16 unit vectors, and (pairs, 2) rows of each planted copy and its original."""
    rng = np.random.default_rng(17)
    planted = int(PLANTED * images)
    plain = images - planted
    centres = rng.standard_normal((THEMES, dim), np.float32)
    base = centres[rng.integers(0, THEMES, plain)] * 0.6 + rng.standard_normal((plain, dim), np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    # A clump: one placeholder, a little different under each address.
    base[:COPIES_OF_PLACEHOLDER] = base[0] + 0.002 * rng.standard_normal((COPIES_OF_PLACEHOLDER, dim), np.float32)
    originals = rng.choice(np.arange(COPIES_OF_PLACEHOLDER, plain), planted, replace=False)
    cosine = rng.uniform(threshold + 0.005, 0.999, planted).astype(np.float32)
    noise = rng.standard_normal((planted, dim), np.float32)
    noise -= np.einsum("ij,ij->i", noise, base[originals])[:, None] * base[originals]
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    copies = base[originals] * cosine[:, None] + noise * np.sqrt(1 - cosine**2)[:, None]
    vectors = np.concatenate([base, copies])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16), np.stack([np.arange(plain, images), originals], axis=1)


def write(store: Store, vectors: np.ndarray) -> None:
    """The set as embeddings/ and catalog/."""
    keys = [hashlib.blake2b(str(i).encode(), digest_size=16).digest() for i in range(len(vectors))]
    order = np.argsort(np.array(keys, "S16"), kind="stable")
    sizes = np.random.default_rng(1).integers(100, 1000, len(vectors))
    column = pa.array([keys[i] for i in order], KEY_TYPE)
    buckets = buckets_of(column, BUCKETS)
    for bucket in range(BUCKETS):
        here = np.flatnonzero(buckets == bucket)
        mine = column.take(pa.array(here))
        store.write_table(bucket_file("embeddings", bucket, BUCKETS), embeddings_table(mine, vectors[order[here]]))
        facts = {
            "image_key": mine,
            "uri": ["u"] * len(here),
            "status": ["ok"] * len(here),
            "attempts": pa.array(np.ones(len(here)), pa.int16()),
            "sha256": [hashlib.sha256(key).digest() for key in mine.to_pylist()],
            "original_width": sizes[order[here]],
            "original_height": sizes[order[here]],
        }
        columns = [pa.array(facts[f.name], f.type) if f.name in facts else pa.nulls(len(here), f.type) for f in CATALOG]
        store.write_table(bucket_file("catalog", bucket, BUCKETS), pa.table(columns, schema=CATALOG))


def all_pairs(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """(pairs, 2) rows of the pairs at the threshold of which one is a planted copy, by exact search."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    wide = vectors.astype(np.float32)
    index.add(wide)
    first = len(wide) - int(PLANTED * len(wide))
    limits, _, rows = index.range_search(wide[first:], threshold)
    a = np.repeat(np.arange(first, len(wide)), np.diff(limits.astype(np.int64)))
    pairs = np.sort(np.stack([a, rows], axis=1)[a != rows], axis=1)
    return np.unique(pairs, axis=0)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(images: int, dim: int, threshold: float) -> None:
    vectors, planted = draw(images, dim, threshold)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        write(store, vectors)
        print(f"{images:,} vectors of {dim}, threshold {threshold}, peak {peak_mb():,.0f} MB before")
        stages = (
            CellsStage(None, 17, BUCKETS),
            EdgesStage(threshold, BUCKETS),
            MembersStage(threshold, BUCKETS),
            DuplicatesStage("keep-largest", BUCKETS),
        )
        for stage in stages:
            begin = time.perf_counter()
            start_stage(stage, store, "bench")
            stage.prepare(store)
            prepared = time.perf_counter() - begin
            for unit in range(BUCKETS):
                run_unit(stage, unit, store, "bench")
            records = Records(stage, store, "bench")
            records.refresh()
            ran = time.perf_counter() - begin
            stage.finish(store, records.total())
            took = time.perf_counter() - begin
            print(
                f"{stage.name:10} {took:6.1f} s ({prepared:.1f} before, {took - ran:.1f} after), peak {peak_mb():,.0f} "
                f"MB, {dict(records.total().counters)}"
            )
        summary = store.read_json("members/_groups.json")
        paths = [bucket_file("duplicates", bucket, BUCKETS) for bucket in range(BUCKETS)]
        table = pa.concat_tables([store.read_table(path) for path in paths])
        size = sum(store.size(path) for path in store.list_files("cells", recursive=True))
    print(f"cells/ {size / 1e6:,.0f} MB; groups {summary['groups']:,}, images {summary['images']:,}")
    judge(table, vectors, planted, threshold)


def judge(table: pa.Table, vectors: np.ndarray, planted: np.ndarray, threshold: float) -> None:
    """Recall of planted copies and of all pairs, and what the groups of comparing all with all would be."""
    keys = [hashlib.blake2b(str(i).encode(), digest_size=16).digest() for i in range(len(vectors))]
    row_of = {key: i for i, key in enumerate(keys)}
    group = np.arange(len(vectors))
    for row in table.select(["image_key", "group"]).to_pylist():
        group[row_of[row["image_key"]]] = row_of[row["group"]]
    together = group[planted[:, 0]] == group[planted[:, 1]]
    print(
        f"planted copies in the group of their original: {together.sum():,} of {len(planted):,} ({together.mean():.2%})"
    )
    a, b = (vectors[planted[:, side]].astype(np.float32) for side in (0, 1))
    cosine = np.einsum("ij,ij->i", a, b)
    for low in np.arange(threshold, 0.999, 0.05):
        here = (cosine >= low) & (cosine < low + 0.05)
        print(f"  similarity {low:.2f} to {low + 0.05:.2f}: {together[here].mean():.2%} of {here.sum():,}")
    begin = time.perf_counter()
    pairs = all_pairs(vectors, threshold)
    print(f"exact search: {len(pairs):,} pairs in {time.perf_counter() - begin:.1f} s")
    sizes = np.random.default_rng(1).integers(100, 1000, len(vectors))
    rank = np.empty(len(vectors), np.int64)
    rank[np.lexsort((np.array(keys, "S16"), -(sizes**2)))] = np.arange(len(vectors))
    used = np.unique(pairs)
    place = {int(row): i for i, row in enumerate(used)}
    ends = np.array([[place[int(a)], place[int(b)]] for a, b in pairs], np.int64).reshape(-1, 2)
    component = connected(ends[:, 0], ends[:, 1], len(used))
    exact = make_groups(component, rank[used], np.arange(len(used)), vectors[used], min_similarity=threshold)
    same = group[used] == used[exact.leader]
    moved = exact.leader != np.arange(len(used))
    print(f"images with the very same representative as by all with all: {same.mean():.2%} of {len(used):,} in pairs")
    print(f"images left out as by all with all: {(group[used] != used)[moved].mean():.2%} of {moved.sum():,}")


if __name__ == "__main__":
    numbers = sys.argv[1:]
    main(
        int(numbers[0]) if numbers else 200_000,
        int(numbers[1]) if len(numbers) > 1 else 512,
        float(numbers[2]) if len(numbers) > 2 else 0.8,
    )
