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

from .background import Background
from .embedder import Embedder
from .index import EvalIndex
from .interval import CONFIDENCE, clopper_pearson
from .resample import Image
from .transforms import TRANSFORMS, Transform

# (stored copy, row of the index's images, view) -> whether it shows that image
Verify = Callable[[Image, int, int], bool]


@dataclasses.dataclass(frozen=True)
class Recall:
    """Found copies of one transform, with the exact interval of their share.

    `found` are those that would be removed, for their score or because they were verified; `verified` the latter.
    """

    transform: str
    found: int
    verified: int
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
    remove: float,
    listed: float,
    neighbours: int,
    background: Background | None = None,
    verify: Verify = lambda *_: False,
    store: Callable[[Image], Image] | None = None,
    transforms: Mapping[str, Transform] = TRANSFORMS,
) -> tuple[Recall, ...]:
    """Recall of each transform.

    Args:
        images: (row of `index.images`, pixels as the eval set has them), as `sample_rows` chose.
        index: what is searched.
        embedder: the descriptor of the index.
        seed: of the transforms' strengths, together with row and transform.
        remove: score at which a copy is removed.
        listed: score at which it is removed if it is verified.
        neighbours: eval images reported for a query.
        background: of the scores, where they are normalised.
        verify: the verification of a build; none verifies nothing.
        store: what a build does to an image before it is embedded (resize, JPEG).
        transforms: by name; the original, untransformed, is reported as "none".
    """
    names = ("none", *transforms)
    found, verified, total = dict.fromkeys(names, 0), dict.fromkeys(names, 0), 0
    for row, image in images:
        copies = [image, *_transformed(image, transforms, seed, row)]
        stored = [store(copy) for copy in copies] if store else copies
        # Stored embeddings are float16; so are these.
        queries = embedder.embed(stored).astype(np.float16).astype(np.float32)
        matches = index.search(queries, min_score=min(listed, remove), neighbours=neighbours, background=background)
        total += 1
        for at in np.flatnonzero(matches.eval_index == row):
            copy = int(matches.query_index[at])
            sure = matches.score[at] >= listed and verify(stored[copy], row, int(matches.view[at]))
            verified[names[copy]] += sure
            found[names[copy]] += bool(sure or matches.score[at] >= remove)
    return tuple(
        Recall(name, found[name], verified[name], total, *clopper_pearson(found[name], total)) for name in names
    )


def _transformed(image: Image, transforms: Mapping[str, Transform], seed: int, row: int) -> Sequence[Image]:
    # The name's hash, not its place, goes into the seed: a new transform leaves the others as they were.
    marks = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) for name in transforms}
    return [transform(image, np.random.default_rng([seed, row, marks[name]])) for name, transform in transforms.items()]
