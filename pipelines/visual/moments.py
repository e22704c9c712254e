"""Sums of embeddings for each class, and the whitening that they give: the space in which distances are taken.

In: vectors with labels and the labels' probabilities. Out: `Moments`, sums that add up over buckets, and `Whitening`, a
matrix made from the pooled within-class covariance. A wrong label's image counts with its small probability only.

All sums are float64 and added in the order of the rows, buckets and units, so that they do not depend on how many
workers there were. The covariance is drawn to a multiple of the identity, which counts as `IDENTITY_IMAGES * d` images
and at least as a tenth: the mean of the inverse-Wishart posterior. It can be inverted however few images there are.
Shrinkage by what a Gaussian sample would need (Ledoit and Wolf 2004; Chen et al. 2010) is far too little for real
embeddings: the images that are judged are in the covariance themselves, and their features have heavy tails.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

# A probability of 0 would leave a class whose labels are all improbable without a mean.
MIN_WEIGHT: Final = 1e-3
# Images a dimension that the identity counts for: on CIFAR-10N and Caltech-101 with MobileNetV1 (768-d) the best share
# of the identity was 0.8 or more at 1,000 images, 0.5 to 0.7 at 3,000 and 0.1 to 0.5 at 12,000.
IDENTITY_IMAGES: Final = 4
MIN_SHRINKAGE: Final = (
    0.1  # features that are seldom active have hardly any variance and would be stretched without end
)
_NOTHING: Final = 1e-9  # share of the vectors' squares below which a variance is rounding


@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over labels of images; those of several buckets add up.

    Attributes:
        labels: (m,) int32 classes that have images, rising.
        images: (m,) int64 labels of each.
        weight: (m,) sum of their weights (probabilities).
        weight_squares: (m,) sum of the squares of these.
        sums: (m, d) weighted sum of the vectors.
        second: (d, d) weighted sum of the vectors' outer products, over all classes.
    """

    labels: Int32s
    images: Int64s
    weight: Floats
    weight_squares: Floats
    sums: Floats
    second: Floats

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return len(self.second)

    @classmethod
    def empty(cls, dim: int) -> Moments:
        """Of no images."""
        none = np.zeros(0)
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int64), none, none, np.zeros((0, dim)), np.zeros((dim, dim)))

    @classmethod
    def of(cls, vectors: npt.NDArray[np.floating], image: Int64s, labels: Int32s, weights: Floats) -> Moments:
        """Of n labels.

        Args:
            vectors: (images, d), finite.
            image: (n,) row of `vectors` that each label is of.
            labels: (n,) int32 class.
            weights: (n,) above 0.
        """
        dim = vectors.shape[1]
        if not len(labels):
            return cls.empty(dim)
        from scipy.sparse import csr_array

        wide = vectors.astype(np.float64)
        present, group = np.unique(labels, return_inverse=True)
        shape = (len(present), len(vectors))
        sums: Floats = np.asarray(csr_array((weights, (group, image)), shape=shape) @ wide)
        of_image = sums_by(image, weights, len(vectors))
        return cls(
            present.astype(np.int32),
            np.bincount(group, minlength=len(present)).astype(np.int64),
            sums_by(group, weights, len(present)),
            sums_by(group, weights * weights, len(present)),
            sums,
            (wide * of_image[:, None]).T @ wide,
        )


def sums_by(group: npt.NDArray[np.integer], values: Floats, count: int) -> Floats:
    """(count,) sum of the values of each group."""
    return np.asarray(np.bincount(group, values, count), np.float64)


class Accumulator:
    """Adds up the moments of c categories, in the order in which they come."""

    def __init__(self, num_categories: int, dim: int) -> None:
        self._images = np.zeros(num_categories, np.int64)
        self._weight, self._squares = np.zeros(num_categories), np.zeros(num_categories)
        self._sums, self._second = np.zeros((num_categories, dim)), np.zeros((dim, dim))

    def add(self, part: Moments) -> None:
        """Adds the moments of some images."""
        self._images[part.labels] += part.images
        self._weight[part.labels] += part.weight
        self._squares[part.labels] += part.weight_squares
        self._sums[part.labels] += part.sums
        self._second += part.second

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return len(self._second)

    def total(self) -> Moments:
        """The sum."""
        labels = np.flatnonzero(self._images).astype(np.int32)
        counts = (self._images[labels], self._weight[labels], self._squares[labels])
        return Moments(labels, *counts, self._sums[labels], self._second.copy())


@dataclasses.dataclass(frozen=True)
class Whitening:
    """An affine map after which a class's images scatter alike in all directions.

    Attributes:
        centre: (d,) subtracted first, so that numbers stay small.
        matrix: (d, d) symmetric.
        shrinkage: share of the identity in the covariance, in [0, 1].
    """

    centre: Floats
    matrix: Floats
    shrinkage: float

    def apply(self, vectors: npt.NDArray[np.floating]) -> Float32s:
        """(n, d) float32 of (n, d) vectors."""
        moved = np.asarray(vectors, np.float32) - self.centre.astype(np.float32)
        out: Float32s = moved @ self.matrix.astype(np.float32)
        return out

    def apply_sums(self, sums: Floats, weight: Floats) -> Floats:
        """(m, d) float64 sums of whitened vectors, from (m, d) sums of vectors of (m,) total weight."""
        out: Floats = (sums - weight[:, None] * self.centre) @ self.matrix
        return out


def fit_whitening(moments: Moments) -> Whitening:
    """Whitening by the pooled within-class covariance.

    Where no class has two images the covariance of all images stands in for it, and where that is nothing, too (one
    image, or copies of one), the identity.

    Args:
        moments: of at least one image.
    """
    total, squares = float(moments.weight.sum()), float(moments.weight_squares.sum())
    centre = moments.sums.sum(axis=0) / total
    # Weighted degrees of freedom; of n images in m classes with weight 1 they are n - m.
    degrees = total - float((moments.weight_squares / moments.weight).sum())
    between = moments.sums.T @ (moments.sums / moments.weight[:, None])
    covariance = (moments.second - between) / max(degrees, _NOTHING)
    nothing = _NOTHING * float(np.trace(moments.second)) / total
    if degrees <= _NOTHING * total or np.trace(covariance) <= nothing:
        covariance, degrees = moments.second / total - np.outer(centre, centre), total
    scale = float(np.trace(covariance)) / moments.dim
    if scale * moments.dim <= nothing:
        return Whitening(centre, np.eye(moments.dim), 1.0)
    shrinkage = shrinkage_for(moments.dim, degrees * total / squares)
    values, directions = np.linalg.eigh((covariance + covariance.T) / 2)
    shrunk = (1 - shrinkage) * np.maximum(values, 0.0) + shrinkage * scale
    return Whitening(centre, (directions / np.sqrt(shrunk)) @ directions.T, shrinkage)


def shrinkage_for(dim: int, images: float) -> float:
    """The identity's share in the covariance of so many independent vectors, in [MIN_SHRINKAGE, 1]."""
    identity = IDENTITY_IMAGES * dim
    return max(MIN_SHRINKAGE, identity / (identity + images))
