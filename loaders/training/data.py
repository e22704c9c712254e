"""What a training reads: its source, and the targets of a batch."""

from __future__ import annotations

from openjft.loaders import Dataset
from openjft.loaders.labels import TargetPolicy, all_labels
from openjft.loaders.source import Source

from .options import TrainOptions


def training_source(options: TrainOptions) -> Source:
    """The source that the options name."""
    return Dataset.open(options.data)


def training_targets(options: TrainOptions, source: Source) -> TargetPolicy:
    """The targets that the options ask for."""
    del options, source
    return all_labels
