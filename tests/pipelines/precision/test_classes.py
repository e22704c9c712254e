"""What classes add: means and priors against a slow reference, and LR2 against planted effects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.precision.classes import class_means, class_priors, ratio_bins, sums_below, weight_sums
from openjft.pipelines.precision.lr2 import fit_lr2
from openjft.pipelines.precision.model import logit, sigmoid
from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy

# A diamond (d below b and c) and a second root: a; b, c below a; d below b and c; e below d; f alone.
PARENTS = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"], "f": []}
IDS = sorted(PARENTS)


def _closure():
    edges = [Edge(child, parent) for child, up in PARENTS.items() for parent in up]
    return ancestor_closure(build_taxonomy([Category(name) for name in IDS], edges, origin="test"))


def _below(name):
    found = {name}
    while True:
        more = {child for child, up in PARENTS.items() if found & set(up)} - found
        if not more:
            return found
        found |= more


def _reference(own, number, overall, kappa, solve):
    """Each class's own value, top-down; `solve(members, towards, kappa)` gives the value of some classes together."""
    branch, result = {}, {}
    for name in IDS:  # parents come first in the alphabet here
        above = np.mean([branch[p] for p in PARENTS[name]], axis=0) if PARENTS[name] else overall
        branch[name] = solve(_below(name), above, kappa)
        inner = sum(number[IDS.index(m)] for m in _below(name)) > number[IDS.index(name)]
        result[name] = solve({name}, branch[name] if inner else above, kappa)
    return np.array([result[name] for name in IDS])


counts = st.lists(st.integers(0, 60), min_size=6, max_size=6)


@given(counts, st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_class_means_equal_the_reference(number, weights):
    number = np.array(number)
    own = number * np.array(weights)
    overall = own.sum() / max(number.sum(), 1)

    def solve(members, towards, kappa):
        at = [IDS.index(m) for m in members]
        return (own[at].sum() + kappa * towards) / (number[at].sum() + kappa)

    found = class_means(own[:, None], number, _closure(), kappa=30)
    assert found[:, 0] == pytest.approx(_reference(own, number, overall, 30, solve))


@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=6, max_size=6), st.floats(0.05, 0.95))
def test_class_priors_equal_the_reference(rows, overall):
    hist, ratio = np.array(rows), np.array([-1.5, 0.2, 2.0])

    def solve(members, towards, kappa):
        h = hist[[IDS.index(m) for m in members]].sum(axis=0)
        prior = towards
        for _ in range(3000):
            right = (h * (1 / (1 + np.exp(-(np.log(prior / (1 - prior)) + ratio))))).sum()
            before, prior = prior, min(max((right + kappa * towards) / (h.sum() + kappa), 1e-4), 1 - 1e-4)
            if abs(prior - before) < 1e-9:
                break
        return prior

    found = class_priors(hist, ratio, overall, _closure(), kappa=100)
    assert found == pytest.approx(_reference(hist, hist.sum(axis=1), overall, 100, solve), abs=1e-4)


def test_a_class_without_candidates_has_its_parent_s_value_and_a_large_one_its_own():
    hist = np.zeros((6, 2), np.int64)
    hist[IDS.index("e")] = 0, 1_000_000
    hist[IDS.index("f")] = 1_000_000, 0
    priors = dict(zip(IDS, class_priors(hist, np.array([-3.0, 3.0]), 0.5, _closure()), strict=True))
    assert priors["b"] == pytest.approx(priors["d"], abs=0.01)  # all that lies below b lies below d
    assert priors["e"] > 0.99
    assert priors["f"] < 0.01


def test_sums_below_count_a_diamond_once():
    values = np.arange(1, 7, dtype=np.float64)[:, None]
    expected = [sum(values[IDS.index(m), 0] for m in _below(name)) for name in IDS]
    assert sums_below(_closure(), values)[:, 0].tolist() == expected


def test_weight_sums_are_those_of_every_candidate():
    rng = np.random.default_rng(0)
    label, states = rng.integers(0, 6, 500), rng.integers(0, 4, (500, 2))
    weights = [rng.normal(size=4), rng.normal(size=4)]
    state_counts = [np.zeros((6, 4), np.int64) for _ in range(2)]
    for s in range(2):
        np.add.at(state_counts[s], (label, states[:, s]), 1)
    expected = np.zeros((6, 2))
    for s in range(2):
        np.add.at(expected[:, s], label, weights[s][states[:, s]])
    assert weight_sums(state_counts, weights) == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 1000)), min_size=1, max_size=40, unique_by=lambda t: t[0]),
    st.integers(1, 8),
)
def test_ratio_bins_part_the_line_and_keep_the_mean(rows, most):
    ratio, number = np.array([r for r, _ in rows]), np.array([n for _, n in rows])
    bins = ratio_bins(ratio, number, most)
    assert len(bins.middle) <= most
    assert (np.diff(bins.middle) > 0).all()
    assert bins.middle[bins.of(ratio)] @ number == pytest.approx(ratio @ number, abs=1e-6 * number.sum())


def test_lr2_learns_that_a_source_means_less_in_a_class_where_it_always_fires():
    rng = np.random.default_rng(1)
    classes, n = 200, 60_000
    shift = rng.normal(0, 1.5, classes)  # a source fires more in some classes, whatever the truth
    prior = sigmoid(rng.normal(-0.3, 0.8, classes))
    label = rng.integers(0, classes, n)
    correct = rng.random(n) < prior[label]
    evidence = np.where(correct, 1.0, -1.0) + shift[label] + rng.normal(0, 1, n)
    means = np.bincount(label, evidence, classes)[:, None] / np.bincount(label, minlength=classes)[:, None]
    gold = rng.choice(n, 4000, replace=False)
    model = fit_lr2(evidence[gold], label[gold], correct[gold], prior, means, ("one",))
    assert model.coefficients["class mean of one"] < -0.5
    p = sigmoid(model.log_odds(evidence, label))
    plain = fit_lr2(evidence[gold], label[gold], correct[gold], np.full(classes, 0.5), np.zeros((classes, 1)), ("one",))
    q = sigmoid(plain.log_odds(evidence, label))
    loss, plain_loss = (-np.log(np.where(correct, x, 1 - x)).mean() for x in (p, q))
    assert loss < plain_loss - 0.05
    assert p.mean() == pytest.approx(correct.mean(), abs=0.02)
    assert np.isfinite(plain.offset).all()


def test_logit_and_sigmoid_undo_each_other():
    p = np.array([1e-9, 0.2, 0.5, 1 - 1e-9])
    assert sigmoid(logit(p)) == pytest.approx(p, rel=1e-6)
