"""Batches that are drawn on the device, to measure the network without a loader.

In: sizes. Out: `DeviceBatch` with noise for images and uniform labels, and a step that trains on them. The numbers that
come out mean nothing; the time does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch

from openjft.loaders.labels import Targets
from openjft.taxonomy import Csr
from openjft.taxonomy.csr import offsets_of

from .device import DeviceBatch, target_tensors
from .models import build_model
from .network import Network
from .optimizer import RMSProp, parameter_groups
from .options import TrainOptions
from .parallel import World
from .step import TrainStep

_DRAWN: Final = 4  # batches that are drawn and given in turn: enough that none stays in a cache


def synthetic_batches(
    device: torch.device,
    *,
    batch_size: int,
    crop_size: int,
    num_classes: int,
    count: int,
    labels_per_image: int = 8,
    seed: int = 17,
) -> Iterator[DeviceBatch]:
    """`count` batches of one process.

    Args:
        device: that they lie on.
        batch_size: images.
        crop_size: side of the images.
        num_classes: labels are drawn in [0, num_classes), none twice for an image.
        count: batches.
        labels_per_image: at most `num_classes` are taken.
        seed: of the draws.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator(device).manual_seed(seed)
    made = min(_DRAWN, count)
    drawn = [_draw(rng, generator, batch_size, crop_size, num_classes, labels_per_image) for _ in range(made)]
    for i in range(count):
        yield drawn[i % made]


def _draw(
    rng: np.random.Generator, generator: torch.Generator, n: int, side: int, num_classes: int, labels_per_image: int
) -> DeviceBatch:
    each = min(labels_per_image, num_classes)
    rows = [rng.choice(num_classes, each, replace=False) for _ in range(n)]
    labels = Csr(np.concatenate(rows).astype(np.int32), offsets_of(np.full(n, each)))
    targets = Targets(labels)
    tensors = target_tensors(targets)
    images = torch.rand(n, 3, side, side, generator=generator, device=generator.device).mul_(2).sub_(1)
    return DeviceBatch(
        images=images.to(memory_format=torch.channels_last),
        keys=np.zeros((n, 16), np.uint8),
        labels=labels,
        slots=np.arange(n, dtype=np.int64),
        targets=targets,
        label_values=tensors["label_values"].to(images.device),
        label_offsets=tensors["label_offsets"].to(images.device),
    )


def bare_step(options: TrainOptions, num_classes: int, world: World) -> TrainStep:
    """A step on a new network, without data, checkpoints or log.

    Call it with a batch and `[Share.of(batch, options.group_images)]` of all ranks.
    """
    model = build_model(options.arch, num_classes, seed=options.seed)
    network = Network(model, world, split_head=options.split_head, compiled=options.compile)
    network.model.train()
    optimizer = RMSProp(parameter_groups(network.model, options.weight_decay), lr=options.lr, rho=options.rho,
                        momentum=options.momentum, epsilon=options.epsilon)  # fmt: skip
    return TrainStep(options, network, optimizer, None)
