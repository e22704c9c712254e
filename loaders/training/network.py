"""The network of a training as this process holds it: batch norm by groups, its part of the head, summed gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from openjft.loaders.errors import LoaderError

from .batchnorm import Groups, average_buffers, use_groups
from .checkpoint.layout import Rows
from .head import RankSizes, SplitLinear
from .parallel import World

_HEAD: Final = "fc"
_HEAD_NAMES: Final = ("fc.weight", "fc.bias")


class Network:
    """A model that several processes train.

    Args:
        model: whole, the same on every rank; changed in place.
        world: the processes.
        split_head: each rank holds some of the classes.
        compiled: by torch.compile, at the first step.

    Attributes:
        model: what this rank holds, with torchvision's names.
        forward: call this to train; its backward pass leaves the sum over the ranks in the gradients.
        rows: the tensors of which this rank holds some rows only.

    Raises:
        LoaderError: the head cannot be split.
    """

    def __init__(self, model: nn.Module, world: World, *, split_head: bool, compiled: bool) -> None:
        self.model, self.world = model, world
        self.groups, self.sizes = Groups(), RankSizes()
        self.rows: dict[str, Rows] = {}
        use_groups(model, self.groups)
        self.head: SplitLinear | None = None
        if split_head and world.size > 1:
            self.head = self._split()
        model.to(world.device)
        self._tensors = dict(model.state_dict())  # once: they are changed in place, and naming 300 takes a millisecond
        if compiled:
            model.compile()
        self.forward: nn.Module = model if world.size == 1 else self._distributed()

    def _split(self) -> SplitLinear:
        whole = self.model.get_submodule(_HEAD)
        assert isinstance(whole, nn.Linear)
        if whole.out_features < self.world.size:
            raise LoaderError(
                f"split_head: expected at least one class for each of {self.world.size} processes, found "
                f"{whole.out_features}; leave split_head out"
            )
        head = SplitLinear(whole, self.sizes, self.world)
        setattr(self.model, _HEAD, head)
        self.rows = dict.fromkeys(_HEAD_NAMES, Rows(head.low, head.high, head.num_classes))
        return head

    def _distributed(self) -> DistributedDataParallel:
        device = self.world.device
        # Each rank's running statistics follow its own groups, and its rows of the head are its own. Not by
        # `broadcast_buffers`, which torch 2.14 warns of and whose successor torch 2.9 does not know.
        alone = [*(name for name, _ in self.model.named_buffers()), *self.rows]
        ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model  # noqa: SLF001
        ignore(self.model, alone)
        made = DistributedDataParallel(
            self.model, device_ids=None if device.type == "cpu" else [device], gradient_as_bucket_view=True
        )
        made.register_comm_hook(None, lambda state, bucket: _sum(bucket))  # noqa: ARG005 - names that torch asks for
        return made

    def tensors(self) -> dict[str, Tensor]:
        """Weights and buffers by torchvision's names; of the split head this rank's rows."""
        return self._tensors

    def own_rows(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors cut down to what this rank holds; `mean_square.NAME` is as NAME."""
        return {name: self._own(name, tensor) for name, tensor in tensors.items()}

    def _own(self, name: str, tensor: Tensor) -> Tensor:
        rows = self.rows_of(name)
        return tensor if rows is None else tensor[rows.low : rows.high]

    def rows_of(self, name: str) -> Rows | None:
        """The rows that this rank holds of a weight, or of the optimizer's state of it; None: all."""
        return next((rows for weight, rows in self.rows.items() if name == weight or name.endswith(f".{weight}")), None)

    def average_buffers(self, *others: Mapping[str, Tensor]) -> None:
        """Makes the running statistics, and means of them, those of the global batch on every rank."""
        names = [name for name, _ in self.model.named_buffers()]
        average_buffers(
            [t for tensors in (self.tensors(), *others) for n, t in tensors.items() if n in names], self.world
        )

    def set_step(self, group_sizes: tuple[int, ...], groups: int, images: list[int]) -> None:
        """Tells the layers of the coming step.

        Args:
            group_sizes: images of this rank's batch-norm groups; those of an idle rank do not count.
            groups: of the global batch.
            images: of each rank.
        """
        idle = images[self.world.rank] == 0
        self.groups.sizes, self.groups.share = group_sizes, 0.0 if idle else self.world.size / groups
        self.sizes.images = images


def _sum(bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Sums gradients, where torch would average: each rank's loss is already divided by the global batch's images."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    done: torch.futures.Future[Tensor] = work.get_future().then(lambda future: future.value()[0])
    return done
