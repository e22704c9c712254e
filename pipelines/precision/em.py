"""The filter without gold: a two-state latent-class model of the sources, by EM on the pattern table.

In: patterns with counts. Out: an `AdditiveModel` of P(correct | pattern), said to be uncalibrated. Dawid and Skene
(1979) with states as answers; EM on the table of distinct patterns is exact, one pass over a few thousand rows. A
source without opportunity answers nothing: its factor is 1 for both classes.

A candidate exists only because some source fired, so the likelihood is that of a pattern given that not all sources
were silent: the pairs that nobody asserted are missing data, whose number EM estimates for each set of sources that
looked (Dempster, Laird and Rubin 1977, section 4.2, truncated data). Left out, silence comes to speak *for* a label.
The web that the tests draw, seeds 3 and 4: 0.34 and 0.35 of 41k candidates kept at true precision 0.80 with an oracle
threshold, against 0.28 and 0.32 without this, and 0.37 by LR1 with 4k gold.

It assumes that sources err independently given the truth, and needs three of them to be identified at all. Where they
err together its probabilities are too sure: the order of the labels is worth more than their level.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from .bins import NO_OPPORTUNITY, SILENT, SourceBins, States
from .model import AdditiveModel, Floats, sigmoid
from .patterns import Int64s, PatternTable

PRIOR_ROWS: Final = 4.0  # pseudo rows of each source and class, spread as its answers are over all rows
PRIOR_SHARE: Final = 2.0  # pseudo rows of each class
TOLERANCE: Final = 1e-6  # gain of the log-posterior for each candidate at which EM is done: the same for any size
MAX_UNSEEN: Final = 1.0 - 1e-9  # share of pairs that nobody asserts: keeps its odds finite
START_RANGE: Final = (0.05, 0.95)  # no pattern starts as certain
MIN_SOURCES: Final = 3  # two answers leave a line of solutions, one leaves any


@dataclasses.dataclass(frozen=True)
class EmFit:
    """A fitted latent-class model.

    Attributes:
        model: log-odds of the class "correct".
        correct_share: mean probability over all candidates.
        log_posteriors: after each iteration; never falls.
        converged: whether the last gain was below the tolerance.
    """

    model: AdditiveModel
    correct_share: float
    log_posteriors: tuple[float, ...]
    converged: bool


@dataclasses.dataclass(frozen=True)
class _Parameters:
    """`share` (2,) log share of the classes among all pairs; for each source (its states, 2) log rates of answers."""

    share: Floats
    answers: tuple[Floats, ...]

    def joint(self, states: States) -> Floats:
        """(m, 2) log-probability of class and pattern, given who had an opportunity."""
        total = np.tile(self.share, (len(states), 1))
        for i, answers in enumerate(self.answers):
            total += answers[states[:, i]]
        return total

    def log_prior(self, prior: Sequence[Floats]) -> float:
        """Log of the prior's density, up to a constant."""
        terms = (float((p * a).sum()) for p, a in zip(prior, self.answers, strict=True))
        return PRIOR_SHARE * float(self.share.sum()) + sum(terms)


def fit_em(table: PatternTable, bins: Sequence[SourceBins], *, max_iterations: int = 200) -> EmFit:
    """Fits the model.

    Args:
        table: at least one pattern.
        bins: of each source.
        max_iterations: EM stops here if it has not come to rest.

    Returns:
        The fit. Its class "correct" is the one in which the sources that looked fired strongest more often.
    """
    counts = table.counts.astype(np.float64)
    m, total = len(counts), counts.sum()
    seen_states = one_silence(table.states, bins)
    silent, looked = _unseen_patterns(seen_states)
    states = np.concatenate([seen_states, silent])
    rows_looked = np.bincount(looked, counts)
    unseen = np.zeros(len(silent))  # estimated pairs that nobody asserted
    seen = _tally(seen_states, counts[:, None], bins)
    prior = [_answer_prior(tally) for tally in seen]
    correct = starting_probability(states, bins)
    trace: list[float] = []
    converged = False
    while len(trace) < max_iterations and not converged:
        found = _maximise(states, np.concatenate([counts, unseen]), correct, prior, bins)
        joint = found.joint(states)
        log_evidence = np.logaddexp(joint[:, 0], joint[:, 1])
        missed = np.minimum(np.exp(log_evidence[m:]), MAX_UNSEEN)
        trace.append(float(counts @ log_evidence[:m] - rows_looked @ np.log1p(-missed)) + found.log_prior(prior))
        correct = sigmoid(joint[:, 1] - joint[:, 0])
        unseen = rows_looked * missed / (1.0 - missed)
        converged = len(trace) > 1 and bool(trace[-1] - trace[-2] <= TOLERANCE * total)
    if _strong_excess(found.answers, seen, bins) < 0:
        found = _Parameters(found.share[::-1], tuple(a[:, ::-1] for a in found.answers))
    weights = tuple(_weights(answers, source) for answers, source in zip(found.answers, bins, strict=True))
    model = AdditiveModel(float(found.share[1] - found.share[0]), weights)
    correct_share = float(counts @ model.probabilities(table.states) / total)
    return EmFit(model, correct_share, tuple(trace), converged)


