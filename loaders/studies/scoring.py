"""Scores the networks of a study: all by one rule on the same images.

In: a checkpoint. Out: `Score`. Mostly that is `evaluate`; where networks know different classes, the scores of the
classes that all know are cut out of each network's own, on the images that have one of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openjft.loaders.evaluation import EvaluateOptions, EvaluateProgress, EvaluateSummary, evaluate

from .options import StudyOptions

Progress = Callable[[int, int], None]  # images scored, of all


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A network's score in [0, 1] and what it depends on."""

    map_at_k: float
    unweighted_map_at_k: float
    k: int
    class_weights_sha256: str
    num_images: int
    num_classes: int
    classes_with_positives: int

    @classmethod
    def of(cls, value: EvaluateSummary | dict[str, Any]) -> Score:
        """From an evaluation, or from a stored result.

        Raises:
            KeyError, TypeError: a field is missing or not of its type.
        """
        given = value if isinstance(value, dict) else value.to_json()
        return cls(
            map_at_k=float(given["map_at_k"]),
            unweighted_map_at_k=float(given["unweighted_map_at_k"]),
            k=int(given["k"]),
            class_weights_sha256=str(given["class_weights_sha256"]),
            num_images=int(given["num_images"]),
            num_classes=int(given["num_classes"]),
            classes_with_positives=int(given["classes_with_positives"]),
        )


def evaluate_options(options: StudyOptions, checkpoint: Path) -> EvaluateOptions:
    """The scoring of a checkpoint: held-out images with the labels that were trained on, others with their own."""
    joined = options.joined() if options.eval is None else {}
    return EvaluateOptions(
        data=options.data if options.eval is None else options.eval,
        checkpoint=checkpoint,
        split="holdout" if options.eval is None else "all",
        batch_size=options.eval_batch_size,
        device=options.device,
        precision=options.precision,
        num_threads=options.num_threads,
        **options.scoring(),
        **joined,
    )


def score(options: StudyOptions, checkpoint: Path, on_progress: Progress) -> Score:
    """Scores all classes of a checkpoint.

    Raises:
        LoaderError: see `evaluate`.
    """

    def show(progress: EvaluateProgress) -> None:
        on_progress(progress.images, progress.num_images)

    return Score.of(evaluate(evaluate_options(options, checkpoint), show))
