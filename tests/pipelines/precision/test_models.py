"""LR1 and the latent-class model against known truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.dedup import clopper_pearson
from openjft.pipelines.config import Precision
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.keys import key_words
from openjft.pipelines.precision.bins import SourceBins, fit_bins, state_matrix
from openjft.pipelines.precision.counting import fit_evidence
from openjft.pipelines.precision.crossfit import calibration_error, calibration_table
from openjft.pipelines.precision.em import fit_em, starting_probability
from openjft.pipelines.precision.gold import GoldRows, image_folds
from openjft.pipelines.precision.lr1 import fit_lr1, one_hot
from openjft.pipelines.precision.patterns import PatternTable, count_patterns
from openjft.pipelines.precision.threshold import STEPS, Histogram, find_threshold, to_steps


@pytest.fixture(scope="module")
def fitted(web):
    bins = fit_bins(web.sources, [web.table])
    states = state_matrix(web.table, bins)
    return bins, states, PatternTable.from_table(count_patterns(states))


def gold_of(web, states, number, seed=0):
    rows = np.sort(np.random.default_rng(seed).choice(len(states), number, replace=False))
    labels = web.table["label"].to_numpy()[rows]
    return GoldRows(key_words(web.table["image_key"])[rows], labels, states[rows], web.correct[rows])


def histogram(steps):
    return Histogram.of(np.bincount(steps, minlength=STEPS + 1))


def kept_share_and_precision(model, fitted, web, target=0.8):
    _, states, _ = fitted
    steps = to_steps(model.probabilities(states))
    threshold = find_threshold(histogram(steps), target)
    if threshold is None:
        return 0.0, 1.0
    kept = steps >= threshold.steps
    assert kept.sum() == threshold.kept
    return kept.mean(), web.correct[kept].mean()


def test_lr1_keeps_labels_at_the_target_precision(fitted, web):
    bins, states, _ = fitted
    gold = gold_of(web, states, 4000)
    num_states = [b.num_states for b in bins]
    model = fit_lr1(gold.states, gold.correct, num_states, l2=1.0)
    share, precision = kept_share_and_precision(model, fitted, web)
    assert precision == pytest.approx(0.8, abs=0.025)
    assert web.correct.mean() < 0.6
    singles = []
    for i in range(len(bins)):  # the same model, which sees one source
        one = fit_lr1(gold.states[:, i : i + 1], gold.correct, num_states[i : i + 1], l2=1.0)
        steps = to_steps(one.probabilities(states[:, i : i + 1]))
        found = find_threshold(histogram(steps), 0.8)
        singles.append(found.kept / len(steps) if found else 0.0)
    assert share > max(singles) + 0.05


def test_lr1_has_the_mean_of_its_gold_and_no_weight_for_unseen_states():
    rng = np.random.default_rng(1)
    states = rng.integers(0, 4, (500, 2)).astype(np.uint8)
    correct = rng.random(500) < 0.2 + 0.15 * states[:, 0]
    model = fit_lr1(states, correct, [5, 4], l2=1.0)
    assert model.probabilities(states).mean() == pytest.approx(correct.mean(), abs=1e-6)
    assert model.weights[0][4] == 0.0
    assert all(a < b for a, b in itertools.pairwise(model.weights[0][:4]))


def test_lr1_minimises_the_penalised_loss():
    rng = np.random.default_rng(2)
    states = rng.integers(0, 3, (200, 2)).astype(np.uint8)
    correct = rng.random(200) < 0.5
    model = fit_lr1(states, correct, [3, 3], l2=2.0)
    residual = model.probabilities(states) - correct
    gradient = one_hot(states, [3, 3]).T @ residual + 2.0 * np.concatenate(model.weights)
    assert np.abs(gradient).max() < 1e-6
    assert abs(residual.sum()) < 1e-6


def test_lr1_on_gold_of_one_kind_is_a_smoothed_rate():
    states = np.ones((9, 1), np.uint8)
    model = fit_lr1(states, np.ones(9, bool), [3], l2=1.0)
    assert model.probabilities(states).tolist() == pytest.approx([0.95] * 9)


def assert_never_falls(fit, rows):
    trace = np.array(fit.log_posteriors)
    rounding = 1e-9 * np.abs(trace[:-1]) + 1e-12 * rows
    assert (np.diff(trace) >= -rounding).all()


def test_em_never_lowers_its_posterior_and_comes_near_lr1(fitted, web):
    bins, states, table = fitted
    fit = fit_em(table, bins)
    assert len(fit.log_posteriors) > 3
    assert_never_falls(fit, len(states))
    assert fit.converged
    p = fit.model.probabilities(states)
    assert fit.correct_share == pytest.approx(p.mean())
    gold = gold_of(web, states, 4000)
    lr1 = fit_lr1(gold.states, gold.correct, [b.num_states for b in bins], l2=1.0).probabilities(states)
    top, top_lr1 = (web.correct[np.argsort(-x, kind="stable")[: len(x) // 5]].mean() for x in (p, lr1))
    assert top > web.correct.mean() + 0.3
    assert top > top_lr1 - 0.03


def answers_of_four_sources(rows, rng):
    """(truth, states, rates): rows that hold the model's assumptions; those that nobody asserts are not there."""
    truth = rng.random(rows) < 0.3
    rates = np.array([[0.7, 0.15, 0.1, 0.05], [0.2, 0.2, 0.25, 0.35]])  # silent, low, mid, high; wrong and right
    states = np.stack([(rng.random((rows, 1)) > np.cumsum(rates, 1)[truth * 1]).sum(1) for _ in range(4)], 1) + 1
    states[rng.random(states.shape) < 0.2] = 0  # no opportunity
    asserted = (states >= 2).any(axis=1)
    return truth[asserted], states[asserted].astype(np.uint8), rates


