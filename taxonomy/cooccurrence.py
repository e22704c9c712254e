"""How often categories stand together on an image, and how often they would by chance.

In: (image, label, probability) of asserted labels. Out: `Cooccurrences` of the categories that are frequent enough.
Only images of several labels tell anything here. Counted are an image's *slots*: its most specific labels (`tabby` and
`cat` on one image are one slot). A category is on an image when a slot lies at it or below it.

By chance means: the image has as many slots as it has, k, and each is drawn on its own, at or below category a with the
probability w_a(k) that slots of such images have. Two categories that share no descendant then meet on

    E = sum over k of N_k (1 - (1 - w_a)^k - (1 - w_b)^k + (1 - w_a - w_b)^k)

images. Given k, so that images with one label, however many, do not make everything look disjoint (annotation
is sparse: JFT has 1.25 labels an image), and images with twenty do not make everything look related.

It tests nothing: `contradictions` does. Sort-based, in chunks, with NumPy alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from .closure import Closure, count_below
from .csr import Csr, Int32s, Int64s, offsets_of, run_starts, sorted_unique

Float64s = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Numbers of slots that are taken as one; images of more say the least and cost the most (pairs grow as the square).
STRATA: Final = (2, 3, 4, 5, 6, 8, 12, 16, 24, 33)
CHUNK_PAIRS: Final = 4_000_000  # at a time, 32 MB
_CHUNK_LABELS: Final = 100_000


@dataclasses.dataclass(frozen=True, eq=False)
class Cooccurrences:
    """Counts among the m categories that stand on enough images.

    Attributes:
        categories: (m,) int32 sorted labels; a number below is a position in it.
        images: (m,) int64 images of several slots with each category.
        num_images: images of several slots.
        stratum_images: (s,) int64 images of each stratum.
        stratum_slots: (s,) float64 mean slots of an image of each stratum.
        shares: (s, m) float64 share of a stratum's slots at or below each category.
        precision: (m,) float64 mean probability of the slots at or below each category.
        pairs: (p,) int64 a * m + b of the pairs a < b that were seen together, sorted.
        counts: (p,) int64 images of each pair.
    """

    categories: Int32s
    images: Int64s
    num_images: int
    stratum_images: Int64s
    stratum_slots: Float64s
    shares: Float64s
    precision: Float64s
    pairs: Int64s
    counts: Int64s

    def expected(self, a: Int64s, b: Int64s) -> Float64s:
        """(q,) images on which two categories meet by chance, for pairs of positions."""
        total = np.zeros(len(a))
        for images, k, share in zip(self.stratum_images, self.stratum_slots, self.shares, strict=True):
            if images:
                absent = (1 - share) ** k
                both_absent = np.maximum(1 - share[a] - share[b], 0) ** k
                total += images * (1 - absent[a] - absent[b] + both_absent)
        return np.maximum(total, 0)

    def most_expected(self, rows: slice) -> Float64s:
        """(r, m) upper bound of `expected`, k (k - 1) w_a w_b for each image: one product of matrices."""
        k = self.stratum_slots[:, None]
        weighted = self.stratum_images[:, None] * np.maximum(k * (k - 1), 0) * self.shares
        bound: Float64s = weighted[:, rows].T @ self.shares
        return bound

    def observed(self, rows: slice) -> Int64s:
        """(r, m) images on which each category of a range stands with each later one; 0 with the earlier ones."""
        m = len(self.categories)
        begin, end = np.searchsorted(self.pairs, [rows.start * m, rows.stop * m])
        dense = np.zeros((rows.stop - rows.start) * m, np.int64)
        dense[self.pairs[begin:end] - rows.start * m] = self.counts[begin:end]
        return dense.reshape(-1, m)


def count_cooccurrences(
    image_index: Int64s, label: Int32s, probability: Float32s, closure: Closure, *, min_images: int
) -> Cooccurrences:
    """Counts the categories of a sample of images.

    Args:
        image_index: (n,) int64, sorted, which image a label belongs to.
        label: (n,) int32 asserted labels, each once an image.
        probability: (n,) float32 that the label is right.
        closure: of the labels' taxonomy.
        min_images: categories on fewer images (of several slots) are left out.
    """
    image, label, right, k = _slots(image_index, label, probability, closure)
    stratum = np.digitize(k, STRATA) - 1
    num_strata, n = len(STRATA) - 1, closure.num_categories
    first = run_starts(image)
    images = np.bincount(stratum[first], minlength=num_strata)
    slots = np.bincount(stratum, minlength=num_strata)
    below = np.stack([count_below(closure, np.bincount(label[stratum == s], minlength=n)) for s in range(num_strata)])
    on = np.zeros(n, np.int64)
    for chunk_image, chunk_label in _closed(image, label, closure):
        del chunk_image
        on += np.bincount(chunk_label, minlength=n)
    categories = np.flatnonzero(on >= min_images).astype(np.int32)
    pairs, counts = _count_pairs(image, label, closure, categories)
    total = below.sum(axis=0)[categories]
    return Cooccurrences(
        categories=categories,
        images=on[categories],
        num_images=len(first),
        stratum_images=images,
        stratum_slots=slots / np.maximum(images, 1),
        shares=below[:, categories] / np.maximum(slots, 1)[:, None],
        precision=_sum_below(closure, label, right)[categories] / np.maximum(total, 1),
        pairs=pairs,
        counts=counts,
    )


def merge_counts(parts: list[tuple[Int64s, Int64s]]) -> tuple[Int64s, Int64s]:
    """Sums (sorted keys, counts) of several parts."""
    keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in parts)])
    counts = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in parts)])
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = run_starts(keys)
    return keys[starts], np.add.reduceat(counts, starts) if len(starts) else counts


def related_pairs(closure: Closure, categories: Int32s) -> Int64s:
    """Pairs that one thing may be at once: those in ancestor relation, and those with a common descendant.

    Args:
        closure: of the taxonomy.
        categories: (m,) int32 sorted labels.

    Returns:
        (p,) int64 a * m + b of the positions a < b, sorted: both are at or above some category.
    """
    m = len(categories)
    lists = restrict_lists(closure.with_self, categories)
    parts = [np.empty(0, np.int64)]
    for _, a, b in pairs_within(lists):
        parts.append(sorted_unique(a.astype(np.int64) * m + b))
    return sorted_unique(np.concatenate(parts))


def restrict_lists(lists: Csr, categories: Int32s) -> Csr:
    """The lists with the chosen (m,) sorted labels alone, as their positions."""
    position = np.full(max(int(lists.values.max(initial=-1)) + 1, int(categories.max(initial=-1)) + 1), -1, np.int32)
    position[categories] = np.arange(len(categories), dtype=np.int32)
    found = position[lists.values]
    kept = np.concatenate([[0], np.cumsum(found >= 0)])
    return Csr(found[found >= 0], kept[lists.offsets])


def pairs_within(lists: Csr) -> Iterator[tuple[Int64s, Int32s, Int32s]]:
    """All pairs of two values of one list, the earlier first: (number of the list, value, value), in chunks."""
    lengths = lists.lengths
    owner = np.repeat(np.arange(lists.num_lists), lengths)
    later = np.repeat(lists.offsets[1:], lengths) - np.arange(len(owner)) - 1
    for begin, end in chunks(later):
        count = later[begin:end]
        first = np.repeat(np.arange(begin, end), count)
        step = np.arange(len(first)) - np.repeat(offsets_of(count)[:-1], count)
        yield owner[first], lists.values[first], lists.values[first + 1 + step]


def chunks(sizes: Int64s, most: int = CHUNK_PAIRS) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose sizes come to `most` each, or a single larger row."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        done = ends[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends, done + most, side="right")), begin + 1)
        yield begin, end
        begin = end


def _slots(
    image: Int64s, label: Int32s, probability: Float32s, closure: Closure
) -> tuple[Int64s, Int32s, Float64s, Int64s]:
    """The most specific labels of images that have several, not too many: image, label, probability, how many."""
    counts = _run_lengths(image)
    several = counts > 1
    image, label, probability = image[several], label[several], probability[several]
    specific = np.ones(len(image), np.bool_)
    for begin, end in _image_chunks(image):
        above = closure.csr.take(label[begin:end])
        n = closure.num_categories
        # The own keys are sorted. `np.isin` would hash, a third of the time of the whole count.
        own = image[begin:end] * n + label[begin:end]
        general = np.repeat(image[begin:end], above.lengths) * n + above.values
        place = np.minimum(np.searchsorted(own, general), len(own) - 1)
        specific[begin:end][place[own[place] == general]] = False
    image, label, probability = image[specific], label[specific], probability[specific]
    k = _run_lengths(image)
    used = (k >= STRATA[0]) & (k < STRATA[-1])
    return image[used], label[used], probability[used].astype(np.float64), k[used]


def _run_lengths(image: Int64s) -> Int64s:
    """For each row how many rows its image has."""
    starts = run_starts(image)
    lengths = np.diff(np.append(starts, len(image)))
    return np.repeat(lengths, lengths)


def _image_chunks(image: Int64s) -> Iterator[tuple[int, int]]:
    """Ranges of rows of whole images."""
    starts = np.append(run_starts(image), len(image))
    for begin, end in chunks(np.diff(starts), _CHUNK_LABELS):
        yield int(starts[begin]), int(starts[end])


def _closed(image: Int64s, label: Int32s, closure: Closure) -> Iterator[tuple[Int64s, Int32s]]:
    """(image, category) of all categories at or above the labels, sorted, each once, in chunks of whole images."""
    n = closure.num_categories
    for begin, end in _image_chunks(image):
        lists = closure.with_self.take(label[begin:end])
        keys = sorted_unique(np.repeat(image[begin:end], lists.lengths) * n + lists.values)
        yield keys // n, (keys % n).astype(np.int32)


def _count_pairs(image: Int64s, label: Int32s, closure: Closure, categories: Int32s) -> tuple[Int64s, Int64s]:
    """Images of each pair of categories, as (keys, counts)."""
    m = len(categories)
    parts: list[tuple[Int64s, Int64s]] = []
    for chunk_image, chunk_label in _closed(image, label, closure):
        sizes = np.diff(np.append(run_starts(chunk_image), len(chunk_image)))
        lists = restrict_lists(Csr(chunk_label, offsets_of(sizes)), categories)
        for _, a, b in pairs_within(lists):
            keys = a.astype(np.int64) * m + b
            keys.sort()
            starts = run_starts(keys)
            parts.append((keys[starts], np.diff(np.append(starts, len(keys)))))
        if len(parts) >= 16:  # what was counted so far takes the room of distinct pairs alone
            parts = [merge_counts(parts)]
    return merge_counts(parts)


def _sum_below(closure: Closure, label: Int32s, value: Float64s) -> Float64s:
    """(n,) sum of the values of the labels at or below each category."""
    own = np.bincount(label, value, minlength=closure.num_categories)
    lists = closure.with_self
    total = np.bincount(lists.values, np.repeat(own, lists.lengths), minlength=closure.num_categories)
    return total.astype(np.float64, copy=False)
