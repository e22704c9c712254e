from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from openjft.loaders.evaluation.metric import (
    MapCollector,
    frequency_weights,
    mean_average_precision_at_k,
    mean_precision,
    top_k_classes,
    weights_sha256,
)
from openjft.taxonomy import Csr


def csr(rows):
    offsets = np.concatenate(([0], np.cumsum([len(r) for r in rows]))).astype(np.int64)
    return Csr(np.array([c for r in rows for c in r], np.int32), offsets)


def slow_map(scores, rows, k, weights, keys, judged=None):
    """Straight from the definition, one class and one image at a time."""
    n, c = scores.shape
    best = [set(sorted(range(c), key=lambda j: (-scores[i, j], j))[:k]) for i in range(n)]
    total = norm = 0.0
    for j in range(c):
        positives = [i for i in range(n) if j in rows[i]]
        if not positives:
            continue
        standing = [i for i in range(n) if j in best[i] and (judged is None or judged[i, j])]
        ranked = sorted(standing, key=lambda i: (-scores[i, j], keys[i].tobytes(), i))
        hits, ap = 0, 0.0
        for rank, i in enumerate(ranked, start=1):
            if i in positives:
                hits += 1
                ap += hits / rank
        total += weights[j] * ap / len(positives)
        norm += weights[j]
    return total / norm


@st.composite
def problems(draw):
    n, c = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    # Few distinct scores, so that ties are frequent.
    values = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
    scores = np.array(draw(st.lists(values, min_size=n * c, max_size=n * c)), np.float32).reshape(n, c)
    rows = draw(st.lists(st.lists(st.integers(0, c - 1), unique=True), min_size=n, max_size=n))
    rows[0] = rows[0] or [0]
    weights = np.array(draw(st.lists(st.floats(0.125, 4.0), min_size=c, max_size=c)))
    keys = np.array(draw(st.lists(st.binary(min_size=16, max_size=16), min_size=n, max_size=n, unique=True)))
    keys = np.stack([np.frombuffer(key.ljust(16, b"\0"), np.uint8) for key in keys])
    return scores, rows, draw(st.integers(1, 7)), weights, keys


@settings(max_examples=200, deadline=None)
@given(problems(), st.integers(1, 4))
def test_the_streamed_value_is_that_of_the_definition(problem, batch):
    scores, rows, k, weights, keys = problem
    collector = MapCollector(scores.shape[1], k=k)
    for i in range(0, len(rows), batch):
        part = slice(i, i + batch)
        collector.add(torch.from_numpy(scores[part].copy()), csr(rows[part]), keys[part])
    result = collector.compute(weights)
    assert result.weighted == pytest.approx(slow_map(scores, rows, k, weights, keys), abs=1e-12)
    assert result.unweighted == pytest.approx(slow_map(scores, rows, k, np.ones_like(weights), keys), abs=1e-12)
    whole = mean_average_precision_at_k(scores, csr(rows), k=k, class_weights=weights, keys=keys)
    assert whole == result.weighted


@settings(max_examples=200, deadline=None)
@given(problems(), st.data(), st.integers(1, 4))
def test_an_image_stands_in_no_ranking_of_a_class_that_is_not_judged_for_it(problem, data, batch):
    scores, rows, k, weights, keys = problem
    n, c = scores.shape
    judged = np.array(data.draw(st.lists(st.booleans(), min_size=n * c, max_size=n * c))).reshape(n, c)
    for i, row in enumerate(rows):
        judged[i, row] = True
    collector = MapCollector(c, k=k)
    for i in range(0, n, batch):
        part = slice(i, i + batch)
        collector.add(torch.from_numpy(scores[part].copy()), csr(rows[part]), keys[part], judged[part])
    result = collector.compute(weights)
    assert result.weighted == pytest.approx(slow_map(scores, rows, k, weights, keys, judged), abs=1e-12)
    assert mean_average_precision_at_k(
        scores, csr(rows), k=k, class_weights=weights, keys=keys, judged=judged
    ) == pytest.approx(result.weighted, abs=1e-12)


def test_an_image_that_is_not_judged_by_hand():
    # Scores of one class: 3 (not known), 2 (true), 1 (false). Were the first false, the precision would be 1/2.
    scores = np.array([[3], [2], [1]], np.float32)
    labels = csr([[], [0], []])
    judged = np.array([[False], [True], [True]])
    assert mean_average_precision_at_k(scores, labels, judged=judged) == 1.0
    assert mean_average_precision_at_k(scores, labels) == 0.5


