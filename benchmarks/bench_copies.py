"""Copies on real sets: recall and precision of each descriptor at the threshold that its tail chose, beside imagededup.

In: the folder of real data (see copy_sets.py), which is not part of this repository. For each descriptor and collection
the tail is fitted on the collection's own pairs, once; every set is then judged by that one setting, as the stage
`overlaps` does: pairs at the listed score, verified by alignment, removed when verified or at the removal score, reported
when verified and at the reporting score. Out: Markdown tables, and JSON.

    python benchmarks/bench_copies.py DATA
    python benchmarks/bench_copies.py DATA --peer OTHER_ENVIRONMENT/bin/python --json out.json

imagededup needs an environment of its own (copy_peer.py runs there). It is shown at its defaults, and at the threshold
that is best for each set in hindsight, which nobody can choose beforehand.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import pyarrow as pa

from copy_sets import CopySet, Pair, cifar_set, pair, photo_sets, read_cifar, read_photos
from openjft.dedup import EVAL_IMAGES, Embedder, EmbedderSpec, EvalIndex, make_embedder, make_views
from openjft.dedup.alignment import Features, align
from openjft.dedup.embedder import ModelKind
from openjft.dedup.thresholds import Sample, Thresholds, choose_thresholds, fit_tails, report_threshold
from openjft.pipelines.config import Decontaminate

SIDE = 512  # longer side of a decoded picture, at most
VIEWS = make_views(("identity", "mirror", "crop"))
SETTINGS = Decontaminate()  # the product's defaults decide, not this script
WEIGHTS = "weights/mobilenet_v1_075_224_imagenet"
TAIL_PAIRS = 2000  # nearest pairs that the tail is fitted on
PATIENCE = 128  # pairs without a copy, from the highest score down, after which the sample is taken to be clean


class Score(NamedTuple):
    """How a set was answered."""

    copies: int
    found: int
    wrong: int

    @property
    def recall(self) -> float:
        return self.found / self.copies if self.copies else float("nan")

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.wrong) if self.found + self.wrong else float("nan")

    @property
    def f1(self) -> float:
        return 2 * self.found / (self.copies + self.found + self.wrong) if self.copies else float(self.wrong == 0)

    def text(self) -> str:
        if not self.copies:
            return f"{self.wrong} wrong"
        return f"{self.recall:.2f} / {self.precision:.2f}" if self.found + self.wrong else "0 / -"


@dataclasses.dataclass
class Collection:
    """Pictures and the sets over them."""

    name: str
    pictures: dict[str, bytes]
    sets: list[CopySet]
    images: dict[str, np.ndarray]

    @classmethod
    def read(cls, name: str, pictures: dict[str, bytes], sets: list[CopySet]) -> Collection:
        images = {key: decoded for key, content in pictures.items() if (decoded := decode(content)) is not None}
        return cls(name, pictures, sets, images)


def decode(content: bytes) -> np.ndarray | None:
    try:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (SIDE, SIDE))
            whole = picture.convert("RGB")
    except OSError:
        return None
    whole.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)
    return np.asarray(whole)


class Judge:
    """One descriptor on one collection: searched, calibrated, verified."""

    def __init__(self, collection: Collection, embedder: Embedder, cache: Path | None) -> None:
        self.collection, self.embedder = collection, embedder
        self.names = sorted(collection.images)
        wanted = {name for each in collection.sets for name in each.references}
        self.references = [name for name in self.names if name in wanted]
        self.index, self.vectors = self._embedded(cache)
        self.features: dict[str, Features] = {}
        self.verified: dict[tuple[str, str, bool], bool] = {}
        self.thresholds = self._calibrate()

    def _embedded(self, cache: Path | None) -> tuple[EvalIndex, np.ndarray]:
        """The index of the references, and the vectors of all pictures."""
        images = self.collection.images
        folder = None
        if cache is not None:
            folder = cache / f"{self.collection.name}-{len(images)}-{self.embedder.fingerprint[:12]}"
            if (folder / "vectors_of_all.npy").is_file():
                index = EvalIndex.load(
                    lambda name: (folder / name).open("rb"), embedder=self.embedder.fingerprint, origin=str(folder)
                )
                return index, np.load(folder / "vectors_of_all.npy")
        table = pa.table(
            [[self.collection.name] * len(self.references), self.references, [""] * len(self.references)],
            schema=EVAL_IMAGES,
        )
        stream = ((row, images[name]) for row, name in enumerate(self.references))
        index = EvalIndex.build(stream, table, self.embedder, VIEWS)
        parts = [self.embedder.embed([images[n] for n in self.names[i : i + 64]]) for i in range(0, len(images), 64)]
        vectors = np.concatenate(parts)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            index.save(lambda name: (folder / name).open("wb"))
            np.save(folder / "vectors_of_all.npy", vectors)
        return index, vectors

    def _calibrate(self) -> Thresholds:
        """The thresholds of a build whose training images are this collection; copies are known by verification only."""
        matches = self.index.search(self.vectors, min_score=self._floor(), neighbours=len(self.references))
        copies = np.array(
            [self.names[q] == self.references[r] for q, r in zip(matches.query_index, matches.eval_index)]
        )
        order = [int(at) for at in np.argsort(-matches.score, kind="stable") if not copies[at]]
        since = 0
        for at in order:
            copies[at] = self.verify(
                self.names[matches.query_index[at]], int(matches.eval_index[at]), int(matches.view[at])
            )
            since = 0 if copies[at] else since + 1
            if since == PATIENCE:
                break
        images, pairs = fit_tails(
            Sample(matches, len(self.names), float(matches.score.min())),
            copies,
            references=len(self.references),
            seed=0,
        )
        return choose_thresholds(
            images,
            pairs,
            queries=len(self.names),
            references=len(self.references),
            false_removals=SETTINGS.false_removals,
            default=self.embedder.default_remove_similarity,
            configured=None,
            normalised=False,
        )

    def _floor(self) -> float:
        """A score that about TAIL_PAIRS pairs of two pictures reach."""
        second = np.sort(self.index.searcher.top(self.vectors, 2 * len(VIEWS))[:, len(VIEWS)])
        return float(second[len(second) // 2])

    def verify(self, query: str, reference: int, view: int) -> bool:
        key = (query, self.references[reference], VIEWS[view].mirrored)
        if key not in self.verified:
            found = align(self._features(query), self._features(key[1]), VIEWS[view])
            self.verified[key] = found.verifies(SETTINGS.verify_ssim)
        return self.verified[key]

    def _features(self, name: str) -> Features:
        if name not in self.features:
            self.features[name] = Features(self.collection.images[name])
        return self.features[name]

    def listed(self) -> dict[Pair, tuple[float, bool]]:
        """Score and verification of every listed pair of two pictures; either direction will do."""
        matches = self.index.search(self.vectors, min_score=self.thresholds.listed, neighbours=len(self.references))
        out: dict[Pair, tuple[float, bool]] = {}
        for query, row, view, score in zip(matches.query_index, matches.eval_index, matches.view, matches.score):
            a, b = self.names[query], self.references[row]
            if a != b:
                known = out.get(pair(a, b), (-1.0, False))
                out[pair(a, b)] = (max(known[0], float(score)), known[1] or self.verify(a, int(row), int(view)))
        return out


def allowed(each: CopySet, pairs: Iterable[Pair]) -> Iterable[Pair]:
    """Those that the set asks about."""
    queries, references = set(each.queries), set(each.references)
    for a, b in pairs:
        asked = (a in queries and b in references) or (b in queries and a in references)
        if asked and (a, b) not in each.ignored:
            yield a, b


def score(each: CopySet, answered: Iterable[Pair]) -> Score:
    """Answers of a whole collection, held against one set."""
    given = set(allowed(each, answered))
    found = len(given & each.copies)
    return Score(len(each.copies), found, len(given) - found)


def ours(judge: Judge) -> dict[str, object]:
    """What is removed and what is reported, for each set of a collection; and the thresholds."""
    listed = judge.listed()
    values = np.array([value for value, _ in listed.values()], np.float32)
    sure = np.array([verified for _, verified in listed.values()], bool)
    marks = dataclasses.replace(
        judge.thresholds,
        report=report_threshold(judge.thresholds, values, sure, false_reports=SETTINGS.false_reports),
    )
    removed = [pair for pair, (value, verified) in listed.items() if verified or value >= marks.remove]
    reported = [
        pair for pair, (value, verified) in listed.items() if verified and value >= typing.cast(float, marks.report)
    ]
    alone = [pair for pair, (value, _) in listed.items() if value >= marks.remove]
    return {
        "thresholds": {"remove": marks.remove, "listed": marks.listed, "report": marks.report, "how": marks.how},
        "pictures": len(judge.names),
        "references": len(judge.references),
        "listed_pairs": len(listed),
        "verified_pairs": int(sure.sum()),
        "sets": {
            each.name: {
                "removed": score(each, removed),
                "reported": score(each, reported),
                "score_alone": score(each, alone),
            }
            for each in judge.collection.sets
        },
    }


def best_f1(each: CopySet, names: Sequence[str], similarity: np.ndarray) -> Score:
    """The best that any threshold could do on this set."""
    row = {name: i for i, name in enumerate(names)}
    queries = np.array([row[n] for n in each.queries if n in row])
    references = np.array([row[n] for n in each.references if n in row])
    values = similarity[np.ix_(queries, references)]
    both = np.isin(references, queries)
    # A pair within the queries stands twice: the one whose query comes later does not count.
    twice = both[None, :] & (queries[:, None] >= references[None, :])
    for a, b in each.ignored:
        for x, y in ((a, b), (b, a)):
            if x in row and y in row:
                twice |= False
                at_q, at_r = np.flatnonzero(queries == row[x]), np.flatnonzero(references == row[y])
                twice[np.ix_(at_q, at_r)] = True
    right = np.zeros_like(values, bool)
    for a, b in each.copies:
        for x, y in ((a, b), (b, a)):
            if x in row and y in row:
                right[np.ix_(np.flatnonzero(queries == row[x]), np.flatnonzero(references == row[y]))] = True
    value, label = values[~twice], right[~twice]
    order = np.argsort(-value, kind="stable")
    value, label = value[order], label[order]
    last = np.flatnonzero(np.append(value[1:] != value[:-1], True))
    found, given = np.cumsum(label)[last], last + 1
    copies = len(each.copies)
    at = int(np.argmax(2 * found / (copies + given)))
    return Score(copies, int(found[at]), int(given[at] - found[at]))


def peer(python: Path, collection: Collection, weights: Path, folder: Path) -> dict[str, dict[str, dict[str, Score]]]:
    """imagededup over a folder of the collection's pictures: method -> set -> default and best."""
    files = {
        f"{i:06d}.{'png' if name.lower().endswith('png') else 'jpg'}": name for i, name in enumerate(collection.images)
    }
    for file, name in files.items():
        (folder / file).write_bytes(collection.pictures[name])
    out = folder.parent / "peer.npz"
    script = Path(__file__).with_name("copy_peer.py")
    subprocess.run(
        [python, script, folder, out, *(["--weights", weights] if weights.is_file() else [])],
        check=True,
        stdout=sys.stderr,
        stderr=subprocess.DEVNULL,
    )
    results: dict[str, dict[str, dict[str, Score]]] = {}
    with np.load(out) as arrays:
        for method in (key.removesuffix("_pairs") for key in arrays.files if key.endswith("_pairs")):
            names = [files[str(file)] for file in arrays[f"{method}_names"]]
            codes = arrays[f"{method}_codes"].astype(np.float32)
            codes = codes / np.linalg.norm(codes, axis=1, keepdims=True) if method == "CNN" else 2 * codes - 1
            default = [pair(names[a], names[b]) for a, b in arrays[f"{method}_pairs"]]
            results[method] = {
                each.name: {"default": score(each, default), "best": best_f1(each, names, codes @ codes.T)}
                for each in collection.sets
            }
    return results


