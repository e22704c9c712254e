"""Decontaminate: which training images show an evaluation image, and what is done about it.

`stage` searches and verifies, `calibrate` measures how near different images come, `verdicts` applies thresholds and
reviews, `clean` writes the lists of eval images without a copy; `search` and `verify` are the work on one bucket.
"""

from .stage import OverlapStage
from .verdicts import VerdictStage

__all__ = ["OverlapStage", "VerdictStage"]
