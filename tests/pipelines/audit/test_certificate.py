"""The certificate: p-values against scipy, the walk against brute force, and that it keeps what it promises."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from openjft.pipelines.audit.certificate import (
    certify,
    class_intervals,
    count_above,
    labels_needed,
    p_values,
    threshold_grid,
)

judged = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60)


def as_arrays(rows):
    steps = np.array([s * 100_000 for s, _ in rows], np.int64)
    return steps, np.array([c for _, c in rows], bool)


@given(judged)
def test_counts_above_thresholds_equal_brute_force(rows):
    steps, correct = as_arrays(rows)
    grid = np.array([900_000, 450_000, 300_000, 0])
    n, k = count_above(steps, correct, grid)
    assert n.tolist() == [int((steps >= t).sum()) for t in grid]
    assert k.tolist() == [int(correct[steps >= t].sum()) for t in grid]


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.5, 0.8, 0.99]))
def test_p_values_are_exact_binomial_tails(n, k, target):
    k = min(n, k)
    expected = stats.binomtest(k, n, target, alternative="greater").pvalue if n else 1.0
    assert p_values(np.array([n]), np.array([k]), target)[0] == pytest.approx(expected, abs=1e-12)


@given(judged, st.sampled_from([0.3, 0.6]), st.sampled_from([0.05, 0.3]))
def test_the_walk_ends_at_the_first_threshold_that_is_not_rejected(rows, target, delta):
    steps, correct = as_arrays(rows)
    grid = np.array([800_000, 600_000, 400_000, 200_000])
    found = certify(steps, correct, grid, target=target, delta=delta)
    passed = None
    for threshold in grid.tolist():
        above = steps >= threshold
        n, k = int(above.sum()), int(correct[above].sum())
        if stats.binom.sf(k - 1, n, target) > delta:
            break
        passed = threshold
    assert found.steps == passed
    assert bool(found.reason) == (passed is None)
    if passed is not None:
        assert (found.n, found.k) == (int((steps >= passed).sum()), int(correct[steps >= passed].sum()))
        assert found.interval[0] <= found.k / found.n <= found.interval[1]


@given(judged, st.integers(0, 59))
def test_a_yes_more_never_certifies_less(rows, which):
    steps, correct = as_arrays(rows)
    grid = np.array([800_000, 600_000, 400_000, 200_000, 0])
    before = certify(steps, correct, grid, target=0.5, delta=0.2).steps
    if len(rows):
        correct[which % len(rows)] = True
    after = certify(steps, correct, grid, target=0.5, delta=0.2).steps
    assert before is None or (after is not None and after <= before)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 500)), min_size=1, max_size=30, unique_by=lambda t: t[0]),
    st.integers(0, 900),
    st.integers(1, 20),
)
def test_the_grid_falls_starts_where_enough_are_expected_and_ends_at_the_floor(rows, floor, num):
    rows.sort()
    steps, counts = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    grid = threshold_grid(steps, counts, floor=floor, num=num, judged=400, min_judged=50)
    inside = steps >= floor
    if not inside.any():
        assert len(grid) == 0
        return
    assert 1 <= len(grid) <= num
    assert (np.diff(grid) < 0).all()
    assert grid[-1] == steps[inside][0]
    total = counts[inside].sum()
    assert counts[steps >= grid[0]].sum() * 400 >= 50 * total - 1e-6 * total


def test_a_grid_of_too_few_judged_labels_is_empty_and_says_so():
    grid = threshold_grid(np.array([1, 2]), np.array([5, 5]), floor=0, num=50, judged=40, min_judged=50)
    assert len(grid) == 0
    found = certify(np.array([1]), np.array([True]), grid, target=0.5, delta=0.05)
    assert found.steps is None
    assert "too few" in found.reason


def test_all_scores_equal_leave_one_threshold():
    grid = threshold_grid(np.array([500_000]), np.array([1000]), floor=0, num=50, judged=200, min_judged=50)
    assert grid.tolist() == [500_000]
    right = certify(np.full(200, 500_000), np.ones(200, bool), grid, target=0.9, delta=0.05)
    wrong = certify(np.full(200, 500_000), np.zeros(200, bool), grid, target=0.9, delta=0.05)
    assert right.steps == 500_000
    assert wrong.steps is None
    assert "too often wrong" in wrong.reason


def test_a_near_miss_says_how_many_more_would_do():
    # 60 of 180 audited labels lie above the threshold: three must be audited for one there.
    steps = np.repeat([5, 1], [60, 120])
    found = certify(steps, np.arange(180) < 52, np.array([5]), target=0.8, delta=0.05)
    assert found.steps is None
    needed = labels_needed(0.8, 52 / 60)
    assert needed > 60
    assert f"some {needed:,} judged above it would be needed, in an audit of some {3 * needed:,}" in found.reason


def test_a_miss_by_a_hair_names_no_number():
    found = certify(np.ones(10_000, np.int64), np.arange(10_000) < 8_001, np.array([1]), target=0.8, delta=0.05)
    assert found.steps is None
    assert re.search(r"8,001 of 10,000 .* \(p = 0\.49\d, needed 0\.05\)$", found.reason)


def test_nothing_judged_certifies_nothing():
    found = certify(np.empty(0, np.int64), np.empty(0, bool), np.array([5, 1]), target=0.8, delta=0.05)
    assert (found.steps, found.n, found.k, found.p_value) == (None, 0, 0, 1.0)
    assert found.reason == "no label at or above the strictest threshold was judged"
    assert found.interval == (0.0, 1.0)


def test_all_right_certifies_the_loosest_threshold():
    found = certify(np.arange(100), np.ones(100, bool), np.array([60, 30, 0]), target=0.8, delta=0.05)
    assert (found.steps, found.n, found.k) == (0, 100, 100)
    assert [step.n for step in found.walk] == [40, 70, 100]


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.1])
def test_drawn_without_replacement_the_test_is_only_more_careful(delta):
    """All populations of up to 30 labels with a precision just below the target, all samples of them."""
    for size in range(1, 31):
        for target in (0.1, 0.5, 0.8, 0.95):
            right = int(np.ceil(target * size)) - 1
            if right / size >= target:
                continue
            for n in range(1, size + 1):
                rejected = np.flatnonzero(p_values(np.full(n + 1, n), np.arange(n + 1), target) <= delta)
                if len(rejected):
                    assert stats.hypergeom.sf(rejected[0] - 1, size, right, n) <= delta


@pytest.mark.parametrize(("truth", "needed"), [(0.90, 82), (0.85, 365), (0.80, None), (0.7, None)])
def test_labels_needed_are_those_of_the_exact_test(truth, needed):
    found = labels_needed(0.80, truth)
    assert found == needed
    if found is None:
        return
    for n, enough in ((found, True), (found - 1, False)):
        critical = next(k for k in range(n + 2) if stats.binom.sf(k - 1, n, 0.8) <= 0.05)
        assert (stats.binom.sf(critical - 1, n, truth) >= 0.8) == enough


@settings(max_examples=40)
@given(
    st.sampled_from([0.01, 0.3, 0.5, 0.8, 0.95, 0.99]),
    st.floats(0.1, 1),
    st.sampled_from([0.01, 0.05, 0.2]),
    st.sampled_from([0.5, 0.8, 0.99]),
)
def test_labels_needed_equal_a_search_from_one(target, share, delta, power):
    truth = target + share * (1 - target)
    n = np.arange(1, 3_000)
    critical = stats.binom.isf(delta, n, target) + 1
    enough = np.flatnonzero(stats.binom.sf(critical - 1, n, truth) >= power)
    found = labels_needed(target, truth, delta=delta, power=power)
    assert found == n[enough[0]] if len(enough) else found >= 3_000


def test_certificates_are_wrong_no_oftener_than_delta_while_plug_in_is():
    """Scores that promise a little too much: where the sample itself reaches the target, the truth often does not."""
    rng = np.random.default_rng(0)
    size, audits, n, target = 60_000, 400, 600, 0.8
    logit = rng.normal(0.6, 1.6, size)
    truth = rng.random(size) < 1 / (1 + np.exp(-(logit - 0.15)))
    steps = np.rint(1e6 / (1 + np.exp(-logit))).astype(np.int64)
    values, counts = np.unique(steps, return_counts=True)
    grid = threshold_grid(values, counts, floor=300_000, num=50, judged=n, min_judged=50)
    pool = np.flatnonzero(steps >= 300_000)
    true_precision = np.array([truth[steps >= t].mean() for t in grid])
    wrong = plug_in_wrong = 0
    for _ in range(audits):
        rows = rng.choice(pool, n, replace=False)
        found = certify(steps[rows], truth[rows], grid, target=target, delta=0.05)
        wrong += found.steps is not None and true_precision[np.flatnonzero(grid == found.steps)[0]] < target
        judged_, right = count_above(steps[rows], truth[rows], grid)
        reached = np.flatnonzero(right >= target * judged_)
        plug_in_wrong += len(reached) > 0 and true_precision[reached[-1]] < target
    assert wrong <= 0.05 * audits + 3 * np.sqrt(0.05 * 0.95 * audits)
    assert plug_in_wrong > 0.3 * audits


def test_class_intervals_start_at_the_model_and_follow_the_judged():
    mean, low, high = class_intervals(np.array([0.8, 0.8, 0.8]), np.array([0, 20, 2000]), np.array([0, 0, 2000]))
    assert mean[0] == pytest.approx(0.8)
    assert (low[0], high[0]) == pytest.approx(stats.beta.interval(0.95, 9.6, 2.4))
    assert mean[1] == pytest.approx(9.6 / 32)
    assert low[2] > 0.99
    assert ((low < mean) & (mean < high)).all()