def test_em_recovers_a_latent_class_though_rows_that_nobody_asserts_are_missing():
    truth, states, rates = answers_of_four_sources(60_000, np.random.default_rng(5))
    bins = [SourceBins(f"s{i}", "support", (2.0, 3.0)) for i in range(4)]
    fit = fit_em(PatternTable.from_table(count_patterns(states)), bins, max_iterations=2000)
    assert fit.correct_share == pytest.approx(truth.mean(), abs=0.03)
    for weights in fit.model.weights:
        assert weights[0] == 0.0
        assert weights[1:] == pytest.approx(np.log(rates[1] / rates[0]), abs=0.2)


@given(st.integers(1, 3), st.data())
def test_em_is_finite_and_never_falls_on_any_table(num_sources, data):
    bins = [
        SourceBins("a", "support", (2.0, 3.0)),
        SourceBins("b", "score", ()),
        SourceBins("c", "clicks", (0.5,), (0.1, 0.2, 1.0)),
    ][:num_sources]
    state = st.tuples(*(st.integers(0, b.num_states - 1) for b in bins)).filter(lambda row: max(row) >= 2)
    rows = data.draw(st.dictionaries(state, st.integers(1, 10**9), min_size=1, max_size=12))
    table = PatternTable(np.array(list(rows), np.uint8), np.array(list(rows.values())))
    fit = fit_em(table, bins, max_iterations=40)
    assert_never_falls(fit, table.counts.sum())
    p = fit.model.probabilities(table.states)
    assert ((p >= 0) & (p <= 1)).all()


def test_no_opportunity_says_nothing_about_the_truth(fitted):
    bins, _, table = fitted
    assert all(w[0] == 0.0 for w in fit_em(table, bins).model.weights)


def test_em_calls_the_class_that_fires_strongest_correct():
    """A start that is upside down still ends with strong evidence for, not against."""
    bins = [SourceBins(f"s{i}", "support", (2.0,)) for i in range(3)]
    states = np.array([[2, 2, 2], [3, 3, 3], [1, 1, 2]], np.uint8)
    fit = fit_em(PatternTable(states, np.array([100, 50, 100])), bins)
    p = fit.model.probabilities(states)
    assert p[1] > p[2]


def test_the_start_rises_with_evidence():
    bins = [SourceBins("a", "support", (2.0, 3.0)), SourceBins("b", "score", (0.5,))]
    ladder = np.array([[1, 1], [2, 1], [3, 1], [4, 1], [4, 2], [4, 3]], np.uint8)
    start = starting_probability(ladder, bins)
    assert (np.diff(start) > 0).all()
    assert (start[0], start[-1]) == pytest.approx((0.05, 0.95))
    assert starting_probability(np.array([[0, 0], [0, 4]], np.uint8), bins).tolist() == pytest.approx([0.05, 0.5])


