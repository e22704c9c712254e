"""What a checkpoint holds, and whether it fits a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from torch import Tensor, nn

from openjft.loaders.errors import CheckpointError

NEEDED: Final = {"arch", "crop_size", "holdout", "image_size", "seed"}  # of the recipe, to score a network
WeightsChoice = Literal["auto", "raw", "ema"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped, whatever the number of its processes.

    Attributes:
        step: batches that were trained on.
        model: weights and buffers by torchvision's names, float32 on the host; the head whole.
        optimizer: `mean_square.NAME` and `momentum.NAME` of each weight; empty if it was not asked for.
        ema: running mean of `model`, if the run keeps one.
        recipe: `TrainOptions.recipe()`.
        num_categories: width of the head.
        fingerprint: of the source that was trained on.
        images_fingerprint: of its images alone, whatever their labels.
        vocabulary_sha256: of the head's categories.
        window: losses since the last line of the log.
        loader: where the loader stands, plain values.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    ema: dict[str, Tensor] | None = None
    recipe: dict[str, Any]
    num_categories: int
    fingerprint: str
    images_fingerprint: str
    vocabulary_sha256: str
    window: list[float]
    loader: dict[str, Any] = dataclasses.field(default_factory=dict)

    def weights(self, which: WeightsChoice = "auto") -> dict[str, Tensor]:
        """The weights to score or to hand on: `auto` takes the running mean where there is one.

        Raises:
            CheckpointError: `ema` was asked for and the run kept none.
        """
        if which == "ema" and self.ema is None:
            raise CheckpointError(
                f"weights 'ema': expected a training with a running mean of its weights, found none at step "
                f"{self.step:,}; say 'raw', or train with ema 0.9999"
            )
        return self.model if which == "raw" or self.ema is None else self.ema

    def facts(self) -> dict[str, Any]:
        """All but the tensors, plain values."""
        tensors = ("model", "optimizer", "ema")
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in tensors}


def check_same_run(checkpoint: Checkpoint, *, recipe: Mapping[str, Any], fingerprint: str, vocabulary_sha256: str,
                   output: Path) -> None:  # fmt: skip
    """Raises `CheckpointError`, with each difference, if the checkpoint is of another dataset, taxonomy or recipe."""
    different = [
        f"{name}: checkpoint {checkpoint.recipe.get(name)!r}, now {recipe.get(name)!r}"
        for name in sorted({*recipe, *checkpoint.recipe})
        if checkpoint.recipe.get(name) != recipe.get(name)
    ]
    for what, theirs, ours in (
        ("dataset fingerprint", checkpoint.fingerprint, fingerprint),
        ("taxonomy (vocabulary sha256)", checkpoint.vocabulary_sha256, vocabulary_sha256),
    ):
        if theirs != ours:
            different.append(f"{what}: checkpoint {theirs}, now {ours}")
    if different:
        raise CheckpointError(
            f"{output}: holds a checkpoint at step {checkpoint.step:,} of another run\n"
            + "\n".join(f"  {line}" for line in different)
            + "\nGive the former values to go on with it, or another output folder to start anew"
        )


def restore(checkpoint: Checkpoint, model: nn.Module, *, where: Path, which: WeightsChoice = "auto") -> None:
    """Puts a checkpoint's weights into a network.

    Raises:
        CheckpointError: they do not fit.
    """
    try:
        model.load_state_dict(checkpoint.weights(which))
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        first = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{where}: expected the tensors of a {checkpoint.recipe['arch']} with {checkpoint.num_categories:,} "
            f"classes, found others: {first}. The file was changed by another program; remove it"
        ) from error
