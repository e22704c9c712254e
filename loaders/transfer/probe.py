"""A linear classifier on the features of a frozen network (a linear probe).

In: a network whose batch norms stand as trained, and the images. Out: the network with a trained classifier. The
features, of the middle crop, not mirrored, are computed once and kept in host memory, (n, d) float32: 5 GB for 600,000
images of a ResNet-50. The classifier is trained on features of mean 0 and deviation 1, which is then taken into it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from openjft.loaders.errors import LoaderError
from openjft.loaders.folders import ImageFolder
from openjft.loaders.order import permutation
from openjft.loaders.training.runlog import Stop

from .data import scored
from .options import TransferOptions
from .sgd import make_schedule, make_sgd
from .summary import TransferProgress

_PROBE: Final = 3  # keeps the order of features apart from that of the loader's levels 1 and 2
_LEAST_DEVIATION: Final = 1e-6  # a feature that never changes is left as it is


def features_of(
    model: nn.Module,
    folder: ImageFolder,
    options: TransferOptions,
    device: torch.device,
    on_images: Callable[[int], None],
) -> Tensor:
    """The input of the classifier for each image, (n, d) float32 in host memory, in the order of the folder."""
    model = model.to(device).eval()
    head = model.get_submodule("fc")
    parts: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, args: parts.append(args[0].float().cpu()))
    done = 0
    try:
        with contextlib.closing(scored(model, folder, options, device)) as outputs:
            for batch, _ in outputs:
                done += len(batch.keys)
                on_images(done)
    finally:
        hook.remove()
    return torch.cat(parts).clone()


def probe_steps(num_images: int, options: TransferOptions) -> int:
    """Steps of the classifier's training; the last batch of an epoch may be short."""
    return options.passes * -(-num_images // options.batch_size)


def train_probe(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    options: TransferOptions,
    device: torch.device,
    stop: Stop,
    on_step: Callable[[int, int, float], None],
) -> tuple[nn.Linear, float] | None:
    """The classifier and its mean loss of the last epoch; None where a signal ended its training.

    Args:
        features: (n, d) float32.
        labels: (n,) int64.
        num_classes: c.
        options: epochs, batch size, learning rate, weight decay, label smoothing, seed.
        device: to train on.
        stop: looked at after every epoch.
        on_step: called after every epoch with the steps done, those in all, and the epoch's mean loss.

    Raises:
        LoaderError: the loss is not finite.
    """
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    deviation = torch.where(deviation > _LEAST_DEVIATION, deviation, torch.ones_like(deviation))
    head = nn.Linear(features.shape[1], num_classes).to(device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = make_sgd(head, options)
    n, size = len(features), options.batch_size
    schedule = make_schedule(options, options.passes * n)
    steps, step, seen, loss = probe_steps(n, options), 0, 0, float("nan")
    for epoch in range(options.passes):
        order = torch.from_numpy(permutation(n, options.seed, epoch, _PROBE))
        losses = []
        for first in range(0, n, size):
            rows = order[first : first + size]
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(seen, len(rows))
            inputs = ((features[rows] - mean) / deviation).to(device)
            value = functional.cross_entropy(
                head(inputs), labels[rows].to(device), label_smoothing=options.label_smoothing
            )
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(value.detach() * len(rows))
            step, seen = step + 1, seen + len(rows)
        loss = float(torch.stack(losses).sum()) / n
        if not np.isfinite(loss):
            raise LoaderError(f"epoch {epoch}: expected a finite loss, found {loss}; lower lr (now {options.rate})")
        on_step(step, steps, loss)
        if stop.requested:
            return None
    return _with_scale(head, mean.to(device), deviation.to(device)), loss


@torch.no_grad()
def _with_scale(head: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    """The same classifier on features as they come."""
    head.weight.div_(deviation)
    head.bias.sub_(head.weight @ mean)
    return head


def progress_of(on_progress: Callable[[TransferProgress], None] | None, total: int) -> Callable[[int], None]:
    """Tells how many images' features are there."""

    def show(done: int) -> None:
        if on_progress is not None:
            on_progress(TransferProgress("features", done, total))

    return show
