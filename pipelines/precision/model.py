"""The form that both fitted models share: log-odds that a label is correct, as a sum over sources.

In: states. Out: log-odds or probabilities. LR1 learns the weights from gold, the latent-class model without; what the
class adds to it is `lr2`'s.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from .bins import States

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class AdditiveModel:
    """log-odds = intercept + sum over sources s of weights[s][state of s]; each `weights[s]` (states of s,)."""

    intercept: float
    weights: tuple[Floats, ...]

    def log_odds(self, states: States) -> Floats:
        """(m,) log-odds of (m, sources) states."""
        total = np.full(len(states), self.intercept)
        for source, weights in enumerate(self.weights):
            total += weights[states[:, source]]
        return total

    def probabilities(self, states: States) -> Floats:
        """(m,) probabilities that the label is correct."""
        return sigmoid(self.log_odds(states))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -x))


def logit(p: Floats) -> Floats:
    """log(p / (1 - p)) of values inside (0, 1)."""
    odds: Floats = np.log(p) - np.log1p(-p)
    return odds
