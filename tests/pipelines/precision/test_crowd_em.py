"""EM of the judges' model: each step against loops, the bound against the sum over all classes that items can have."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, gammaln

from openjft.pipelines.precision import crowd_em
from openjft.pipelines.precision.crowd import Answers, votes

LEVELS = ("one", "halfway", "free")


@st.composite
def answer_tables(draw, items=6, workers=3, said=3, most=20):
    """Few answers, every item with one at least."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, items - 1), st.integers(0, workers - 1), st.integers(0, said - 1)),
            min_size=1,
            max_size=most,
        )
    )
    item, worker, answer = (np.array(column) for column in zip(*rows, strict=True))
    _, item = np.unique(item, return_inverse=True)
    return Answers(item, worker, answer, int(item.max()) + 1, workers, said)


def some_states(answers, levels, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(2 * levels), answers.num_items).reshape(-1, 2, levels)


def counts_by_loops(answers, states):
    counts = np.zeros((answers.num_workers, states.shape[1], answers.num_answers, states.shape[2]))
    for i, w, a in zip(answers.item, answers.worker, answers.answer, strict=True):
        counts[w, :, a, :] += states[i]
    return counts


@given(answer_tables(), st.integers(1, 2), st.integers(0, 1000))
def test_expected_counts_equal_loops(answers, levels, seed):
    states = some_states(answers, levels, seed)
    assert crowd_em.expected_counts(answers, states) == pytest.approx(counts_by_loops(answers, states), abs=1e-12)


@given(answer_tables(), st.integers(1, 2), st.integers(0, 1000))
def test_the_e_step_equals_loops(answers, levels, seed):
    rng = np.random.default_rng(seed)
    alpha = rng.gamma(1.0, size=(3, 2, 3, levels)) + 0.01
    before = np.log(rng.dirichlet(np.ones(2 * levels)).reshape(1, 2, levels))
    rates = crowd_em.expected_log(alpha)
    states, evidence = crowd_em.judge(answers, rates, before)
    expected_evidence = 0.0
    for i in range(answers.num_items):
        weight = {}
        for k, d in itertools.product(range(2), range(levels)):
            log = before[0, k, d]
            for j in np.flatnonzero(answers.item == i):
                mine = alpha[answers.worker[j], k, :, d]
                log += digamma(mine[answers.answer[j]]) - digamma(mine.sum())
            weight[k, d] = math.exp(log)
        expected_evidence += math.log(sum(weight.values()))
        for (k, d), value in weight.items():
            assert states[i, k, d] == pytest.approx(value / sum(weight.values()), abs=1e-9)
    assert evidence == pytest.approx(expected_evidence)


def log_multinomial(counts, alpha):
    """Log-probability of a sequence of answers with these counts, rates drawn from a Dirichlet law."""
    return gammaln(alpha.sum()) - gammaln((alpha + counts).sum()) + (gammaln(alpha + counts) - gammaln(alpha)).sum()


@settings(max_examples=40)
@given(answer_tables(items=4, workers=2, most=8), st.integers(0, 1000))
def test_the_bound_is_below_the_evidence_and_near_it_where_workers_are_known(answers, seed):
    """The evidence is the sum over all 2^items classes; where rates are known the bound reaches it."""
    for concentration, slack in ((2.0, math.inf), (1e7, 1e-4)):
        population = crowd_em.start_population(answers, votes(answers, 2), "one")
        population = dataclasses.replace(population, concentration=concentration)
        prior = concentration * population.rows
        before = np.log(np.array([0.4, 0.6]).reshape(1, 2, 1))
        terms = []
        for classes in itertools.product(range(2), repeat=answers.num_items):
            counts = counts_by_loops(answers, np.eye(2)[list(classes)][:, :, None])
            log = sum(before[0, k, 0] for k in classes)
            terms.append(
                log + sum(log_multinomial(counts[w, k, :, 0], prior[k, :, 0]) for w in range(2) for k in range(2))
            )
        exact = np.logaddexp.reduce(terms)
        alpha = crowd_em.expected_counts(answers, some_states(answers, 1, seed)) + prior
        rates = crowd_em.expected_log(alpha)
        bound = crowd_em.judge(answers, rates, before)[1] - crowd_em._divergence(alpha, rates, population)
        assert exact - slack <= bound <= exact + 1e-6


@settings(max_examples=60)
@given(answer_tables(items=12, workers=5, most=60), st.sampled_from(LEVELS), st.booleans())
def test_the_bound_never_falls(answers, levels, with_prior):
    prior = np.tile([0.3, 0.7], (answers.num_items, 1)) if with_prior else None
    found = crowd_em.fit(answers, votes(answers, 2), levels, prior=prior, max_iterations=60)
    assert np.diff(found.bounds).min(initial=0.0) >= -1e-9 * abs(found.bounds[-1]) - 1e-9
    assert found.states.sum(axis=(1, 2)) == pytest.approx(np.ones(answers.num_items))
    assert found.population.rows.sum(axis=1) == pytest.approx(np.ones_like(found.population.rows.sum(axis=1)))


@settings(max_examples=60)
@given(answer_tables(items=12, workers=5, most=60), st.sampled_from(LEVELS), st.integers(0, 1000))
def test_a_step_of_the_population_raises_its_evidence(answers, levels, seed):
    population = crowd_em.start_population(answers, votes(answers, 2), levels)
    counts = counts_by_loops(answers, some_states(answers, len(population.guessing), seed))

    def evidence(population):
        alpha = population.concentration * population.rows
        cells = itertools.product(range(5), range(2), range(alpha.shape[2]))
        return population.log_prior + sum(log_multinomial(counts[w, k, :, d], alpha[k, :, d]) for w, k, d in cells)

    for _ in range(5):
        moved = crowd_em.closer(counts, population)
        assert evidence(moved) >= evidence(population) - 1e-9
        population = moved


def test_symmetric_rows_can_be_checked_by_hand():
    """Item 0 has the votes 0, 0 and 1, item 1 has 1 and an "unsure"; one pseudo vote is right, one is not."""
    answers = Answers(np.array([0, 0, 0, 1, 1]), np.zeros(5, int), np.array([0, 0, 1, 1, 2]), 2, 1, 3)
    rows = crowd_em.symmetric_rows(answers, votes(answers, 2))
    right = (2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / (4 + 2)
    unsure = (1 + 1) / (5 + 3)
    expected = [[right * (1 - unsure), (1 - right) * (1 - unsure), unsure]]
    assert rows[0] == pytest.approx(expected[0])
    assert rows[1] == pytest.approx([expected[0][1], expected[0][0], unsure])


def test_hard_rows_are_halfway_to_a_guess():
    answers = Answers(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 0]), 2, 2, 2)
    rows = crowd_em.start_population(answers, votes(answers, 2), "halfway").rows
    assert rows[:, :, 1] == pytest.approx((rows[:, :, 0] + 0.5) / 2)
    assert crowd_em.start_population(answers, votes(answers, 2), "free").rows == pytest.approx(rows)
    assert crowd_em.start_population(answers, votes(answers, 2), "one").rows == pytest.approx(rows[:, :, :1])
