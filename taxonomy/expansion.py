"""Positives go up: each asserted label of an image brings its ancestors, each with a probability.

In: (image, label, probability) of asserted labels. Out: these and the inferred ancestors, told apart. Source:
METHODS section 3: p(ancestor) = max(own, 1 - prod over child subtrees of (1 - max in the subtree)), then never
below its best descendant.

The product runs over distinct evidence. "Max in the subtree" is the probability of the subtree's best asserted
label, and below a category with several parents the same label is the best of several child subtrees (a dog is a
canine and a domestic animal, both are animals). It counts once: one asserted label gives all its ancestors just its
own probability. In a tree this is the formula as it stands.

An asserted label's probability is lifted in the same way where labels below it say more: the hierarchy makes those
a lower bound. It does not push negatives down, and it counts nothing.
"""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .closure import Closure
from .csr import Int32s, Int64s, run_starts, sorted_unique

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Labels worked on at a time; each meets ten edges above. WordNet, two labels an image, labels a CPU-second:
# 4k 580k, 16k 525k, 64k 490k, 256k 430k. Larger ones leave the cache; memory goes with it too.
CHUNK_LABELS: Final = 8_192


class ExpandedLabels(NamedTuple):
    """Asserted labels and their ancestors, sorted by (image_index, label), each pair once.

    Attributes:
        image_index: (m,) int64.
        label: (m,) int32.
        probability: (m,) float32.
        asserted: (m,) bool, False where only inferred.
    """

    image_index: Int64s
    label: Int32s
    probability: Float32s
    asserted: Bools


def expand_labels(
    image_index: Int64s, label: Int32s, probability: Float32s, closure: Closure, *, keep: Bools | None = None
) -> ExpandedLabels:
    """Adds the ancestors of every asserted label.

    Args:
        image_index: (n,) int64, not negative, which image a label belongs to.
        label: (n,) int32 in [0, num_categories).
        probability: (n,) float32 in [0, 1].
        closure: of the labels' taxonomy.
        keep: (num_categories,) ancestors that may be added; None adds all. Asserted labels stay in any case, and
            an ancestor left out passes on what it knows.

    Raises:
        ValueError: shapes differ, an (image, label) stands twice, or a value is out of range.
    """
    if keep is not None and keep.shape != (closure.num_categories,):
        raise ValueError(f"expected `keep` for {closure.num_categories} categories, found shape {keep.shape}")
    image_index, label, probability = _sorted(image_index, label, probability, closure.num_categories)
    image, counts = _images(image_index)
    alone = (counts == 1)[image]  # the common case by far: JFT has 375M labels on 300M images
    lists = closure.with_self.take(label[alone])
    several = _combine_in_chunks(image[~alone], label[~alone], probability[~alone], closure)

    # Both kinds are in image order: interleaved by how many rows each image gets.
    sizes = np.bincount(several.image_index, minlength=len(counts))
    sizes[counts == 1] = lists.lengths
    first = np.repeat(counts == 1, sizes)
    result = ExpandedLabels(
        np.repeat(image_index[run_starts(image)], sizes),
        np.empty(len(first), np.int32),
        np.empty(len(first), np.float32),
        np.empty(len(first), np.bool_),
    )
    result.label[first], result.label[~first] = lists.values, several.label
    result.probability[first] = np.repeat(probability[alone], lists.lengths)
    result.probability[~first] = several.probability
    result.asserted[first] = lists.values == np.repeat(label[alone], lists.lengths)
    result.asserted[~first] = several.asserted
    if keep is None:
        return result
    kept = result.asserted | keep[result.label]
    return ExpandedLabels(result.image_index[kept], result.label[kept], result.probability[kept], result.asserted[kept])


def _sorted(
    image_index: Int64s, label: Int32s, probability: Float32s, num_categories: int
) -> tuple[Int64s, Int32s, Float32s]:
    """The checked columns by (image, label)."""
    image_index, label = np.asarray(image_index, np.int64), np.asarray(label, np.int32)
    probability = np.asarray(probability, np.float32) + np.float32(0)  # -0.0 would sort above 1
    if not image_index.shape == label.shape == probability.shape == (len(label),):
        raise ValueError(
            f"expected three columns of one length, found {image_index.shape}, {label.shape}, {probability.shape}"
        )
    if len(label) == 0:
        return image_index, label, probability
    if image_index.min() < 0 or label.min() < 0 or label.max() >= num_categories:
        raise ValueError(
            f"expected images of 0 or more and labels in [0, {num_categories}), found images from "
            f"{image_index.min()} and labels from {label.min()} to {label.max()}. Is the taxonomy that of the labels?"
        )
    if not (probability.min() >= 0 and probability.max() <= 1):  # NaN fails both
        raise ValueError(f"expected probabilities in [0, 1], found {probability.min()} to {probability.max()}")
    step = np.diff(image_index)
    inside = np.diff(label.astype(np.int64))
    if np.any((step < 0) | ((step == 0) & (inside <= 0))):
        order = np.lexsort((label, image_index))
        image_index, label, probability = image_index[order], label[order], probability[order]
        twice = np.flatnonzero((np.diff(image_index) == 0) & (np.diff(label) == 0))
        if twice.size:
            i = twice[0]
            raise ValueError(f"expected each (image, label) once, found ({image_index[i]}, {label[i]}) twice")
    return image_index, label, probability


def _images(sorted_index: Int64s) -> tuple[Int64s, Int64s]:
    """Dense number of the image of each row, and the rows of each image."""
    starts = run_starts(sorted_index)
    counts = np.diff(np.append(starts, len(sorted_index)))
    return np.repeat(np.arange(len(starts)), counts), counts


