"""The search of `decontaminate`, read to write, against bare FAISS on the same matrices; and its memory as builds grow.

Draws unit vectors: the resident side, and training vectors in buckets on disk, one in a thousand a noisy copy of a
resident row. Measures in turns, bucket by bucket, so that a busy moment of the machine meets both alike, (a) FAISS
alone, one call on float32 matrices in memory: `range_search` at the threshold on a CPU, `search` with k = 4 on a GPU;
(b) ours: the bucket read from its Parquet file, searched, cosines computed again in float64, best views taken,
overlaps written. Out: JSON, and rows of Markdown for RESULTS.md. With --memory: peak resident memory of a process
that does (b) on so many vectors, each number in a process of its own.

    python benchmarks/bench_decontaminate.py --queries 1000000 --resident 65536 --dim 512
    python benchmarks/bench_decontaminate.py --memory 1000000 10000000 --resident 1024
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from openjft.dedup import EVAL_IMAGES, OVERLAPS, EvalIndex, embeddings_table, make_views
from openjft.dedup.schema import KEY_TYPE
from openjft.pipelines.config import Decontaminate
from openjft.pipelines.decontaminate.search import search_bucket
from openjft.pipelines.decontaminate.stage import overlaps_table
from openjft.pipelines.embed import write_embeddings
from openjft.pipelines.storage import Store, bucket_file

MIN_SCORE, NEIGHBOURS = 0.7, 4
BUCKET_ROWS = 62_500
VIEWS = make_views(("identity",))


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def draw_index(options: argparse.Namespace) -> EvalIndex:
    n = options.resident
    resident = unit(np.random.default_rng(options.seed), n, options.dim).astype(np.float16)
    images = pa.table([["drawn"] * n, [str(i) for i in range(n)], [""] * n], schema=EVAL_IMAGES)
    of_row = np.stack([np.arange(n, dtype=np.int32), np.zeros(n, np.int32)], axis=1)
    return EvalIndex(images, VIEWS, resident, of_row, "drawn", {})


def draw_bucket(options: argparse.Namespace, index: EvalIndex, bucket: int, rows: int) -> np.ndarray:
    """Training vectors, as float16 holds them."""
    rng = np.random.default_rng([options.seed, bucket])
    queries = unit(rng, rows, options.dim)
    copies = rng.choice(rows, max(1, rows // 1000), replace=False)
    noise = unit(rng, len(copies), options.dim) * 0.5
    queries[copies] = index.vectors[rng.integers(0, len(index.rows), len(copies))].astype(np.float32) + noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries.astype(np.float16)


def write_bucket(store: Store, bucket: int, buckets: int, vectors: np.ndarray) -> None:
    first = bucket * BUCKET_ROWS
    keys = pa.array([i.to_bytes(16) for i in range(first, first + len(vectors))], KEY_TYPE)
    write_embeddings(store, bucket_file("embeddings", bucket, buckets), embeddings_table(keys, vectors))


def ours(store: Store, index: EvalIndex, bucket: int, buckets: int) -> int:
    """Reads, searches and writes one bucket; the number of pairs."""
    source = bucket_file("embeddings", bucket, buckets)
    pairs = search_bucket(store, source, index, min_score=MIN_SCORE, neighbours=NEIGHBOURS)
    table = overlaps_table(pairs, [None] * len(pairs.row), index, Decontaminate())
    store.write_table(bucket_file("overlaps", bucket, buckets), table.cast(OVERLAPS))
    return table.num_rows


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(options: argparse.Namespace, store: Store) -> dict[str, object]:
    index = draw_index(options)
    bare = faiss.IndexFlatIP(options.dim)
    bare.add(index.vectors.astype(np.float32))
    gpu = faiss.get_num_gpus() > 0
    device = faiss.index_cpu_to_all_gpus(bare) if gpu else bare
    buckets = -(-options.queries // BUCKET_ROWS)
    index.search(index.vectors[:300].astype(np.float32), min_score=MIN_SCORE, neighbours=NEIGHBOURS)  # FAISS loads
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    pairs = 0
    for bucket in range(buckets):
        rows = min(BUCKET_ROWS, options.queries - bucket * BUCKET_ROWS)
        half = draw_bucket(options, index, bucket, rows)
        write_bucket(store, bucket, buckets, half)
        single = half.astype(np.float32)
        runs: dict[str, Callable[[], object]] = {
            "bare": lambda x=single: device.search(x, 4) if gpu else device.range_search(x, MIN_SCORE),
            "ours": lambda b=bucket: ours(store, index, b, buckets),
        }
        for name in sorted(runs, reverse=bool(bucket % 2)):
            seconds[name].append(timed(runs[name]))
        pairs += store.read_table(bucket_file("overlaps", bucket, buckets), ["score"]).num_rows
    ratios = np.array(seconds["bare"]) / np.array(seconds["ours"])
    return {
        "queries": options.queries,
        "resident_rows": len(index.rows),
        "dim": options.dim,
        "device": f"{faiss.get_num_gpus()} GPU" if gpu else f"{faiss.omp_get_max_threads()} threads",
        "bare_queries_per_s": round(options.queries / sum(seconds["bare"])),
        "ours_queries_per_s": round(options.queries / sum(seconds["ours"])),
        "ratio": round(sum(seconds["bare"]) / sum(seconds["ours"]), 3),
        "ratio_of_buckets": [round(float(q), 3) for q in np.percentile(ratios, [0, 50, 100])],
        "pairs": pairs,
        **machine(),
    }


def machine() -> dict[str, object]:
    return {
        "machine": f"{len(os.sched_getaffinity(0))} cores {platform.machine()}, FAISS {faiss.__version__}",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def run_memory(options: argparse.Namespace, store: Store) -> dict[str, object]:
    """What one process needs; the vectors were written by another."""
    index = draw_index(options)
    buckets = -(-options.queries // BUCKET_ROWS)
    start = time.perf_counter()
    pairs = sum(ours(store, index, bucket, buckets) for bucket in range(buckets))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"queries": options.queries, "resident_rows": options.resident, "dim": options.dim, "pairs": pairs,
            "queries_per_s": round(options.queries / seconds), "peak_mib": peak, **machine()}  # fmt: skip


def memory(options: argparse.Namespace, store: Store) -> list[dict[str, object]]:
    """Peak memory of (b) for each number of vectors."""
    index = draw_index(options)
    results = []
    for queries in options.memory:
        buckets = -(-queries // BUCKET_ROWS)
        for bucket in range(buckets):
            rows = min(BUCKET_ROWS, queries - bucket * BUCKET_ROWS)
            write_bucket(store, bucket, buckets, draw_bucket(options, index, bucket, rows))
        told = ["--run-memory", store.root, "--queries", str(queries), "--resident", str(options.resident)]
        command = [sys.executable, __file__, *told, "--dim", str(options.dim), "--seed", str(options.seed)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results.append(json.loads(done.stdout))
        store.delete("embeddings")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=125_000, help="training vectors")
    parser.add_argument("--resident", type=int, default=65_536, help="vectors of the eval side")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, nargs="+", help="measure peak memory on so many vectors instead")
    parser.add_argument("--run-memory", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a small input, to see that it runs")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    if options.run_memory:
        print(json.dumps(run_memory(options, Store(options.run_memory))))
        return
    if options.quick:
        options.queries, options.resident = 4_000, 5_000
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        result = memory(options, store) if options.memory else measure(options, store)
    text = json.dumps(result, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    if isinstance(result, dict):
        print("| queries | resident | dim | device | bare FAISS q/s | ours q/s | ours / bare | machine | date |")
        print("|---|---|---|---|---|---|---|---|---|")
        print(
            "| {queries:,} | {resident_rows:,} | {dim} | {device} | {bare_queries_per_s:,} | {ours_queries_per_s:,} "
            "| {ratio:.2f} | {machine} | {date} |".format_map(result)
        )


if __name__ == "__main__":
    main()
