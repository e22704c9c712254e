"""A running mean of a network's weights and buffers (Polyak averaging), to score instead of the last ones.

`decay` is that of a step of 32 images and is scaled to the batch, so the mean spans as many images at any batch size.
Early on the mean would be of the random start: as TensorFlow's `num_updates` does, the decay begins small,
min(decay, (1 + t) / (10 + t)) with t the steps of 32 images so far.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_IMAGES = 32


def step_decay(decay: float, images_seen: int, batch_images: int) -> float:
    """The decay of a step of `batch_images`, after `images_seen`."""
    t = images_seen / _IMAGES
    return float(min(decay, (1.0 + t) / (10.0 + t)) ** (batch_images / _IMAGES))


class Ema:
    """The mean of named tensors; those that are not floating-point are copied."""

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], *, images_seen: int, batch_images: int) -> None:
        """Follows the tensors after a step."""
        weight = 1.0 - step_decay(self.decay, images_seen, batch_images)
        floats = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.tensors[n] for n in floats], [tensors[n] for n in floats], weight)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                self.tensors[name].copy_(tensor)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over former means."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
