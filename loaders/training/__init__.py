"""Trains ResNets on a finished dataset and scores them: the recipe of Sun et al. 2017, from sparse labels.

In: a dataset folder. Out: checkpoints, a log, and mAP@k. `train` and `evaluate` are the two entries; the rest are
their parts, of use in a loop of one's own. This package needs torch when it is imported; `openjft.loaders` does not.
"""

from __future__ import annotations

from .augment import Crops, center_crops, crop_windows, cut_and_normalize, random_crops
from .checkpoint import Checkpoint, load_checkpoint
from .clean import BeforeAfter, CleanComparison, before_after
from .device import DeviceBatch, device_batches
from .evaluate import EvaluateProgress, EvaluateSummary, evaluate
from .loss import sparse_logistic_loss
from .metric import Labels, MapCollector, MeanAveragePrecision, frequency_weights, mean_average_precision_at_k
from .models import ARCHS, build_model, class_log_odds
from .optimizer import RMSProp, learning_rate, parameter_groups
from .options import EvaluateOptions, TrainOptions
from .runlog import ProgressEvent
from .train import TrainSummary, train

__all__ = [
    "ARCHS",
    "BeforeAfter",
    "Checkpoint",
    "CleanComparison",
    "Crops",
    "DeviceBatch",
    "EvaluateOptions",
    "EvaluateProgress",
    "EvaluateSummary",
    "Labels",
    "MapCollector",
    "MeanAveragePrecision",
    "ProgressEvent",
    "RMSProp",
    "TrainOptions",
    "TrainSummary",
    "before_after",
    "build_model",
    "center_crops",
    "class_log_odds",
    "crop_windows",
    "cut_and_normalize",
    "device_batches",
    "evaluate",
    "frequency_weights",
    "learning_rate",
    "load_checkpoint",
    "mean_average_precision_at_k",
    "parameter_groups",
    "random_crops",
    "sparse_logistic_loss",
    "train",
]
