"""The last layer with its classes split over the ranks.

Rank r holds rows [low, high) of the weight and the bias, with their optimizer state. Each computes its classes' logits
for the images of all ranks, so features are gathered, and their gradients summed on the way back. The loss is a sum
over classes, so a rank's part needs no other's. At 18,291 classes this saves 0.3 % of the arithmetic and most of the
gradient traffic of the head; it pays where the head is large beside the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from openjft.loaders.labels import Targets
from openjft.taxonomy import Csr
from openjft.taxonomy.csr import offsets_of

from .parallel import World


def class_rows(num_classes: int, rank: int, world_size: int) -> tuple[int, int]:
    """Classes [low, high) of a rank; sizes differ by one at most.

    A rank without a class would have no head at all, so there must be as many classes as ranks.
    """
    assert world_size <= num_classes
    return num_classes * rank // world_size, num_classes * (rank + 1) // world_size


@dataclasses.dataclass
class RankSizes:
    """Images of each rank in the coming step; set before the forward pass."""

    images: Sequence[int] = ()


class _Gather(torch.autograd.Function):
    """Rows of all ranks; the gradient is summed over the ranks and each takes its own rows of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: Sequence[int], world: World) -> Tensor:
        ctx.sizes, ctx.world = tuple(sizes), world
        return torch.cat(world.gather_rows(rows.contiguous(), sizes))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = ctx.world.sum_(gradients[0].contiguous().clone())
        return torch.split(total, ctx.sizes)[ctx.world.rank], None, None


class SplitLinear(nn.Module):
    """Some rows of an `nn.Linear`, applied to the features of all ranks.

    Args:
        whole: the layer with all classes, of which the rank's rows are copied.
        sizes: images of each rank, set before each step.
        world: the processes.
    """

    def __init__(self, whole: nn.Linear, sizes: RankSizes, world: World) -> None:
        super().__init__()
        self.low, self.high = class_rows(whole.out_features, world.rank, world.size)
        self.num_classes = whole.out_features
        self.weight = nn.Parameter(whole.weight.detach()[self.low : self.high].clone())
        self.bias = nn.Parameter(whole.bias.detach()[self.low : self.high].clone())
        self._sizes, self._world = sizes, world

    def forward(self, features: Tensor) -> Tensor:
        """(n, d) features of this rank to (images of all ranks, high - low) logits, in the order of the ranks."""
        # In float32: gradients are summed over the ranks. An idle rank computes on images that do not count.
        own = features[: self._sizes.images[self._world.rank]].float()
        gathered: Tensor = _Gather.apply(own, self._sizes.images, self._world)
        return functional.linear(gathered, self.weight, self.bias)


def gather_targets(own: Targets, sizes: Sequence[int], world: World, low: int, high: int) -> Targets:
    """The targets of the images of all ranks for the classes in [low, high), counted from `low`; on the host.

    Args:
        own: of this rank's images.
        sizes: images of each rank.
        world: the processes, which all call this with targets of the same kinds.
        low: first class.
        high: after the last.
    """
    everywhere = _gather_lists(own.labels, sizes, world)
    labels, kept = lists_within(everywhere, low, high)
    counts = [count for (count,) in world.gather([len(own.labels.values)])]
    values, weights = (
        None if given is None else torch.cat(world.gather_rows(torch.from_numpy(given), counts)).numpy()[kept]
        for given in (own.values, own.weights)
    )
    ignored = None
    if own.ignored is not None:
        ignored, _ = lists_within(_gather_lists(own.ignored, sizes, world), low, high)
    return Targets(labels, values, weights, ignored)


def _gather_lists(lists: Csr, sizes: Sequence[int], world: World) -> Csr:
    """The lists of all ranks, in the order of the ranks."""
    lengths = world.gather_rows(torch.from_numpy(np.diff(lists.offsets)), sizes)
    values = world.gather_rows(torch.from_numpy(lists.values), [int(part.sum()) for part in lengths])
    return Csr(torch.cat(values).numpy(), offsets_of(torch.cat(lengths).numpy()))


def lists_within(lists: Csr, low: int, high: int) -> tuple[Csr, npt.NDArray[np.bool_]]:
    """The classes in [low, high), counted from `low`, and which of the values they are, (nnz,) bool."""
    kept = (lists.values >= low) & (lists.values < high)
    rows = np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets))
    lengths = np.bincount(rows[kept], minlength=len(lists.offsets) - 1)
    return Csr((lists.values[kept] - low).astype(np.int32), offsets_of(lengths)), kept
