"""The network that a transfer starts with: a given backbone or a random one, and a new classifier of zeros."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from openjft.loaders.errors import CheckpointError
from openjft.loaders.training.export import read_weights
from openjft.loaders.training.models import build_model

from .backbone import load_backbone
from .options import RANDOM, TransferOptions

DEFAULT_ARCH = "resnet50"


def arch_of(options: TransferOptions) -> str:
    """The architecture.

    Raises:
        CheckpointError: the weights cannot be read, or are of another one than the options say.
    """
    if options.weights == RANDOM:
        return options.arch or DEFAULT_ARCH
    given = read_weights(Path(options.weights), options.which).arch
    if options.arch not in (None, given):
        raise CheckpointError(
            f"{options.weights}: expected weights of {options.arch}, found {given}; leave arch out, or say {given}"
        )
    return given


def starting_model(options: TransferOptions, arch: str, num_classes: int) -> nn.Module:
    """The network before its first step.

    Raises:
        CheckpointError: the weights do not fit.
    """
    model = build_model(arch, num_classes, seed=options.seed)
    if options.weights != RANDOM:
        load_backbone(options.weights, model, which=options.which)
    return model
