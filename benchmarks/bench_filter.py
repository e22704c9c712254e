"""Measures the filter's four passes on the synthetic web at growing sizes: seconds, memory, whether cost is linear.

    python benchmarks/bench_filter.py --rows 1000000 10000000 100000000 --workers 2

For each size it draws a web of JFT's 18,291 categories (`synthetic_web.py`), writes it as `evidence/` in buckets of
about 780k candidates, and runs the stages `precision`, `priors`, `scores` and `labels` as a build does, in a process
of its own, whose resident memory with all its children is sampled. Gold: 4,000 candidates. Drawing is not timed. Out:
JSON, and the table for RESULTS.md.
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
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bench_metadata import peak_memory
from synthetic_web import SOURCES, draw_bucket, draw_world

from openjft.pipelines.build import run_stage
from openjft.pipelines.config import Config
from openjft.pipelines.precision import CountStage, LabelsStage, PriorsStage, ScoresStage
from openjft.pipelines.schema import LABEL
from openjft.pipelines.storage import Store, bucket_file

CLASSES = 18_291
BUCKET_ROWS = 780_000
GOLD = 4_000


def make_config(folder: Path, buckets: int, workers: int) -> Config:
    """Of a build whose evidence is there already; its inputs are never read."""
    return Config.model_validate(
        {
            "build": {"output": str(folder / "out"), "buckets": buckets},
            "inputs": [{"path": "unused", "source": "alt"}],
            "sources": [source.model_dump() for source in SOURCES],
            "taxonomy": {"path": "unused"},
            "precision": {"gold": str(folder / "gold.csv")},
            "runner": {"workers": workers, "small_bytes": 0},
        }
    )


def write_web(folder: Path, rows: int) -> dict[str, Any]:
    """Evidence, hierarchy and gold of a web of about so many candidates."""
    buckets = max(1, round(rows / BUCKET_ROWS))
    store = Store(str(folder / "out"))
    world = draw_world(0, classes=CLASSES, rows=rows)
    for name, table in zip(("vocabulary", "edges"), world.taxonomy.to_tables(), strict=True):
        store.write_table(f"taxonomy/{name}.parquet", table)
    none = pa.table({LABEL: pa.array([], pa.int32()), "inside_label": pa.array([], pa.int32())})
    store.write_table("taxonomy/confusions.parquet", none)
    gold = ["uri,label,correct"]
    each = -(-GOLD // buckets)
    total = right = 0
    for bucket in range(buckets):
        web = draw_bucket(world, bucket, buckets, hashed_rows=each)
        store.write_table(bucket_file("evidence", bucket, buckets), web.table)
        # Addresses that were hashed name their seed and bucket; the others spell their key.
        hashed = np.flatnonzero(pc.equal(pc.count_substring(web.table["uri"], "/"), 5).to_numpy())
        gold += web.gold_csv(hashed).splitlines()[1:]
        total, right = total + web.table.num_rows, right + int(web.correct.sum())
    (folder / "gold.csv").write_text("\n".join(gold) + "\n")
    size = sum(store.size(path) for path in store.list_files("evidence"))
    return {"buckets": buckets, "candidates": total, "correct": right, "evidence_bytes": size}


def run_filter(folder: Path, buckets: int, workers: int) -> None:
    """The four stages, timed; prints JSON."""
    config = make_config(folder, buckets, workers)
    store = Store(config.build.output)
    seconds = {}
    for stage in (
        CountStage.from_config(config),
        PriorsStage.from_config(config),
        ScoresStage.from_config(config),
        LabelsStage.from_config(config),
    ):
        begin = time.perf_counter()
        run_stage(stage, store, "bench", config)
        seconds[stage.name] = time.perf_counter() - begin
    summary, kept = store.read_json("scores/precision.json"), store.read_json("labels/_kept.json")
    told = {"gold": summary["gold"]["used"], "kept": kept["kept"], "expected": kept["expected_precision"]}
    print(json.dumps({"seconds": seconds, **told}))


def measure(folder: Path, rows: int, workers: int) -> dict[str, Any]:
    """One size."""
    begin = time.perf_counter()
    drawn = write_web(folder, rows)
    print(f"drew {drawn['candidates']:,} candidates in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    command = [sys.executable, __file__, "--run", str(folder), str(drawn["buckets"]), str(workers)]
    begin, used = time.perf_counter(), cpu_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with peak_memory(process.pid) as peak:
        told, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the filter ended with {process.returncode}")
    wall = time.perf_counter() - begin
    cpu = cpu_seconds() - used
    return {**drawn, **json.loads(told), "wall_s": wall, "cpu_s": cpu, "peak_mb": peak[0] / 1e6}


def cpu_seconds() -> float:
    """Of all processes that have ended below this one: they do not count what others do on the machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def report(results: list[dict[str, Any]]) -> None:
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    print(
        json.dumps(
            {"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": machine, "results": results}, indent=1
        )
    )
    header = (
        "candidates", "buckets", "evidence, GB", "precision", "priors", "scores", "labels", "all, s", "candidates/s",
        "CPU, us each", "peak MB",
    )  # fmt: skip
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for r in results:
        stages = " | ".join(f"{r['seconds'][name]:.1f}" for name in ("precision", "priors", "scores", "labels"))
        total = sum(r["seconds"].values())
        print(
            f"| {r['candidates']:,} | {r['buckets']} | {r['evidence_bytes'] / 1e9:.2f} | {stages} | {total:.1f} | "
            f"{r['candidates'] / total / 1000:,.0f}k | {1e6 * r['cpu_s'] / r['candidates']:.2f} | "
            f"{r['peak_mb']:,.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="200,000 rows")
    parser.add_argument("--run", nargs=3, metavar=("FOLDER", "BUCKETS", "WORKERS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        folder, buckets, workers = options.run
        run_filter(Path(folder), int(buckets), int(workers))
        return
    results = []
    for rows in [200_000] if options.quick else options.rows:
        with tempfile.TemporaryDirectory(prefix="openjft-bench-") as folder:
            results.append(measure(Path(folder), rows, options.workers))
    report(results)


if __name__ == "__main__":
    main()
