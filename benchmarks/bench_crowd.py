"""Fuses real answers of many judges, beside crowd-kit in the same run: accuracy on sets with known truth.

    python benchmarks/bench_crowd.py DATA --peer PYTHON

DATA holds `crowd/NAME/label.csv[.gz]` (item, worker, label) and `truth.csv` (item, truth), and `crowd/gal_*` in the
layout of Get-Another-Label. PYTHON is an interpreter that has crowd-kit 1.4.2; without it ours and the majority are
printed alone. A tie for the first place counts as one over the number of tied classes, for every method of ours;
crowd-kit breaks ties its own way. One setting for all sets (`precision/crowd.py`). Out: JSON, and the table for
RESULTS.md.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from openjft.pipelines.precision.crowd import Answers, fuse_answers, votes

Rows = list[tuple[str, str, str]]  # item, worker, answer
PEERS = ("MajorityVote", "DawidSkene", "OneCoinDawidSkene", "GLAD", "MACE")
_PEER = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pandas as pd
from crowdkit.aggregation import DawidSkene, GLAD, MACE, MajorityVote, OneCoinDawidSkene
frame = pd.read_csv(sys.argv[1], dtype=str)
truth = json.load(open(sys.argv[2]))
made = {"MajorityVote": MajorityVote(), "DawidSkene": DawidSkene(n_iter=100), "GLAD": GLAD(n_iter=100),
        "OneCoinDawidSkene": OneCoinDawidSkene(n_iter=100), "MACE": MACE(random_state=0)}
found = {}
for name, model in made.items():
    said = model.fit_predict(frame)
    found[name] = sum(str(said.get(item)) == answer for item, answer in truth.items()) / len(truth)
print(json.dumps(found))
"""


def read_set(folder: Path) -> tuple[Rows, dict[str, str]]:
    """(answers, truth by item)."""
    if (folder / "evaluation.txt").exists():
        with (folder / "labels.txt").open(newline="") as stream:
            rows = [(item, worker, answer) for worker, item, answer in csv.reader(stream, delimiter="\t")]
        with (folder / "evaluation.txt").open(newline="") as stream:
            return rows, dict(csv.reader(stream, delimiter="\t"))
    path = folder / "label.csv"
    text = path.read_text() if path.exists() else gzip.decompress((folder / "label.csv.gz").read_bytes()).decode()
    rows = [(item, worker, answer) for item, worker, answer in list(csv.reader(text.splitlines()))[1:]]
    with (folder / "truth.csv").open(newline="") as stream:
        return rows, dict(list(csv.reader(stream))[1:])


def accuracy(posterior: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    """Share of the items with known truth (>= 0) that are right, ties shared."""
    known = truth >= 0
    rows = posterior[known]
    best = rows >= rows.max(axis=1, keepdims=True) - 1e-9
    return float((best[np.arange(len(rows)), truth[known]] / best.sum(axis=1)).mean())


def measure(rows: Rows, truth: dict[str, str], peer: str | None) -> dict[str, Any]:
    answered = {item for item, _, _ in rows}
    truth = {item: answer for item, answer in truth.items() if item in answered}
    classes = sorted({answer for _, _, answer in rows} | set(truth.values()))
    answers, items, _ = Answers.of(*zip(*rows, strict=True), classes)
    known = np.array([classes.index(truth[item]) if item in truth else -1 for item in items])
    begin = time.perf_counter()
    fused = fuse_answers(answers, num_classes=len(classes))
    seconds = time.perf_counter() - begin
    found: dict[str, Any] = {
        "answers": len(rows),
        "items": len(items),
        "workers": answers.num_workers,
        "classes": len(classes),
        "ours": accuracy(fused.posterior, known),
        "majority": accuracy(votes(answers, len(classes)), known),
        "seconds": seconds,
    }
    return found | (_peer(rows, truth, peer) if peer else {})


def _peer(rows: Rows, truth: dict[str, str], python: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        table, known = Path(folder) / "answers.csv", Path(folder) / "truth.json"
        with table.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("task", "worker", "label"))
            writer.writerows(rows)
        known.write_text(json.dumps(truth))
        done = subprocess.run(
            [python, "-c", _PEER, str(table), str(known)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"{python}: crowd-kit failed: {done.stderr[-500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", help="interpreter with crowd-kit")
    options = parser.parse_args()
    results = {}
    for folder in sorted(path for path in (options.data / "crowd").iterdir() if path.is_dir()):
        results[folder.name] = measure(*read_set(folder), options.peer)
        print(folder.name, file=sys.stderr)
    told = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "python": platform.python_version()}
    print(json.dumps({**told, "results": results}, indent=1))
    peers = [name for name in PEERS if options.peer]
    print(f"\n| set | answers | items | workers | classes | ours | majority | {' | '.join(peers)} | ours, s |")
    print("|" + "---|" * (8 + len(peers)))
    for name, r in results.items():
        beside = " | ".join(f"{r[peer]:.4f}" for peer in peers)
        print(
            f"| {name} | {r['answers']:,} | {r['items']:,} | {r['workers']} | {r['classes']} | **{r['ours']:.4f}** | "
            f"{r['majority']:.4f} | {beside} | {r['seconds']:.1f} |"
        )
    if peers:
        least = min(r["ours"] - max(r["majority"], r["MajorityVote"], r["DawidSkene"]) for r in results.values())
        print(f"\nleast of ours less the better of majority and Dawid-Skene: {least:+.4f}")


if __name__ == "__main__":
    main()
