"""The model behind `crowd`: Dawid and Skene's (1979), with workers drawn to their population and items of two levels.

In: answers and a first guess of each item's class. Out: `Fit`, a probability of every (class, level) for each item, and
how workers answer. An item has a class k and a level d, independent of each other before anybody answers:

- A worker's rates of answers on items of (k, d) are Dirichlet, with mean `rows[k, :, d]` and one concentration for all.
  Mean and concentration are those of highest evidence (Minka 2000, "Estimating a Dirichlet distribution"): who answered
  little is taken to be like the others, and where all are alike it is one matrix for all.
- The mean itself is drawn to a symmetric matrix, as right as the votes agree, by `PRIOR_ANSWERS` answers a class: a
  class that is hardly ever true keeps a sensible row.
- Levels. "one": all items are alike. "halfway": on a hard item the mean is halfway between typical and a guess, so that
  errors of several people on one item are no surprise. "free": the mean on hard items is whatever the answers say. That
  finds more of the errors that people share, and needs thousands of items: a free row may come to mean another class.

Variational EM (Attias 1999): rates have Dirichlet posteriors, items a table, and every step raises a lower bound of the
log-evidence, `Fit.bounds`. Deterministic. Memory: workers x answers x classes x levels, and items x classes x levels.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, gammaln

if TYPE_CHECKING:
    from .crowd import Answers

Floats = npt.NDArray[np.float64]
Levels = Literal["one", "halfway", "free"]

GUESSING: Final = 0.5  # share of guesses on a hard item: of ten sets 0.3 and 0.7 change none by more than 0.01
PRIOR_ANSWERS: Final = 10.0  # pseudo answers of each class, spread like the symmetric matrix
PRIOR_ITEMS: Final = 1.0  # pseudo items of each class and of each level
TOLERANCE: Final = 1e-7  # gain of the bound for each answer at which EM is done, ...
_LEAST_GAIN: Final = 1e-4  # ... or in all: nobody sees that
_START_CONCENTRATION: Final = 10.0
_CONCENTRATION: Final = (0.05, 100.0)  # people differ, if only by 4 points: sqrt(0.8 * 0.2 / 100)


@dataclasses.dataclass(frozen=True)
class Population:
    """How workers answer on the whole.

    Attributes:
        typical: (classes, answers, 1), or (classes, answers, levels) where hard items have rows of their own.
        anchor: of the same shape, what `typical` is drawn to.
        guess: (answers,) what is said by who does not know.
        guessing: (levels,) share of guesses.
        concentration: a worker's own answers of a class count as much as the population's once there are so many.
    """

    typical: Floats
    anchor: Floats
    guess: Floats
    guessing: Floats
    concentration: float

    @property
    def rows(self) -> Floats:
        """(classes, answers, levels) mean rates of answers."""
        rows: Floats = (1 - self.guessing) * self.typical + self.guessing * self.guess[None, :, None]
        return rows

    @property
    def log_prior(self) -> float:
        """Log-density of `typical`, up to a constant."""
        return PRIOR_ANSWERS * float((self.anchor * np.log(self.typical)).sum())


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        states: (items, classes, levels) probabilities.
        population: how workers answer.
        bounds: lower bound of the log-evidence after each iteration, up to a constant; never falls.
        converged: whether the last gain was below the tolerance.
    """

    states: Floats
    population: Population
    bounds: tuple[float, ...]
    converged: bool

    @property
    def posterior(self) -> Floats:
        """(items, classes)."""
        posterior: Floats = self.states.sum(axis=2)
        return posterior


def fit(
    answers: Answers, shares: Floats, levels: Levels, *, prior: Floats | None = None, max_iterations: int = 500
) -> Fit:
    """Fits the model.

    Args:
        answers: at least one.
        shares: (items, classes) where EM starts: votes, by which the classes keep their meaning.
        levels: how items differ.
        prior: (items, classes) probabilities above 0 from elsewhere, in place of a common share of each class.
        max_iterations: EM stops here if it has not come to rest.
    """
    population = start_population(answers, shares, levels)
    states = _start_states(answers, shares, len(population.guessing))
    bounds: list[float] = []
    converged = False
    while len(bounds) < max_iterations and not converged:
        counts = expected_counts(answers, states)
        for _ in range(2 if bounds else 5):
            population = closer(counts, population)
        before, log_prior = _item_prior(states, prior)
        alpha = counts + population.concentration * population.rows
        rates = expected_log(alpha)
        states, evidence = judge(answers, rates, before)
        bound = evidence + population.log_prior + log_prior - _divergence(alpha, rates, population)
        converged = bool(bounds) and bound - bounds[-1] <= max(TOLERANCE * len(answers.item), _LEAST_GAIN)
        bounds.append(bound)
    return Fit(states, population, tuple(bounds), converged)


def start_population(answers: Answers, shares: Floats, levels: Levels) -> Population:
    """All workers answer by the symmetric matrix."""
    centre = symmetric_rows(answers, shares)
    guessing = np.array([0.0] if levels == "one" else [0.0, GUESSING])
    typical = centre[:, :, None]
    population = Population(typical, typical, centre.mean(axis=0), guessing, _START_CONCENTRATION)
    if levels == "free":
        rows = population.rows
        population = dataclasses.replace(population, typical=rows, anchor=rows, guessing=np.zeros(2))
    return population