def one_silence(states: States, bins: Sequence[SourceBins]) -> States:
    """The states with every way to be silent as `SILENT`: what the missing pairs are made of must be one pattern."""
    merged = states.copy()
    for i, source in enumerate(bins):
        merged[np.isin(states[:, i], source.silent_states), i] = SILENT
    return merged


def _weights(answers: Floats, source: SourceBins) -> Floats:
    """(states of the source,) log-odds; every way to be silent weighs the same."""
    weights = answers[:, 1] - answers[:, 0]
    weights[list(source.silent_states)] = weights[SILENT]
    return weights


def _unseen_patterns(states: States) -> tuple[States, Int64s]:
    """The pattern of no row for each set of sources that looked: all of them silent.

    Returns:
        (silent, looked): (k, sources) states, and for each of the m patterns the index of its set among them.
    """
    silent, looked = np.unique(np.minimum(states, SILENT), axis=0, return_inverse=True)
    return silent, looked.ravel()


def _maximise(
    states: States, counts: Floats, correct: Floats, prior: Sequence[Floats], bins: Sequence[SourceBins]
) -> _Parameters:
    """The M-step: shares and rates from the rows, each split between the classes, and the prior's pseudo rows."""
    rows = np.stack([counts * (1.0 - correct), counts * correct], axis=1)
    share = np.log((rows.sum(axis=0) + PRIOR_SHARE) / (rows.sum() + 2 * PRIOR_SHARE))
    tallies = _tally(states, rows, bins)
    return _Parameters(share, tuple(_log_rates(t + p) for t, p in zip(tallies, prior, strict=True)))


def starting_probability(states: States, bins: Sequence[SourceBins]) -> Floats:
    """(m,) first guess: the more of the sources that looked fired, and the stronger, the likelier correct."""
    strength, looked = np.zeros(len(states)), np.zeros(len(states))
    for i, source in enumerate(bins):
        levels = np.maximum(np.arange(source.num_states) - SILENT, 0)  # silent 0, low 1, ...
        levels[source.strongest + 1 :] = 1  # it fired, that is all
        levels[list(source.silent_states)] = 0
        strength += levels[states[:, i]] / levels.max()
        looked += states[:, i] != NO_OPPORTUNITY
    low, high = START_RANGE
    return low + (high - low) * strength / np.maximum(looked, 1)


def _tally(states: States, rows: Floats, bins: Sequence[SourceBins]) -> list[Floats]:
    """For each source (its states, classes): rows that gave each answer; 0 for "no opportunity", which is none.

    Args:
        states: (m, sources).
        rows: (m, classes) rows of each pattern in each class.
        bins: of each source.
    """
    tallies: list[Floats] = []
    for i, source in enumerate(bins):
        columns = [np.bincount(states[:, i], column, source.num_states) for column in rows.T]
        tally = np.stack(columns, axis=1).astype(np.float64)
        tally[NO_OPPORTUNITY] = 0.0
        tallies.append(tally)
    return tallies


def _answer_prior(tally: Floats) -> Floats:
    """Pseudo rows of each answer, as common as among all rows; silence at least once, for the rows that are missing."""
    spread = tally.copy()
    spread[SILENT] = np.maximum(spread[SILENT], 1.0)
    prior: Floats = PRIOR_ROWS * spread / spread.sum()
    return prior


def _log_rates(rows: Floats) -> Floats:
    """Log of each answer's share of its class; 0 for answers that no row gave."""
    rates: Floats = np.divide(rows, rows.sum(axis=0), out=np.ones_like(rows), where=rows > 0)
    return np.log(rates)


def _strong_excess(answers: Sequence[Floats], seen: Sequence[Floats], bins: Sequence[SourceBins]) -> float:
    """How much oftener the second class fires strongest than the first, over all rows and sources that looked."""
    return sum(
        float(np.exp(a[b.strongest, 1]) - np.exp(a[b.strongest, 0])) * float(s.sum())
        for a, s, b in zip(answers, seen, bins, strict=True)
    )
