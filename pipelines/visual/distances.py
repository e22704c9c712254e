"""The nearest class that has nothing to do with an image's own, in blocks of a matrix product; and the margin.

In: whitened vectors, the class means, and which classes are related. Out: for each label of an image the squared
distance to the nearest mean of an unrelated class, and how much farther that is than the own one. Related are a class's
ancestors, its descendants, and those that the list of confusions puts beside it (both ways): an image of a poodle is no
reason to doubt the label dog, nor one of a coffee cup the label coffee. Classes without images are no
competitors. What it does not do: the means.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from openjft.taxonomy import Closure, Csr
from openjft.taxonomy.csr import offsets_of, sorted_unique

from .means import ClassMeans, LeftOut
from .moments import Float32s, Floats, Int32s, Int64s

BLOCK_VALUES: Final = 1 << 24  # distances held at a time: 64 MB of float32


@dataclasses.dataclass(frozen=True)
class Competitors:
    """The classes that have images.

    Attributes:
        labels: (m,) int32, rising.
        means: (m, d) float32.
        half_squares: (m,) half of their squared lengths.
        column: (c,) int32 place of each category among them, -1 where it has no images.
        related: for each of the c categories the places of its relatives and its own, m lists.
    """

    labels: Int32s
    means: Float32s
    half_squares: Float32s
    column: Int32s
    related: Csr

    @classmethod
    def of(cls, means: ClassMeans, related: Csr) -> Self:
        """Those of fitted means.

        Args:
            means: of c categories.
            related: for each category those that are no competitors of it (`relatives`).
        """
        labels = np.flatnonzero(means.images).astype(np.int32)
        column = np.full(len(means.images), -1, np.int32)
        column[labels] = np.arange(len(labels))
        places = column[related.values]
        kept = places >= 0
        lengths = np.bincount(
            np.repeat(np.arange(related.num_lists), related.lengths)[kept], minlength=related.num_lists
        )
        chosen = means.mean[labels]
        return cls(
            labels,
            chosen,
            (chosen * chosen).sum(axis=1) / 2,
            column,
            Csr(places[kept], offsets_of(lengths)),
        )


def relatives(closure: Closure, left: npt.NDArray[np.integer], right: npt.NDArray[np.integer]) -> Csr:
    """For each category itself, its ancestors, its descendants, and what a list of pairs puts beside it; sorted.

    Args:
        closure: of the hierarchy of c categories.
        left: (k,) one side of each pair of the list, in [0, c).
        right: (k,) the other.
    """
    n = closure.num_categories
    line, below = closure.with_self, closure.descendants
    everyone = np.arange(n)
    rows = np.concatenate([np.repeat(everyone, line.lengths), np.repeat(everyone, below.lengths), left, right])
    values = np.concatenate([line.values, below.values, right, left]).astype(np.int64)
    keys = sorted_unique(rows * n + values)
    return Csr((keys % n).astype(np.int32), offsets_of(np.bincount(keys // n, minlength=n)))


def nearest_unrelated(
    competitors: Competitors,
    vectors: Float32s,
    row: Int64s,
    label: Int32s,
    left_out: LeftOut | None = None,
    *,
    block_values: int = BLOCK_VALUES,
) -> Floats:
    """Squared distance to the nearest unrelated class.

    Args:
        competitors: m classes.
        vectors: (images, d) whitened.
        row: (n,) image of each label, rising.
        label: (n,) its class.
        left_out: means that count for an image in the place of the fitted ones.
        block_values: distances held at a time.

    Returns:
        (n,) float64; inf where no unrelated class has images.
    """
    out = np.full(len(row), np.inf)
    step = max(1, block_values // max(len(competitors.labels), 1))
    for start in range(0, len(vectors), step):
        part = vectors[start : start + step]
        # Half of the squared distance but for |z|^2 / 2, which is the same for all.
        half = competitors.half_squares - part @ competitors.means.T
        if left_out is not None:
            _replace(half, left_out, start, part, competitors)
        first, last = np.searchsorted(row, [start, start + len(part)])
        squares = np.einsum("ij,ij->i", part, part, dtype=np.float64)
        for at in range(first, last, step):
            rows = slice(at, min(at + step, last))
            image = row[rows] - start
            out[rows] = squares[image] + 2 * _least(half, image, competitors.related.take(label[rows]))
    return out


def margin(own: Floats, nearest: Floats, dim: int) -> Floats:
    """(n,) half of what the nearest unrelated class is farther away than the own one; above 0 is right.

    Without an unrelated class that has images (`nearest` is inf) the number of dimensions stands for its distance,
    which is the mean of a right image's own one: the score then tells outliers, and nothing else.
    """
    return (np.where(np.isfinite(nearest), nearest, dim) - own) / 2


def _replace(half: Float32s, left_out: LeftOut, start: int, part: Float32s, competitors: Competitors) -> None:
    first, last = np.searchsorted(left_out.row, [start, start + len(part)])
    column = competitors.column[left_out.label[first:last]]
    known = np.flatnonzero(column >= 0)
    image = left_out.row[first:last][known] - start
    mean = left_out.mean[first:last][known]
    half[image, column[known]] = np.einsum("ij,ij->i", mean, mean / 2 - part[image])


def _least(half: Float32s, image: Int64s, related: Csr) -> Float32s:
    chosen = half[image]
    chosen[np.repeat(np.arange(len(image)), related.lengths), related.values] = np.inf
    least: Float32s = chosen.min(axis=1, initial=np.inf)
    return least
