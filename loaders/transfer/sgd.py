"""SGD with momentum in Nesterov's form, and the learning rate over a transfer: warm-up, then a cosine to 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from openjft.loaders.training.optimizer import parameter_groups
from openjft.loaders.training.schedule import Schedule

from .options import TransferOptions

_PREFIX: Final = "momentum."
_BUFFER: Final = "momentum_buffer"


def make_sgd(model: nn.Module, options: TransferOptions) -> torch.optim.SGD:
    """An optimizer whose weight decay leaves vectors (norms, biases) out."""
    groups = parameter_groups(model, options.weight_decay)
    return torch.optim.SGD(groups, lr=options.rate, momentum=options.momentum, nesterov=True)


def make_schedule(options: TransferOptions, total_images: int) -> Schedule:
    """The learning rate by images seen."""
    return Schedule(
        kind="cosine",
        initial=options.rate,
        decay=1.0,
        decay_images=1,
        warmup_images=options.warmup(total_images),
        total_images=total_images,
    )


def sgd_tensors(model: nn.Module, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The momentum of each weight, by `momentum.NAME`; zeros before the first step."""
    return {
        f"{_PREFIX}{name}": optimizer.state[p].get(_BUFFER, torch.zeros_like(p)) for name, p in model.named_parameters()
    }


def load_sgd(model: nn.Module, optimizer: torch.optim.SGD, tensors: Mapping[str, Tensor]) -> None:
    """Puts the tensors of `sgd_tensors` back; a KeyError or RuntimeError says that they do not fit."""
    for name, p in model.named_parameters():
        given = tensors[f"{_PREFIX}{name}"]
        if given.shape != p.shape:
            raise RuntimeError(f"size mismatch for {name}: {tuple(given.shape)} and {tuple(p.shape)}")
        optimizer.state[p][_BUFFER] = torch.empty_like(p, memory_format=torch.preserve_format).copy_(given)
