"""Many judges: planted skill is found again, nothing depends on order or names, and sparse workers are no trap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.pipelines.precision.crowd import Answers, column_error_rates, fuse_answers, votes


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
    """Ties shared."""
    best = posterior >= posterior.max(axis=1, keepdims=True) - 1e-9
    return float((best[np.arange(len(truth)), truth] / best.sum(axis=1)).mean())


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
    """Workers are alike and answered 2.5 times on average: nothing is better than the votes."""
    ours = majority = 0.0
    for seed in range(8):
        answers, truth = draw(200, 400, 5, np.full(400, 0.65), classes=4, seed=seed)
        ours += accuracy(fuse_answers(answers, num_classes=4).posterior, truth) / 8
        majority += accuracy(votes(answers, 4), truth) / 8
    assert ours > majority - 0.015


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


def test_a_shared_error_does_not_become_a_class():
    """A quarter of class 0 looks like class 1 to most, as in ZenCrowd, where plain Dawid-Skene believes them."""
    rng = np.random.default_rng(5)
    truth = (rng.random(1500) < 0.2).astype(int)
    deceptive = (truth == 0) & (rng.random(1500) < 0.25)
    item = np.repeat(np.arange(1500), 5)
    worker = np.concatenate([rng.permutation(12)[:5] for _ in range(1500)])
    skill = np.where(worker < 4, 0.9, 0.45)  # of those who see through it
    right = rng.random(len(item)) < np.where(deceptive[item], skill, 0.88)
    answers = Answers(item, worker, np.where(right, truth[item], 1 - truth[item]), 1500, 12, 2)
    fused = fuse_answers(answers, num_classes=2)
    assert accuracy(fused.posterior, truth) > accuracy(votes(answers, 2), truth)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter_to_the_last_bit(seed, random):
    answers, _ = draw(30, 6, 4, [0.9, 0.8, 0.7, 0.6, 0.5, 0.5], seed=seed)
    order = list(range(len(answers.item)))
    random.shuffle(order)
    moved = Answers(answers.item[order], answers.worker[order], answers.answer[order], 30, 6, 3)
    fused, again = (fuse_answers(each, num_classes=3, max_iterations=50) for each in (answers, moved))
    assert np.array_equal(again.posterior, fused.posterior)
    assert np.array_equal(again.confusion, fused.confusion)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(6)), st.permutations(range(3)))
def test_names_of_workers_and_classes_do_not_matter(seed, workers, classes):
    answers, _ = draw(30, 6, 4, [0.9, 0.8, 0.7, 0.6, 0.5, 0.5], seed=seed)
    workers, classes = np.array(workers), np.array(classes)
    moved = Answers(answers.item, workers[answers.worker], classes[answers.answer], 30, 6, 3)
    fused, again = (fuse_answers(each, num_classes=3, max_iterations=50) for each in (answers, moved))
    assert again.posterior[:, classes] == pytest.approx(fused.posterior, abs=1e-7)
    assert again.confusion[workers][:, classes][:, :, classes] == pytest.approx(fused.confusion, abs=1e-7)


def test_one_worker_alone_is_believed_and_said_to_be_unidentified():
    answers = Answers(np.arange(4), np.zeros(4, int), np.array([0, 1, 2, 1]), 4, 1, 3)
    fused = fuse_answers(answers, num_classes=2)
    assert not fused.identified
    assert fused.posterior.tolist() == [[1, 0], [0, 1], [0.5, 0.5], [0, 1]]
    assert fused.confusion.sum(axis=2) == pytest.approx(np.ones((1, 2)))
    twice = Answers(np.array([0, 0, 1]), np.zeros(3, int), np.array([0, 1, 1]), 2, 1, 2)  # one person who wavers
    assert not fuse_answers(twice, num_classes=2).identified


def test_where_all_say_the_same_that_is_true_everywhere():
    answers = Answers(np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20), np.ones(60, int), 20, 3, 2)
    fused = fuse_answers(answers, num_classes=2)
    assert fused.identified
    assert fused.converged
    assert fused.posterior[:, 1].min() > 0.95


def test_who_answered_once_is_taken_to_be_like_the_others():
    answers, _ = draw(300, 6, 5, [0.85] * 6, classes=2)
    more = Answers(np.append(answers.item, 0), np.append(answers.worker, 6), np.append(answers.answer, 1), 300, 7, 2)
    fused = fuse_answers(more, num_classes=2)
    assert fused.confusion[6] == pytest.approx(fused.confusion[:6].mean(axis=0), abs=0.1)


def test_an_item_with_one_answer_is_as_sure_as_its_worker_is_good():
    answers, _ = draw(600, 6, 5, [0.95, 0.6, 0.8, 0.8, 0.8, 0.8], classes=2)
    more = Answers(
        np.append(answers.item, [600, 601]),
        np.append(answers.worker, [0, 1]),
        np.append(answers.answer, [1, 1]),
        602,
        6,
        2,
    )
    good, bad = fuse_answers(more, num_classes=2).posterior[600:, 1]
    assert good == pytest.approx(0.95, abs=0.05)
    assert bad == pytest.approx(0.6, abs=0.1)


def test_what_is_known_otherwise_counts_with_the_answers():
    """One worker's labels, a tenth of them wrong, beside probabilities that know better: the wrong ones are found."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 900)
    wrong = rng.random(900) < 0.1
    given_labels = np.where(wrong, (truth + 1) % 3, truth)
    known = np.full((900, 3), 0.02)
    known[np.arange(900), truth] = 0.96
    answers = Answers(np.arange(900), np.zeros(900, int), given_labels, 900, 1, 3)
    fused = fuse_answers(answers, num_classes=3, prior=known)
    assert fused.identified
    own = fused.posterior[np.arange(900), given_labels]
    assert own[wrong].max() < own[~wrong].min()
    assert fused.error_rate(answers)[0] == pytest.approx(wrong.mean(), abs=0.02)
    assert fused.confusion[0, 0, 1] > 3 * fused.confusion[0, 0, 2]


