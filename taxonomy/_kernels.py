"""The loops of `expansion`, compiled by numba: image by image, which NumPy has no words for.

In: columns sorted by (image, label) and the closure's arrays. Out: the expanded columns, written into arrays that the
caller made large enough. `docs/decisions/0006` says why numba and what it costs. Only `expansion` imports this, and
only when it has work: numba comes with the `pipeline` extra.

How an image of several labels is done: the labels are ranked, the surest first, and each walks its list of categories
at and above it. Who comes first at a category is the surest label below it ("best"); a category that a second label
reaches is *shared* and gets a place. Any other has its only label's probability. Then each reached category, in the
order of rank, multiplies its best label's doubt into its shared parents, once a label; and the shared ones, the
deepest first, pass their probability up; theirs begins with that of the best label, which covers an own label, a
product of one factor, and all below that is not shared. All work is in one image: no result depends on which rows
come together.

Arrays go to helpers one by one. As fields of a NamedTuple, numba counts references at each use in a loop, with atomic
operations: 303 ns a label at JFT's mix instead of 145. And a loop over some ten rows must not be vectorised: the plain
copy in `_expand_one` without its condition took 140 ns a label instead of 50.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from ._compiled import compiled, inlined
from .csr import Int32s, Int64s

Float32s = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]

SORTED: Final = 0
UNSORTED: Final = 1
OUT_OF_RANGE: Final = 2

# Scratch, one record a category or fewer, never cleared: stamps grow from image to image.
LABEL: Final = np.dtype([("label", np.int32), ("p", np.float64)], align=True)  # by rank
NODE: Final = np.dtype(
    [
        ("best", np.int64),  # the image's first row plus the rank of the surest label at or below; smaller: not reached
        ("value", np.float64),  # the probability; at first that of `best`
        ("place", np.int64),  # number of its PLACE since the beginning; smaller than the image's first: not shared
    ]
)
PLACE: Final = np.dtype(
    [
        ("node", np.int64),
        ("after", np.int64),  # next place at the same depth, or -1
        ("last", np.int64),  # rank of the label that the product took in last
        ("factors", np.int64),
        ("doubt", np.float64),  # the product of (1 - p)
    ]
)
NEVER: Final = np.iinfo(np.int32).max  # above all labels


def _array(of: Any, *, readonly: bool = True) -> Any:
    """Type of a contiguous vector; that of a read-only one takes both kinds."""
    return types.Array(of, 1, "C", readonly=readonly)


INT32, INT64, FLOAT32, BOOL = (_array(of) for of in (types.int32, types.int64, types.float32, types.boolean))
OUT = [_array(of, readonly=False) for of in (types.int64, types.int32, types.float32, types.boolean, types.int32)]


@compiled(types.int64(INT64, INT32, FLOAT32, types.int64))
def check_rows(image: Int64s, label: Int32s, probability: Float32s, num_categories: int) -> int:
    """SORTED strictly by (image, label), UNSORTED (or one stands twice), or OUT_OF_RANGE."""
    outside = unsorted = False
    for i in range(len(label)):  # without branches: which image has two labels is not to be guessed
        outside |= (image[i] < 0) | (label[i] < 0) | (label[i] >= num_categories)
        outside |= not (probability[i] >= 0) & (probability[i] <= 1)  # NaN fails both
    for i in range(1, len(label)):
        same = image[i] == image[i - 1]
        unsorted |= (image[i] < image[i - 1]) | (same & (label[i] <= label[i - 1]))
    return OUT_OF_RANGE if outside else UNSORTED if unsorted else SORTED


@inlined
def _expand_one(
    image: int,
    label: int,
    probability: float,
    values: Int32s,
    offsets: Int64s,
    keep: Bools,
    out_image: Int64s,
    out_label: Int32s,
    out_p: Float32s,
    out_asserted: Bools,
    out_from: Int32s,
    written: int,
) -> int:
    """An image of one label, the common case by far: JFT has 375M labels on 300M images. Returns `written`."""
    for i in range(offsets[label], offsets[label + 1]):
        node = values[i]
        if len(keep) == 0 or keep[node] or node == label:
            out_image[written] = image
            out_label[written] = node
            out_p[written] = probability
            out_asserted[written] = node == label
            out_from[written] = label
            written += 1
    return written


@inlined
def _expand_two(
    image: int,
    a: int,
    b: int,
    p_a: float,
    p_b: float,
    values: Int32s,
    offsets: Int64s,
    keep: Bools,
    out_image: Int64s,
    out_label: Int32s,
    out_p: Float32s,
    out_asserted: Bools,
    out_from: Int32s,
    written: int,
) -> int:
    """An image of two labels, neither above the other: a merge of two lists. Returns `written`, or -1 if one is.

    All shared categories have 1 - (1 - p_a)(1 - p_b): the way from the less sure label upwards meets the first of them
    through a child that is not shared, so both labels are the best of some child there, and the lift does the rest.
    """
    doubt = (1.0 - np.float64(p_a)) * (1.0 - np.float64(p_b))
    p_both, surest = np.float32(max(np.float64(p_a), np.float64(p_b), 1.0 - doubt)), a if p_a >= p_b else b
    i, j, end_i, end_j = offsets[a], offsets[b], offsets[a + 1], offsets[b + 1]
    while i < end_i or j < end_j:
        above_a = values[i] if i < end_i else NEVER
        above_b = values[j] if j < end_j else NEVER
        node, both = min(above_a, above_b), above_a == above_b
        own = node == a or node == b  # noqa: PLR1714  # compiled
        if both and own:
            return -1
        out_image[written] = image
        out_label[written] = node
        out_p[written] = p_both if both else (p_a if above_a < above_b else p_b)
        out_asserted[written] = own
        out_from[written] = surest if both else (a if above_a < above_b else b)
        written += own or len(keep) == 0 or keep[node]
        i, j = i + (above_a <= above_b), j + (above_b <= above_a)
    return written


@inlined
def _rank(label: Int32s, probability: Float32s, begin: int, end: int, ranked: Records) -> None:
    """The image's labels by falling probability, equal ones by label, by insertion: there are few."""
    for i in range(begin, end):
        p, at = np.float64(probability[i]), i - begin
        while at > 0 and ranked[at - 1].p < p:
            ranked[at].label, ranked[at].p = ranked[at - 1].label, ranked[at - 1].p
            at -= 1
        ranked[at].label, ranked[at].p = label[i], p