def _combine_in_chunks(image: Int64s, label: Int32s, probability: Float32s, closure: Closure) -> ExpandedLabels:
    """`_combine` over runs of whole images."""
    starts = np.append(run_starts(image), len(image))
    wanted = np.minimum(np.arange(0, len(image) + CHUNK_LABELS, CHUNK_LABELS), len(image))
    cuts = sorted_unique(starts[np.searchsorted(starts, wanted)])
    parts = [_combine(image[a:b], label[a:b], probability[a:b], closure) for a, b in itertools.pairwise(cuts.tolist())]
    if not parts:
        return ExpandedLabels(image, label, probability, np.empty(0, np.bool_))
    return ExpandedLabels(
        np.concatenate([part.image_index for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.asserted for part in parts]),
    )


class _Packing(NamedTuple):
    """Bits of (image, edge or label, rank) in one int64, which NumPy sorts 20 times as fast as three keys.

    A chunk of 2^13 labels and a million categories take 13 + 20 + 13 bits.
    """

    item: int
    rank: int

    @classmethod
    def of(cls, closure: Closure, most: int) -> _Packing:
        items = max(closure.num_categories, len(closure.parents.values), 2)
        return cls(items.bit_length(), most.bit_length())

    def unpack(self, keys: Int64s) -> tuple[Int64s, Int64s]:
        """(item, image) of keys that hold no rank."""
        return keys & ((1 << self.item) - 1), keys >> self.item


def _combine(image: Int64s, label: Int32s, probability: Float32s, closure: Closure) -> ExpandedLabels:
    """The general case: images of several labels, sorted by (image, label)."""
    dense, counts = _images(image)
    first_row = np.cumsum(counts) - counts
    bits = _Packing.of(closure, int(counts.max()))
    # Within an image the surest label has rank 0; equal ones go by label. float32 >= 0 sort as their bits do.
    surest = (dense << 32) + (0xFFFF_FFFF - probability.view(np.uint32).astype(np.int64))
    order = np.argsort(surest, kind="stable")
    rank = np.arange(len(order)) - np.repeat(first_row, counts)

    best = _best_below_edges(dense, label[order], rank, closure, bits)
    edge, edge_image = bits.unpack(best >> bits.rank)
    child, parent = closure.edges
    up = (edge_image << bits.item) | parent[edge]
    ranked = probability[order].astype(np.float64)
    heads, ancestor_p = _noisy_or(up, best & ((1 << bits.rank) - 1), ranked, first_row, bits)

    own = (dense << bits.item) | label
    nodes = sorted_unique(np.concatenate([own, heads]))
    own_at, heads_at = np.searchsorted(nodes, own), np.searchsorted(nodes, heads)
    value = np.zeros(len(nodes), np.float64)
    value[own_at] = probability
    value[heads_at] = np.maximum(value[heads_at], ancestor_p)
    up_at = np.repeat(heads_at, np.diff(np.append(run_starts(up), len(up))))
    down_at = np.searchsorted(nodes, (edge_image << bits.item) | child[edge])
    _lift(value, down_at, up_at, closure.depth[child[edge]])

    asserted = np.zeros(len(nodes), np.bool_)
    asserted[own_at] = True
    node_label, node_image = bits.unpack(nodes)
    return ExpandedLabels(image[first_row[node_image]], node_label.astype(np.int32), value.astype(np.float32), asserted)


def _best_below_edges(dense: Int64s, label: Int32s, rank: Int64s, closure: Closure, bits: _Packing) -> Int64s:
    """For each (image, edge) the best asserted label below or at the edge's child, as sorted (image, edge, rank)."""
    above = closure.edges_above.take(label)
    keys = np.repeat((dense << (bits.item + bits.rank)) | rank, above.lengths)
    keys |= above.values.astype(np.int64) << bits.rank
    keys.sort()
    return keys[run_starts(keys >> bits.rank)]


def _noisy_or(up: Int64s, rank: Int64s, ranked: Float64s, first_row: Int64s, bits: _Packing) -> tuple[Int64s, Float64s]:
    """1 - prod (1 - p) over the distinct best labels of each (image, ancestor).

    Args:
        up: (k,) sorted (image, ancestor) of each edge.
        rank: (k,) of the best label below the edge.
        ranked: probabilities of the chunk by (image, rank).
        first_row: where each image begins in `ranked`.
        bits: of the packing.

    Returns:
        (heads, probability): the distinct values of `up`, and what each comes to.
    """
    keys = sorted_unique((up << bits.rank) | rank)
    heads = keys >> bits.rank
    p = ranked[first_row[heads >> bits.item] + (keys & ((1 << bits.rank) - 1))]
    starts = run_starts(heads)
    if len(starts) == 0:
        return heads, p
    single = np.diff(np.append(starts, len(heads))) == 1
    combined = np.where(single, p[starts], 1.0 - np.multiply.reduceat(1.0 - p, starts))
    return heads[starts], combined


def _lift(value: Float64s, down_at: Int64s, up_at: Int64s, depth: Int32s) -> None:
    """Raises every node to its best descendant, in place: edges by falling depth of the child, level by level."""
    # NumPy sorts 16 bits by radix: 7 times as fast as 32, and no hierarchy is 32,768 deep.
    order = np.argsort((-depth).astype(np.int16 if depth.max(initial=0) < 2**15 else np.int32), kind="stable")
    down_at, up_at = down_at[order], up_at[order]
    cuts = np.append(run_starts(depth[order]), len(depth))
    for a, b in itertools.pairwise(cuts.tolist()):
        np.maximum.at(value, up_at[a:b], value[down_at[a:b]])
