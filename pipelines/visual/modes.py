"""Modes of a class, and how well each hangs together with the rest of it: the score D.

In: a sample of each class's images. Out: `Modes`, at most four for each class, each with
`D_m = -1/2 |mu_m - mu_c(-m)|^2 + 1/2 min over unrelated c' |mu_m - mu_c'|^2`, where the class mean is taken without
the mode and so falls back to the parent's for a class of one mode. An image has the score of the nearest mode of its
class. Source: METHODS.md, section 2.

Why: pictures of a second sense lie close together, so that a centroid of their own makes them look central, and where
they are many the class's own mean lies among them. Taken out together they are seen to belong to another class.

Always four modes where there are four images, because a class split too far costs little (its parts still belong
together) and one split too little hides a sense. In a class of up to four images each is a mode of its own. The means
of small modes are not shrunk: drawn to the class mean they all look alike (measured on Caltech-101 with ten photos a
class: AUC of D 0.93 without, 0.70 with the class mean counting as three images).
No image is left out of its own mode's mean, since D asks where the mode lies, not whether the image is in it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from openjft.taxonomy.csr import run_starts

from .distances import Competitors, margin, nearest_unrelated
from .means import ClassMeans, fit_means, leave_out
from .moments import Float32s, Floats, Int32s, Int64s, Whitening, sums_by

NUM_MODES: Final = 4
_STARTS: Final = 3
_ITERATIONS: Final = 50
_BLOCK: Final = 1024  # modes at a time: some ten means each of those above it


class ModeSample(NamedTuple):
    """Images of each class, sorted by class.

    Attributes:
        label: (n,) int32, rising.
        weight: (n,) above 0.
        vectors: (n, d) float16.
    """

    label: Int32s
    weight: Floats
    vectors: npt.NDArray[np.float16]


class Modes(NamedTuple):
    """Modes of all classes, sorted by class.

    Attributes:
        label: (m,) int32 class, rising.
        mean: (m, d) float32, whitened.
        weight: (m,) of its images in the sample.
        images: (m,) int64 how many these are.
        score: (m,) float32 D.
    """

    label: Int32s
    mean: Float32s
    weight: Floats
    images: Int64s
    score: Float32s

    def nearest(self, vectors: Float32s, row: Int64s, label: Int32s) -> Int64s:
        """(n,) the mode of its class that each image's label is nearest to; the first of equals.

        Args:
            vectors: (images, d) whitened.
            row: (n,) image of each label.
            label: (n,) its class, which has modes.
        """
        first, last = (np.searchsorted(self.label, label, side=side) for side in ("left", "right"))
        best, place = np.full(len(row), np.inf, np.float32), first.copy()
        for number in range(NUM_MODES):
            at = np.flatnonzero(first + number < last)
            away = vectors[row[at]] - self.mean[first[at] + number]
            squares = np.einsum("ij,ij->i", away, away)
            closer = squares < best[at]
            best[at[closer]], place[at[closer]] = squares[closer], first[at[closer]] + number
        return place


def fit_modes(
    sample: ModeSample, whitening: Whitening, means: ClassMeans, competitors: Competitors, *, seed: int
) -> Modes:
    """The modes of each class of a sample, and their scores.

    Args:
        sample: at least one image of each class that has images.
        whitening: of the vectors.
        means: of all images.
        competitors: of these means.
        seed: of the starting points of k-means.
    """
    starts = run_starts(sample.label)
    parts: list[ClassModes] = []
    for start, stop in zip(starts, [*starts[1:], len(sample.label)], strict=True):
        vectors = whitening.apply(sample.vectors[start:stop])
        parts.append(split(vectors, sample.weight[start:stop], seed=[seed, int(sample.label[start])]))
    label = np.repeat(sample.label[starts], [len(part.mean) for part in parts])
    merged = ClassModes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    # What the modes weigh together is what the class weighs, though they were made of a sample.
    group = np.repeat(np.arange(len(parts)), [len(part.mean) for part in parts])
    share = merged.weight / sums_by(group, merged.weight, len(parts))[group]
    score = attachment(label, merged.mean, share * means.weight[label], means, competitors)
    return Modes(label, merged.mean, merged.weight, merged.images, score)


class ClassModes(NamedTuple):
    """Modes of one class: `mean` (k, d), `weight` (k,), `images` (k,); none of them empty."""

    mean: Float32s
    weight: Floats
    images: Int64s


def split(vectors: Float32s, weight: Floats, *, seed: list[int]) -> ClassModes:
    """Modes of one class.

    Args:
        vectors: (n, d) whitened, at least one.
        weight: (n,).
        seed: of k-means.
    """
    mode = kmeans(vectors, weight, min(NUM_MODES, len(vectors)), seed=seed)
    count = int(mode.max()) + 1
    mean = _means(vectors, weight, mode, count).astype(np.float32)
    return ClassModes(mean, sums_by(mode, weight, count), np.bincount(mode, minlength=count).astype(np.int64))


def attachment(label: Int32s, mean: Float32s, weight: Floats, means: ClassMeans, competitors: Competitors) -> Float32s:
    """(m,) float32 D of the modes of all classes.

    Args:
        label: (m,) class of each mode, rising.
        mean: (m, d) of its images, whitened.
        weight: (m,) of its images; those of a class add up to the class's.
        means: of all images; the closure and kappa are theirs.
        competitors: of these means.
    """
    # Summed from the modes themselves, so that taking all modes of a class away leaves exactly nothing of it.
    starts = run_starts(label)
    sums = np.add.reduceat(weight[:, None] * mean.astype(np.float64), starts)
    of_class = np.add.reduceat(weight, starts)
    ones = np.ones(len(starts), np.int64)
    whole = fit_means(label[starts], ones, of_class, sums, means.closure, kappa=means.kappa)
    n, dim = means.closure.num_categories, mean.shape[1]
    score = np.empty(len(label), np.float32)
    for start in range(0, len(label), _BLOCK):
        part = slice(start, start + _BLOCK)
        row = np.arange(len(label[part]))
        rest = leave_out(whole, mean[part], row, label[part], weight[part])
        away = mean[part] - rest.mean[rest.find(row, label[part], n)]
        own = np.einsum("ij,ij->i", away, away, dtype=np.float64)
        score[part] = margin(own, nearest_unrelated(competitors, mean[part], row, label[part]), dim)
    return score


def kmeans(vectors: npt.NDArray[np.floating], weight: Floats, k: int, *, seed: list[int] | int) -> Int64s:
    """(n,) cluster of each vector, in [0, clusters); at most k clusters, none of them empty.

    Lloyd's algorithm from three k-means++ starts, of which the one of the least scatter is taken; the same for the same
    input on one machine.

    Args:
        vectors: (n, d), at least one.
        weight: (n,) above 0.
        k: clusters, from 1 to n.
        seed: of the starts.
    """
    if k == 1:
        return np.zeros(len(vectors), np.int64)
    rng = np.random.default_rng(seed)
    found = [_lloyd(vectors, weight, _start(vectors, weight, k, rng)) for _ in range(_STARTS)]
    mode = min(found, key=lambda item: item[1])[0]
    return np.unique(mode, return_inverse=True)[1]


def _start(
    vectors: npt.NDArray[np.floating], weight: Floats, k: int, rng: np.random.Generator
) -> npt.NDArray[np.floating]:
    """k-means++: each centre is drawn by weight times the squared distance to the nearest so far."""
    chosen = [int(np.searchsorted(np.cumsum(weight), rng.random() * weight.sum()))]
    nearest = np.full(len(vectors), np.inf)
    for draw in rng.random(k - 1):
        away = vectors - vectors[chosen[-1]]
        nearest = np.minimum(nearest, np.einsum("ij,ij->i", away, away))
        mass = np.cumsum(weight * nearest)
        if mass[-1] <= 0:  # no more distinct vectors
            break
        chosen.append(min(int(np.searchsorted(mass, draw * mass[-1], side="right")), len(vectors) - 1))
    return vectors[chosen]


def _lloyd(
    vectors: npt.NDArray[np.floating], weight: Floats, centres: npt.NDArray[np.floating]
) -> tuple[Int64s, float]:
    mode = np.full(len(vectors), -1)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    for _ in range(_ITERATIONS):
        distance = squares[:, None] - 2 * (vectors @ centres.T) + np.einsum("ij,ij->i", centres, centres)
        new = distance.argmin(axis=1)
        if np.array_equal(new, mode):
            break
        mode = new
        filled = np.bincount(mode, minlength=len(centres)) > 0
        centres = np.where(filled[:, None], _means(vectors, weight, mode, len(centres)), centres)
    scatter = float(weight @ np.maximum(distance[np.arange(len(mode)), mode], 0))
    return mode, scatter


def _means(vectors: npt.NDArray[np.floating], weight: Floats, mode: Int64s, count: int) -> npt.NDArray[np.floating]:
    """(count, d) weighted means; 0 for an empty one."""
    share = np.zeros((count, len(vectors)))
    share[mode, np.arange(len(vectors))] = weight
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
    mean: npt.NDArray[np.floating] = (share @ vectors).astype(vectors.dtype)
    return mean
