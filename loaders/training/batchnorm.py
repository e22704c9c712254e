"""Batch norm over groups of a batch, the same for any number of processes.

In: a batch whose images are sorted by their slot in the global batch. Each group of `bn_images` neighbouring slots has
its own mean and variance (ghost batch norm, Hoffer et al. 2017; Sun et al. 2017 trained replicas of 32 images each),
so a rank that holds some of the groups computes what one process would. Running statistics follow the mean over the
groups of the global batch. That is linear: each rank follows its own groups, scaled, and the mean of the ranks' buffers
(`average_buffers`) is that of one process. Names and buffers are those of `nn.BatchNorm2d`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .parallel import World


@dataclasses.dataclass
class Groups:
    """How the images of the coming step are grouped; one for all layers of a network.

    Attributes:
        sizes: images of each group on this rank, in their order; empty: all images are one group.
        share: weight of each group's statistics in this rank's running ones: ranks / groups of the global batch.
    """

    sizes: tuple[int, ...] = ()
    share: float = 1.0


def group_sizes(slots: npt.NDArray[np.int64], images: int) -> tuple[int, ...]:
    """Images of each group that is not empty, in their order.

    Args:
        slots: (n,) int64 places in the global batch, rising.
        images: slots of a group.
    """
    assert (np.diff(slots) > 0).all(), "slots must rise"
    return tuple(np.unique(slots // images, return_counts=True)[1].tolist())


class GroupBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that, while it trains, normalises each group by itself."""

    def __init__(self, num_features: int, *, groups: Groups, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.groups = groups

    @classmethod
    def like(cls, layer: nn.BatchNorm2d, groups: Groups) -> GroupBatchNorm2d:
        """A layer that shares the parameters and buffers of another."""
        assert layer.affine
        assert layer.track_running_stats
        assert layer.momentum is not None
        made = cls(layer.num_features, groups=groups, eps=layer.eps, momentum=layer.momentum)
        made.weight, made.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers():
            setattr(made, name, buffer)
        return made

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to the same shape."""
        sizes, share = self.groups.sizes or (images.shape[0],), self.groups.share
        several = len(sizes) > 1 or share != 1.0 or images.shape[0] * images.shape[2] * images.shape[3] < 2
        if not self.training or not several:
            return super().forward(images)
        means, variances, parts = [], [], []
        for part in torch.split(images, list(sizes)):  # along n, so that channels-last parts are contiguous
            mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)  # type: ignore[arg-type]
            # With momentum 1 the kernel leaves the group's own statistics in the buffers. Called below
            # functional.batch_norm, which refuses a single value a channel; that one is normalised to the bias.
            parts.append(
                torch.batch_norm(
                    part,
                    self.weight,
                    self.bias,
                    mean,
                    variance,
                    training=True,
                    momentum=1.0,
                    eps=self.eps,
                    cudnn_enabled=torch.backends.cudnn.enabled,
                )
            )
            means.append(mean)
            single = part.shape[0] * part.shape[2] * part.shape[3] == 1  # its unbiased variance is 0/0
            variances.append(torch.zeros_like(variance) if single else variance)
        self._follow(torch.stack(means).sum(0) * share, torch.stack(variances).sum(0) * share)
        return torch.cat(parts)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.mul_(1.0 - self.momentum).add_(mean, alpha=self.momentum)
        self.running_var.mul_(1.0 - self.momentum).add_(variance, alpha=self.momentum)
        self.num_batches_tracked.add_(1)


def use_groups(model: nn.Module, groups: Groups) -> None:
    """Replaces each `nn.BatchNorm2d` of a network in place; the names of its state stay as they were."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, GroupBatchNorm2d.like(child, groups).train(child.training))


def average_buffers(buffers: Sequence[Tensor], world: World) -> None:
    """Replaces running statistics by their mean over the ranks, in place; counters, the same on all ranks, stay."""
    floats = [buffer for buffer in buffers if buffer.is_floating_point()]
    if world.size == 1 or not floats:
        return
    flat = torch.cat([buffer.flatten() for buffer in floats])
    world.sum_(flat).div_(world.size)
    for buffer, values in zip(floats, torch.split(flat, [b.numel() for b in floats]), strict=True):
        buffer.copy_(values.view_as(buffer))
