"""Networks that leave a training or enter one: plain safetensors files with torchvision's names.

Out: `export` writes the backbone, or with `head` the whole network, as float32; the header says what a user must know
to feed it. In: `initial_weights` takes such a file, or a checkpoint, as the start of another training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from openjft.loaders.atomic import whole_file
from openjft.loaders.errors import CheckpointError, LoaderError

from .checkpoint.layout import CONTENT
from .checkpoint.reader import find_checkpoint, load_checkpoint
from .checkpoint.state import WeightsChoice
from .checkpoint.tensor_file import write_tensors

ENDING: Final = ".safetensors"
PRODUCER: Final = "openjft"
HEAD: Final = "fc."  # of the classifier, by torchvision's names


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written."""

    path: Path
    sha256: str
    size: int
    arch: str
    step: int
    weights: str
    head: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def export(run: Path, output: Path, *, head: bool = False, weights: WeightsChoice = "auto") -> ExportSummary:
    """Writes a network of a training as one file.

    Args:
        run: a training's output folder (its last checkpoint) or a checkpoint.
        output: the file, ending in .safetensors.
        head: with the classifier; the backbone alone fits any task.
        weights: `auto` takes the running mean where the training kept one.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged, or has no running mean and one was asked for.
        LoaderError: the file cannot be written.
    """
    if output.suffix != ENDING:
        raise LoaderError(f"output: expected a file that ends in {ENDING}, found {output}")
    checkpoint = load_checkpoint(run, optimizer=False)
    kind = "ema" if weights != "raw" and checkpoint.ema is not None else "raw"
    tensors = {n: t for n, t in checkpoint.weights(weights).items() if head or not n.startswith(HEAD)}
    metadata = {
        "producer": PRODUCER,
        "arch": checkpoint.recipe["arch"],
        "crop_size": str(checkpoint.recipe["crop_size"]),
        "mean": "0.5,0.5,0.5",  # of RGB in [0, 1]: (x - mean) / std is in [-1, 1]
        "std": "0.5,0.5,0.5",
        "num_categories": str(checkpoint.num_categories),
        "vocabulary_sha256": checkpoint.vocabulary_sha256,
        "fingerprint": checkpoint.fingerprint,
        "step": str(checkpoint.step),
        "weights": kind,
        "head": str(head).lower(),
    }
    try:
        with whole_file(output) as temporary:
            written = write_tensors(temporary, tensors, metadata)
    except OSError as error:
        raise LoaderError(f"{output}: could not be written: {error}; give another output") from error
    what = "network" if head else "backbone"
    return ExportSummary(
        path=output,
        sha256=written.sha256,
        size=written.size,
        arch=metadata["arch"],
        step=checkpoint.step,
        weights=kind,
        head=head,
        message=f"{output}: the {what} of a {metadata['arch']} at step {checkpoint.step:,} ({kind} weights), "
        f"{written.size:,} bytes, sha256 {written.sha256[:12]}",
    )


def content_sha256(path: Path) -> str:
    """A hash of what an exported file or a checkpoint holds, hex; of a checkpoint that of its list of hashes.

    Raises:
        CheckpointError: there is neither.
    """
    file = path if path.suffix == ENDING else find_checkpoint(path) / CONTENT
    try:
        with file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{file}: expected a file that can be read, found: {error}") from error


@dataclasses.dataclass(frozen=True, eq=False)
class Exported:
    """Weights from outside, with the header's metadata."""

    tensors: dict[str, Tensor]
    arch: str
    vocabulary_sha256: str


def read_weights(path: Path, weights: WeightsChoice = "auto") -> Exported:
    """Reads an exported file or a checkpoint.

    Raises:
        CheckpointError: it is neither, or damaged.
    """
    if path.suffix != ENDING:
        checkpoint = load_checkpoint(path, optimizer=False)
        return Exported(checkpoint.weights(weights), checkpoint.recipe["arch"], checkpoint.vocabulary_sha256)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
        tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: expected a file of `openjft export`, found: {error}") from error
    missing = [name for name in ("arch", "vocabulary_sha256") if name not in metadata]
    if missing:
        raise CheckpointError(
            f"{path}: expected a file of `openjft export`, found no {' and '.join(missing)} in its header "
            f"({json.dumps(dict(metadata))[:200]})"
        )
    return Exported(tensors, metadata["arch"], metadata["vocabulary_sha256"])


@torch.no_grad()
def initialise(model: nn.Module, path: Path, *, arch: str, vocabulary_sha256: str) -> bool:
    """Puts given weights into a network: all of the backbone, and the head if it is of the same vocabulary.

    Returns:
        Whether the head was taken over; else it stays as it was.

    Raises:
        CheckpointError: the file is of another architecture, or a name or shape of the backbone does not fit.
    """
    given = read_weights(path)
    if given.arch != arch:
        raise CheckpointError(f"init: {path}: expected weights of {arch}, found {given.arch}; say --arch {given.arch}")
    has_head = any(name.startswith(HEAD) for name in given.tensors)
    head = has_head and given.vocabulary_sha256 == vocabulary_sha256
    tensors = {n: t for n, t in given.tensors.items() if head or not n.startswith(HEAD)}
    if not head:
        tensors |= {n: t for n, t in model.state_dict().items() if n.startswith(HEAD)}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"init: {path}: does not fit a {arch}: {' '.join(str(error).split())[:300]}") from error
    return head
