"""Noisy pairs: what three signals say of each photo, and what of that is true.

- `folder` (links): the photo's class, as pages that show it would name it. A share of the labels is drawn wrong, from
  siblings or from anywhere, and wrong labels stand on fewer sites: the labels are real, errors and sites drawn by seed.
- `query` (score): what was searched for, with the place among the results as its score. All real.
- `classifier` (score): MobileNetV1's probability of each label that another source gave, summed over the ImageNet
  classes at or below it, and its own best class. All real.

Truth has three values: a label is correct when it is what the photo shows or lies above that, unknown when it lies
below (a dog may well be a beagle) or when nobody looked, else wrong. A photo of two things counts as wrong for the
second: the precisions are a little too low.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
from categories import Categories
from web import WebImage

from openjft.pipelines.errors import PipelineError

SOURCES: Final = (
    {"name": "folder", "kind": "links"},
    {"name": "query", "kind": "score"},
    {"name": "classifier", "kind": "score"},
)
WRONG_SHARE: Final = 0.22
SIBLING_SHARE: Final = 0.4  # of the wrong labels; the others come from anywhere
SIBLINGS: Final = 5
SITES: Final = 400
MAX_SITES: Final = 8  # that show one photo
MIN_OWN_PROBABILITY: Final = 0.2  # of the classifier's best class, to become a candidate
GOLD_SHARE: Final = 0.5  # of the photos with truth; the other half measures

Probabilities = npt.NDArray[np.float32]
Classify = Callable[[Sequence[Path]], Iterator[tuple[int, Probabilities]]]


@dataclasses.dataclass(frozen=True)
class Pair:
    """One (image, label) that a source gives."""

    image: WebImage
    label: str
    score: float | None = None
    page: str | None = None


def truth(image: WebImage, label: str, categories: Categories) -> bool | None:
    """Whether a label is right; None: nobody knows."""
    if image.verdict == "noise" and label == image.query:
        return False
    if image.shows is None:
        return None
    if label == image.shows or label in categories.ancestors(image.shows):
        return True
    return None if image.shows in categories.ancestors(label) else False


def known_truths(pairs: Sequence[Pair], categories: Categories) -> dict[tuple[str, str], bool]:
    """(route, label) -> whether it is right, of the candidates of which that is known.

    What was drawn for clutter, which is of no class, is wrong; what the classifier sees there nobody judged.
    """
    known: dict[tuple[str, str], bool] = {}
    for pair in pairs:
        drawn = pair.image.group == "clutter" and pair.page is not None
        right = False if drawn else truth(pair.image, pair.label, categories)
        if right is not None:
            known[pair.image.route, pair.label] = right
    return known


def in_gold(image: WebImage, seed: int) -> bool:
    """Whether a photo's labels go to the gold rather than to the measurement; copies never do."""
    if image.group not in {"caltech", "imagenet", "search", "clutter"}:
        return False
    digest = hashlib.sha256(f"gold\0{seed}\0{image.route}".encode()).digest()
    return int.from_bytes(digest[:8]) < GOLD_SHARE * 2**64


def folder_pairs(images: Sequence[WebImage], categories: Categories, *, seed: int) -> list[Pair]:
    """The class of each photo that has one, some of them wrong; one row for each page."""
    vocabulary = sorted({image.shows for image in images if image.shows is not None})
    pairs: list[Pair] = []
    for image in images:
        if image.group == "search" or (image.shows is None and image.group != "clutter"):
            continue
        digest = hashlib.sha256(f"folder\0{seed}\0{image.route}".encode()).digest()
        rng = np.random.default_rng(list(digest[:16]))
        label, wrong = image.shows, False
        if image.group in {"caltech", "imagenet", "clutter"}:
            label, wrong = _label(image, vocabulary, categories, rng)
        assert label is not None
        # Copies are of photos that many sites show; a wrong label is mostly one site's own.
        copied = image.group in {"copy", "planted"}
        sites = 1 + int(rng.geometric(0.35)) if copied else int(rng.geometric(0.8 if wrong else 0.45))
        chosen = rng.choice(SITES, min(sites, MAX_SITES), replace=False)
        pairs += [Pair(image, label, page=f"https://www.site-{s:03d}.example/{digest.hex()[:8]}") for s in chosen]
    return pairs


def _label(
    image: WebImage, vocabulary: list[str], categories: Categories, rng: np.random.Generator
) -> tuple[str, bool]:
    """(label, whether it is wrong) of a photo of a class, or of clutter."""
    if image.shows is None:
        return str(rng.choice(vocabulary)), True
    if rng.random() >= WRONG_SHARE:
        return image.shows, False
    if rng.random() < SIBLING_SHARE:
        return str(rng.choice(categories.nearest(image.shows, vocabulary, SIBLINGS))), True
    return str(rng.choice([c for c in vocabulary if not categories.related(image.shows, c)])), True


def query_pairs(images: Sequence[WebImage]) -> list[Pair]:
    """What was searched for; early results score near 1."""
    return [Pair(i, i.query, score=round(1 - i.rank, 4)) for i in images if i.query is not None]