def collections(data: Path, train: int, test: int) -> list[Collection]:
    """What is there of the two."""
    photos = read_photos(data)
    found = [Collection.read("photos", photos, photo_sets(data, photos))]
    if (data / "photos/cifar10").is_dir() and (data / "near_duplicates/cifar10_cifair").is_dir():
        cifar = read_cifar(data, train=train, test=test)
        found.append(Collection.read("cifar10", cifar, [cifar_set(data, cifar)]))
    return found


def specs(data: Path) -> dict[str, EmbedderSpec]:
    """The descriptors: those without weights, and the network whose weights lie with the data."""
    found = {model: EmbedderSpec(model=model) for model in typing.get_args(ModelKind) if model in {"dct", "pdq"}}
    weights = data / f"{WEIGHTS}.onnx"
    if weights.is_file():
        half = (0.5, 0.5, 0.5)
        found["MobileNetV1"] = EmbedderSpec(model="onnx", weights=str(weights), output="embedding", mean=half, std=half)
    return found


def table(results: Mapping[str, typing.Any]) -> str:
    """Markdown: a line for each set."""
    lines = ["recall / precision; imagededup's best method of each kind", ""]
    models = list(results["ours"])
    heads = [f"{m}: {what}" for m in models for what in ("removed", "reported")]
    peers = ["imagededup, defaults", "its best threshold in hindsight"] if results["peer"] else []
    lines += ["| set | copies | " + " | ".join([*heads, *peers]) + " |", "|---" * (2 + len(heads) + len(peers)) + "|"]
    for name in results["sets"]:
        cells = [results["ours"][m][name][what] for m in models for what in ("removed", "reported")]
        row = [name, str(cells[0].copies), *(cell.text() for cell in cells)]
        for what in ("default", "best") if peers else ():
            method, of = max(
                ((m, sets[name][what]) for m, sets in results["peer"].items() if name in sets),
                key=lambda item: item[1].f1,
            )
            row.append(f"{of.text()} ({method})")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of photos/, eval_images/, near_duplicates/, weights/")
    parser.add_argument("--peer", type=Path, help="a Python that has imagededup")
    parser.add_argument("--only", nargs="+", help="descriptors, instead of all")
    parser.add_argument("--train", type=int, default=5000, help="CIFAR-10 train pictures")
    parser.add_argument("--test", type=int, default=1000, help="CIFAR-10 test pictures")
    parser.add_argument("--cache", type=Path, help="folder where vectors are kept between runs")
    parser.add_argument("--json", type=Path, help="also write the result here")
    given = parser.parse_args()
    results: dict[str, typing.Any] = {"ours": {}, "peer": {}, "sets": [], "details": {}}
    for collection in collections(given.data, given.train, given.test):
        results["sets"] += [each.name for each in collection.sets]
        for model, spec in specs(given.data).items():
            if given.only and model not in given.only:
                continue
            start = time.perf_counter()
            answer = ours(Judge(collection, make_embedder(spec), given.cache))
            sets = answer.pop("sets")
            results["ours"].setdefault(model, {}).update(sets)
            results["details"][f"{model} {collection.name}"] = {**answer, "seconds": round(time.perf_counter() - start)}
        if given.peer:
            with tempfile.TemporaryDirectory(prefix="openjft-bench-") as name:
                folder = Path(name, "pictures")
                folder.mkdir()
                for method, sets in peer(given.peer, collection, given.data / f"{WEIGHTS}.pth", folder).items():
                    results["peer"].setdefault(method, {}).update(sets)
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "faiss-gpu", "opencv-python-headless")}
    results |= {"date": dt.datetime.now(dt.UTC).date().isoformat(), "cores": os.cpu_count(), "versions": versions}
    print(table(results))
    print(json.dumps({key: results[key] for key in ("date", "cores", "versions", "details")}))
    if given.json:
        given.json.write_text(json.dumps(results, indent=1, default=list) + "\n")


if __name__ == "__main__":
    main()
