"""What the trainings of a study read: how many images, which classes, and a name for what they hold."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openjft.loaders.open import open_source
from openjft.loaders.source import Source
from openjft.loaders.training import TrainOptions
from openjft.loaders.training.data import training_source
from openjft.loaders.training.split import training_loader

from .options import StudyOptions, check_fields


def training_images(options: StudyOptions, changes: Mapping[str, Any]) -> int:
    """How many images a training with these changes to the options is made on.

    Raises:
        LoaderError: the options are wrong, the data cannot be read, or they do not fill one batch.
    """
    train = train_options(options, changes)
    return training_loader(_source(train), train).num_samples


def category_ids(options: StudyOptions, changes: Mapping[str, Any]) -> Sequence[str]:
    """Category id of each output of a network that is trained so."""
    return _source(train_options(options, changes)).category_ids


def subset_source(options: StudyOptions, classes: Path) -> Source:
    """The images to score that have one of a subset of the classes, with labels of these alone."""
    return _source(train_options(options.on_eval(), {"classes": classes}))


def source_fingerprint(options: StudyOptions, changes: Mapping[str, Any]) -> str:
    """Names what a training reads: images, labels and classes."""
    return _source(train_options(options, changes)).fingerprint


def _source(train: TrainOptions) -> Source:
    """What a training reads, opened once: a subset of the classes takes a pass over all indexes."""
    return _opened(dataclasses.replace(train, output=Path(), arch="resnet50", seed=0, steps=1, subset=1.0, init=None))


@functools.lru_cache(maxsize=4)
def _opened(train: TrainOptions) -> Source:
    return training_source(train)


def train_options(options: StudyOptions, changes: Mapping[str, Any], **more: Any) -> TrainOptions:
    """The options of one training: those that all share, with changes, and `more` (seed, output, steps).

    Raises:
        LoaderError: they are wrong.
    """
    values = {"seed": options.seeds[0], "output": options.output, "steps": 1, **options.training(), **changes, **more}
    check_fields(values, {field.name for field in dataclasses.fields(TrainOptions)})
    return TrainOptions(data=options.data, **values)


def fingerprint(data: str) -> str:
    """Names what lies at a place."""
    return open_source(data).fingerprint


def digest(value: Any) -> str:
    """Hash of a plain value; a path stands for the file's bytes, so that an edited file is another value."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return hashlib.sha256(value.read_bytes()).hexdigest() if isinstance(value, Path) else value
