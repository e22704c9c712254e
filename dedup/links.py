"""Links between similar vectors of one cell: which of them hang together, without ever holding all pairs.

In: the vectors of a cell, the most important first. Out: for each the first one that it is linked with, directly or
through others. Products are taken in blocks, and only a spanning tree is kept of what they show, so that 100,000 copies
of one placeholder take n numbers and not n squared. Links are candidates, asked for a little below the threshold:
`groups` holds each member against its representative.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .groups import connected
from .resample import Float32
from .search import MARGIN
from .vectors import Float16

Int64 = npt.NDArray[np.int64]

# Up to so many vectors all are compared. Beyond, what is close to a more important one is compared no further: a cell
# so large is a clump, and would take minutes.
WHOLE: Final = 32_768
_ROWS: Final = 1_024
_COLUMNS: Final = 8_192


def link_similar(vectors: Float16, min_similarity: float, *, whole: int = WHOLE) -> Int64:
    """Links the vectors of a cell.

    Args:
        vectors: (n, dim) about unit length, the most important first; rows of zeros match nothing.
        min_similarity: cosine.
        whole: up to so many vectors all pairs are looked at.

    Returns:
        (n,) int64: the first row of the vectors that each hangs together with; its own number where alone.
    """
    first = np.arange(len(vectors), dtype=np.int64)
    active = np.flatnonzero(np.asarray(vectors != 0).any(axis=1))
    radius = np.float32(min_similarity - MARGIN)
    if len(active) > whole:
        return _link_to_leaders(vectors, active, first, radius)
    for start in range(0, len(active), _ROWS):
        rows = active[start : start + _ROWS]
        block = vectors[rows].astype(np.float32)
        for left in range(start, len(active), _COLUMNS):
            columns = active[left : left + _COLUMNS]
            a, b = np.nonzero(_products(block, vectors, columns) >= radius)
            later = columns[b] > rows[a]
            if later.any():
                first = _join(first, rows[a[later]], columns[b[later]])
    return first


def _products(block: Float32, vectors: Float16, columns: Int64) -> Float32:
    out: Float32 = block @ vectors[columns].astype(np.float32).T
    return out


def _join(first: Int64, a: Int64, b: Int64) -> Int64:
    """The first rows of what hangs together after further links."""
    everyone = np.arange(len(first), dtype=np.int64)
    component = connected(np.concatenate([everyone, a]), np.concatenate([first, b]), len(first))
    # Components are numbered by their first members, so these rise.
    return np.asarray(np.unique(component, return_index=True)[1][component], np.int64)


def _link_to_leaders(vectors: Float16, active: Int64, first: Int64, radius: np.float32) -> Int64:
    """Each is linked with the most important leader near it; one that no leader is near becomes a leader itself.

    One that is near a leader by the margin alone is parted from it later, and was then not compared with the others.
    """
    while len(active):
        rows, rest = active[:_ROWS], active[_ROWS:]
        block = vectors[rows].astype(np.float32)
        near = block @ block.T >= radius
        leaders = []
        taken = np.zeros(len(rows), np.bool_)
        for row in range(len(rows)):
            if not taken[row]:
                leaders.append(row)
                new = near[row] & ~taken
                first[rows[new]] = rows[row]
                taken |= near[row]
        left = []
        for start in range(0, len(rest), _COLUMNS):
            columns = rest[start : start + _COLUMNS]
            hits = _products(block[leaders], vectors, columns) >= radius
            met = hits.any(axis=0)
            first[columns[met]] = rows[np.array(leaders)[hits[:, met].argmax(axis=0)]]
            left.append(columns[~met])
        active = np.concatenate(left) if left else rest
    return first
