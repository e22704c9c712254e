"""One descriptor on one collection, as the stages `overlaps` and `verdicts` treat a build: search, tail, verification.

In: pictures and a descriptor. Out: every listed pair with its score and whether alignment verified it, and thresholds.
The training images are all pictures, eval images those that some set is sought among; a picture is no copy of itself.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import pyarrow as pa
from copy_sets import CopySet, Pair, pair

from openjft.dedup import EVAL_IMAGES, EmbedderSpec, EvalIndex, View, make_embedder, make_views, tail_form
from openjft.dedup.alignment import Alignment, Features, align
from openjft.dedup.tail import EXCEEDANCES
from openjft.dedup.thresholds import (
    Sample,
    Thresholds,
    choose_thresholds,
    fit_tails,
    listed_score,
    report_threshold,
)
from openjft.pipelines.config import Decontaminate

SIDE = 512  # longer side of a decoded picture, at most
SETTINGS = Decontaminate()  # the product's defaults decide, nothing here does
VIEWS = make_views(SETTINGS.views)
PATIENCE = 128  # pairs without a copy, from the highest score down, after which the sample counts as clean


@dataclasses.dataclass
class Collection:
    """Pictures, decoded where they can be, and the sets over them."""

    name: str
    pictures: dict[str, bytes]
    sets: list[CopySet]
    images: dict[str, npt.NDArray[np.uint8]]
    features: dict[str, Features] = dataclasses.field(default_factory=dict)  # SIFT points: of no descriptor
    aligned: dict[tuple[str, str, View], Alignment] = dataclasses.field(default_factory=dict)

    def align(self, query: str, reference: str, view: View) -> Alignment:
        """How one picture lies in another."""
        key = query, reference, view
        if key not in self.aligned:
            for name in key[:2]:
                if name not in self.features:
                    self.features[name] = Features(self.images[name])
            self.aligned[key] = align(self.features[query], self.features[reference], view)
        return self.aligned[key]

    @classmethod
    def read(cls, name: str, pictures: dict[str, bytes], sets: list[CopySet]) -> Collection:
        """Decodes them."""
        images = {key: decoded for key, content in pictures.items() if (decoded := decode(content)) is not None}
        return cls(name, pictures, sets, images)


def decode(content: bytes) -> npt.NDArray[np.uint8] | None:
    """RGB of at most SIDE pixels; None: no decoder reads it."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (SIDE, SIDE))
            whole = picture.convert("RGB")
    except OSError:
        return None
    whole.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)
    return np.asarray(whole)


class Found(NamedTuple):
    """What is known of a listed pair."""

    score: float
    alike: bool
    verified: bool


