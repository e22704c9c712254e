"""ResNets with a multi-label head, from torchvision, never with downloaded weights.

Batch norm stands after every convolution, as torchvision builds them. The head starts with weights 0 and with
each class's log-odds as its bias (as big_vision's `bit_i21k` does with -10 for all): the first loss is the
entropy of the label frequencies and not c * ln 2, and no step is spent on learning that most classes are rare.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from torch import nn

from openjft.loaders.errors import LoaderError

ARCHS: Final = ("resnet18", "resnet50", "resnet101", "resnet152")


def class_log_odds(class_counts: npt.NDArray[np.int64], num_images: int) -> npt.NDArray[np.float32]:
    """Log-odds of each class's frequency, (c,) float32; counts are clamped half an image away from 0 and from all."""
    if num_images < 1:
        raise LoaderError(f"expected a dataset with at least one image, found {num_images}")
    counts = np.clip(class_counts.astype(np.float64), 0.5, num_images - 0.5)
    return (np.log(counts) - np.log(num_images - counts)).astype(np.float32)


def build_model(
    arch: str,
    num_classes: int,
    *,
    seed: int,
    class_log_odds: npt.NDArray[np.float32] | None = None,
) -> nn.Module:
    """A ResNet on the CPU with initial weights that depend on `seed` alone.

    Args:
        arch: one of `ARCHS`.
        num_classes: width of the head.
        seed: of the initial weights; the global generator is left as it was.
        class_log_odds: (c,) bias of the head; None for 0.

    Raises:
        LoaderError: the architecture is unknown.
    """
    if arch not in ARCHS:
        raise LoaderError(f"arch: expected one of {', '.join(ARCHS)}, found {arch!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = getattr(torchvision.models, arch)(weights=None, num_classes=num_classes)
    head = model.get_submodule("fc")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        if class_log_odds is not None:
            head.bias.copy_(torch.from_numpy(class_log_odds))
    return model.to(memory_format=torch.channels_last)
