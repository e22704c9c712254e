"""From feature maps to one vector: the average, or generalised mean pooling (GeM).

GeM of a channel is (mean of x^p)^(1/p) over its places, x clamped at 1e-6 (Radenovic, Tolias and Chum 2018, equation
3, their p = 3): p = 1 is the average, a large p the maximum. Strong responses of a small part of the image then weigh
more, which is what copies that were cropped or written over need. Two forms, for NumPy (ONNX) and torch (on the
device of the network), with equal results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..embedder import EmbedderSpec
from ..errors import EmbedderError

if TYPE_CHECKING:
    import torch

GEM_FLOOR: Final = 1e-6


def describe(spec: EmbedderSpec) -> Any:
    """The pooling as a report shows it."""
    return {"gem": spec.gem_p, "floor": GEM_FLOOR} if spec.pooling == "gem" else spec.pooling


def pool(output: npt.NDArray[Any], spec: EmbedderSpec, *, origin: str) -> npt.NDArray[Any]:
    """(n, d) of a network's output: vectors (n, d), or feature maps (n, d, h, w), which are pooled.

    Raises:
        EmbedderError: the shape is another.
    """
    check_shape(output.shape, spec, origin=origin)
    if output.ndim == 2:
        return output
    if spec.pooling == "average":
        return np.asarray(output.mean(axis=(2, 3), dtype=np.float32))
    maps = np.maximum(output.astype(np.float32), GEM_FLOOR)
    most = maps.max(axis=(2, 3), keepdims=True)  # powers of shares of the largest value cannot overflow
    mean = np.power(maps / most, spec.gem_p).mean(axis=(2, 3), dtype=np.float32)
    return np.asarray(most[:, :, 0, 0] * np.power(mean, 1 / spec.gem_p), np.float32)


def pool_tensor(output: torch.Tensor, spec: EmbedderSpec, *, origin: str) -> torch.Tensor:
    """`pool` on the tensor's device.

    Raises:
        EmbedderError: the shape is another.
    """
    check_shape(tuple(output.shape), spec, origin=origin)
    if output.ndim == 2:
        return output
    return gem(output, spec.gem_p)[:, :, 0, 0] if spec.pooling == "gem" else output.float().mean(dim=(2, 3))


def gem(maps: torch.Tensor, p: float) -> torch.Tensor:
    """(n, d, 1, 1) float32 of (n, d, h, w)."""
    maps = maps.float().clamp(min=GEM_FLOOR)
    most = maps.amax(dim=(2, 3), keepdim=True)
    return most * (maps / most).pow(p).mean(dim=(2, 3), keepdim=True).pow(1 / p)


def check_shape(shape: tuple[int, ...], spec: EmbedderSpec, *, origin: str) -> None:
    """Refuses an output that is neither vectors nor feature maps, and GeM of what is pooled already.

    Raises:
        EmbedderError: with the shape.
    """
    if len(shape) not in {2, 4} or shape[1] < 2:
        raise EmbedderError(
            f"{origin}: expected an embedding of shape (n, d) or (n, d, h, w), found {shape}; name another "
            "output in embed.output"
        )
    if spec.pooling == "gem" and len(shape) == 2:
        raise EmbedderError(
            f"{origin}: expected feature maps (n, d, h, w) for embed.pooling = 'gem', found {shape}: the network pools "
            "by itself. Name an output before its pooling, or leave embed.pooling out"
        )
