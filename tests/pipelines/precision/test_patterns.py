"""Patterns: no loss on the way to counts and back."""

from __future__ import annotations

import collections

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openjft.pipelines.precision.patterns import (
    PatternTable,
    as_patterns,
    as_states,
    count_patterns,
    encode,
    fired_bits,
    indices_in,
    merge_counts,
)

matrices = st.integers(1, 64).flatmap(
    lambda s: hnp.arrays(np.uint8, st.tuples(st.integers(0, 30), st.just(s)), elements=st.integers(0, 5))
)


@given(matrices)
def test_states_survive_patterns(states):
    assert np.array_equal(as_states(as_patterns(states)), states)
    distinct, index = encode(states)
    assert np.array_equal(as_states(distinct)[index], states)
    assert len(set(distinct.to_pylist())) == len(distinct)


@given(matrices, st.integers(0, 30))
def test_counts_are_exact_sorted_and_merge_to_the_whole(states, cut):
    counts = count_patterns(states)
    expected = collections.Counter(row.tobytes() for row in states)
    assert counts.to_pydict() == {"pattern": sorted(expected), "count": [expected[p] for p in sorted(expected)]}
    assert merge_counts([count_patterns(states[:cut]), count_patterns(states[cut:])]).equals(counts)
    table = PatternTable.from_table(counts)
    assert table.counts.sum() == len(states)
    index = indices_in(as_patterns(states), counts["pattern"])
    assert np.array_equal(table.states[index], states)


def test_bits_name_the_sources_that_fired():
    states = np.zeros((3, 64), np.uint8)
    states[1, [0, 63]] = 2, 5
    states[2, :] = 1
    assert fired_bits(states, 64).tolist() == [0, 1 + 2**63, 0]
    assert fired_bits(states, 63).tolist() == [0, 1, 0]
