"""How a transfer goes and how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from .accuracy import CleanAccuracy, Proportion


@dataclasses.dataclass(frozen=True)
class TransferProgress:
    """Where a transfer stands: `done` of `total` steps, images or resamples; the loss of the last line of the log."""

    phase: Literal["train", "features", "score", "resamples"]
    done: int
    total: int
    loss: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferSummary:
    """A transfer's result and what it depends on.

    `top1` and `top5` are None where a signal ended the training; the same command goes on. `loss` is that of the log's
    last line. Fingerprints are of the names, sizes and labels of the images; `ignored` counts other files in folders.
    """

    mode: str
    weights: str
    arch: str
    num_classes: int
    train_images: int
    val_images: int
    epochs: int
    step: int
    steps: int
    seed: int
    loss: float | None
    top1: Proportion | None
    top5: Proportion | None
    comparisons: tuple[CleanAccuracy, ...]
    train_fingerprint: str
    val_fingerprint: str
    ignored: Mapping[str, int]
    checkpoint: Path
    resumed_from: int | None
    completed: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "checkpoint": str(self.checkpoint)}
