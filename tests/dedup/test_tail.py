from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto

from openjft.dedup import DedupError
from openjft.dedup.tail import Tail, fit_pareto, fit_tail


def unit(rng, n, dim=32):
    x = rng.normal(size=(n, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def tail_of(rng, queries=2000, references=200, above=2000, seed=0):
    scores = unit(rng, queries) @ unit(rng, references).T
    query, column = np.nonzero(scores >= np.sort(scores.ravel())[-above])
    return fit_tail(scores[query, column], query, queries=queries, references=references, seed=seed)


@pytest.mark.parametrize("shape", [-0.1, 0.0, 0.1])
def test_scale_and_shape_are_those_of_the_draw(shape):
    above = genpareto.rvs(shape, scale=0.05, size=20_000, random_state=np.random.default_rng(1))
    scale, found = fit_pareto(above, np.ones(len(above)))
    assert scale == pytest.approx(0.05, rel=0.03)
    assert found == pytest.approx(shape, abs=0.03)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_a_weight_counts_as_so_many_values(seed):
    rng = np.random.default_rng(seed)
    above, weights = rng.exponential(0.05, 200), rng.integers(0, 4, 200)
    whole = fit_pareto(np.repeat(above, weights), np.ones(weights.sum()))
    np.testing.assert_allclose(fit_pareto(above, weights.astype(float)), whole, rtol=1e-3, atol=1e-4)


def test_few_values_leave_the_shape_near_the_priors():
    above = genpareto.rvs(0.5, scale=0.05, size=60, random_state=np.random.default_rng(0))
    assert abs(fit_pareto(above, np.ones(60))[1]) < 0.1


def test_false_pairs_of_a_hundredfold_are_predicted_within_a_factor_two():
    rng = np.random.default_rng(3)
    tail = tail_of(rng)
    whole = np.sort((unit(rng, 20_000) @ unit(rng, 2000).T).ravel())
    for count in (30, 100, 300, 1000):
        expected = float(tail.expected(whole[-count], whole.size))
        assert count / 2 < expected < count * 2
        low, high = tail.interval(whole[-count], whole.size)
        assert low[0] < expected < high[0]


def test_the_score_for_a_number_is_where_that_number_is_expected():
    tail = tail_of(np.random.default_rng(4))
    for wanted in (0.1, 5.0, 200.0):
        score = tail.score_at(wanted, 1e7)
        assert float(tail.expected(score, 1e7)) == pytest.approx(wanted, rel=1e-3)
    assert tail.score_at(1e9, 1e7) == tail.level  # more than there are above the level
    assert tail.score_at(1e-300, 1e7) == 1.0
    assert np.isnan(tail.expected(tail.level - 0.01, 1e7))


def test_expected_pairs_fall_as_the_score_rises_and_grow_with_the_pairs():
    tail = tail_of(np.random.default_rng(5))
    scores = np.linspace(tail.level, 1, 50)
    expected = tail.expected(scores, 1e6)
    assert (np.diff(expected) <= 0).all()
    np.testing.assert_allclose(tail.expected(scores, 1e8), 100 * expected)
    assert float(tail.expected(tail.level, tail.queries * tail.references)) == pytest.approx(tail.exceedances)


def test_pairs_of_few_queries_make_the_interval_wider():
    rng = np.random.default_rng(6)
    scores = 0.5 + rng.exponential(0.03, 1000)
    spread, same = np.arange(1000), np.repeat(np.arange(20), 50)
    widths = []
    for owners in (spread, same):
        tail = fit_tail(scores, owners, queries=2000, references=100)
        low, high = tail.interval(0.6, 1e6)
        widths.append(float(high[0] - low[0]))
    assert widths[1] > 2 * widths[0]


def test_equal_input_gives_an_equal_tail_whatever_the_order():
    rng = np.random.default_rng(7)
    scores, query = 0.5 + rng.exponential(0.03, 800), rng.integers(0, 900, 800)
    order = rng.permutation(800)
    a, b = (fit_tail(s, q, queries=1000, references=9) for s, q in ((scores, query), (scores[order], query[order])))
    assert a.to_json() == b.to_json()


def test_json_gives_the_same_tail():
    tail = tail_of(np.random.default_rng(8))
    again = Tail.from_json(json.loads(json.dumps(tail.to_json())))
    np.testing.assert_array_equal(again.resampled, tail.resampled)
    assert again.score_at(3, 1e6) == tail.score_at(3, 1e6)


@pytest.mark.parametrize("scores", [[], [0.9] * 20, [0.9] * 500])
def test_too_few_or_equal_scores_are_an_error(scores):
    with pytest.raises(DedupError, match="too few images"):
        fit_tail(scores, np.arange(len(scores)), queries=1000, references=10)
