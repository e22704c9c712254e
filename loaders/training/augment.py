"""Crop, mirror and normalisation, on the device of the images.

In: uint8 images (n, h, w, 3). Out: float32 (n, 3, s, s) in [-1, 1], channels-last in memory. An image's draws are a
pure function of (seed, epoch, image key), hashed on the host. So a run that was killed and resumed sees the same
crops, on the CPU and on any GPU; and so will any number of devices, whichever of them gets the image.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openjft.loaders.errors import LoaderError
from openjft.loaders.order import splitmix64

_DRAWS: Final = 3  # top, left, mirror


class Crops(NamedTuple):
    """Where each image is cut: `top` and `left` (n,) int64 pixels, `mirror` (n,) bool."""

    top: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    mirror: npt.NDArray[np.bool_]


def _uniform(seed: int, epoch: int, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(n, 3) uniform numbers in [0, 1), each row a hash of (seed, epoch, key)."""
    words = np.ascontiguousarray(keys).view("<u8").astype(np.uint64)  # (n, 2)
    state = np.full(len(keys), seed, np.uint64)
    for word in (np.full(len(keys), epoch, np.uint64), words[:, 0], words[:, 1]):
        state = splitmix64(state) ^ word
    bits = splitmix64(splitmix64(state)[:, None] ^ np.arange(_DRAWS, dtype=np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _check(height: int, width: int, size: int) -> None:
    if not 1 <= size <= min(height, width):
        raise LoaderError(
            f"expected images of at least {size}x{size} pixels (crop_size), found {height}x{width}; "
            "lower crop_size, or build the dataset with a larger fetch.size"
        )


def random_crops(keys: npt.NDArray[np.uint8], *, seed: int, epoch: int, height: int, width: int, size: int) -> Crops:
    """Uniform places, mirrored half of the time.

    Args:
        keys: (n, 16) uint8 keys of the images.
        seed: of the training.
        epoch: of the training.
        height: of the images, pixels.
        width: of the images, pixels.
        size: of the square crop, pixels.

    Raises:
        LoaderError: the images are smaller than the crop.
    """
    _check(height, width, size)
    u = _uniform(seed, epoch, keys)
    return Crops(
        (u[:, 0] * (height - size + 1)).astype(np.int64),
        (u[:, 1] * (width - size + 1)).astype(np.int64),
        u[:, 2] < 0.5,
    )


def center_crops(n: int, *, height: int, width: int, size: int) -> Crops:
    """The middle of each image, not mirrored: for evaluation."""
    _check(height, width, size)
    top = np.full(n, (height - size) // 2, np.int64)
    left = np.full(n, (width - size) // 2, np.int64)
    return Crops(top, left, np.zeros(n, np.bool_))


def crop_windows(crops: Crops, size: int) -> npt.NDArray[np.int64]:
    """The pixel rows and columns of each crop, (2, n, s) int64; a mirrored crop has its columns from right to left.

    One small array, so that a batch's crops travel to a GPU in one copy.
    """
    steps = np.arange(size)
    columns = np.where(crops.mirror[:, None], size - 1 - steps, steps)
    return np.stack([crops.top[:, None] + steps, crops.left[:, None] + columns])


def cut_and_normalize(images: Tensor, windows: Tensor) -> Tensor:
    """Cuts each image at its own place and maps 0..255 to [-1, 1].

    Args:
        images: (n, h, w, 3) uint8.
        windows: (2, n, s) int64 of `crop_windows`, on the same device.

    Returns:
        (n, 3, s, s) float32 in channels-last memory.
    """
    n = torch.arange(images.shape[0], device=images.device)[:, None, None]
    cut = images[n, windows[0][:, :, None], windows[1][:, None, :]]  # (n, s, s, 3), one gather for the whole batch
    return cut.permute(0, 3, 1, 2).to(torch.float32).mul_(2.0 / 255.0).sub_(1.0)