def classifier_pairs(
    given: Sequence[Pair], classes: Sequence[str], categories: Categories, classify: Classify
) -> list[Pair]:
    """A score for each label given, where ImageNet has classes at or below it, and the best class of its own.

    Args:
        given: what the other sources say.
        classes: WordNet ids of the classifier's outputs.
        categories: of all ids.
        classify: yields (index, probabilities) of the photos that it can read.
    """
    labels: dict[WebImage, list[str]] = {}
    for pair in given:
        if pair.image.file is not None and pair.label not in labels.setdefault(pair.image, []):
            labels[pair.image].append(pair.label)
    below = {
        label: [i for i, c in enumerate(classes) if c == label or label in categories.ancestors(c)]
        for label in sorted({label for found in labels.values() for label in found})
    }
    images = list(labels)
    pairs: list[Pair] = []
    for index, probabilities in classify([image.file for image in images if image.file is not None]):
        image = images[index]
        pairs += [
            Pair(image, label, score=float(probabilities[below[label]].sum()))
            for label in labels[image]
            if below[label]
        ]
        best = int(probabilities.argmax())
        if probabilities[best] >= MIN_OWN_PROBABILITY and classes[best] not in labels[image]:
            pairs.append(Pair(image, classes[best], score=float(probabilities[best])))
    return pairs


def remembered(cache: Path, given: Sequence[Pair], weights: Path, compute: Callable[[], list[Pair]]) -> list[Pair]:
    """What the classifier said of these pairs in a former run, or says now."""
    images = {pair.image.route: pair.image for pair in given}
    asked = [[p.image.route, p.label, str(p.image.file)] for p in given]
    digest = hashlib.sha256(json.dumps(asked).encode() + weights.read_bytes()).hexdigest()
    if cache.exists() and (value := json.loads(cache.read_text()))["asked"] == digest:
        return [Pair(images[route], label, score=score) for route, label, score in value["pairs"]]
    pairs = compute()
    told = [[p.image.route, p.label, p.score] for p in pairs]
    cache.write_text(json.dumps({"asked": digest, "pairs": told}))
    return pairs


def mobilenet(weights: Path, *, threads: int = 2, progress: Callable[[], None] = lambda: None) -> Classify:
    """The network's probabilities; shorter side to 256 and the middle 224, as it was trained.

    Raises:
        PipelineError: the file is not the network.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base
        raise PipelineError(f"{weights} (MobileNetV1): expected an ONNX network, found {error}") from None

    def classify(files: Sequence[Path]) -> Iterator[tuple[int, Probabilities]]:
        for index, file in enumerate(files):
            progress()
            pixels = _centre(file)
            if pixels is None:
                continue
            (logits,) = session.run(["logits"], {"image": pixels})
            exponentials = np.exp(logits[0] - logits[0].max())
            yield index, exponentials / exponentials.sum()

    return classify


def _centre(file: Path) -> npt.NDArray[np.float32] | None:
    """(1, 3, 224, 224) in [-1, 1]; None where the file is no photo."""
    try:
        with PIL.Image.open(file) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError):
        return None
    scale = 256 / min(picture.size)
    width, height = (max(224, round(side * scale)) for side in picture.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    middle = picture.resize((width, height), PIL.Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    pixels = np.asarray(middle, np.float32) / np.float32(127.5) - 1
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def write_pairs(folder: Path, address: str, sources: dict[str, list[Pair]]) -> list[dict[str, Any]]:
    """Each source in a file of another format; returns the configuration's `inputs`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        name: [{"uri": f"{address}/{p.image.route}", "label": p.label, "score": p.score, "page": p.page} for p in pairs]
        for name, pairs in sources.items()
    }
    lines = "".join(json.dumps({k: r[k] for k in ("uri", "label", "score")}) + "\n" for r in rows["query"])
    _write(folder / "query.jsonl", lines.encode())
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["uri", "label", "page"], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows["folder"])
    _write(folder / "folder.csv.gz", gzip.compress(text.getvalue().encode(), mtime=0))
    score = {"uri": "uri", "label": "label", "score": "score"}
    inputs: list[dict[str, Any]] = [
        {"path": str(folder / "folder.csv.gz"), "source": "folder", "columns": {"page": "page"}},
        {"path": str(folder / "query.jsonl"), "source": "query", "columns": score},
    ]
    if rows.get("classifier"):
        buffer = io.BytesIO()
        pq.write_table(pa.table({k: [r[k] for r in rows["classifier"]] for k in score}), buffer)
        _write(folder / "classifier.parquet", buffer.getvalue())
        inputs.append({"path": str(folder / "classifier.parquet"), "source": "classifier", "columns": score})
    return inputs


def write_gold(path: Path, address: str, pairs: Sequence[Pair], categories: Categories, *, seed: int) -> int:
    """The judged candidates of half of the photos with truth; returns how many."""
    known = known_truths([pair for pair in pairs if in_gold(pair.image, seed)], categories)
    lines = [f"{address}/{route},{label},{int(right)}\n" for (route, label), right in known.items()]
    _write(path, ("uri,label,correct\n" + "".join(lines)).encode())
    return len(lines)


def _write(path: Path, data: bytes) -> None:
    """A file with other content only: an unchanged one keeps its time, and `ingest` is not run again."""
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