@inlined
def _reach(
    begin: int,
    end: int,
    base: int,
    values: Int32s,
    offsets: Int64s,
    depths: Int32s,
    ranked: Records,
    state: Records,
    nodes: Int32s,
    runs: Int64s,
    places: Records,
    heads: Int64s,
) -> tuple[int, int, int]:
    """Walks up from each label by rank. Fills `nodes` in runs, one a label; chains places by depth from `heads`.

    Returns:
        How many categories were reached, how many are shared, and the largest depth of these (or -1).
    """
    reached, shared, deepest = 0, 0, -1
    for rank in range(end - begin):
        runs[rank] = reached
        label = ranked[rank].label
        for i in range(offsets[label], offsets[label + 1]):
            node = values[i]
            if state[node].best < begin:
                state[node].best = begin + rank
                state[node].value = ranked[rank].p
                nodes[reached] = node
                reached += 1
            elif state[node].place < base:
                state[node].place = base + shared
                depth = depths[node]
                places[shared].node = node
                places[shared].after = heads[depth]
                places[shared].last = -1
                places[shared].factors = 0
                places[shared].doubt = 1.0
                heads[depth] = shared
                deepest = max(deepest, depth)
                shared += 1
    runs[end - begin] = reached
    return reached, shared, deepest


@inlined
def _multiply(
    reached: int,
    begin: int,
    base: int,
    parents: Int32s,
    parent_offsets: Int64s,
    ranked: Records,
    state: Records,
    nodes: Int32s,
    places: Records,
) -> None:
    """The doubt of each shared category: (1 - p) of the distinct best labels of its children, in the order of rank."""
    for i in range(reached):
        node = nodes[i]
        rank = state[node].best - begin
        for j in range(parent_offsets[node], parent_offsets[node + 1]):
            place = state[parents[j]].place - base
            if place >= 0 and places[place].last != rank:
                places[place].last = rank
                places[place].doubt *= 1.0 - ranked[rank].p
                places[place].factors += 1


@inlined
def _lift(
    deepest: int,
    parents: Int32s,
    parent_offsets: Int64s,
    state: Records,
    places: Records,
    heads: Int64s,
) -> None:
    """The probability of each shared category, the deepest first; none stays below its best descendant."""
    for depth in range(deepest, -1, -1):
        place, heads[depth] = heads[depth], -1
        while place >= 0:
            node = places[place].node
            value = state[node].value
            if places[place].factors > 1:
                value = max(value, 1.0 - places[place].doubt)
                state[node].value = value
            for j in range(parent_offsets[node], parent_offsets[node + 1]):
                state[parents[j]].value = max(state[parents[j]].value, value)
            place = places[place].after


