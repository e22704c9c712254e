"""The images that an evaluation scores: those that a training held out, or all."""

from __future__ import annotations

from typing import Any

from openjft.loaders import Loader
from openjft.loaders.source import Source

from .options import EvaluateOptions


def evaluation_loader(dataset: Source, options: EvaluateOptions, *, recipe: dict[str, Any]) -> Loader:
    """Batches of the split in key order, the last one short.

    Args:
        dataset: to score on.
        options: say which split.
        recipe: `TrainOptions.recipe()` of the training, which says what it held out.
    """
    start = 1.0 - recipe["holdout"] if options.split == "holdout" else 0.0
    end = 1.0 if options.subset == 1.0 else start + options.subset * (1.0 - start)
    return Loader(
        dataset,
        batch_size=options.batch_size,
        seed=recipe["seed"],
        image_size=recipe["image_size"],
        num_threads=options.num_threads,
        subset=(start, end),
        shuffle=False,
        drop_last=False,
    )