class Judge:
    """A descriptor's answers about a collection."""

    def __init__(self, collection: Collection, spec: EmbedderSpec, cache: Path | None) -> None:
        self.collection, self.spec, self.embedder = collection, spec, make_embedder(spec)
        self.names = sorted(collection.images)
        wanted = {name for each in collection.sets for name in each.references}
        self.references = [name for name in self.names if name in wanted]
        self.index, self.vectors = self._cached(cache) if cache else self._embedded()

    def _embedded(self) -> tuple[EvalIndex, npt.NDArray[np.float32]]:
        """The index of the references in all views, and the vectors of all pictures."""
        images, count = self.collection.images, len(self.references)
        table = pa.table([[self.collection.name] * count, self.references, [""] * count], schema=EVAL_IMAGES)
        stream = ((row, images[name]) for row, name in enumerate(self.references))
        index = EvalIndex.build(stream, table, self.embedder, VIEWS)
        chunks = (self.names[start : start + 64] for start in range(0, len(self.names), 64))
        return index, np.concatenate([self.embedder.embed([images[name] for name in chunk]) for chunk in chunks])

    def _cached(self, cache: Path) -> tuple[EvalIndex, npt.NDArray[np.float32]]:
        folder = cache / f"{self.collection.name}-{len(self.names)}-{self.embedder.fingerprint[:16]}-{len(VIEWS)}"
        vectors = folder / "all.npy"
        if not vectors.is_file():
            index, made = self._embedded()
            folder.mkdir(parents=True, exist_ok=True)
            index.save(lambda name: (folder / name).open("wb"))
            np.save(vectors, made)
        index = EvalIndex.load(
            lambda name: (folder / name).open("rb"), embedder=self.embedder.fingerprint, origin=str(folder)
        )
        return index, np.load(vectors)

    def calibrate(self) -> Thresholds:
        """The thresholds of a build of these pictures: which pairs are copies only the verification says."""
        sample = self._sample()
        found = sample.matches
        copies = np.zeros(len(found.score), bool)
        since = 0
        for at in np.argsort(-found.score, kind="stable").tolist():
            aligned = self.align(int(found.query_index[at]), int(found.eval_index[at]), int(found.view[at]))
            copies[at] = aligned.is_alike(SETTINGS.remove_ssim)
            since = 0 if copies[at] else since + 1
            if since == PATIENCE:
                break
        images, pairs = fit_tails(sample, copies, references=len(self.references), form=tail_form(self.spec), seed=0)
        return choose_thresholds(
            images,
            pairs,
            queries=len(self.names),
            references=len(self.references),
            false_removals=SETTINGS.false_removals,
            default=self.embedder.default_remove_similarity,
            configured=None,
            normalised=False,
            listed=listed_score(sample, copies, share=SETTINGS.listed_images),
        )

    def _sample(self) -> Sample:
        """As `sample_pairs`, but a picture that is on both sides is not its own neighbour."""
        near = self.index.searcher.top(self.vectors, 2 * len(VIEWS) + 1)
        other = np.sort(near[:, len(VIEWS)])[::-1]  # a picture's own views lie before it at most
        wanted = max(2 * max(EXCEEDANCES.values()), len(other) // 10)
        floor = float(other[min(wanted, len(other) // 2)])
        found = self.index.search(self.vectors, min_score=floor, neighbours=len(self.references))
        at = {name: row for row, name in enumerate(self.references)}
        own = np.array([at.get(name, -1) for name in self.names])
        others = np.flatnonzero(own[found.query_index] != found.eval_index)
        kept = found._replace(
            query_index=found.query_index[others],
            eval_index=found.eval_index[others],
            view=found.view[others],
            similarity=found.similarity[others],
            score=found.score[others],
        )
        return Sample(kept, len(self.names), floor)

    def align(self, query: int, reference: int, view: int) -> Alignment:
        """How a picture lies in a reference."""
        return self.collection.align(self.names[query], self.references[reference], VIEWS[view])

    def listed(self, thresholds: Thresholds) -> dict[Pair, Found]:
        """Every listed pair of two pictures; the better of both directions."""
        near = self.index.search(self.vectors, min_score=thresholds.listed, neighbours=len(self.references))
        out: dict[Pair, Found] = {}
        for query, reference, view, score in zip(
            near.query_index.tolist(), near.eval_index.tolist(), near.view.tolist(), near.score.tolist(), strict=True
        ):
            key = pair(self.names[query], self.references[reference])
            if key[0] != key[1]:
                aligned = self.align(query, reference, view)
                before = out.get(key, Found(-1.0, False, False))
                out[key] = Found(
                    max(before.score, score),
                    before.alike or aligned.is_alike(SETTINGS.remove_ssim),
                    before.verified or aligned.is_verified(SETTINGS.verify_ssim),
                )
        return out


@dataclasses.dataclass(frozen=True)
class Answers:
    """What is called a copy: `removed` and `reported` as the product does, `by_score` without verification."""

    removed: list[Pair]
    reported: list[Pair]
    by_score: list[Pair]
    thresholds: Thresholds
    listed: int
    verified: int


def answer(judge: Judge) -> Answers:
    """All of a collection."""
    thresholds = judge.calibrate()
    pairs = judge.listed(thresholds)
    scores = np.array([found.score for found in pairs.values()], np.float32)
    sure = np.array([found.verified for found in pairs.values()], bool)
    report = report_threshold(thresholds, scores, sure, false_reports=SETTINGS.false_reports)
    near = [key for key, found in pairs.items() if found.score >= thresholds.remove]
    return Answers(
        sorted({*near, *(key for key, found in pairs.items() if found.alike or found.verified)}),
        [key for key, found in pairs.items() if found.verified and found.score >= report],
        near,
        dataclasses.replace(thresholds, report=report),
        len(pairs),
        int(sure.sum()),
    )
