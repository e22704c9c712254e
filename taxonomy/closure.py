"""All ancestors of every category, as CSR, and what follows from counting through them.

In: a `Taxonomy`. Out: a `Closure` (72k WordNet nouns: 670k pairs, 2.7 MB). Source: METHODS section 3; information
content after Resnik (1995).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from .csr import Csr, Int32s, Int64s, offsets_of, sorted_unique
from .hierarchy import Taxonomy


@dataclasses.dataclass(frozen=True, eq=False)
class Closure:
    """Ancestors of each of n categories, without itself.

    Attributes:
        values: (nnz,) int32 labels, sorted and unique within a category: a diamond's top stands once.
        offsets: (n + 1,) int64.
        parents: direct parents, as in the taxonomy.
        depth: (n,) int32, as `Taxonomy.depth`.
    """

    values: Int32s
    offsets: Int64s
    parents: Csr
    depth: Int32s

    @property
    def num_categories(self) -> int:
        """How many categories there are."""
        return len(self.offsets) - 1

    @property
    def csr(self) -> Csr:
        """Values and offsets as one."""
        return Csr(self.values, self.offsets)

    def of(self, label: int) -> Int32s:
        """Sorted ancestors of one category."""
        return self.csr.of(label)

    @functools.cached_property
    def with_self(self) -> Csr:
        """Each category's ancestors and itself, sorted."""
        n = self.num_categories
        category = np.arange(n)
        owner = np.concatenate([np.repeat(category, np.diff(self.offsets)), category])
        keys = owner * n + np.concatenate([self.values, category])
        keys.sort()
        return Csr((keys % n).astype(np.int32), self.offsets + np.arange(n + 1)).frozen()

    @functools.cached_property
    def descendants(self) -> Csr:
        """Each category's descendants, without itself, sorted."""
        n = self.num_categories
        keys = self.values.astype(np.int64) * n + np.repeat(np.arange(n), np.diff(self.offsets))
        keys.sort()
        counts = np.bincount(self.values, minlength=n)
        return Csr((keys % n).astype(np.int32), offsets_of(counts)).frozen()


def ancestor_closure(taxonomy: Taxonomy) -> Closure:
    """The ancestors of every category, level by level from the roots: those of the parents, and the parents."""
    n, parents, depth = taxonomy.num_categories, taxonomy.parents, taxonomy.depth()
    starts, lengths = np.zeros(n, np.int64), np.zeros(n, np.int64)
    buffer, used = np.empty(4 * n, np.int32), 0
    by_depth = np.argsort(depth, kind="stable")
    for level in np.split(by_depth, np.flatnonzero(np.diff(depth[by_depth])) + 1)[1:]:
        up = parents.take(level)
        child = np.repeat(np.arange(len(level)), up.lengths)
        inherited = lengths[up.values]
        offsets = offsets_of(inherited)
        positions = np.repeat(starts[up.values] - offsets[:-1], inherited) + np.arange(offsets[-1])
        keys = np.concatenate([child * n + up.values, np.repeat(child, inherited) * n + buffer[positions]])
        keys = sorted_unique(keys)
        lengths[level] = np.bincount(keys // n, minlength=len(level))
        starts[level] = used + offsets_of(lengths[level])[:-1]
        if used + len(keys) > len(buffer):
            buffer = np.concatenate([buffer[:used], np.empty(max(len(buffer), len(keys)) * 2, np.int32)])
        buffer[used : used + len(keys)] = keys % n
        used += len(keys)
    offsets = offsets_of(lengths)
    values = buffer[np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])]
    Csr(values, offsets).frozen()
    return Closure(values, offsets, parents, depth)


def count_below(closure: Closure, counts: npt.NDArray[np.integer]) -> Int64s:
    """(n,) int64 labels at a category or below it.

    Args:
        closure: of the taxonomy of the labels.
        counts: (n,) asserted labels of each category, not negative.

    Raises:
        ValueError: the shape is not (n,), or a count is negative.
    """
    if counts.shape != (closure.num_categories,) or (len(counts) and counts.min() < 0):
        raise ValueError(f"expected ({closure.num_categories},) counts of 0 or more, found shape {counts.shape}")
    totals = counts.astype(np.int64)
    np.add.at(totals, closure.values, np.repeat(counts.astype(np.int64), np.diff(closure.offsets)))
    return totals


def information_content(closure: Closure, counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """-log2(N_a / N): how much it tells that a label lies at category a or below.

    Args:
        closure: of the taxonomy of the labels.
        counts: (n,) asserted labels of each category.

    Returns:
        (n,) float64 bits, 0 for a single root; inf where nothing was counted at the category or below.
    """
    below = count_below(closure, counts)
    total = max(int(counts.sum()), 1)
    bits = np.full(len(below), np.inf)
    seen = below > 0
    bits[seen] = np.abs(np.log2(below[seen] / total))  # N_a <= N, so the logarithm is <= 0; abs avoids -0.0
    return bits