@pytest.mark.parametrize(
    ("successes", "trials", "interval"),
    [(0, 10, (0.0, 0.3085)), (10, 10, (0.6915, 1.0)), (8, 10, (0.4439, 0.9748)), (80, 100, (0.7082, 0.8733))],
)
def test_clopper_pearson_equals_published_values(successes, trials, interval):
    assert clopper_pearson(successes, trials) == pytest.approx(interval, abs=1e-4)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_labels_of_one_image_share_a_fold_and_folds_are_near_equal():
    keys = np.repeat(np.random.default_rng(0).integers(0, 256, (53, 16)).astype(np.uint8), 3, axis=0)
    folds = image_folds(keys, 5, seed=17)
    assert (folds.reshape(53, 3) == folds.reshape(53, 3)[:, :1]).all()
    assert sorted(np.bincount(folds, minlength=5)) == [30, 30, 33, 33, 33]
    assert np.array_equal(folds, image_folds(keys, 5, seed=17))
    assert not np.array_equal(folds, image_folds(keys, 5, seed=18))


def test_a_calibration_table_has_ten_ranges_and_loses_no_row():
    rows = calibration_table(np.arange(40) * 25_000, np.arange(40) % 2 == 0)
    assert len(rows) == 10
    assert sum(row["n"] for row in rows) == 40
    assert calibration_error(rows) == pytest.approx(np.mean([abs((4 * i + 1.5) / 40 - 0.5) for i in range(10)]))
    assert calibration_error(calibration_table(np.empty(0, np.int64), np.empty(0, bool))) is None


@pytest.mark.parametrize("correct", [[1] * 10 + [0] * 9, [1] * 40, [0] * 40, [1] * 36 + [0] * 4])
def test_gold_that_cannot_carry_a_fit_is_refused_with_what_was_found(correct):
    n = len(correct)
    states = np.ones((n, 1), np.uint8)
    gold = GoldRows(np.zeros((n, 16), np.uint8), np.zeros(n, np.int32), states, np.array(correct, bool))
    table = PatternTable(np.ones((1, 1), np.uint8), np.array([n]))
    account = {"rejects": {"unknown_label": 3, "duplicate": 0}}
    with pytest.raises(PipelineError, match=rf"found {sum(correct)} correct and .*not used: 3 unknown_label\)"):
        fit_evidence(table, [SourceBins("a", "support", ())], gold, Precision(), seed=1, gold_account=account)


def test_a_fold_s_model_has_not_seen_the_fold(fitted, web):
    bins, states, table = fitted
    gold = gold_of(web, states, 500)
    fit = fit_evidence(table, bins, gold, Precision(folds=4), seed=17)
    fold = image_folds(gold.keys, 4, seed=17)
    assert len(fit.folds) == 4
    for i, model in enumerate(fit.folds):
        seen = gold.take(fold != i)
        again = fit_lr1(seen.states, seen.correct, [b.num_states for b in bins], l2=1.0)
        assert np.array_equal(model.log_odds(states), again.log_odds(states))
    assert fit.log_ratio(states) == pytest.approx(fit.model.log_odds(states) - fit.base)
    assert 1 / (1 + np.exp(-fit.base)) == pytest.approx(gold.correct.mean())


def test_without_gold_every_way_to_be_silent_weighs_the_same():
    bins = [SourceBins(name, "agreement", (0.0,), (0.2, 0.8), many=4.0) for name in "abc"]
    rng = np.random.default_rng(3)
    states = rng.integers(0, 5, (3000, 3)).astype(np.uint8)
    states = states[np.isin(states, (2, 3)).any(axis=1)]
    merged = np.where(states == 4, 1, states).astype(np.uint8)
    fits = [fit_em(PatternTable.from_table(count_patterns(s)), bins) for s in (states, merged)]
    for a, b in zip(fits[0].model.weights, fits[1].model.weights, strict=True):
        assert a[4] == a[1]
        assert a == pytest.approx(b, abs=1e-6)
