"""One step: forward, loss, backward, update, as if one process had the whole global batch.

The loss is the sum over this rank's images divided by the images of the global batch that could be used, and gradients
are summed over the ranks: so the update is the mean over images, whoever holds them and however many were skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .batchnorm import group_sizes
from .device import DeviceBatch, target_tensors
from .ema import Ema
from .head import SplitLinear, gather_targets
from .loss import sparse_logistic_loss
from .network import Network
from .optimizer import RMSProp
from .options import TrainOptions
from .parallel import World


class Share(NamedTuple):
    """What a rank brings to a step."""

    images: int
    groups: int

    @classmethod
    def of(cls, batch: DeviceBatch, group_images: int) -> Share:
        """Images and batch-norm groups of a rank's batch."""
        return cls(len(batch.slots), len(group_sizes(batch.slots, group_images)))


class TrainStep:
    """Updates a network by a batch.

    Args:
        options: the recipe.
        network: to update.
        optimizer: of its parameters.
        ema: that follows it.
    """

    def __init__(self, options: TrainOptions, network: Network, optimizer: RMSProp, ema: Ema | None) -> None:
        self.options, self.network, self.optimizer, self.ema = options, network, optimizer, ema

    def __call__(self, batch: DeviceBatch, shares: Sequence[Share], *, rate: float, images_seen: int) -> Tensor | None:
        """One update.

        Args:
            batch: of this rank; it may be empty.
            shares: of all ranks.
            rate: learning rate.
            images_seen: before this step.

        Returns:
            This rank's part of the loss, a scalar on the device: the sum over the ranks is the mean over images. None
            if no rank has an image: nothing is updated.
        """
        if not any(share.images for share in shares):
            return None
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(batch, shares)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.network.tensors(), images_seen=images_seen, batch_images=self.options.batch_size)
        return loss.detach()

    def _loss(self, batch: DeviceBatch, shares: Sequence[Share]) -> Tensor:
        network, own, options = self.network, len(batch.slots), self.options
        used = sum(share.images for share in shares)
        images = batch.images
        sizes = group_sizes(batch.slots, options.group_images)
        if own == 0:
            # The ranks sum gradients together, so this one must bring some: zeros, of two images that do not count.
            images, sizes = _idle_images(options.crop_size, network.world.device), (2,)
        network.set_step(sizes, sum(share.groups for share in shares), [share.images for share in shares])
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16"):
            logits: Tensor = network.forward(images)
        if network.head is not None:
            return _split_loss(logits, batch, network.head, [s.images for s in shares], network.world)
        if own == 0:
            zero: Tensor = logits.float().sum() * 0.0
            return zero
        loss: Tensor = sparse_logistic_loss(
            logits, batch.label_values, batch.label_offsets, images=used, **batch.extras
        )
        return loss


def _idle_images(side: int, device: torch.device) -> Tensor:
    return torch.zeros(2, 3, side, side, device=device).to(memory_format=torch.channels_last)


def _split_loss(logits: Tensor, batch: DeviceBatch, head: SplitLinear, images: Sequence[int], world: World) -> Tensor:
    """The part of the loss of this rank's classes, for the images of all ranks: already a mean over them."""
    targets = gather_targets(batch.targets, images, world, head.low, head.high)
    tensors = {name: _to(tensor, logits.device) for name, tensor in target_tensors(targets).items()}
    loss: Tensor = sparse_logistic_loss(logits, tensors.pop("label_values"), tensors.pop("label_offsets"), **tensors)
    return loss


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
