"""Structural similarity of small grey images: does a pair that the descriptor found really show the same picture?

SSIM of Wang, Bovik, Sheikh and Simoncelli (2004) with their constants and an 11-tap Gaussian window (sigma 1.5): as one
number, its mean over the positions where the window fits, and as a map. Not shift-invariant: one picture must first be
laid over the other (`alignment`).
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from .errors import DedupError
from .resample import GREY_SIZE, Float32

Float64 = npt.NDArray[np.float64]

_TAPS, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@functools.cache
def _window(size: int) -> Float64:
    """(size - 10, size) float64: the Gaussian at each position where it fits."""
    taps = np.exp(-0.5 * ((np.arange(_TAPS) - _TAPS // 2) / _SIGMA) ** 2)
    taps /= taps.sum()
    rows = np.zeros((size - _TAPS + 1, size))
    for i in range(len(rows)):
        rows[i, i : i + _TAPS] = taps
    rows.flags.writeable = False
    return rows


def ssim(a: Float32, b: Float32) -> Float32:
    """(n,) float32 in [-1, 1], 1 where a and b are equal.

    Args:
        a: (n, s, s) grey in [0, 255]; s is 64 throughout this package.
        b: the same shape.

    Raises:
        DedupError: shapes differ, are not square, or are smaller than the window.
    """
    if a.shape != b.shape or a.ndim != 3 or a.shape[1] != a.shape[2] or a.shape[1] < _TAPS:
        raise DedupError(f"expected two stacks (n, {GREY_SIZE}, {GREY_SIZE}), found {a.shape} and {b.shape}")
    out: Float32 = np.clip(_map(a, b).mean(axis=(1, 2)), -1, 1).astype(np.float32)
    return out


def ssim_map(a: Float32, b: Float32) -> Float64:
    """(s, s) SSIM of one pair around each cell; beyond the border the picture is thought reflected.

    Args:
        a: (s, s) grey in [0, 255].
        b: the same shape.
    """
    around = _TAPS // 2
    padded = [np.pad(plane, around, mode="symmetric")[None] for plane in (a, b)]
    out: Float64 = np.clip(_map(*padded)[0], -1, 1)
    return out


def _map(a: Float32, b: Float32) -> Float64:
    """(n, s - 10, s - 10) SSIM at each position of the window."""
    rows = _window(a.shape[1])

    def blur(x: Float64) -> Float64:
        out: Float64 = rows @ x @ rows.T
        return out

    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = blur(x), blur(y)
    var_a, var_b = blur(x * x) - mean_a**2, blur(y * y) - mean_b**2
    covariance = blur(x * y) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    bottom = (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    out: Float64 = top / bottom
    return out
