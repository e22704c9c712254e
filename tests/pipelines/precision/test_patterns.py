"""Patterns: no loss on the way to counts and back."""

from __future__ import annotations

import collections

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openjft.pipelines.precision.bins import SourceBins
from openjft.pipelines.precision.confusion import Confusions
from openjft.pipelines.precision.patterns import (
    PatternTable,
    as_patterns,
    as_states,
    count_patterns,
    encode,
    fired_bits,
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
    parts = [count_patterns(states[:cut]), count_patterns(states[cut:])]
    merged, used = merge_counts(parts, most=1000)
    assert merged.equals(counts)
    assert used == 2
    assert merge_counts([*parts, counts], most=-1) == (parts[0], 1)
    table = PatternTable.from_table(counts)
    assert table.counts.sum() == len(states)


def test_bits_name_the_sources_that_fired():
    states = np.zeros((3, 64), np.uint8)
    states[1, [0, 63]] = 2, 5
    states[2, :] = 1
    sources = [SourceBins(f"s{i}", "support", (2.0, 3.0, 4.0)) for i in range(64)]
    confusions = Confusions(np.empty(0, np.int32), np.empty(0, np.int32))
    assert fired_bits(states, sources).tolist() == [0, 1 + 2**63, 0]
    assert fired_bits(states, [*sources[:63], confusions]).tolist() == [0, 1, 0]


def test_silence_among_many_statements_is_no_firing():
    source = SourceBins("a", "agreement", (0.0,), (0.2, 0.8), many=4.0)
    assert fired_bits(np.array([[0], [1], [2], [3], [4]], np.uint8), [source]).tolist() == [0, 0, 1, 1, 0]
