"""Recall by planted copies: a sample of eval images, transformed as the web transforms them, must be found again.

Every build measures itself this way, at its own threshold, with its own descriptor and its own eval images. What is
counted: copies of which the right eval image was reported. The sample is drawn by hash of (seed, set, id), so that it
does not depend on order or on other sets.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .embedder import Embedder
from .index import EvalIndex
from .interval import CONFIDENCE, clopper_pearson
from .resample import Float32, Image
from .transforms import TRANSFORMS, Transform


@dataclasses.dataclass(frozen=True)
class Recall:
    """Found copies of one transform, with the exact interval of their share."""

    transform: str
    found: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Found / total; NaN when nothing was planted."""
        return self.found / self.total if self.total else float("nan")

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        value = dataclasses.asdict(self)
        return {**value, "confidence": CONFIDENCE, "recall": self.share if self.total else None}


def sample_rows(table: pa.Table, count: int, seed: int) -> list[int]:
    """`count` rows of EVAL_IMAGES, or all, rising; those with the smallest hash of (seed, set, id)."""
    hashes = [
        hashlib.blake2b(f"{seed}\0{name}\0{id_}".encode(), digest_size=8).digest()
        for name, id_ in zip(table["eval_set"].to_pylist(), table["eval_id"].to_pylist(), strict=True)
    ]
    return sorted(sorted(range(len(hashes)), key=lambda row: (hashes[row], row))[:count])


def planted_recall(
    images: Iterable[tuple[int, Image]],
    index: EvalIndex,
    embedder: Embedder,
    *,
    seed: int,
    min_similarity: float,
    neighbours: int,
    store: Callable[[Image], Image] | None = None,
    transforms: Mapping[str, Transform] = TRANSFORMS,
) -> tuple[Recall, ...]:
    """Recall of each transform.

    Args:
        images: (row of `index.images`, pixels as the eval set has them), as `sample_rows` chose.
        index: what is searched.
        embedder: the descriptor of the index.
        seed: of the transforms' strengths, together with row and transform.
        min_similarity: the removal threshold.
        neighbours: eval images reported for a query.
        store: what a build does to an image before it is embedded (resize, JPEG).
        transforms: by name; the original, untransformed, is reported as "none".
    """
    rows: list[int] = []
    vectors: dict[str, list[Float32]] = {"none": [], **{name: [] for name in transforms}}
    for row, image in images:
        copies = [image, *_transformed(image, transforms, seed, row)]
        stored = [store(copy) for copy in copies] if store else copies
        rows.append(row)
        for name, vector in zip(vectors, embedder.embed(stored), strict=True):
            vectors[name].append(vector)
    truth = np.asarray(rows, np.int32)
    results = []
    for name, made in vectors.items():
        found = 0
        if made:
            # Stored embeddings are float16; so are these.
            queries = np.stack(made).astype(np.float16).astype(np.float32)
            matches = index.search(queries, min_similarity=min_similarity, neighbours=neighbours)
            found = len(np.unique(matches.query_index[matches.eval_index == truth[matches.query_index]]))
        results.append(Recall(name, found, len(made), *clopper_pearson(found, len(made))))
    return tuple(results)


def _transformed(image: Image, transforms: Mapping[str, Transform], seed: int, row: int) -> Sequence[Image]:
    # The name's hash, not its place, goes into the seed: a new transform leaves the others as they were.
    marks = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) for name in transforms}
    return [transform(image, np.random.default_rng([seed, row, marks[name]])) for name, transform in transforms.items()]
