"""Checkpoints of a training run: `OUTPUT/checkpoints/step-000000001000.pt`, the last two kept.

A checkpoint appears by rename, so a killed run leaves a whole one or none. It is read with `weights_only=True`:
tensors and plain values, nothing that runs. It names its dataset (sha256 of the manifest), vocabulary and recipe,
and a run of another one refuses to go on from it, saying what differs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from openjft.loaders.errors import CheckpointError

FORMAT: Final = 1
KEPT: Final = 2
_NAME: Final = re.compile(r"step-(\d{12})\.pt")
_TEMPORARY: Final = ".tmp-"
_NEEDED: Final = {"arch", "crop_size", "holdout", "image_size", "seed"}  # of the recipe, to score a network


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped.

    `window` holds the losses since the last line of the log. `recipe` is `TrainOptions.recipe()`.
    """

    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    recipe: dict[str, Any]
    num_categories: int
    manifest_sha256: str
    vocabulary_sha256: str
    window: list[float]


def checkpoint_files(output: Path) -> list[Path]:
    """The checkpoints below a training's output folder, oldest first."""
    folder = output / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def save_checkpoint(output: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint, then removes all but the last two.

    Raises:
        CheckpointError: it cannot be written; the ones before it are untouched.
    """
    folder = output / "checkpoints"
    final = folder / f"step-{checkpoint.step:012d}.pt"
    temporary = folder / f"{_TEMPORARY}{final.name}"
    content = {"format": FORMAT, **{f.name: getattr(checkpoint, f.name) for f in dataclasses.fields(checkpoint)}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as sink:
            torch.save(content, sink)
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(final)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{final}: could not be written: {error}. The checkpoints before it are whole; free some space and run "
            "the same command again, it goes on from the last one"
        ) from error
    for old in (*checkpoint_files(output)[:-KEPT], *folder.glob(f"{_TEMPORARY}*")):
        old.unlink(missing_ok=True)  # a killed run leaves at most one temporary file
    return final


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint into host memory.

    Args:
        path: a file, or a training's output folder, whose last checkpoint is taken.

    Raises:
        CheckpointError: there is none, or it is damaged or of another program.
    """
    if path.is_dir():
        files = checkpoint_files(path)
        if not files:
            raise CheckpointError(f"{path}: expected a training's output folder with checkpoints/step-*.pt, found none")
        path = files[-1]
    try:
        zipfile.ZipFile(path).close()  # torch's older formats are bare pickles: not read at all
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: expected a checkpoint file, found none") from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path}: expected a checkpoint of `openjft train`, found a damaged or foreign file ({first}); "
            "remove it to go on from the one before it"
        ) from error
    return _parse(path, content)


def _parse(path: Path, content: Any) -> Checkpoint:
    names = [f.name for f in dataclasses.fields(Checkpoint)]
    if not isinstance(content, dict) or content.get("format") != FORMAT or any(n not in content for n in names):
        found = f"format {content.get('format')!r}" if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: expected a checkpoint of `openjft train`, format {FORMAT}, found {found}")
    checkpoint = Checkpoint(**{name: content[name] for name in names})
    if not isinstance(checkpoint.step, int) or not set(checkpoint.recipe) >= _NEEDED:
        raise CheckpointError(f"{path}: expected a step and the recipe {sorted(_NEEDED)}, found neither or only a part")
    return checkpoint


def check_same_run(checkpoint: Checkpoint, *, recipe: dict[str, Any], manifest_sha256: str, output: Path) -> None:
    """Raises `CheckpointError`, with each difference, if the checkpoint is of another dataset or recipe."""
    different = [
        f"{name}: checkpoint {checkpoint.recipe.get(name)!r}, now {recipe.get(name)!r}"
        for name in sorted({*recipe, *checkpoint.recipe})
        if checkpoint.recipe.get(name) != recipe.get(name)
    ]
    if checkpoint.manifest_sha256 != manifest_sha256:
        different.append(f"dataset manifest sha256: checkpoint {checkpoint.manifest_sha256}, now {manifest_sha256}")
    if different:
        raise CheckpointError(
            f"{output}: holds a checkpoint at step {checkpoint.step:,} of another run\n"
            + "\n".join(f"  {line}" for line in different)
            + "\nGive the former values to go on with it, or another output folder to start anew"
        )


def restore(
    checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, *, where: Path
) -> None:
    """Puts a checkpoint's tensors into a network and its optimizer.

    Raises:
        CheckpointError: they do not fit.
    """
    try:
        model.load_state_dict(checkpoint.model)
        if optimizer is not None:
            optimizer.load_state_dict(checkpoint.optimizer)
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{where}: expected the tensors of a {checkpoint.recipe['arch']} with {checkpoint.num_categories:,} "
            f"classes, found others: {first}. The file was changed by another program; remove it"
        ) from error
