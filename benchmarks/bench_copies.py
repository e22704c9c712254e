"""Copies on real sets: recall and precision of each descriptor at the threshold that its tail chose, beside imagededup.

In: the folder of real data (see copy_sets.py), which is not part of this repository. For each descriptor and collection
the tail is fitted once, on the collection's own pairs, and every set is judged by that: pairs at the listed score are
verified by alignment, removed when verified or at the removal score, reported when verified and at the reporting score.
All settings are the product's defaults. Out: a Markdown table, and JSON.

    python benchmarks/bench_copies.py DATA
    python benchmarks/bench_copies.py DATA --peer OTHER_ENVIRONMENT/bin/python --json out.json

imagededup needs an environment of its own (copy_peer.py runs there). It is shown at its defaults, and at the threshold
that is best for each set in hindsight, which nobody can choose beforehand.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from copy_judge import Answers, Collection, Judge, answer
from copy_scores import Score, best_score, score
from copy_sets import cifar_set, pair, photo_sets, read_cifar, read_photos

from openjft.dedup import EmbedderSpec

WEIGHTS = "weights/mobilenet_v1_075_224_imagenet"
EITHER = "dct or MobileNetV1"  # two builds' lists, joined
OURS = ("removed", "reported", "by_score")
_Results = dict[str, dict[str, dict[str, Score]]]  # descriptor or method -> set -> what -> score


def collections(data: Path, train: int, test: int) -> list[Collection]:
    """Photos; CIFAR-10, where it is there."""
    photos = read_photos(data)
    found = [Collection.read("photos", photos, photo_sets(data, photos))]
    if (data / "near_duplicates/cifar10_cifair").is_dir():
        cifar = read_cifar(data, train=train, test=test)
        found.append(Collection.read("cifar10", cifar, [cifar_set(data, cifar)]))
    return found


def specs(data: Path) -> dict[str, EmbedderSpec]:
    """The descriptors: those without weights, and the network whose weights lie with the data."""
    found = {"dct": EmbedderSpec(model="dct"), "pdq": EmbedderSpec(model="pdq")}
    weights = data / f"{WEIGHTS}.onnx"
    if weights.is_file():
        half = (0.5, 0.5, 0.5)
        found["MobileNetV1"] = EmbedderSpec(model="onnx", weights=str(weights), output="embedding", mean=half, std=half)
    return found


def run_peer(python: Path, collection: Collection, weights: Path, cache: Path | None) -> _Results:
    """What imagededup's methods answer, at their defaults and at the best threshold for each set."""
    results: _Results = {}
    with tempfile.TemporaryDirectory(prefix="openjft-bench-") as name:
        folder, out = (
            Path(name, "pictures"),
            Path(cache or name, f"peer-{collection.name}-{len(collection.images)}.npz"),
        )
        folder.mkdir()
        files = {f"{i:06d}.jpg": key for i, key in enumerate(sorted(collection.images))}
        for file, key in files.items():
            (folder / file).write_bytes(collection.pictures[key])
        options = ["--weights", str(weights)] if weights.is_file() else []
        script = Path(__file__).with_name("copy_peer.py")
        if not out.is_file():
            subprocess.run(
                [python, script, folder, out, *options], check=True, stdout=sys.stderr, stderr=subprocess.PIPE
            )
        with np.load(out, allow_pickle=False) as arrays:
            for method in [key.removesuffix("_pairs") for key in arrays.files if key.endswith("_pairs")]:
                names = [files[str(file)] for file in arrays[f"{method}_names"]]
                codes = arrays[f"{method}_codes"].astype(np.float32)
                codes = codes / np.linalg.norm(codes, axis=1, keepdims=True) if method == "CNN" else 2 * codes - 1
                default = [pair(names[a], names[b]) for a, b in arrays[f"{method}_pairs"]]
                results[method] = {
                    each.name: {"default": score(each, default), "best": best_score(each, names, codes)}
                    for each in collection.sets
                }
    return results


def table(ours: _Results, peer: _Results) -> str:
    """Markdown: a line for each set, recall / precision; of the peer's methods the one of highest F1 on that set."""
    heads = [f"{model}, {what.replace('_', ' ')}" for model in ours for what in OURS]
    heads += ["imagededup, its defaults", "imagededup, best threshold in hindsight"] if peer else []
    lines = ["| set | copies | " + " | ".join(heads) + " |", "|---" * (2 + len(heads)) + "|"]
    for name in next(iter(ours.values())):
        cells = [ours[model][name][what] for model in ours for what in OURS]
        texts = [cell.text() for cell in cells]
        for what in ("default", "best") if peer else ():
            method = max(peer, key=lambda m: peer[m][name][what].f1)
            texts.append(f"{peer[method][name][what].text()} ({method})")
        lines.append(f"| {name} | {cells[0].copies} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All descriptors and the peer on all sets."""
    ours: _Results = {}
    peer: _Results = {}
    details: dict[str, Any] = {}
    for collection in collections(given.data, given.train, given.test):
        answers: dict[str, Answers] = {}
        for model, spec in specs(given.data).items():
            if given.only and model not in given.only:
                continue
            start = time.perf_counter()
            judge = Judge(collection, spec, given.cache)
            found = answer(judge)
            answers[model] = found
            details[f"{model}, {collection.name}"] = {
                "pictures": len(judge.names),
                "references": len(judge.references),
                **{name: round(getattr(found.thresholds, name), 4) for name in ("remove", "listed", "report")},
                "how": found.thresholds.how,
                "listed_pairs": found.listed,
                "verified_pairs": found.verified,
                "seconds": round(time.perf_counter() - start),
            }
            print(f"{model}, {collection.name}: {details[f'{model}, {collection.name}']}", file=sys.stderr)
            for each in collection.sets:
                ours.setdefault(model, {})[each.name] = {what: score(each, getattr(found, what)) for what in OURS}
        if {"dct", "MobileNetV1"} <= set(answers):
            both = answers["dct"], answers["MobileNetV1"]
            for each in collection.sets:
                ours.setdefault(EITHER, {})[each.name] = {
                    what: score(each, {key for found in both for key in getattr(found, what)}) for what in OURS
                }
        if given.peer:
            for method, sets in run_peer(given.peer, collection, given.data / f"{WEIGHTS}.pth", given.cache).items():
                peer.setdefault(method, {}).update(sets)
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "faiss-gpu", "opencv-python-headless")}
    date = dt.datetime.now(dt.UTC).date().isoformat()
    return {"date": date, "cores": os.cpu_count(), "versions": versions, "details": details, "ours": ours, "peer": peer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of photos/, eval_images/, near_duplicates/, weights/")
    parser.add_argument("--peer", type=Path, help="a Python that has imagededup")
    parser.add_argument("--only", nargs="+", help="descriptors, instead of all")
    parser.add_argument("--train", type=int, default=5000, help="CIFAR-10 train pictures")
    parser.add_argument("--test", type=int, default=1000, help="CIFAR-10 test pictures")
    parser.add_argument("--cache", type=Path, help="folder where vectors and the peer's answers are kept")
    parser.add_argument("--json", type=Path, help="also write the result here")
    given = parser.parse_args()
    result = measure(given)
    print(table(result["ours"], result["peer"]))
    print(json.dumps({key: result[key] for key in ("date", "cores", "versions", "details")}, indent=1))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
