"""Trains ResNets on a finished dataset: the recipe of Sun et al. 2017, from sparse labels.

In: a dataset folder. Out: checkpoints and a log. `train` is the entry; the rest are its parts, of use in a loop of
one's own. This package needs torch when it is imported; `openjft.loaders` does not.
"""

from __future__ import annotations

from .augment import Crops, center_crops, crop_windows, cut_and_normalize, random_crops
from .checkpoint import Checkpoint, load_checkpoint
from .data import LabelProgress, joined_source, training_source, training_targets
from .device import DeviceBatch, center_policy, device_batches, random_policy
from .export import ExportSummary, export
from .loss import sparse_logistic_loss
from .models import ARCHS, build_model, class_log_odds
from .optimizer import RMSProp, parameter_groups
from .options import TrainOptions
from .parallel import PeerError
from .runlog import ProgressEvent
from .schedule import Schedule, learning_rate
from .train import TrainSummary, train

__all__ = [
    "ARCHS",
    "Checkpoint",
    "Crops",
    "DeviceBatch",
    "ExportSummary",
    "LabelProgress",
    "PeerError",
    "ProgressEvent",
    "RMSProp",
    "Schedule",
    "TrainOptions",
    "TrainSummary",
    "build_model",
    "center_crops",
    "center_policy",
    "class_log_odds",
    "crop_windows",
    "cut_and_normalize",
    "device_batches",
    "export",
    "joined_source",
    "learning_rate",
    "load_checkpoint",
    "parameter_groups",
    "random_crops",
    "random_policy",
    "sparse_logistic_loss",
    "train",
    "training_source",
    "training_targets",
]
