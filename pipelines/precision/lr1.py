"""LR1: ridge logistic regression on one-hot states, fitted on gold. METHODS.md, section 1.

In: states and truth of the gold rows. Out: an `AdditiveModel`. No class is weighted up, so its mean probability
over the gold is the gold's rate: that is what makes the threshold mean something. A state that no gold row shows
has weight 0. It does not know the label's class: class means and priors (LR2) come with a later issue.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .bins import States
from .model import AdditiveModel


def one_hot(states: States, num_states: Sequence[int]) -> npt.NDArray[np.float64]:
    """(n, sum of num_states) float64 with one 1 for each source."""
    starts = np.concatenate(([0], np.cumsum(num_states)))
    features = np.zeros((len(states), int(starts[-1])))
    np.put_along_axis(features, states + starts[:-1], 1.0, axis=1)
    return features


def fit_lr1(states: States, correct: npt.NDArray[np.bool_], num_states: Sequence[int], *, l2: float) -> AdditiveModel:
    """Fits the model.

    Args:
        states: (n, sources) uint8 of the gold rows.
        correct: (n,) bool.
        num_states: of each source.
        l2: strength of the penalty l2 / 2 * sum of squared weights, against the summed log-loss; the intercept goes
            free.

    Returns:
        The model; without weights, at the smoothed rate, where the gold is of one kind.
    """
    split = np.cumsum(num_states)[:-1]
    if correct.all() or not correct.any():
        odds = (correct.sum() + 0.5) / ((~correct).sum() + 0.5)
        return AdditiveModel(float(np.log(odds)), tuple(np.zeros(n) for n in num_states))
    from sklearn.linear_model import LogisticRegression

    # Newton's method on some dozens of columns: exact, without a seed, the same bits each time.
    fit = LogisticRegression(C=1.0 / l2, solver="newton-cholesky", tol=1e-10, max_iter=200)
    fit.fit(one_hot(states, num_states), correct)
    return AdditiveModel(float(fit.intercept_[0]), tuple(np.split(fit.coef_[0].astype(np.float64), split)))
