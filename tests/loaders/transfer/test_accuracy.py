from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from openjft.loaders.errors import LoaderError
from openjft.loaders.transfer import wilson
from openjft.loaders.transfer.accuracy import compare_clean, true_ranks


@given(st.integers(1, 3_000), st.data())
def test_the_interval_is_scipys_wilson_interval(total, data):
    correct = data.draw(st.integers(0, total))
    found = wilson(correct, total)
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("correct", "total"), [(3, 2), (-1, 2), (0, 0)])
def test_a_share_of_nothing_is_refused(correct, total):
    with pytest.raises(ValueError, match="expected 0 <= correct"):
        wilson(correct, total)


@given(st.integers(1, 6), st.integers(2, 7), st.data())
def test_a_rank_counts_the_classes_before_the_true_one_and_ties_go_to_the_smaller_class(n, c, data):
    scores = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=n * c, max_size=n * c)))
    scores = scores.reshape(n, c)
    labels = data.draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n))
    expected = [sorted(range(c), key=lambda j: (-scores[i, j], j)).index(labels[i]) for i in range(n)]
    assert true_ranks(torch.from_numpy(scores), torch.tensor(labels)).tolist() == expected


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(LoaderError, match="found NaN"):
        true_ranks(torch.tensor([[float("nan"), 1.0]]), torch.tensor([0]))


def test_top_1_and_top_5_on_the_clean_images_by_hand():
    ranks = np.array([0, 0, 3, 9, 0, 7])
    clean = np.array([False, True, True, True, False, True])
    found = compare_clean(ranks, clean, path=Path("x.clean.txt"), unknown=2, seed=1, resamples=100)
    assert (found.top1.before, found.top1.after) == (0.5, 0.25)
    assert (found.top5.before, found.top5.after) == (pytest.approx(4 / 6), 0.5)
    assert (found.num_images, found.num_clean, found.num_removed, found.unknown_ids) == (6, 4, 2, 2)
    assert found.top1.random_low <= 0 <= found.top1.random_high


def test_a_list_without_one_of_the_scored_images_is_refused():
    with pytest.raises(LoaderError, match="found none in the list"):
        compare_clean(np.zeros(3, int), np.zeros(3, bool), path=Path("x"), unknown=0, seed=1, resamples=100)
