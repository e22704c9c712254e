"""Exact search of query vectors in a flat FAISS index: every row at a similarity or above, none approximated.

FAISS finds candidates in float32, whose last bits depend on batch, threads and device; the cosine that is reported and
held against the threshold is computed again in float64 from the stored vectors, so that CPU and GPU, large and small
batches give the same pairs. On the CPU `range_search` is complete. A GPU has only k-nearest, of which the margin covers
float16: k grows for the queries whose k results all pass, up to `MAX_K`; what is still full then is counted and asked
again of the CPU, which is complete.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from .resample import Float32
from .vectors import Float16

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

# Queries of one call. Below 250 FAISS leaves BLAS and is 12 times slower; above 4096 nothing is gained and the
# block of similarities grows.
BATCH: Final = 4096
MIN_BATCH: Final = 256
FIRST_K: Final = 32
MAX_K: Final = 2048  # the most that FAISS selects on a GPU
# Candidates are asked for this much below the threshold: float16 vectors are off unit length by up to 3e-4, float32
# sums by less, and a GPU's float16 products of unit vectors of 2,048 values by less than the rest.
MARGIN: Final = 2e-3
_BLOCK_ROWS: Final = 65_536


class Hits(NamedTuple):
    """Pairs (query, row of the index) at the threshold or above, by query and then row.

    `full_k` counts the queries whose `MAX_K` results of a GPU all passed, and which the CPU searched again.
    """

    query: Int64
    row: Int64
    similarity: Float32
    full_k: int


def batches(total: int, size: int = BATCH) -> Iterator[slice]:
    """Nearly equal batches, none under MIN_BATCH where the total allows it."""
    count = max(1, -(-total // size))
    edges = [total * i // count for i in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            yield slice(start, stop)


class FlatSearcher:
    """Resident vectors and the FAISS index over them."""

    def __init__(self, vectors: Float16, *, gpu: bool | None = None) -> None:
        """Takes (rows, dim) float16 vectors; `gpu` None: where FAISS sees one."""
        self._vectors = vectors
        self._norms = np.empty(len(vectors), np.float64)
        flat = faiss.IndexFlatIP(vectors.shape[1])
        for start in range(0, len(vectors), _BLOCK_ROWS):  # in blocks: the float32 copy lives in FAISS only
            block = vectors[start : start + _BLOCK_ROWS].astype(np.float32)
            self._norms[start : start + _BLOCK_ROWS] = _norms(block)
            flat.add(np.ascontiguousarray(block))
        self.on_gpu = faiss.get_num_gpus() > 0 if gpu is None else gpu
        self._flat: Any = flat
        self._index: Any = _on_all_gpus(flat) if self.on_gpu else flat

    def search(
        self, queries: Float32, min_similarity: float, *, nearest: bool | None = None, max_k: int = MAX_K
    ) -> Hits:
        """All rows at `min_similarity` or above for each query.

        Args:
            queries: (m, dim) float32, finite, about unit length.
            min_similarity: cosine.
            nearest: True: by growing k; False: by range; None: what the device has.
            max_k: the most that k grows to.
        """
        if not len(queries) or not len(self._vectors):
            return Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), 0)
        by_k = self.on_gpu if nearest is None else nearest
        radius = min_similarity - MARGIN
        parts: list[tuple[Int64, Int64, Float32]] = []
        full = 0
        for part in batches(len(queries)):
            block = np.ascontiguousarray(queries[part], np.float32)
            if by_k:
                query, row, still_full = self._nearest(block, radius, max_k)
                full += still_full
            else:
                query, row = self._range(block, radius)
            similarity = self._cosines(block, query, row)
            keep = similarity >= np.float32(min_similarity)
            query, row, similarity = query[keep], row[keep], similarity[keep]
            order = np.lexsort((row, query))
            parts.append((query[order] + part.start, row[order], similarity[order]))
        query, row, similarity = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Hits(query, row, similarity, full)

    def _range(self, block: Float32, radius: float) -> tuple[Int64, Int64]:
        """Candidates by `range_search` of the CPU: complete."""
        n = len(block)
        if n < MIN_BATCH and radius > 0:  # a row of zeros is at similarity 0, so padding finds nothing
            block = np.concatenate([block, np.zeros((MIN_BATCH - n, block.shape[1]), np.float32)])
        limits, _, rows = self._flat.range_search(block, radius)
        query = np.repeat(np.arange(len(block), dtype=np.int64), np.diff(limits.astype(np.int64)))
        return query, rows.astype(np.int64)

    def _nearest(self, block: Float32, radius: float, max_k: int) -> tuple[Int64, Int64, int]:
        """Candidates by k-nearest, k grown for queries whose k results all pass; and how many the CPU had to search."""
        most = min(max_k, len(self._vectors))
        todo = np.arange(len(block), dtype=np.int64)
        k = min(FIRST_K, most)
        queries, rows = [], []
        while True:
            scores, found = self._index.search(np.ascontiguousarray(block[todo]), k)
            passing = (scores > radius) & (found >= 0)
            # All rows of the index are a complete answer, however full.
            full = passing.all(axis=1) if k < len(self._vectors) else np.zeros(len(todo), bool)
            passing &= ~full[:, None]
            at, column = np.nonzero(passing)
            queries.append(todo[at])
            rows.append(found[at, column].astype(np.int64))
            todo = todo[full]
            if k == most or not len(todo):
                break
            k = min(4 * k, most)
        if len(todo):
            at, row = self._range(np.ascontiguousarray(block[todo]), radius)
            queries.append(todo[at])
            rows.append(row)
        return np.concatenate(queries), np.concatenate(rows), len(todo)

    def top(self, queries: Float32, k: int) -> Float32:
        """(m, k) float32: the k largest cosines of each query, falling; -1 where the index has fewer rows.

        As exact as float32 is (float16 on a GPU): for statistics, not for thresholds.
        """
        out = np.full((len(queries), k), -1, np.float32)
        if not len(self._vectors):
            return out
        most = min(k, len(self._vectors))
        for part in batches(len(queries)):
            out[part, :most], _ = self._index.search(np.ascontiguousarray(queries[part], np.float32), most)
        return np.clip(out, -1, 1)

    def _cosines(self, block: Float32, query: Int64, row: Int64) -> Float32:
        """(pairs,) float32 cosine of the stored vectors, in float64.

        A row of zeros stands for an image that says too little: its cosines are NaN, which no threshold lets pass.
        """
        out = np.empty(len(query), np.float32)
        norms = _norms(block)
        for start in range(0, len(query), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            a = block[query[part]].astype(np.float64)
            b = self._vectors[row[part]].astype(np.float64)
            lengths = norms[query[part]] * self._norms[row[part]]
            with np.errstate(invalid="ignore"):
                out[part] = np.clip(np.einsum("ij,ij->i", a, b) / lengths, -1, 1)
        return out


def _on_all_gpus(flat: Any) -> Any:
    """A float16 copy on every GPU of the machine; queries are split among them."""
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16 = True
    options.shard = False  # the eval side is small: replicas answer more queries than parts
    return faiss.index_cpu_to_all_gpus(flat, co=options)


def _norms(vectors: Float32) -> npt.NDArray[np.float64]:
    """(n,) lengths."""
    lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return lengths
