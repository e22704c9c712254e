"""Margin v and mode attachment D against the k-means view, on drawn embeddings and on real photos; and the speed.

Drawn (METHODS, section 2): 360 classes in a hierarchy of three levels, 256 dimensions, 20 to 400 images a class or 20
each. Every class has one to three looks of its own. Wrong labels: siblings 10 %, junk of no class 8 %; two classes in
five are polysemous, and 10 to 60 % of their images show another class of the hierarchy, far away. The labels'
probabilities are those of a weak filter (AUC about 0.7).

Real, with DATA (MobileNetV1, 768 dimensions, cached under --cache):
- Caltech-101, ten photos a class, below WordNet: in a third of the classes four photos of an unrelated class, which has
  its other six under its own label; one label in ten replaced by a random one; clutter photos as junk.
- web search: queries cat, dog, monkey, squirrel; of the monkeys a person said which are none. Alone, with the Caltech
  classes, and with ImageNet samples, too.
- CIFAR-10N: labels that people gave, below animal and vehicle.

Score of the k-means view: minus the distance to the nearest of four centroids of the class, as the report draws it. AUC
of right labels against wrong ones of a kind; v + D is the plain sum, where the filter would learn two weights.

    python benchmarks/bench_visual.py
    python benchmarks/bench_visual.py --data DATA --cache CACHE
    python benchmarks/bench_visual.py --quick
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime as dt
import json
import os
import platform
import resource
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_taxonomy import jft_like
from sklearn.metrics import roc_auc_score

from openjft.dedup import EmbedderSpec, make_embedder
from openjft.loaders.decoding import decode_image
from openjft.pipelines.report.consistency import bins_by_distance
from openjft.pipelines.visual import VisualModel, fit_model
from openjft.pipelines.visual.distances import relatives
from openjft.pipelines.visual.modes import ModeSample
from openjft.pipelines.visual.moments import MIN_WEIGHT, Moments
from openjft.pipelines.visual.stages import one_thread
from openjft.taxonomy import Category, Closure, Edge, Taxonomy, ancestor_closure, build_taxonomy, read_taxonomy
from openjft.taxonomy.restrict import restrict

RIGHT, POLYSEMY, OTHER, JUNK, UNJUDGED = range(5)
METHODS = ("k-means view", "v", "D", "v + D")
MIN_POLYSEMY, MAX_VIEW = 0.90, 0.65
NOISE = 2.6  # at which v is about as good as METHODS says of v + D; the others follow
EXAMPLE = Path(__file__).parents[1] / "examples" / "real_photos"


@dataclasses.dataclass
class Labelled:
    """Images with one label each; `kind` is RIGHT or what is wrong with it."""

    closure: Closure
    vectors: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    probability: np.ndarray
    confusions: tuple[np.ndarray, np.ndarray] = (np.zeros(0, np.int64), np.zeros(0, np.int64))


# -- drawn ---------------------------------------------------------------------------------------------------


def draw(seed: int, sizes: tuple[int, int], *, listed: bool = False) -> Labelled:
    """Drawn embeddings; `listed`: polysemous classes and their second senses stand in the list of confusions."""
    rng = np.random.default_rng(seed)
    dim, latent, supers, middles, leaves = 256, 48, 12, 5, 6
    taxonomy, leaf, middle, top = _tree(supers, middles, leaves)
    n = len(leaf)
    basis = np.linalg.qr(rng.normal(size=(dim, latent)))[0].T
    mean = rng.normal(size=(supers, latent))[top] + 0.8 * rng.normal(size=(supers * middles, latent))[middle]
    mean += 0.6 * rng.normal(size=(n, latent))
    looks, number = 0.5 * rng.normal(size=(n, 3, latent)), rng.integers(1, 4, n)
    scale = 1 / (1 + np.arange(dim) / 20)
    scatter = np.linalg.qr(rng.normal(size=(dim, dim)))[0] * np.sqrt(scale / scale.mean() * 0.25) * NOISE
    offset = 0.7 * rng.normal(size=dim)

    def images(centre: np.ndarray) -> np.ndarray:
        return offset + centre @ basis + rng.normal(size=(len(centre), dim)) @ scatter.T

    counts = np.round(np.exp(rng.uniform(*np.log(sizes), n))).astype(int)
    share = np.where(rng.random(n) < 0.4, rng.uniform(0.1, 0.6, n), 0.0)
    sense = np.array([rng.choice(np.flatnonzero(top != top[c])) for c in range(n)])
    owner = np.repeat(np.arange(n), counts)
    draws = rng.random(len(owner))
    kind = np.select([draws < 0.10, draws < 0.18, draws < 0.18 + 0.82 * share[owner]], [OTHER, JUNK, POLYSEMY], RIGHT)
    sibling = (owner // leaves) * leaves + (owner + rng.integers(1, leaves, len(owner))) % leaves
    shown = np.select([kind == OTHER, kind == POLYSEMY], [sibling, sense[owner]], owner)
    centre = mean[shown] + looks[shown, (rng.random(len(owner)) * number[shown]).astype(int)]
    centre[kind == JUNK] = np.sqrt(2) * rng.normal(size=(int((kind == JUNK).sum()), latent))
    vectors = images(centre)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weak = np.where(kind == RIGHT, rng.beta(4, 2, len(owner)), rng.beta(3, 3, len(owner)))
    pairs = (leaf[share > 0], leaf[sense[share > 0]]) if listed else Labelled.confusions
    closure = ancestor_closure(taxonomy)
    return Labelled(closure, vectors.astype(np.float16), leaf[owner].astype(np.int32), kind, weak, pairs)


def _tree(supers: int, middles: int, leaves: int) -> tuple[Taxonomy, np.ndarray, np.ndarray, np.ndarray]:
    """(hierarchy, labels of the leaves, middle and top number of each)."""
    names, edges = ["root"], []
    for i in range(supers):
        names.append(f"t{i}")
        edges.append(Edge(f"t{i}", "root"))
        for j in range(middles):
            names.append(f"m{i}.{j}")
            edges.append(Edge(f"m{i}.{j}", f"t{i}"))
            names += [f"l{i}.{j}.{k}" for k in range(leaves)]
            edges += [Edge(f"l{i}.{j}.{k}", f"m{i}.{j}") for k in range(leaves)]
    taxonomy = build_taxonomy([Category(name) for name in names], edges, origin="drawn")
    number = np.arange(supers * middles * leaves)
    middle = number // leaves
    top = middle // middles
    leaf = [taxonomy.index_of(f"l{t}.{m % middles}.{k % leaves}") for k, m, t in zip(number, middle, top, strict=True)]
    return taxonomy, np.array(leaf), middle, top


# -- real photos ---------------------------------------------------------------------------------------------


class Photos:
    """The data folder: tables, vectors (cached), and the categories of classes in WordNet."""

    def __init__(self, data: Path, cache: Path | None) -> None:
        self.data, self.cache = data, cache
        sys.path.insert(0, str(EXAMPLE))
        from categories import Categories  # type: ignore[import-not-found]

        self.nouns = read_taxonomy(str(data / "taxonomies" / "oewn" / "oewn_nouns.tsv.gz"))
        self.categories = Categories(self.nouns)
        self._embedder: Any = None

    def rows(self, name: str) -> list[dict[str, str]]:
        """A table of the data folder."""
        with (self.data / name).open(newline="") as source:
            return list(csv.DictReader(source))

    def vectors(self, name: str, files: Iterator[bytes], *, crop: bool) -> np.ndarray:
        """Embeddings of encoded images, from the cache if they are there."""
        path = None if self.cache is None else self.cache / f"{name}.npy"
        if path is not None and path.exists():
            return np.load(path)
        spec = EmbedderSpec(
            model="onnx",
            weights=str(self.data / "weights" / "mobilenet_v1_075_224_imagenet.onnx"),
            output="embedding",
            resize_size=256 if crop else None,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            threads=1,
        )
        self._embedder = self._embedder if crop and self._embedder else make_embedder(spec)
        parts, batch = [], []
        for data in files:
            batch.append(decode_image(data, max_pixels=100_000_000).pixels)
            if len(batch) == spec.batch_size:
                parts.append(self._embedder.embed(batch))
                batch = []
        parts += [self._embedder.embed(batch)] if batch else []
        found = np.concatenate(parts).astype(np.float16)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, found)
        return found

    def folder(self, name: str) -> tuple[list[dict[str, str]], np.ndarray]:
        """A photo set: its table, and the vectors of its photos."""
        rows = self.rows(f"photos/{name}_labels.csv")
        files = ((self.data / "photos" / name / row["file"]).read_bytes() for row in rows)
        return rows, self.vectors(name, files, crop=True)

    def labelled(self, vectors: np.ndarray, ids: Sequence[str], kind: Sequence[int]) -> Labelled:
        """Below the part of WordNet that these categories need."""
        taxonomy = restrict(self.nouns, sorted(set(ids)))
        label = np.array([taxonomy.index_of(i) for i in ids], np.int32)
        return Labelled(ancestor_closure(taxonomy), vectors, label, np.array(kind), np.ones(len(ids)))


def caltech(photos: Photos, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    rows, vectors = photos.folder("caltech101")
    find, related = photos.categories.find, photos.categories.related
    true = [find(row["class"]) for row in rows]
    classes = sorted({i for i in true if i})
    given, kind = dict(enumerate(true)), dict.fromkeys(range(len(true)), RIGHT)
    order = rng.permutation(classes)
    third = len(classes) // 3
    for host, guest in zip(order[:third], order[third : 2 * third], strict=True):
        members = [i for i, c in enumerate(true) if c == guest]
        if not related(host, guest):
            for i in rng.choice(members, min(4, len(members) - 3), replace=False).tolist():
                given[i], kind[i] = str(host), POLYSEMY
    for i, c in enumerate(true):
        if c is not None and kind[i] == RIGHT and rng.random() < 0.1:
            given[i], kind[i] = str(rng.choice([o for o in classes if not related(o, c)])), OTHER
        if rows[i]["class"] == "BACKGROUND_Google":
            given[i], kind[i] = str(rng.choice(classes)), JUNK
    used = [i for i in range(len(true)) if given[i] is not None]
    return photos.labelled(vectors[used], [str(given[i]) for i in used], [kind[i] for i in used])


def monkeys(photos: Photos, others: Sequence[str]) -> Labelled:
    rows, vectors = photos.folder("web_search_4queries")
    verdicts = {"clean": RIGHT, "noise": JUNK, "": UNJUDGED}
    used = [i for i, row in enumerate(rows) if row["verdict_monkey_block_only"] in verdicts]
    ids = [photos.categories.find(rows[i]["query_label_inferred"]) for i in used]
    kind = [verdicts[rows[i]["verdict_monkey_block_only"]] for i in used]
    parts = [vectors[used]]
    for name in others:
        more, found = photos.folder(name)
        theirs = [photos.categories.find(row["class"]) if "class" in row else row["wnid"] for row in more]
        known = [i for i, c in enumerate(theirs) if c and photos.categories.known(c)]
        parts.append(found[known])
        ids += [theirs[i] for i in known]
        kind += [UNJUDGED] * len(known)
    return photos.labelled(np.concatenate(parts), ids, kind)


def cifar(photos: Photos, images: int, column: str) -> Labelled:
    rows = {row["file"]: row for row in photos.rows("label_noise/cifar10n/train_labels.csv")}
    names = [row["name"] for row in photos.rows("label_noise/cifar10n/class_names.csv")]
    first = list(rows)[:images]

    def files() -> Iterator[bytes]:
        wanted, found = set(first), {}
        with tarfile.open(photos.data / "photos" / "cifar10" / "cifar10_train_jpeg.tar.gz") as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name in wanted:
                    found[name] = tar.extractfile(member).read()  # type: ignore[union-attr]
        yield from (found[name] for name in first)

    vectors = photos.vectors(f"cifar10_{images}", files(), crop=False)
    vehicles = {"airplane", "automobile", "ship", "truck"}
    taxonomy = build_taxonomy(
        [Category(name) for name in ("animal", "vehicle", *names)],
        [Edge(name, "vehicle" if name in vehicles else "animal") for name in names],
        origin="CIFAR-10",
    )
    label = np.array([taxonomy.index_of(names[int(rows[name][column])]) for name in first], np.int32)
    kind = [RIGHT if rows[name][column] == rows[name]["clean"] else OTHER for name in first]
    return Labelled(ancestor_closure(taxonomy), vectors, label, np.array(kind), np.ones(len(first)))


# -- measuring -----------------------------------------------------------------------------------------------


def fit(data: Labelled) -> tuple[VisualModel, np.ndarray]:
    weight = np.maximum(data.probability, MIN_WEIGHT)
    order = np.argsort(data.label, kind="stable")
    model = fit_model(
        Moments.of(data.vectors, np.arange(len(data.label)), data.label, weight),
        ModeSample(data.label[order], weight[order], data.vectors[order]),
        data.closure,
        relatives(data.closure, *data.confusions),
        seed=17,
    )
    return model, weight


def score(data: Labelled) -> dict[str, np.ndarray]:
    """Scores of every label by each method."""
    model, weight = fit(data)
    found = model.score(data.vectors, np.arange(len(data.label)), data.label, weight)
    view = np.empty(len(data.label))
    for each in np.unique(data.label):
        mine = np.flatnonzero(data.label == each)
        view[mine] = -bins_by_distance(data.vectors[mine].astype(np.float32))[0]
    v, d = found.margin.astype(np.float64), found.mode.astype(np.float64)
    return dict(zip(METHODS, (view, v, d, v + d), strict=True))


def aucs(scores: dict[str, np.ndarray], kind: np.ndarray) -> list[dict[str, Any]]:
    """AUC of each method: all kinds of errors together, and each by itself; None where there is no such error."""
    names = {"all": (POLYSEMY, OTHER, JUNK), "polysemy": (POLYSEMY,), "other class": (OTHER,), "junk": (JUNK,)}
    table = []
    for method, values in scores.items():
        row: dict[str, Any] = {"method": method}
        for name, kinds in names.items():
            of = (kind == RIGHT) | np.isin(kind, kinds)
            wrong = np.isin(kind[of], kinds)
            row[name] = round(float(roc_auc_score(~wrong, values[of])), 3) if wrong.any() else None
        table.append(row)
    return table


def measure(name: str, sets: Sequence[Labelled]) -> dict[str, Any]:
    """AUCs over all images of several draws."""
    start = time.perf_counter()
    scores = [score(data) for data in sets]
    joined = {method: np.concatenate([each[method] for each in scores]) for method in METHODS}
    kind = np.concatenate([data.kind for data in sets])
    counts = np.bincount(kind, minlength=5)
    return {
        "name": name,
        "draws": len(sets),
        "classes": len(np.unique(sets[0].label)),
        "right": int(counts[RIGHT]),
        "wrong": int(counts[POLYSEMY : JUNK + 1].sum()),
        "auc": aucs(joined, kind),
        "seconds": round(time.perf_counter() - start, 1),
    }


def speed(images: int, dim: int) -> dict[str, Any]:
    """Images a second on one core, 18,291 classes in a hierarchy of JFT's shape, 1.25 labels an image."""
    closure = ancestor_closure(jft_like())
    rng = np.random.default_rng(0)
    n = closure.num_categories
    first = np.concatenate([np.arange(n), rng.integers(0, n, max(2 * n, images))]).astype(np.int32)
    vectors = rng.normal(size=(len(first), dim)).astype(np.float16)
    fitted, _ = fit(Labelled(closure, vectors, first, np.zeros(len(first), int), np.ones(len(first))))
    row = np.sort(np.concatenate([np.arange(images), rng.integers(0, images, images // 4)]))
    label = rng.integers(0, n, len(row)).astype(np.int32)
    start = time.perf_counter()
    fitted.score(vectors[:images], row, label, np.full(len(row), 0.5))
    score_s = time.perf_counter() - start
    start = time.perf_counter()
    Moments.of(vectors[:8192], np.arange(8192), first[:8192], np.ones(8192))
    return {
        "images": images,
        "dim": dim,
        "classes": n,
        "images_per_s": round(images / score_s),
        "gflop_per_s": round(2e-9 * images * n * dim / score_s, 1),
        "sums_images_per_s": round(8192 / (time.perf_counter() - start)),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def print_tables(result: dict[str, Any]) -> None:
    print("| images | method | all | polysemy | other class | junk |")
    print("|---|---|---|---|---|---|")
    for found in result["auc"]:
        told = f"{found['name']} ({found['right']:,} right, {found['wrong']:,} wrong)"
        for row in found["auc"]:
            cells = ["" if row[k] is None else f"{row[k]:.3f}" for k in ("all", "polysemy", "other class", "junk")]
            print(f"| {told} | {row['method']} | {' | '.join(cells)} |")
            told = ""
    print("\n| classes | dim | images/s, one core | GFLOP/s | sums, images/s | peak MiB |\n|---|---|---|---|---|---|")
    row = "| {classes:,} | {dim} | {images_per_s:,} | {gflop_per_s} | {sums_images_per_s:,} | {peak_mib:,} |"
    print(row.format_map(result["speed"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real photos; none: drawn embeddings only")
    parser.add_argument("--cache", type=Path, help="folder where embeddings are kept from run to run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cifar-images", type=int, default=6_000)
    parser.add_argument("--speed-images", type=int, default=4_096)
    parser.add_argument("--quick", action="store_true", help="a small input, to see that it runs")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    settings = {"drawn, 20 to 400 a class": (20, 100 if options.quick else 400), "drawn, 20 a class": (20, 20)}
    with one_thread():
        found = [measure(name, [draw(seed, sizes) for seed in seeds]) for name, sizes in settings.items()]
        listed = "drawn, 20 to 400, senses listed as confusions"
        found.append(measure(listed, [draw(seed, (20, 100), listed=True) for seed in seeds[:1]]))
        if options.data is not None:
            photos = Photos(options.data, options.cache)
            found.append(measure("Caltech-101", [caltech(photos, seed) for seed in range(5 * len(seeds))]))
            extra = ("caltech101", "imagenet_sample")
            for number, told in enumerate(("alone", "with Caltech-101", "with Caltech-101 and ImageNet")):
                found.append(measure(f"monkeys, {told}", [monkeys(photos, extra[:number])]))
            images = 500 if options.quick else options.cifar_images
            found += [measure(f"CIFAR-10N {c}", [cifar(photos, images, c)]) for c in ("random1", "worst")]
        pace = speed(512 if options.quick else options.speed_images, 64 if options.quick else 512)
    by_method = {row["method"]: row["polysemy"] for row in found[0]["auc"]}
    result = {
        "auc": found,
        "speed": pace,
        "holds": by_method["v + D"] >= MIN_POLYSEMY and by_method["k-means view"] < MAX_VIEW,
        "machine": f"{len(os.sched_getaffinity(0))} cores {platform.machine()}, one thread",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    text = json.dumps(result, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    print_tables(result)
    if not result["holds"]:
        raise SystemExit(f"expected v + D at {MIN_POLYSEMY} on polysemy and the view under {MAX_VIEW}, see above")


if __name__ == "__main__":
    main()