@inlined
def _merge(runs: Int64s, num_runs: int, nodes: Int32s, aside: Int32s) -> None:
    """Sorts `nodes`: each run is sorted and goes into what lies before it, from the back."""
    for run in range(1, num_runs):
        begin, length = runs[run], runs[run + 1] - runs[run]
        for j in range(length):  # no slices: each costs a count of references
            aside[j] = nodes[begin + j]
        i, j = begin - 1, length - 1
        while j >= 0:
            before, own = nodes[i] if i >= 0 else -1, aside[j]
            nodes[i + j + 1] = max(before, own)
            i, j = i - (before > own), j - (own > before)


@inlined
def _write(
    reached: int,
    image: int,
    label: Int32s,
    begin: int,
    end: int,
    keep: Bools,
    ranked: Records,
    state: Records,
    nodes: Int32s,
    out_image: Int64s,
    out_label: Int32s,
    out_p: Float32s,
    out_asserted: Bools,
    out_from: Int32s,
    written: int,
) -> int:
    """Writes the sorted `nodes` of an image; returns `written`."""
    next_own = begin
    for i in range(reached):
        node = nodes[i]
        own = next_own < end and label[next_own] == node
        best = state[node].best - begin
        out_image[written] = image
        out_label[written] = node
        out_p[written] = state[node].value
        out_asserted[written] = own
        out_from[written] = node if own else ranked[best].label
        written += own or len(keep) == 0 or keep[node]
        next_own += own
    return written


@compiled(types.int64(INT64, INT32, FLOAT32, INT32, INT64, INT32, INT64, INT32, BOOL, *OUT))
def expand_rows(
    image: Int64s,
    label: Int32s,
    probability: Float32s,
    values: Int32s,
    offsets: Int64s,
    parents: Int32s,
    parent_offsets: Int64s,
    depths: Int32s,
    keep: Bools,
    out_image: Int64s,
    out_label: Int32s,
    out_p: Float32s,
    out_asserted: Bools,
    out_from: Int32s,
) -> int:
    """Writes the expansion of rows that `check_rows` calls SORTED; returns how many rows that are.

    `values` and `offsets` are `Closure.with_self`; `keep` is (n,), or (0,) for all; the columns of `out` are as long as
    the lists of all labels together.
    """
    n = len(depths)
    ranked, state, places = np.empty(n, LABEL), np.empty(n, NODE), np.empty(n, PLACE)
    nodes, aside = np.empty(n, np.int32), np.empty(n, np.int32)
    runs, heads = np.empty(n + 1, np.int64), np.full(n, -1, np.int64)
    for node in range(n):
        state[node].best, state[node].place = -1, -1
    zero: Any = np.int64(0)  # of a type: for a literal 0, numba compiles the helpers a second time
    base, begin, written = zero, zero, zero
    while begin < len(label):
        end = begin + 1
        while end < len(label) and image[end] == image[begin]:
            end += 1
        done = -1
        if end == begin + 1:
            done = _expand_one(image[begin], label[begin], probability[begin], values, offsets, keep,
                               out_image, out_label, out_p, out_asserted, out_from, written)  # fmt: skip
        elif end == begin + 2:
            done = _expand_two(image[begin], label[begin], label[end - 1], probability[begin], probability[end - 1],
                               values, offsets, keep,
                               out_image, out_label, out_p, out_asserted, out_from, written)  # fmt: skip
        if done < 0:
            _rank(label, probability, begin, end, ranked)
            reached, shared, deepest = _reach(begin, end, base, values, offsets, depths, ranked, state, nodes, runs,
                                              places, heads)  # fmt: skip
            _multiply(reached, begin, base, parents, parent_offsets, ranked, state, nodes, places)
            _lift(deepest, parents, parent_offsets, state, places, heads)
            _merge(runs, end - begin, nodes, aside)
            done = _write(reached, image[begin], label, begin, end, keep, ranked, state, nodes,
                          out_image, out_label, out_p, out_asserted, out_from, written)  # fmt: skip
            base += shared
        begin, written = end, done
    return int(written)
