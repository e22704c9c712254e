"""The threshold: the most labels, at the target, ties whole."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.errors import PipelineError
from openjft.pipelines.precision.threshold import (
    NO_FLOOR,
    OUT_OF_REACH,
    STEPS,
    ClassScores,
    Histogram,
    choose_threshold,
    class_floors,
    find_threshold,
    from_steps,
    to_steps,
)

tables = st.lists(
    st.tuples(st.sampled_from([0, 1, 250_000, 500_000, 799_999, 800_000, 900_000, 1_000_000]), st.integers(1, 50)),
    min_size=1,
    max_size=12,
)


def histogram(steps, counts):
    dense = np.zeros(STEPS + 1, np.int64)
    np.add.at(dense, np.asarray(steps), np.asarray(counts))
    return Histogram.of(dense)


def by_brute_force(rows, target):
    """(threshold, kept) of the lowest of all thresholds whose labels reach the target, in exact fractions."""
    best = None
    for threshold in sorted({p for p, _ in rows}, reverse=True):
        kept = [(p, n) for p, n in rows if p >= threshold]
        number = sum(n for _, n in kept)
        mean = Fraction(sum(p * n for p, n in kept), number * 1_000_000)
        if mean >= Fraction(round(target * 1_000_000), 1_000_000):
            best = threshold, number
    return best


@given(tables, st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.9, 1.0]))
def test_threshold_equals_brute_force(rows, target):
    steps, counts = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    found = find_threshold(histogram(steps, counts), target)
    assert (found and (found.steps, found.kept)) == by_brute_force(rows, target)
    if found:
        kept = steps >= found.steps
        assert counts[kept].sum() == found.kept
        assert found.expected_precision == pytest.approx(np.average(steps[kept] / 1e6, weights=counts[kept]))
        assert found.expected_precision >= target - 1e-12


def test_equal_probabilities_are_kept_together_or_not_at_all():
    steps, counts = np.array([900_000, 700_000, 700_000]), np.array([10, 10, 1])
    assert find_threshold(histogram(steps, counts), 0.8).kept == 10  # one tied pattern alone would pass, both do not


def test_everything_passes_a_low_target():
    found = choose_threshold(histogram([900_000, 100_000], [1, 9]), 0.1)
    assert (found.steps, found.kept) == (100_000, 10)


def test_an_unreachable_target_says_what_is_reachable():
    with pytest.raises(PipelineError, match=r"at least 0\.8 .*best reachable is 0\.700, for 12 of 42 labels"):
        choose_threshold(histogram([700_000, 100_000], [12, 30]), 0.8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_stored_probabilities_compare_as_their_steps(values):
    steps = to_steps(np.array(values))
    stored = from_steps(steps)
    for threshold in steps.tolist():
        told = np.float32(threshold / 1_000_000)
        assert np.array_equal(stored >= told, steps >= threshold)


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=5), st.sampled_from([0.0, 0.5, 0.8, 1.0])
)
def test_class_floors_equal_brute_force(classes, floor):
    """Probabilities are the middles of ten bins."""
    counts, sums = np.zeros((len(classes), 10), np.int64), np.zeros((len(classes), 10), np.int64)
    for c, bins in enumerate(classes):
        for b in bins:
            counts[c, b] += 1
            sums[c, b] += b * 100_000 + 50_000
    found = class_floors(ClassScores(counts, sums, 100_000), floor)
    for c, bins in enumerate(classes):
        passing = []
        for least in range(10):
            kept = [b * 100_000 + 50_000 for b in bins if b >= least]
            if kept and sum(kept) >= len(kept) * round(floor * 1e6):
                passing.append(least * 100_000)
        expected = NO_FLOOR if not bins else passing[0] if passing else OUT_OF_REACH
        assert found[c] == expected
