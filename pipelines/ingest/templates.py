"""Template text: how many images of a domain bear the same text, in bounded memory for any number of rows.

In: hashes of (source, domain, text), one for each image that bears it. Out: a count sketch (Charikar, Chen and
Farach-Colton 2002), a small table of signed counters that add up over splits in any order, from which the number of
images of any hash is read back without bias. "Buy cheap shoes" below 40,000 pictures of a shop is one statement, not
40,000: a text of f images weighs 1 / (1 + (f - 1) rho), METHODS.md section 1.

The error of a count is that of one counter, about sqrt(distinct texts / WIDTH); counts below three of it are taken for
1, so unique texts never lose weight. Up to a million texts counts are nearly exact; with a billion, templates of fewer
than a hundred images pass unnoticed. An exact count would need a second shuffle of all rows.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..mixing import mix64
from .aggregate import Pairs, starts_of

WIDTH: Final = 1 << 20
DEPTH: Final = 5  # the median of five: one or two collisions with a large template do not show
NO_TEXT: Final = 0
_NOISE: Final = 3.0  # standard errors below which a count says nothing
_MEDIAN_OF_NORMAL: Final = 0.6745  # of the absolute values of a standard normal law

Words = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class TemplateCounts:
    """A count sketch: `counters` (DEPTH, WIDTH) int64."""

    counters: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> TemplateCounts:
        """Of nothing."""
        return cls(np.zeros((DEPTH, WIDTH), np.int64))

    def add(self, hashes: Words) -> None:
        """Counts (n,) hashes once each; they may repeat."""
        if not len(hashes):
            return
        distinct, counts = np.unique(hashes, return_counts=True)
        for row, (place, sign) in enumerate(_places(distinct)):
            self.counters[row] += np.bincount(place, sign * counts, WIDTH).astype(np.int64)

    def merge(self, other: TemplateCounts) -> None:
        """Adds another one's counts."""
        self.counters[:] += other.counters

    def count(self, hashes: Words) -> npt.NDArray[np.float64]:
        """(n,) images of each hash, at least 1."""
        if not len(hashes):
            return np.ones(0)
        seen = np.stack([sign * self.counters[row][place] for row, (place, sign) in enumerate(_places(hashes))])
        estimate = np.median(seen, axis=0)
        found: npt.NDArray[np.float64] = np.where(estimate > _NOISE * self._error, np.maximum(estimate, 1.0), 1.0)
        return found

    @functools.cached_property
    def _error(self) -> float:
        """Standard error of a counter, by the median: a few large templates do not count. 0 while most are empty."""
        return float(np.median(np.abs(self.counters))) / _MEDIAN_OF_NORMAL

    def to_bytes(self) -> bytes:
        """Compressed: of few texts it is nearly all zeros."""
        return bytes(pa.compress(self.counters.astype("<i8").tobytes(), codec="zstd", asbytes=True))

    @classmethod
    def from_bytes(cls, data: bytes) -> TemplateCounts:
        """What `to_bytes` gave."""
        raw = pa.decompress(data, decompressed_size=8 * DEPTH * WIDTH, codec="zstd", asbytes=True)
        return cls(np.frombuffer(raw, "<i8").reshape(DEPTH, WIDTH).astype(np.int64))


def _places(hashes: Words) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """For each row of the sketch (n,) counters and signs."""
    places = []
    for row in range(DEPTH):
        mixed = mix64(hashes + np.uint64(row + 1))
        place = (mixed >> np.uint64(1)).astype(np.int64) & (WIDTH - 1)
        places.append((place, 1 - 2 * (mixed & np.uint64(1)).astype(np.int64)))
    return places


def template_hashes(pairs: Pairs) -> Words:
    """(n,) hash of (source, domain, text) of each row; `NO_TEXT` where a row has no text or no domain."""
    hashed = mix64(mix64(pairs.domain + pairs.source.astype(np.uint64)) ^ pairs.text) | np.uint64(1)
    return np.where((pairs.text != NO_TEXT) & (pairs.domain != 0), hashed, np.uint64(NO_TEXT))


def images_of_texts(pairs: Pairs) -> Words:
    """The hash of each text of each image, once however many labels were read from it: what a run counts."""
    hashes = template_hashes(pairs)
    rows = np.flatnonzero(hashes != NO_TEXT)
    key, hashes = pairs.key[rows], hashes[rows]
    order = np.lexsort((hashes, key))
    key, hashes = key[order], hashes[order]
    return hashes[starts_of(key, hashes)]