def test_a_class_that_is_not_judged_still_takes_a_place_among_the_best_k():
    # k = 1: image 0's best class is 1, which nobody judged; its true class 0 is a miss all the same.
    scores = np.array([[1, 2]], np.float32)
    assert mean_average_precision_at_k(scores, csr([[0]]), k=1, judged=np.array([[True, False]])) == 0.0


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        (np.array([[False, True]]), "found 1 that are not"),
        (np.ones((2, 2), bool), r"expected \(1, 2\) bool"),
        (np.ones((1, 2)), "float64"),
    ],
)
def test_judgements_that_do_not_fit_are_refused(judged, message):
    with pytest.raises(ValueError, match=message):
        mean_average_precision_at_k(np.ones((1, 2), np.float32), csr([[0]]), judged=judged)


# -- against scikit-learn -------------------------------------------------------------------------------------
#
# `average_precision_score` sums (R_n - R_{n-1}) P_n over the thresholds. Where every class of an image counts (k is the
# number of classes) and no two scores of a class are equal, each threshold adds one image and that is our precision at
# each positive. They differ on purpose where k cuts (a positive outside its image's best is a miss for us; scikit-learn
# knows no k) and where scores are equal: scikit-learn takes equal scores in at once, we rank them by key.


def sklearn_precisions(scores, dense):
    """Of each class with positives."""
    found = [average_precision_score(dense[:, j], scores[:, j]) for j in range(dense.shape[1]) if dense[:, j].any()]
    return np.array(found)


def distinct_scores(rng, n, c):
    """(n, c) float32, no value twice in a column."""
    return np.stack([rng.permutation(n) for _ in range(c)], axis=1).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32), st.integers(0, 3))
def test_the_value_is_scikit_learns_where_all_classes_count_and_no_scores_are_equal(n, c, seed, more):
    rng = np.random.default_rng(seed)
    scores, dense = distinct_scores(rng, n, c), rng.random((n, c)) < 0.3
    dense[0, 0] = True
    weights = rng.random(c) + 0.1
    expected = sklearn_precisions(scores, dense)
    value = mean_average_precision_at_k(scores, csr([np.flatnonzero(row) for row in dense]), k=c + more)
    assert value == pytest.approx(expected.mean(), abs=1e-12)
    weighted = mean_average_precision_at_k(
        scores, csr([np.flatnonzero(row) for row in dense]), k=c + more, class_weights=weights
    )
    assert weighted == pytest.approx(np.average(expected, weights=weights[dense.any(0)]), abs=1e-12)


def test_the_value_of_5000_images_and_1000_classes_is_scikit_learns():
    rng = np.random.default_rng(5)
    n, c = 5_000, 1_000
    dense = rng.random((n, c)) < 0.004
    # A network that is better than chance: positives move up.
    scores = (distinct_scores(rng, n, c) + np.where(dense, np.float32(n / 2) + np.float32(0.5), np.float32(0))).astype(
        np.float32
    )
    collector = MapCollector(c, k=c)
    for i in range(0, n, 256):
        collector.add(
            torch.from_numpy(scores[i : i + 256].copy()), csr([np.flatnonzero(r) for r in dense[i : i + 256]])
        )
    result = collector.compute()
    expected = sklearn_precisions(scores, dense)
    np.testing.assert_allclose(result.average_precision[result.num_positives > 0], expected, atol=1e-12)
    assert result.unweighted == pytest.approx(expected.mean(), abs=1e-12)
    assert 0.1 < result.unweighted < 0.9


def test_scikit_learn_takes_equal_scores_in_at_once_and_we_rank_them_by_key():
    scores, labels = np.ones((2, 1), np.float32), csr([[0], []])
    assert average_precision_score([1, 0], [1.0, 1.0]) == 0.5
    keys = np.array([[0] * 16, [1] * 16], np.uint8)
    assert mean_average_precision_at_k(scores, labels, keys=keys) == 1.0
    assert mean_average_precision_at_k(scores, labels, keys=keys[::-1]) == 0.5


def test_a_cut_at_k_loses_positives_that_scikit_learn_still_ranks():
    scores = np.array([[2, 1], [4, 3]], np.float32)
    labels = csr([[1], []])
    assert average_precision_score([1, 0], scores[:, 1]) == 0.5
    assert mean_average_precision_at_k(scores, labels, k=2) == 0.5
    assert mean_average_precision_at_k(scores, labels, k=1) == 0.0


