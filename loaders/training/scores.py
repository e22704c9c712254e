"""A network's outputs for every image of a loader: what an evaluation, a study's scores and a transfer collect.

In: a network and a loader that goes through its images in order. Out: batch by batch, the batch on the device and the
outputs. Gradients are off, and the crop is the middle one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import Tensor, nn

from openjft.loaders import Loader
from openjft.loaders.checks import Precision

from .device import DeviceBatch, center_policy, device_batches


def network_scores(
    model: nn.Module, loader: Loader, device: torch.device, *, crop_size: int, num_classes: int, precision: Precision
) -> Generator[tuple[DeviceBatch, Tensor], None, None]:
    """Yields each batch of epoch 0 and its outputs.

    Args:
        model: (n, 3, s, s) to (n, outputs); on the device, and in the mode that is wanted.
        loader: of the images.
        device: where the network lies.
        crop_size: s, pixels.
        num_classes: labels of the images lie below this.
        precision: of the network's arithmetic; outputs are float32 in any case.

    Raises:
        LoaderError: the images are smaller than the crop.
        DatasetError: a label is outside [0, num_classes).
    """
    crops = center_policy(crop_size)
    with (
        loader.epoch(0) as host,
        contextlib.closing(
            device_batches(host, device, crop_size=crop_size, crops=crops, num_classes=num_classes)
        ) as batches,
    ):
        for batch in batches:
            # Not around the loop: a mode that is left on while a generator waits is the caller's, too.
            with (
                torch.inference_mode(),
                torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"),
            ):
                scores = model(batch.images).float()
            yield batch, scores
