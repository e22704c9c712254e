"""Scores a trained network: class-weighted mAP@100, on all images or on the clean ones (Sun et al. 2017).

In: a checkpoint and a dataset with its vocabulary. Out: the score and all that it depends on. `evaluate` is the entry.
Needs torch when it is imported.
"""

from __future__ import annotations

from .clean import BeforeAfter, CleanComparison, before_after
from .evaluate import EvaluateProgress, EvaluateSummary, evaluate
from .metric import MapCollector, MeanAveragePrecision, frequency_weights, mean_average_precision_at_k
from .options import EvaluateOptions

__all__ = [
    "BeforeAfter",
    "CleanComparison",
    "EvaluateOptions",
    "EvaluateProgress",
    "EvaluateSummary",
    "MapCollector",
    "MeanAveragePrecision",
    "before_after",
    "evaluate",
    "frequency_weights",
    "mean_average_precision_at_k",
]
