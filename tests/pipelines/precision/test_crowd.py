"""Many judges: planted skill is found again, nothing depends on order or names, and sparse workers are no trap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.pipelines.precision.crowd import Answers, fuse_answers, votes


def draw(items, workers, each, skill, classes=3, seed=0, hard=0.0):
    """Answers of workers with the given share of right ones; on hard items everybody guesses."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, items)
    is_hard = rng.random(items) < hard
    item = np.repeat(np.arange(items), each)
    worker = np.concatenate([rng.choice(workers, each, replace=False) for _ in range(items)])
    right = rng.random(len(item)) < np.where(is_hard[item], 1 / classes, np.asarray(skill)[worker])
    wrong = (truth[item] + rng.integers(1, classes, len(item))) % classes
    answer = np.where(right, truth[item], wrong)
    return Answers(item, worker, answer, items, workers, classes), truth


def accuracy(posterior, truth):
    return float((posterior.argmax(axis=1) == truth).mean())


def test_skill_is_found_and_a_few_good_workers_outvote_many_bad_ones():
    skill = [0.95] * 3 + [0.4] * 7
    answers, truth = draw(600, 10, 7, skill)
    fused = fuse_answers(answers, num_classes=3)
    assert accuracy(fused.posterior, truth) > accuracy(votes(answers, 3), truth) + 0.05
    found = 1 - fused.error_rate(answers)
    assert found[:3].min() > 0.85
    assert found[3:].max() < 0.6
    assert np.diagonal(fused.confusion, axis1=1, axis2=2)[:3].min() > 0.85
    assert fused.confusion.sum(axis=2) == pytest.approx(np.ones((10, 3)))
    assert fused.posterior.sum(axis=1) == pytest.approx(np.ones(600))


def test_who_always_says_the_same_tells_nothing():
    answers, truth = draw(400, 6, 4, [0.8] * 6, classes=2)
    spam = answers.worker == 5
    answer = np.where(spam, 1, answers.answer)
    fused = fuse_answers(Answers(answers.item, answers.worker, answer, 400, 6, 2), num_classes=2)
    rates = fused.confusion[5]
    assert abs(rates[0, 1] - rates[1, 1]) < 0.1
    assert accuracy(fused.posterior, truth) > 0.88


def test_workers_of_few_answers_do_not_pull_it_below_the_majority():
    worst = 0.0
    for seed in range(5):
        answers, truth = draw(200, 400, 5, np.full(400, 0.65), classes=4, seed=seed)
        fused = fuse_answers(answers, num_classes=4)
        worst = max(worst, accuracy(votes(answers, 4), truth) - accuracy(fused.posterior, truth))
    assert worst <= 0.025


def test_hard_items_are_told_from_easy_ones():
    answers, _ = draw(800, 8, 8, [0.95] * 8, classes=4, hard=0.25, seed=3)
    fused = fuse_answers(answers, num_classes=4)
    assert fused.hard.mean() == pytest.approx(0.25, abs=0.08)


def test_an_answer_that_names_no_class_is_evidence_too():
    """Workers are unsure on class 1 only: 'unsure' comes to speak for it."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 500)
    item = np.repeat(np.arange(500), 5)
    said = np.where(rng.random(2500) < 0.85, truth[item], 1 - truth[item])
    answer = np.where((truth[item] == 1) & (rng.random(2500) < 0.4), 2, said)
    worker = np.tile(np.arange(5), 500)
    fused = fuse_answers(Answers(item, worker, answer, 500, 5, 3), num_classes=2)
    assert fused.confusion[:, 1, 2].mean() > fused.confusion[:, 0, 2].mean() + 0.2
    assert accuracy(fused.posterior, truth) > 0.95


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_and_names_do_not_matter(seed, random):
    answers, _ = draw(30, 6, 4, [0.9, 0.8, 0.7, 0.6, 0.5, 0.5], seed=seed)
    fused = fuse_answers(answers, num_classes=3, max_iterations=50)
    order = list(range(len(answers.item)))
    random.shuffle(order)
    renamed = np.array(random.sample(range(6), 6))
    moved = Answers(answers.item[order], renamed[answers.worker[order]], answers.answer[order], 30, 6, 3)
    again = fuse_answers(moved, num_classes=3, max_iterations=50)
    assert again.posterior == pytest.approx(fused.posterior, abs=1e-9)
    assert again.confusion[renamed] == pytest.approx(fused.confusion, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=25))
def test_any_answers_give_finite_probabilities(rows):
    item, worker, answer = (np.array(column) for column in zip(*rows, strict=True))
    _, item = np.unique(item, return_inverse=True)
    fused = fuse_answers(Answers(item, worker, answer, int(item.max()) + 1, 4, 3), num_classes=2, max_iterations=60)
    assert np.isfinite(fused.posterior).all()
    assert fused.posterior.sum(axis=1) == pytest.approx(np.ones(len(fused.posterior)))
    assert ((fused.hard >= 0) & (fused.hard <= 1)).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=20))
def test_votes_equal_counting(rows):
    item, answer = (np.array(column) for column in zip(*rows, strict=True))
    _, item = np.unique(item, return_inverse=True)
    n = int(item.max()) + 1
    found = votes(Answers(item, np.zeros(len(item), np.int64), answer, n, 1, 3), 2)
    for i in range(n):
        mine = [a for j, a in zip(item.tolist(), answer.tolist(), strict=True) if j == i and a < 2]
        expected = [mine.count(c) / len(mine) if mine else 0.5 for c in range(2)]
        assert found[i].tolist() == expected


def test_texts_become_numbers_and_what_is_no_answer_is_named():
    answers, items, workers = Answers.of(
        ["b", "a", "b"], ["w", "w", "v"], ["no", "yes", "unsure"], ["no", "yes", "unsure"]
    )
    assert (items, workers) == (["a", "b"], ["v", "w"])
    assert answers.item.tolist() == [1, 0, 1]
    assert answers.answer.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="expected one of no, yes, found 'maybe'"):
        Answers.of(["a"], ["w"], ["maybe"], ["no", "yes"])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Answers(np.array([0, 2]), np.zeros(2, int), np.zeros(2, int), 3, 1, 2), "some without"),
        (
            lambda: Answers(np.array([0]), np.array([5]), np.array([0]), 1, 2, 2),
            r"worker: expected 1 numbers in \[0, 2\)",
        ),
        (lambda: fuse_answers(draw(5, 3, 2, [0.9] * 3)[0], num_classes=4), "num_classes: expected 2 to 3"),
        (lambda: fuse_answers(Answers(*[np.empty(0, np.int64)] * 3, 0, 0, 2), num_classes=2), "found none"),
    ],
)
def test_what_cannot_be_fused_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
