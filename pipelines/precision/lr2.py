"""LR2: the evidence of a candidate, corrected by what the evidence of its whole class is worth. METHODS.md, section 1.

In: lambda of each gold row (the log-likelihood ratio by LR1), its class's prior and means, and the truth. Out: a
`ClassModel`, `logit p = g0 + g1 lambda + g2 logit pi_c + sum_s g_s M[c,s]`: a slope for the row's own evidence and one
number for each class, which is all that the passes over the data need.

The gold's lambda comes from models that have not seen its image (stacking, Wolpert 1992), so that the slope is that of
new rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .lr1 import fit_logistic
from .model import Floats, logit

_L2: Final = 1.0  # on features of unit spread


@dataclasses.dataclass(frozen=True)
class ClassModel:
    """log-odds of a candidate = `slope` * lambda + `offset` of its class; `offset` (c,)."""

    slope: float
    offset: Floats
    coefficients: dict[str, float]

    def log_odds(self, log_ratio: Floats, label: npt.NDArray[np.integer]) -> Floats:
        """(n,) log-odds from (n,) ratios and labels."""
        odds: Floats = self.slope * log_ratio + self.offset[label]
        return odds


def fit_lr2(
    log_ratio: Floats,
    label: npt.NDArray[np.integer],
    correct: npt.NDArray[np.bool_],
    priors: Floats,
    means: Floats,
    names: tuple[str, ...],
) -> ClassModel:
    """Fits the model.

    Args:
        log_ratio: (n,) lambda of the gold rows.
        label: (n,) their classes.
        correct: (n,) bool.
        priors: (c,) of all classes, in (0, 1).
        means: (c, sources).
        names: of the sources, for the report.
    """
    by_class = np.column_stack([logit(priors), means])
    features = np.column_stack([log_ratio, by_class[label]])
    centre, spread = features.mean(axis=0), features.std(axis=0)
    # A source whose mean does not differ among the classes tells nothing here; its weight stays 0.
    spread = np.where(spread > 1e-9, spread, np.inf)
    intercept, weights = fit_logistic((features - centre) / spread, correct, l2=_L2)
    slopes = weights / spread
    start = intercept - float(slopes @ np.where(np.isfinite(spread), centre, 0.0))
    told: dict[str, Any] = {"intercept": start, "evidence": slopes[0], "class prior": slopes[1]}
    told |= {f"class mean of {name}": slope for name, slope in zip(names, slopes[2:], strict=True)}
    return ClassModel(float(slopes[0]), start + by_class @ slopes[1:], {k: float(v) for k, v in told.items()})
