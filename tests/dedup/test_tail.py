from __future__ import annotations

import json

import numpy as np
import pytest

from openjft.dedup import DedupError
from openjft.dedup.tail import Tail, fit_tail


def unit(rng, n, dim=16):
    x = rng.normal(size=(n, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def tail_of(rng, queries=2000, references=200, above=2000, form="power"):
    """Of vectors uniform on a sphere, for which the power form is exact."""
    scores = unit(rng, queries) @ unit(rng, references).T
    query, column = np.nonzero(scores >= np.sort(scores.ravel())[-above])
    return fit_tail(scores[query, column], query, queries=queries, references=references, form=form)


def exponential(rng, n, scale, level=1.2):
    """Scores whose angles fall off exponentially below `level` radians."""
    return np.cos(level - np.minimum(rng.exponential(scale, n), level))


def test_each_form_finds_the_parameter_of_its_draw():
    rng = np.random.default_rng(1)
    made = exponential(rng, 20_000, 0.05)
    tail = fit_tail(made, np.arange(20_000), queries=20_000, references=1, form="exponential", exceedances=19_000)
    assert tail.scale == pytest.approx(0.05, rel=0.03)
    power = np.cos(1.2 * rng.random(20_000) ** (1 / 30))
    tail = fit_tail(power, np.arange(20_000), queries=20_000, references=1, form="power", exceedances=19_000)
    assert tail.exponent == pytest.approx(30, rel=0.03)


@pytest.mark.parametrize("form", ["power", "exponential"])
def test_false_pairs_of_a_hundredfold_are_predicted_within_a_factor_two(form):
    rng = np.random.default_rng(3)
    if form == "power":
        tail = tail_of(rng)
        whole = np.sort((unit(rng, 20_000) @ unit(rng, 2000).T).ravel())
    else:
        sample = exponential(rng, 400_000, 0.05)
        top = np.argsort(sample)[-3000:]
        tail = fit_tail(sample[top], top // 200, queries=2000, references=200, form=form)
        whole = np.sort(exponential(rng, 40_000_000, 0.05))
    for count in (100, 300, 1000):
        expected = float(tail.expected(whole[-count], whole.size))
        assert count / 2 < expected < count * 2
        low, high = tail.interval(whole[-count], whole.size)
        assert low[0] < expected < high[0]


@pytest.mark.parametrize("form", ["power", "exponential"])
def test_the_score_for_a_number_is_where_that_number_is_expected(form):
    tail = tail_of(np.random.default_rng(4), form=form)
    for wanted in (0.1, 5.0, 200.0):
        score = tail.score_at(wanted, 1e7)
        assert float(tail.expected(score, 1e7)) == pytest.approx(wanted, rel=1e-6)
    assert tail.score_at(1e9, 1e7) == tail.level  # more than there are above the level
    assert tail.score_at(1e-300, 1e7) == pytest.approx(1.0)
    assert np.isnan(tail.expected(tail.level - 0.01, 1e7))


def test_expected_pairs_fall_as_the_score_rises_and_grow_with_the_pairs():
    tail = tail_of(np.random.default_rng(5))
    scores = np.linspace(tail.level, 1, 50)
    expected = tail.expected(scores, 1e6)
    assert (np.diff(expected) <= 0).all()
    np.testing.assert_allclose(tail.expected(scores, 1e8), 100 * expected)
    assert float(tail.expected(tail.level, tail.queries * tail.references)) == pytest.approx(tail.exceedances)


def test_the_interval_spans_both_forms():
    scores = unit(np.random.default_rng(9), 2000) @ unit(np.random.default_rng(10), 200).T
    query, column = np.nonzero(scores > np.sort(scores.ravel())[-2000])
    made = {"queries": 2000, "references": 200, "exceedances": 800}
    tails = [fit_tail(scores[query, column], query, form=form, **made) for form in ("power", "exponential")]
    scores = np.linspace(tails[0].level, 0.95, 20)
    np.testing.assert_array_equal(tails[0].interval(scores, 1e6), tails[1].interval(scores, 1e6))
    low, high = tails[0].interval(scores, 1e6)
    for tail in tails:
        assert (low <= tail.expected(scores, 1e6)).all()
        assert (tail.expected(scores, 1e6) <= high).all()


def test_pairs_of_few_queries_make_the_interval_wider():
    rng = np.random.default_rng(6)
    scores = exponential(rng, 1000, 0.03)
    spread, same = np.arange(1000), np.repeat(np.arange(20), 50)
    widths = []
    for owners in (spread, same):
        tail = fit_tail(scores, owners, queries=2000, references=100, form="exponential", exceedances=900)
        low, high = tail.interval(tail.level + 0.01, 1e6)
        widths.append(float(high[0] - low[0]))
    assert widths[1] > 2 * widths[0]


def test_equal_input_gives_an_equal_tail_whatever_the_order():
    rng = np.random.default_rng(7)
    scores, query = exponential(rng, 800, 0.03), rng.integers(0, 900, 800)
    order = rng.permutation(800)
    both = ((scores, query), (scores[order], query[order]))
    a, b = (fit_tail(s, q, queries=1000, references=9, form="exponential") for s, q in both)
    assert a.to_json() == b.to_json()


def test_json_gives_the_same_tail():
    tail = tail_of(np.random.default_rng(8))
    again = Tail.from_json(json.loads(json.dumps(tail.to_json())))
    np.testing.assert_array_equal(again.resampled, tail.resampled)
    assert again.score_at(3, 1e6) == tail.score_at(3, 1e6)


@pytest.mark.parametrize("scores", [[], [0.9] * 20, [0.9] * 500])
def test_too_few_or_equal_scores_are_an_error(scores):
    with pytest.raises(DedupError, match="too few images"):
        fit_tail(scores, np.arange(len(scores)), queries=1000, references=10, form="power")