@pytest.mark.parametrize(("alike", "allowed"), [(0.3, 0.01), (0.8, 0.03)])
def test_rates_of_columns_see_more_of_shared_errors(alike, allowed):
    """On a fifth of the items 0.55 are right, and of the errors the share `alike` and more falls on one class."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 6000)
    item = np.repeat(np.arange(6000), 3)
    right = rng.random(18000) < np.where(rng.random(6000) < 0.2, 0.55, 0.95)[item]
    step = np.where(rng.random(18000) < alike, 1, rng.integers(1, 10, 18000))
    answer = np.where(right, truth[item], (truth[item] + step) % 10)
    answers = Answers(item, np.tile(np.arange(3), 6000), answer, 6000, 3, 10)
    true = np.bincount(answers.worker, answer != truth[item]) / 6000
    found = column_error_rates(answers, num_classes=10)
    plain = fuse_answers(answers, num_classes=10).error_rate(answers)
    assert np.abs(found - true).mean() < min(allowed, np.abs(plain - true).mean())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=25))
def test_any_answers_give_finite_probabilities(rows):
    item, worker, answer = (np.array(column) for column in zip(*rows, strict=True))
    _, item = np.unique(item, return_inverse=True)
    answers = Answers(item, worker, answer, int(item.max()) + 1, 4, 3)
    fused = fuse_answers(answers, num_classes=2, max_iterations=60)
    assert (column_error_rates(answers, num_classes=2, max_iterations=60) >= -1e-9).all()
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
        (
            lambda: Answers(np.zeros(1), np.zeros(1, int), np.zeros(1, int), 1, 1, 2),
            "item: expected one column of whole",
        ),
        (lambda: fuse_answers(draw(5, 3, 2, [0.9] * 3)[0], num_classes=4), "num_classes: expected 2 to 3"),
        (lambda: fuse_answers(draw(5, 3, 2, [0.9] * 3)[0], num_classes=3, prior=np.ones((5, 2))), "prior: expected"),
        (lambda: fuse_answers(draw(5, 3, 2, [0.9] * 3)[0], num_classes=3, prior=-np.ones((5, 3))), "or none of these"),
        (lambda: fuse_answers(Answers(*[np.empty(0, np.int64)] * 3, 0, 0, 2), num_classes=2), "found none"),
    ],
)
def test_what_cannot_be_fused_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
