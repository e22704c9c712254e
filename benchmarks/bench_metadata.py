"""Measures the metadata stages, `ingest` to `expand`, on synthetic pairs: rows a second and peak memory.

    python benchmarks/bench_metadata.py --pairs 10000000 --workers 2

Writes Parquet files of pairs (realistic addresses, four sources, pages, clicks, a hierarchy of a few thousand
categories) to a temporary folder, runs each command of the build as a user would, and samples the resident
memory of the whole process tree from /proc. Out: JSON, and one row of Markdown for RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COMMANDS = ("ingest", "precision", "expand")
SOURCES = (("alt", "links"), ("caption", "links"), ("anchor", "links"), ("classifier", "score"))
CHUNK_ROWS = 1_000_000
MEMORY_INTERVAL_S = 0.05


# -- the one place that knows how a stage is run -----------------------------------------------------------------
def run_stages(config_path: Path, stages: tuple[str, ...] = COMMANDS) -> dict[str, dict[str, float]]:
    """Runs commands of the build one after another; seconds and peak resident bytes of each."""
    results = {}
    for stage in stages:
        command = [sys.executable, "-m", "openjft.pipelines", stage, str(config_path)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with peak_memory(process.pid) as peak:
            code = process.wait()
        if code:
            raise SystemExit(f"`{' '.join(command)}` ended with {code}")
        results[stage] = {"seconds": time.perf_counter() - start, "peak_bytes": peak[0]}
    return results


# ----------------------------------------------------------------------------------------------------------------


def tree_rss(root: int) -> int:
    """Resident bytes of a process and all below it (shared pages count once for each)."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
            resident[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        total += resident.get(pid, 0)
        todo += children.get(pid, [])
    return total


@contextlib.contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """A list of one number: the highest resident size of the process tree so far."""
    peak, stop = [0], threading.Event()

    def sample() -> None:
        while not stop.wait(MEMORY_INTERVAL_S):
            peak[0] = max(peak[0], tree_rss(pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def write_taxonomy(path: Path, categories: int) -> None:
    """A hierarchy as a CSV of edges: every category below one of an earlier, smaller number."""
    rng = np.random.default_rng(3)
    parents = [int(rng.integers(0, max(1, child // 8 + 1))) for child in range(1, categories)]
    lines = ["child,parent", *(f"c{child:05d},c{parent:05d}" for child, parent in enumerate(parents, 1))]
    path.write_text("\n".join(lines) + "\n")


def pairs_table(rng: np.random.Generator, rows: int, images: int, categories: int) -> pa.Table:
    """Raw pairs: about three rows for an image, labels that several sources agree on, pages of 40k sites."""
    image = rng.integers(0, images, rows)
    site = (image * 2654435761 % 1_000_003) ** 2 % 40_009
    # Three quarters of an image's rows name its own category, the others any.
    own = rng.random(rows) < 0.75
    label = np.where(own, image * 7919 % categories, rng.integers(0, categories, rows))
    source = rng.choice(len(SOURCES), rows, p=(0.4, 0.25, 0.2, 0.15))
    page_site = np.where(rng.random(rows) < 0.5, site, rng.integers(0, 40_009, rows))
    page = rng.integers(0, 1 << 32, rows)
    uris = [
        f"https://img{s % 7}.site{s}.example.com/photos/{2005 + i % 20}/{i:x}-{i * 7919 % 1000003}.jpg"
        for i, s in zip(image.tolist(), site.tolist(), strict=True)
    ]
    pages = [f"https://www.site{s}.com/a/{p:x}.html" for s, p in zip(page_site.tolist(), page.tolist(), strict=True)]
    scored = source == len(SOURCES) - 1
    names = pa.array([name for name, _ in SOURCES])
    return pa.table(
        {
            "uri": pa.array(uris),
            "label": pa.array([f"c{c:05d}" for c in range(categories)]).take(pa.array(label)),
            "source": names.take(pa.array(source)),
            "score": pa.array(rng.normal(0, 1, rows).astype(np.float32), mask=~scored),
            "page": pa.array(pages, mask=scored),
        }
    )


def write_pairs(folder: Path, pairs: int, categories: int) -> int:
    """Parquet files of a million rows; returns their bytes."""
    folder.mkdir()
    images = max(1, pairs // 3)
    for number, start in enumerate(range(0, pairs, CHUNK_ROWS)):
        table = pairs_table(np.random.default_rng(number), min(CHUNK_ROWS, pairs - start), images, categories)
        pq.write_table(table, folder / f"{number:05d}.parquet", compression="zstd")
    return sum(path.stat().st_size for path in folder.iterdir())


def write_config(folder: Path, workers: int, buckets: int) -> Path:
    """The configuration of the build."""
    sources = "\n".join(f'[[sources]]\nname = "{name}"\nkind = "{kind}"' for name, kind in SOURCES)
    path = folder / "bench.toml"
    path.write_text(
        f"""[build]
name = "bench"
output = "out"
buckets = {buckets}

[[inputs]]
path = "pairs"
columns = {{ source = "source", score = "score", page = "page" }}

{sources}

[taxonomy]
path = "edges.csv"
format = "edges"

[runner]
workers = {workers}
"""
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--categories", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if none is named")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openjft-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "pairs").exists():
            input_bytes = write_pairs(folder / "pairs", options.pairs, options.categories)
            write_taxonomy(folder / "edges.csv", options.categories)
        else:
            input_bytes = sum(path.stat().st_size for path in (folder / "pairs").iterdir())
        stages = run_stages(write_config(folder, options.workers, options.buckets))
        report(options, input_bytes, stages)


def report(options: argparse.Namespace, input_bytes: int, stages: dict[str, dict[str, float]]) -> None:
    seconds = sum(stage["seconds"] for stage in stages.values())
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
        "pairs": options.pairs,
        "workers": options.workers,
        "buckets": options.buckets,
        "input_bytes": input_bytes,
        "stages": {
            name: {
                "seconds": round(stage["seconds"], 2),
                "pairs_per_s": round(options.pairs / stage["seconds"]),
                "peak_mb": round(stage["peak_bytes"] / 1e6),
            }
            for name, stage in stages.items()
        },
        "seconds": round(seconds, 2),
        "pairs_per_s": round(options.pairs / seconds),
        "peak_mb": round(max(stage["peak_bytes"] for stage in stages.values()) / 1e6),
    }
    print(json.dumps(result, indent=1))
    each = " | ".join(f"{stage['pairs_per_s'] / 1000:.0f}k" for stage in result["stages"].values())
    print(f"\n| pairs | workers | {' | '.join(stages)} | all, pairs/s | peak MB |")
    print("|" + "---|" * (5 + len(stages) - 1))
    total = f"{result['pairs_per_s'] / 1000:.0f}k | {result['peak_mb']:,}"
    print(f"| {options.pairs:,} | {options.workers} | {each} | {total} |")


if __name__ == "__main__":
    main()
