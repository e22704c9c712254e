"""LR1: ridge logistic regression on one-hot states, fitted on gold. METHODS.md, section 1.

In: states and truth of the gold rows. Out: an `AdditiveModel`. No class is weighted up, so its mean probability
over the gold is the gold's rate: that is what makes the threshold mean something. A state that no gold row shows
has weight 0. It does not know the label's class: that is `lr2`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .bins import States
from .model import AdditiveModel, Floats


def one_hot(states: States, num_states: Sequence[int]) -> Floats:
    """(n, sum of num_states) float64 with one 1 for each source."""
    starts = np.concatenate(([0], np.cumsum(num_states)))
    features = np.zeros((len(states), int(starts[-1])))
    np.put_along_axis(features, states + starts[:-1], 1.0, axis=1)
    return features


def fit_logistic(features: Floats, correct: npt.NDArray[np.bool_], *, l2: float) -> tuple[float, Floats]:
    """Ridge logistic regression.

    Args:
        features: (n, k).
        correct: (n,) bool.
        l2: strength of the penalty l2 / 2 * sum of squared weights, against the summed log-loss; the intercept goes
            free.

    Returns:
        (intercept, (k,) weights); no weights, at the smoothed rate, where `correct` is of one kind.
    """
    if correct.all() or not correct.any():
        odds = (correct.sum() + 0.5) / ((~correct).sum() + 0.5)
        return float(np.log(odds)), np.zeros(features.shape[1])
    from sklearn.linear_model import LogisticRegression

    # Newton's method on some dozens of columns: exact, without a seed, the same bits each time.
    fit = LogisticRegression(C=1.0 / l2, solver="newton-cholesky", tol=1e-10, max_iter=200)
    fit.fit(features, correct)
    return float(fit.intercept_[0]), fit.coef_[0].astype(np.float64)


def fit_lr1(states: States, correct: npt.NDArray[np.bool_], num_states: Sequence[int], *, l2: float) -> AdditiveModel:
    """Fits the model.

    Args:
        states: (n, sources) uint8 of the gold rows.
        correct: (n,) bool.
        num_states: of each source.
        l2: as for `fit_logistic`.

    Returns:
        The model; without weights, at the smoothed rate, where the gold is of one kind.
    """
    intercept, weights = fit_logistic(one_hot(states, num_states), correct, l2=l2)
    return AdditiveModel(intercept, tuple(np.split(weights, np.cumsum(num_states)[:-1])))
