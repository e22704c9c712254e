"""Uses a trained network for other tasks: classification of class folders, and backbones of detectors.

In: an exported network or a checkpoint, and a folder with train/ and val/. Out: top-1 and top-5 with intervals, on all
validation images and on those without a copy in the pre-training. `transfer` is the entry; `load_backbone` puts a
network into torchvision's detectors and segmenters. Needs torch when it is imported.
"""

from __future__ import annotations

from .accuracy import CleanAccuracy, Proportion, wilson
from .backbone import load_backbone
from .options import TransferOptions
from .summary import TransferProgress, TransferSummary
from .transfer import transfer

__all__ = [
    "CleanAccuracy",
    "Proportion",
    "TransferOptions",
    "TransferProgress",
    "TransferSummary",
    "load_backbone",
    "transfer",
    "wilson",
]
