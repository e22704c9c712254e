"""The search of `decontaminate` against bare FAISS on the same matrices.

Draws unit vectors: eval images in 11 views (the resident side) and training vectors, one in a hundred a noisy copy of a
row. Measures in turns, so that a busy moment of the machine meets all alike, (a) FAISS alone, one call on float32
matrices in memory: `range_search` at the threshold on a CPU, `search` with k = 4 on a GPU; (b) ours: the same vectors
read from an embeddings Parquet file, searched, cosines computed again in float64, best views taken. Out: JSON, and a
row of Markdown for RESULTS.md. The ratio is the median of the turns' ratios; FAISS with k = 4 on the CPU stands beside.

    python benchmarks/bench_decontaminate.py --queries 100000 --eval-images 6000
    python benchmarks/bench_decontaminate.py --dim 512 --json out.json
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from openjft.dedup import EVAL_IMAGES, EvalIndex, embeddings_table, make_views
from openjft.dedup.schema import KEY_TYPE
from openjft.pipelines.decontaminate import search_bucket
from openjft.pipelines.embed import write_embeddings
from openjft.pipelines.storage import Store

MIN_SIMILARITY, NEIGHBOURS = 0.7, 4
SOURCE = "embeddings/00000-of-00001.parquet"
VIEWS = make_views(("identity", "mirror", "crop"))


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def draw(options: argparse.Namespace, store: Store) -> tuple[EvalIndex, np.ndarray]:
    """The index, and the training vectors, which lie in the store as well."""
    rng = np.random.default_rng(options.seed)
    rows = options.eval_images * len(VIEWS)
    resident = unit(rng, rows, options.dim).astype(np.float16)
    queries = unit(rng, options.queries, options.dim)
    copies = rng.choice(options.queries, max(1, options.queries // 100), replace=False)
    noise = unit(rng, len(copies), options.dim) * 0.5
    queries[copies] = resident[rng.integers(0, rows, len(copies))].astype(np.float32) + noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    images = [["drawn"] * options.eval_images, [str(i) for i in range(options.eval_images)], [""] * options.eval_images]
    of_row = np.stack(np.divmod(np.arange(rows, dtype=np.int32), np.int32(len(VIEWS))), axis=1)
    index = EvalIndex(pa.table(images, schema=EVAL_IMAGES), VIEWS, resident, of_row, "drawn", {})
    keys = pa.array([i.to_bytes(16) for i in range(options.queries)], KEY_TYPE)
    write_embeddings(store, SOURCE, embeddings_table(keys, queries))
    return index, queries.astype(np.float16).astype(np.float32)


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(options: argparse.Namespace, store: Store) -> dict[str, object]:
    index, queries = draw(options, store)
    bare = faiss.IndexFlatIP(options.dim)
    bare.add(index.vectors.astype(np.float32))
    gpu = faiss.get_num_gpus() > 0
    device = faiss.index_cpu_to_all_gpus(bare) if gpu else bare
    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: device.search(queries, 4) if gpu else device.range_search(queries, MIN_SIMILARITY),
        "ours": lambda: search_bucket(store, SOURCE, index, min_similarity=MIN_SIMILARITY, neighbours=NEIGHBOURS),
        "bare_k4": lambda: device.search(queries, 4),
    }
    index.search(queries[:300], min_similarity=MIN_SIMILARITY, neighbours=NEIGHBOURS)  # FAISS takes the vectors in
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds):
        for name in sorted(runs, reverse=bool(turn % 2)):
            seconds[name].append(timed(runs[name]))
    rates = {name: options.queries / statistics.median(times) for name, times in seconds.items()}
    pairs = len(search_bucket(store, SOURCE, index, min_similarity=MIN_SIMILARITY, neighbours=NEIGHBOURS).row)
    ratios = [bare_s / ours_s for bare_s, ours_s in zip(seconds["bare"], seconds["ours"], strict=True)]
    return {
        "queries": options.queries,
        "resident_rows": len(index.rows),
        "dim": options.dim,
        "device": f"{faiss.get_num_gpus()} GPU" if gpu else f"{faiss.omp_get_max_threads()} threads",
        "bare_queries_per_s": round(rates["bare"]),
        "bare_k4_queries_per_s": round(rates["bare_k4"]),
        "ours_queries_per_s": round(rates["ours"]),
        "ratio": round(statistics.median(ratios), 3),
        "pairs": pairs,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": f"{len(os.sched_getaffinity(0))} cores {platform.machine()}, FAISS {faiss.__version__}",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=50_000, help="training vectors")
    parser.add_argument("--eval-images", type=int, default=6_000, help="in 11 views each: 66,000 resident vectors")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a small input, to see that it runs")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    if options.quick:
        options.queries, options.eval_images, options.rounds = 4_000, 500, 1
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Store(folder))
    text = json.dumps(result, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    print("| queries | resident | dim | device | bare FAISS q/s | ours q/s | ours / bare | peak MiB | machine | date |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    print(
        "| {queries:,} | {resident_rows:,} | {dim} | {device} | {bare_queries_per_s:,} | {ours_queries_per_s:,} "
        "| {ratio:.2f} | {peak_mib:,} | {machine} | {date} |".format_map(result)
    )


if __name__ == "__main__":
    main()
