"""Judges: what counts as right, and how far they agree."""

from __future__ import annotations

import numpy as np
import pytest

from openjft.pipelines.audit.agreement import agreement, cohen_kappa, judge

ANN = {"a": "yes", "b": "yes", "c": "no", "d": "unsure", "x": "yes"}
BOB = {"a": "yes", "b": "no", "c": "no", "e": "yes"}


def test_a_label_is_right_where_all_who_answered_say_yes():
    judged = judge(list("abcdef"), [ANN, BOB])
    assert judged.correct.tolist() == [True, False, False, False, True, False]
    assert judged.answered.tolist() == [True, True, True, True, True, False]
    assert judged.unsure.tolist() == [False, False, False, True, False, False]


def test_one_judge_agrees_with_nobody():
    assert agreement([ANN]) is None
    assert agreement([ANN, {"z": "no"}]) is None


def test_agreement_is_counted_on_what_two_answered():
    found = agreement([ANN, BOB])
    assert (found["both"], found["raw"]) == (3, pytest.approx(2 / 3))
    assert found["table"] == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    # observed 2/3, by chance 2/3 * 1/3 + 1/3 * 2/3
    assert found["kappa"] == pytest.approx((2 / 3 - 4 / 9) / (5 / 9))


def test_of_three_judges_the_mean_over_pairs_counts():
    found = agreement([ANN, BOB, {"a": "yes", "c": "no"}])
    assert found["pairs"] == 3
    assert found["both"] == 3 + 2 + 2
    assert found["raw"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert found["table"] is None


@pytest.mark.parametrize(
    ("table", "kappa"),
    [([[20, 5], [10, 15]], 0.4), ([[50, 0], [0, 50]], 1.0), ([[25, 25], [25, 25]], 0.0), ([[9, 0], [0, 0]], None)],
)
def test_kappa_equals_published_examples(table, kappa):
    found = cohen_kappa(np.array(table))
    assert found == (None if kappa is None else pytest.approx(kappa))
