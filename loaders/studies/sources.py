"""What the trainings of a study read: how many images, and a name for what they hold."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openjft.loaders import Dataset
from openjft.loaders.source import Source
from openjft.loaders.training import TrainOptions
from openjft.loaders.training.split import training_loader

from .options import StudyOptions, check_fields


def training_images(options: StudyOptions, changes: Mapping[str, Any]) -> int:
    """How many images a training with these changes to the options is made on.

    Raises:
        LoaderError: the options are wrong, or the data cannot be read.
    """
    train = _train_options(options, changes)
    return training_loader(Dataset.open(options.data), train).num_samples


def category_ids(options: StudyOptions, changes: Mapping[str, Any]) -> Sequence[str]:
    """Category id of each output of a network that is trained so."""
    return Dataset.open(options.data).category_ids


def subset_source(options: StudyOptions, classes: Path) -> Source:
    """The images that are scored, with labels of a subset of the classes alone."""
    return Dataset.open(options.data)


def _train_options(options: StudyOptions, changes: Mapping[str, Any]) -> TrainOptions:
    values = options.training() | dict(changes)
    check_fields(values, {field.name for field in dataclasses.fields(TrainOptions)})
    return TrainOptions(data=options.data, output=options.output, seed=options.seeds[0], steps=1, **values)


def fingerprint(data: str) -> str:
    """Names what a dataset holds."""
    return Dataset.open(data).fingerprint


def digest(value: Any) -> str:
    """Hash of a plain value; a path stands for what lies there, so that an edited file is another value."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return path_sha256(value) if isinstance(value, Path) else value


def path_sha256(path: Path) -> str:
    """Hash of a file's bytes, or of the names and bytes of all files in a folder."""
    total = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        total.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as source:
            total.update(hashlib.file_digest(source, "sha256").digest())
    return total.hexdigest()