def test_two_classes_by_hand():
    # Class 0: image 0 (score 3, true), image 1 (2, false), image 2 (1, true): AP = (1/1 + 2/3) / 2 = 5/6.
    # Class 1: only image 2 is true and it is ranked last of three: AP = 1/3.
    scores = np.array([[3, 9], [2, 8], [1, 7]], np.float32)
    labels = csr([[0], [], [0, 1]])
    assert mean_average_precision_at_k(scores, labels) == pytest.approx((5 / 6 + 1 / 3) / 2)
    assert mean_average_precision_at_k(scores, labels, class_weights=np.array([1.0, 0.0])) == pytest.approx(5 / 6)


def test_a_positive_outside_the_images_best_k_is_a_miss():
    scores = np.array([[2, 1], [2, 1]], np.float32)
    # k = 1 keeps class 0 of both images: class 1's positive is never retrieved.
    assert mean_average_precision_at_k(scores, csr([[0], [1]]), k=1) == pytest.approx((1.0 + 0.0) / 2)


def test_equal_scores_are_ranked_by_image_key_and_not_by_order_of_arrival():
    scores = np.ones((2, 1), np.float32)
    keys = np.zeros((2, 16), np.uint8)
    keys[0, 0] = 9
    assert mean_average_precision_at_k(scores, csr([[0], []]), keys=keys) == 0.5
    assert mean_average_precision_at_k(scores, csr([[0], []]), keys=keys[::-1]) == 1.0


def test_of_equal_scores_the_smaller_class_is_taken():
    classes, scores = top_k_classes(torch.tensor([[1.0, 1.0, 2.0, 1.0]]), 2)
    assert classes.tolist() == [[0, 2]]
    assert scores.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        (csr([[2]]), None, r"ids in \[0, 2\), found 2 to 2"),
        (csr([[-1]]), None, "found -1"),
        (csr([[]]), None, "at least one label"),
        (csr([[0]]), np.array([0.0, 1.0]), "weight above 0"),
        (csr([[0]]), np.array([-1.0, 1.0]), "not negative"),
        (csr([[0]]), np.array([np.nan, 1.0]), "finite"),
        (csr([[0]]), np.array([1.0]), "shape"),
        (csr([[0], [0]]), None, "offsets"),
    ],
)
def test_wrong_labels_or_weights_are_refused(labels, weights, message):
    with pytest.raises(ValueError, match=message):
        mean_average_precision_at_k(np.ones((1, 2), np.float32), labels, class_weights=weights)


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="found NaN"):
        mean_average_precision_at_k(np.full((1, 2), np.nan, np.float32), csr([[0]]))


def test_weights_follow_the_frequency_and_have_a_name():
    weights = frequency_weights(np.array([0, 5, 10]), 10, alpha=0.5, gamma=2.0)
    assert weights.tolist() == [0.25, 1.0, 2.25]
    assert weights_sha256(weights) == hashlib.sha256(weights.astype("<f8").tobytes()).hexdigest()
    assert frequency_weights(np.array([0, 5]), 10, alpha=0.0, gamma=-1.0).tolist() == [0.0, 2.0]
    assert frequency_weights(np.array([0, 5]), 10, alpha=0.0, gamma=0.0).tolist() == [1.0, 1.0]


@settings(max_examples=150, deadline=None)
@given(problems(), st.data())
def test_an_image_that_counts_several_times_is_that_many_images_and_none_is_left_out(problem, data):
    scores, rows, k, weights, _ = problem
    n, c = scores.shape
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    collector = MapCollector(c, k=k)
    collector.add(torch.from_numpy(scores.copy()), csr(rows))
    weighted, unweighted = mean_precision(*collector.ranking().precision(times), weights)
    repeated = np.repeat(np.arange(n), times)
    chosen = [rows[i] for i in repeated]
    if not any(chosen):
        assert np.isnan([weighted, unweighted]).all()
        return
    keys = np.arange(len(repeated), dtype=np.uint8)[:, None]  # ties stand in the order of the images
    assert weighted == pytest.approx(slow_map(scores[repeated], chosen, k, weights, keys), abs=1e-12)
    assert unweighted == pytest.approx(slow_map(scores[repeated], chosen, k, np.ones(c), keys), abs=1e-12)
