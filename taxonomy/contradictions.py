"""Labels that contradict each other, or a person: categories that exclude each other, learned from counts.

In: asserted labels of a sample of images. Out: `DisjointPairs`, and then for any labels those that stand below such a
pair, each with the probability that at least one of the two is wrong. Labels are flagged, never dropped.

**Which pairs.** O images carry both categories, E would by chance (`cooccurrence`). Part of O is error: with s the
probability that both labels of a chance pair are right (product of the two categories' mean probabilities), and wrong
labels falling on images at random,

    O ~ Poisson(E rho),    rho = (1 - s) + s l,

l being the lift of the true co-occurrence: 1 by chance, 0 where categories exclude each other. The posterior of rho is
Gamma(kappa + O, kappa + E), from a prior centred at 1 that weighs as much as kappa expected images. A pair is disjoint
where the upper bound of l stays below `max_lift`. The bound holds for all tested pairs together with probability 0.95
(Bonferroni), so a pair needs many expected images and no second condition; whatever the errors, rho must be below 1/2.
Pairs that one thing can be at once (one above the other, or with a common descendant) are never disjoint.

The most general pairs are kept, for what lies below follows by the hierarchy. A pair with exceptions is none: if any
pair below it surely stands together (animal x vehicle, but dog x sled), it is left to the pairs further down.

**How probable.** Labels u and v with probabilities p_u and p_v, each from its own evidence, below a disjoint pair of
lift l. Were the two independent, both would be right with p_u p_v; the prior of that case alone is l times as large:

    P(both right) = l p_u p_v / (1 - p_u p_v + l p_u p_v),    flagged with 1 - P(both right).

**Verified negatives.** Label u with probability p_u, and a person who saw the image denies u or an ancestor of it;
people err with rate r, either way: P(u right) = p_u r / (p_u r + (1 - p_u)(1 - r)).

Limits: where an image never has two right labels (one object, one class), nothing is found, since among the images of
several labels all pairs are alike; there any two labels contradict each other. Errors that are no accidents (the
tortoise that comes with tortoise-shell glasses) look like co-occurrence, and hide a disjoint pair; probabilities that
are too low make pairs look more disjoint than they are. Where many pairs exclude each other, images of several labels
hold more errors than their probabilities say, and the lift comes out too high by some 0.1, the flagged probability too
low (0.85 where all are wrong: the worlds of the tests). The Gamma quantiles are Wilson and Hilferty's approximation, so
that NumPy suffices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .closure import Closure
from .cooccurrence import (
    CHUNK_PAIRS,
    Bools,
    Cooccurrences,
    Float32s,
    Float64s,
    chunks,
    count_cooccurrences,
    pairs_within,
    related_pairs,
    restrict_lists,
)
from .csr import Csr, Int32s, Int64s, offsets_of, run_starts

PRIOR_IMAGES: Final = 1.0  # kappa: what the prior weighs, in expected images
ERROR_LEVEL: Final = 0.05  # that any of the pairs found is there by chance of sampling
MIN_EXPECTED: Final = 5.0  # pairs below are not tested: no count could tell
MAX_OBSERVED: Final = 0.5  # rho: seen half as often as by chance is never called disjoint
_LEAST: Final = 1e-6  # neither lift 0 nor probability 1 is ever known
_CHUNK_CELLS: Final = 2_000_000  # of the table of pairs, 16 MB each
_QUANTILES: Final = 33  # of the posterior, to take its mean


@dataclasses.dataclass(frozen=True, eq=False)
class DisjointPairs:
    """The most general pairs of categories that exclude each other, sorted by (label_a, label_b).

    Attributes:
        label_a: (d,) int32.
        label_b: (d,) int32, above label_a.
        observed: (d,) int64 images with both, O.
        expected: (d,) float64 images with both by chance, E.
        lift: (d,) float64 posterior mean of l, errors taken out.
        bound: (d,) float64 upper bound of l.
        images: images of several labels that were counted.
        categories: that were frequent enough.
        tested: pairs.
    """

    label_a: Int32s
    label_b: Int32s
    observed: Int64s
    expected: Float64s
    lift: Float64s
    bound: Float64s
    images: int = 0
    categories: int = 0
    tested: int = 0

    def __len__(self) -> int:
        return len(self.label_a)


class Contradictions(NamedTuple):
    """Pairs of an image's labels, sorted by (image_index, label_a, label_b).

    Attributes:
        image_index: (m,) int64.
        label_a: (m,) int32.
        label_b: (m,) int32.
        lift: (m,) float32 of the disjoint pair above them; NaN for a verified negative.
        probability: (m,) float32 that at least one of the two is wrong; for a verified negative that label_a is.
    """

    image_index: Int64s
    label_a: Int32s
    label_b: Int32s
    lift: Float32s
    probability: Float32s


def learn_disjoint(
    image_index: Int64s,
    label: Int32s,
    probability: Float32s,
    closure: Closure,
    *,
    max_lift: float = 0.2,
    min_images: int = 100,
) -> DisjointPairs:
    """Finds the pairs of categories that exclude each other.

    Args:
        image_index: (n,) int64, sorted, which image a label belongs to.
        label: (n,) int32 asserted labels, each once an image.
        probability: (n,) float32 in [0, 1] that the label is right.
        closure: of the labels' taxonomy.
        max_lift: that the upper bound of a pair's lift must stay below.
        min_images: categories on fewer images of several labels are not compared.
    """
    counts = count_cooccurrences(image_index, label, probability, closure, min_images=min_images)
    related = related_pairs(closure, counts.categories)
    tested = sum(int(np.count_nonzero(block.expected >= MIN_EXPECTED)) for block in _blocks(counts, related))
    found, together = _test(counts, related, max_lift=max_lift, tested=tested)
    lists = restrict_lists(closure.with_self, counts.categories)
    found = found.at(_without_exceptions(found, together, lists, counts.categories))
    found = found.at(_most_general(found, lists, counts.categories))
    labels = counts.categories
    return DisjointPairs(
        label_a=labels[found.a],
        label_b=labels[found.b],
        observed=found.observed,
        expected=found.expected,
        lift=found.mean_lift(),
        bound=found.upper_lift(_z(tested)),
        images=counts.num_images,
        categories=len(labels),
        tested=tested,
    )


class _Pairs(NamedTuple):
    """Pairs a < b of positions among the counted categories, and what is known of each."""

    a: Int64s
    b: Int64s
    observed: Int64s
    expected: Float64s
    both_right: Float64s  # s

    def at(self, which: Int64s | Bools) -> _Pairs:
        return _Pairs._make(column[which] for column in self)

    def rho(self, z: float | Float64s) -> Float64s:
        """Quantile of the ratio of observed to expected images, at a normal deviate."""
        shape, rate = PRIOR_IMAGES + self.observed, PRIOR_IMAGES + self.expected
        root = 1 - 1 / (9 * shape) + z / (3 * np.sqrt(shape))
        cubed: Float64s = shape / rate * np.maximum(root, 0) ** 3
        return cubed

    def lift(self, rho: Float64s) -> Float64s:
        """The lift of the true co-occurrence at a ratio of images."""
        return np.maximum(rho - (1 - self.both_right), 0) / np.maximum(self.both_right, _LEAST)

    def upper_lift(self, z: float) -> Float64s:
        return self.lift(self.rho(z))

    def mean_lift(self) -> Float64s:
        """Over the quantiles of the posterior: the lift has its floor at 0, the ratio has not."""
        total = np.zeros(len(self.a))
        for i in range(_QUANTILES):
            total += self.lift(self.rho(NormalDist().inv_cdf((i + 0.5) / _QUANTILES)))
        return np.maximum(total / _QUANTILES, _LEAST)


def _z(tested: int) -> float:
    """The normal deviate of the bound that holds for all tested pairs together."""
    return -NormalDist().inv_cdf(ERROR_LEVEL / max(tested, 1))


def _blocks(counts: Cooccurrences, related: Int64s) -> Iterator[_Pairs]:
    """The pairs that could exclude each other and of which anything is known, a range of rows at a time."""
    m = len(counts.categories)
    step = max(_CHUNK_CELLS // max(m, 1), 1)
    for start in range(0, m, step):
        rows = slice(start, min(start + step, m))
        possible = np.arange(m) > np.arange(start, rows.stop)[:, None]
        begin, end = np.searchsorted(related, [start * m, rows.stop * m])
        possible.ravel()[related[begin:end] - start * m] = False
        observed = counts.observed(rows)
        row, b = np.nonzero(possible & ((observed > 0) | (counts.most_expected(rows) >= MIN_EXPECTED)))
        a = row + start
        right = counts.precision[a] * counts.precision[b]
        yield _Pairs(a, b, observed[row, b], counts.expected(a, b), right)


def _test(counts: Cooccurrences, related: Int64s, *, max_lift: float, tested: int) -> tuple[_Pairs, _Pairs]:
    """(pairs that exclude each other, pairs that surely do not), sorted."""
    z = _z(tested)
    found, together = [], []
    for block in _blocks(counts, related):
        disjoint = (block.upper_lift(z) < max_lift) & (block.rho(z) < MAX_OBSERVED)
        found.append(block.at(disjoint & (block.expected >= MIN_EXPECTED)))
        together.append(block.at((block.observed > 0) & (block.lift(block.rho(-z)) > max_lift)))
    return _concatenate(found), _concatenate(together)


def _concatenate(parts: list[_Pairs]) -> _Pairs:
    numbers, shares = np.empty(0, np.int64), np.empty(0, np.float64)
    empty = _Pairs(numbers, numbers, numbers, shares, shares)
    return _Pairs._make(np.concatenate(columns) for columns in zip(empty, *parts, strict=True))


def _without_exceptions(found: _Pairs, together: _Pairs, lists: Csr, categories: Int32s) -> Bools:
    """Which pairs have none below them that surely stands together."""
    table = _Table.of(found.a, found.b, lists)
    clean = np.ones(len(found.a), np.bool_)
    for _, entry in table.above(categories[together.a], categories[together.b]):
        clean[entry] = False
    return clean


def _most_general(found: _Pairs, lists: Csr, categories: Int32s) -> Bools:
    """Which pairs follow from no other."""
    table = _Table.of(found.a, found.b, lists)
    general = np.ones(len(found.a), np.bool_)
    for pair, entry in table.above(categories[found.a], categories[found.b]):
        general[pair[pair != entry]] = False
    return general


class _Table(NamedTuple):
    """Pairs of positions to be looked up from the labels below them.

    Attributes:
        keys: (d,) int64 sorted, a * base + b.
        base: above all positions.
        lists: for each label the positions of the pairs' categories at or above it.
    """

    keys: Int64s
    base: int
    lists: Csr

    @classmethod
    def of(cls, a: Int64s, b: Int64s, lists: Csr) -> _Table:
        """A table of d pairs a < b, sorted.

        Args:
            a: (d,) positions.
            b: (d,) positions.
            lists: for each label the positions at or above it.
        """
        ends = np.unique(np.concatenate([a, b]))
        base = len(ends)
        keys = np.searchsorted(ends, a) * base + np.searchsorted(ends, b)
        return cls(keys, base, restrict_lists(lists, ends.astype(np.int32)))

    def above(self, u: Int32s, v: Int32s) -> Iterator[tuple[Int64s, Int64s]]:
        """(which of the (m,) label pairs, which pair of the table at or above it), in chunks."""
        if not len(self.keys):
            return
        lengths = self.lists.lengths
        sizes = lengths[u] * lengths[v]
        for begin, end in chunks(sizes, CHUNK_PAIRS):
            size = sizes[begin:end]
            pair = np.repeat(np.arange(begin, end), size)
            cell = np.arange(len(pair)) - np.repeat(offsets_of(size)[:-1], size)
            row, column = np.divmod(cell, lengths[v[pair]])
            a = self.lists.values[self.lists.offsets[u[pair]] + row].astype(np.int64)
            b = self.lists.values[self.lists.offsets[v[pair]] + column].astype(np.int64)
            keys = np.minimum(a, b) * self.base + np.maximum(a, b)
            entry = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            hit = self.keys[entry] == keys
            yield pair[hit], entry[hit]


def find_contradictions(
    image_index: Int64s, label: Int32s, probability: Float32s, disjoint: DisjointPairs, closure: Closure
) -> Contradictions:
    """The pairs of an image's asserted labels that lie below a disjoint pair.

    Args:
        image_index: (n,) int64, sorted.
        label: (n,) int32 asserted labels, rising within an image.
        probability: (n,) float32 in [0, 1].
        disjoint: the pairs; of several above two labels the one with the most expected images tells the lift.
        closure: of the labels' taxonomy.
    """
    ends = np.unique(np.concatenate([disjoint.label_a, disjoint.label_b])).astype(np.int32)
    a, b = np.searchsorted(ends, disjoint.label_a), np.searchsorted(ends, disjoint.label_b)
    lists = restrict_lists(closure.with_self, ends)
    table = _Table.of(a, b, lists)
    rows = np.flatnonzero(lists.lengths[label] > 0)  # all others lie below no pair
    starts = run_starts(image_index[rows])
    images = Csr(rows.astype(np.int32), np.append(starts, len(rows)).astype(np.int64))
    nothing = np.empty(0, np.int64)
    parts: list[tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], Int64s]] = [(nothing, nothing, nothing)]
    for _, first, second in pairs_within(images):
        entry = _entry_above(label[first], label[second], table, disjoint)
        hit = entry >= 0
        parts.append((first[hit], second[hit], entry[hit]))
    one, two, entry = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((label[two], label[one], image_index[one]))
    one, two, lift = one[order], two[order], disjoint.lift[entry[order]]
    wrong = 1 - both_right(probability[one], probability[two], lift)
    return _contradictions(image_index[one], label[one], label[two], lift, wrong)


def _contradictions(image: Int64s, a: Int32s, b: Int32s, lift: Float64s, wrong: Float64s) -> Contradictions:
    return Contradictions(image, a, b, lift.astype(np.float32), wrong.astype(np.float32))


def _entry_above(u: Int32s, v: Int32s, table: _Table, disjoint: DisjointPairs) -> Int64s:
    """(m,) number of the disjoint pair above each two labels, -1 where there is none."""
    n = len(table.lists.offsets)
    keys, place = np.unique(u.astype(np.int64) * n + v, return_inverse=True)
    best = np.full(len(keys), len(disjoint), np.int64)
    # Entries by falling expectation: of several the smallest rank is the best measured one.
    order = np.lexsort((np.arange(len(disjoint)), -disjoint.expected))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    for pair, entry in table.above((keys // n).astype(np.int32), (keys % n).astype(np.int32)):
        np.minimum.at(best, pair, rank[entry])
    return np.append(order, -1)[best][place]


def both_right(p_u: Float32s, p_v: Float32s, lift: Float64s) -> Float64s:
    """P(both labels are right) below a disjoint pair, see the module; (m,) float64 in [0, 1]."""
    independent = np.minimum(p_u.astype(np.float64) * p_v, 1 - _LEAST)
    together: Float64s = lift * independent
    return together / (1 - independent + together)


def denied_by(
    image_index: Int64s, label: Int32s, negative_image: Int64s, negative_label: Int32s, closure: Closure
) -> tuple[Int64s, Int32s]:
    """Which labels lie at or below a verified negative of their image: negatives go down.

    Args:
        image_index: (n,) int64.
        label: (n,) int32.
        negative_image: (m,) int64 images of the verified negatives.
        negative_label: (m,) int32.
        closure: of the labels' taxonomy.

    Returns:
        (row, negative): (k,) int64 positions in `label`, rising, and (k,) int32 the negative at or above each; a row
        below several stands as often.
    """
    n = closure.num_categories
    rows = np.flatnonzero(np.isin(image_index, negative_image))
    lists = closure.with_self.take(label[rows])
    above = np.repeat(image_index[rows], lists.lengths) * n + lists.values
    hit = np.isin(above, negative_image.astype(np.int64) * n + negative_label)
    return np.repeat(rows, lists.lengths)[hit], lists.values[hit]


def find_denied(
    image_index: Int64s,
    label: Int32s,
    probability: Float32s,
    negative_image: Int64s,
    negative_label: Int32s,
    closure: Closure,
    *,
    error_rate: float = 0.05,
) -> Contradictions:
    """The asserted labels that a person denied: label_a is the asserted one, label_b the verified negative.

    Args:
        image_index: (n,) int64, sorted.
        label: (n,) int32 asserted labels, rising within an image.
        probability: (n,) float32 in [0, 1].
        negative_image: (m,) int64 images of the verified negatives.
        negative_label: (m,) int32.
        closure: of the labels' taxonomy.
        error_rate: r, share of people's answers that are wrong, in (0, 1).
    """
    row, negative = denied_by(image_index, label, negative_image, negative_label, closure)
    p = probability[row].astype(np.float64)
    right = p * error_rate / (p * error_rate + (1 - p) * (1 - error_rate))
    return _contradictions(image_index[row], label[row], negative, np.full(len(row), np.nan), 1 - right)