def symmetric_rows(answers: Answers, shares: Floats) -> Floats:
    """(classes, answers) rates if every class were named as rightly as the votes agree, and errors fell on all alike.

    Answers that name no class have the same rate whatever is true: that of all answers.
    """
    classes = shares.shape[1]
    names = answers.answer < classes
    agreeing = float(shares[answers.item[names], answers.answer[names]].sum())
    right = (agreeing + 1.0) / (float(names.sum()) + classes)
    unnamed = np.bincount(answers.answer[~names], minlength=answers.num_answers)[classes:] + 1.0
    unnamed /= len(answers.item) + answers.num_answers
    named = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(named, right)
    return np.hstack([named * (1 - unnamed.sum()), np.tile(unnamed, (classes, 1))])


def _start_states(answers: Answers, shares: Floats, levels: int) -> Floats:
    """(items, classes, levels): an item starts as easy as its answers agree, drawn to all items by one pair."""
    if levels == 1:
        return shares[:, :, None]
    cells = answers.item * answers.num_answers + answers.answer
    counts = np.bincount(cells, minlength=answers.num_items * answers.num_answers).reshape(answers.num_items, -1)
    total = counts.sum(axis=1)
    same, pairs = (counts * (counts - 1)).sum(axis=1), total * (total - 1)
    easy = (same + (same.sum() + 1) / (pairs.sum() + 2)) / (pairs + 1)
    states: Floats = shares[:, :, None] * np.stack([easy, 1 - easy], axis=1)[:, None, :]
    return states


def expected_counts(answers: Answers, states: Floats) -> Floats:
    """(workers, classes, answers, levels): how often each worker gave each answer to items of each state."""
    cells = answers.worker * answers.num_answers + answers.answer
    summed = _sum_by(cells, states.reshape(len(states), -1)[answers.item], answers.num_workers * answers.num_answers)
    return np.moveaxis(summed.reshape(answers.num_workers, answers.num_answers, *states.shape[1:]), 1, 2)


def _sum_by(index: npt.NDArray[np.int64], rows: Floats, size: int) -> Floats:
    """(size, m) sums of (n, m) rows that have the same index."""
    return np.stack([np.bincount(index, column, size) for column in rows.T], axis=1)


def _item_prior(states: Floats, prior: Floats | None) -> tuple[Floats, float]:
    """((items or 1, classes, levels) log-probabilities before anybody answers, log-density of the shares in them)."""
    level = np.log(_share(states.sum(axis=(0, 1))))
    if prior is not None:
        return np.log(prior)[:, :, None] + level, PRIOR_ITEMS * float(level.sum())
    each = np.log(_share(states.sum(axis=(0, 2))))
    return each[None, :, None] + level, PRIOR_ITEMS * float(level.sum() + each.sum())


def _share(items: Floats) -> Floats:
    share: Floats = (items + PRIOR_ITEMS) / (items + PRIOR_ITEMS).sum()
    return share


def expected_log(alpha: Floats) -> Floats:
    """Mean of the log rates whose posterior is Dirichlet; (workers, classes, answers, levels), as is alpha."""
    rates: Floats = digamma(alpha) - digamma(alpha.sum(axis=2, keepdims=True))
    return rates


def judge(answers: Answers, rates: Floats, before: Floats) -> tuple[Floats, float]:
    """The E-step.

    Args:
        answers: of the workers.
        rates: (workers, classes, answers, levels) log rates.
        before: (items or 1, classes, levels) log-probabilities before anybody answers.

    Returns:
        (states, evidence): (items, classes, levels) probabilities, and the sum over items of the log of what they were
        divided by.
    """
    said = np.moveaxis(rates, 2, 1)[answers.worker, answers.answer]
    joint = before + _sum_by(answers.item, said.reshape(len(said), -1), answers.num_items).reshape(-1, *said.shape[1:])
    most = joint.max(axis=(1, 2), keepdims=True)
    states = np.exp(joint - most)
    total = states.sum(axis=(1, 2), keepdims=True)
    return states / total, float((np.log(total) + most).sum())


def _divergence(alpha: Floats, rates: Floats, population: Population) -> float:
    """Kullback-Leibler divergence of the workers' Dirichlet posteriors from their prior."""
    before = population.concentration * population.rows
    posterior = gammaln(alpha.sum(axis=2)).sum() - gammaln(alpha).sum()
    prior = gammaln(before.sum(axis=1)).sum() - gammaln(before).sum()
    return float(posterior - len(alpha) * prior + ((alpha - before) * rates).sum())


def closer(counts: Floats, population: Population) -> Population:
    """One step up the evidence of the counts: first the mean, then the concentration (Minka 2000, section 4).

    Args:
        counts: (workers, classes, answers, levels).
        population: where to start.
    """
    rows = population.rows
    weight = _weight_of_rows(counts, population.concentration, rows)
    typical = weight * (1 - population.guessing) * population.typical / rows  # an answer is typical, or a guess
    if population.typical.shape[2] == 1:
        typical = typical.sum(axis=2, keepdims=True)
    typical = typical + PRIOR_ANSWERS * population.anchor
    found = dataclasses.replace(population, typical=typical / typical.sum(axis=1, keepdims=True))
    return dataclasses.replace(found, concentration=_concentration(counts, found))


def _weight_of_rows(counts: Floats, concentration: float, rows: Floats) -> Floats:
    """(classes, answers, levels) answers that speak of the population, not of a worker who repeats himself."""
    alpha = concentration * rows
    weight: Floats = alpha * (digamma(counts + alpha) - digamma(alpha)).sum(axis=0)
    return weight


def _concentration(counts: Floats, population: Population) -> float:
    """The next concentration."""
    now = population.concentration
    up = float(_weight_of_rows(counts, now, population.rows).sum()) / now
    down = float((digamma(counts.sum(axis=2) + now) - digamma(now)).sum())
    return float(np.clip(now * up / max(down, 1e-300), *_CONCENTRATION))
