"""From images of any size to a network's input: resize, crop, scale. The same for every kind of network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from ..embedder import EmbedderSpec, file_sha256, hash_json, weights_file
from ..resample import Float32, Image, check_image
from .pooling import describe

_VERSION = 2  # 2: a vector of zeros stays one
# Measured with MobileNetV1 (ImageNet), warped to 224, on 1.36 million pairs of different real photos times 11 views: 12
# reached 0.75, one 0.80, none 0.85; look-alikes of one class start at 0.85. Networks differ: set
# decontaminate.remove_similarity for yours.
NETWORK_REMOVE_SIMILARITY = 0.85


def network_preprocessing(spec: EmbedderSpec) -> dict[str, Any]:
    """The weights and all that is done to an image before and after them, of a resolved spec, as a report shows it.

    Raises:
        EmbedderError: the weights are missing.
    """
    return {
        "model": spec.model,
        "version": _VERSION,
        "weights_sha256": file_sha256(weights_file(spec)),
        "arch": spec.arch,
        "output": spec.output,
        "input_size": spec.input_size,
        "resize": "warp" if spec.resize_size is None else f"shorter side to {spec.resize_size}, centre crop",
        "resample": "pillow bilinear, antialiased",
        "mean": list(spec.mean),
        "std": list(spec.std),
        "pooling": describe(spec),
    }


def network_fingerprint(spec: EmbedderSpec) -> str:
    """Hash of `network_preprocessing`."""
    return hash_json(network_preprocessing(spec))


def fit(image: Image, spec: EmbedderSpec) -> Image:
    """(input_size, input_size, 3) uint8: warped, or shorter side to `resize_size` and the centre cut out."""
    check_image(image)
    size = spec.input_size
    if spec.resize_size is None:
        if image.shape[:2] == (size, size):
            return image
        return np.asarray(PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.BILINEAR))
    height, width, _ = image.shape
    scale = max(spec.resize_size, size) / min(height, width)
    shape = (max(size, round(width * scale)), max(size, round(height * scale)))
    resized = np.asarray(PIL.Image.fromarray(image).resize(shape, PIL.Image.Resampling.BILINEAR))
    top, left = (resized.shape[0] - size) // 2, (resized.shape[1] - size) // 2
    return resized[top : top + size, left : left + size]


def network_input(images: Sequence[Image], spec: EmbedderSpec) -> Float32:
    """(n, 3, input_size, input_size) float32, contiguous: (RGB / 255 - mean) / std."""
    stacked: npt.NDArray[np.uint8] = np.stack([fit(image, spec) for image in images])
    std = np.asarray(spec.std, np.float32)
    scaled = stacked.astype(np.float32) * (1 / (255 * std)) - np.asarray(spec.mean, np.float32) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)
