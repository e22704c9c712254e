"""PDQ, the 256-bit perceptual hash of Facebook's ThreatExchange, as a descriptor; needs no weights.

Luma, two passes of a box filter each way (Jarosz: together a tent) and every n-th sample to 64 x 64, the 16 x 16 lowest
frequencies of a DCT without the constant ones, one bit each: above the median or not. An image whose 64 x 64 plane has
little gradient (quality 49 or less of 100) has a hash that says nothing; it gets a vector of zeros and matches nothing.

Out: 256 values of +-1/16, a unit vector that float16 holds exactly. The cosine of two hashes is 1 - Hamming / 128, so
the one exact search serves, and `remove_similarity = 0.7578125` is a Hamming distance of 31. PDQ stands
recompression, resizing and small changes of light; it does not stand crops, and turned or mirrored copies need their
views.

Source: github.com/facebook/ThreatExchange, pdq/cpp and hashing.pdf there. Written anew, since the binding `pdqhash`
has no wheels for this Python. The filter is linear, so only the 64 rows and columns that are kept are computed. Sums in
another order than the reference's may turn a bit of a coefficient that lies on the median; on 334 real photos none did
(pdqhash 0.2.8, all 256 bits and all qualities equal).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ..embedder import hash_json
from ..resample import YCBCR, Float32, Image, check_image

PLANE: Final = 64
SIDE: Final = 16
BITS: Final = SIDE * SIDE
MIN_QUALITY: Final = 50  # of 100: what is below is discarded, as ThreatExchange advises
MIN_SIDE: Final = 5  # pixels; the reference calls smaller images quality 0
MAX_HAMMING: Final = 31
REMOVE_SIMILARITY: Final = 1 - 2 * MAX_HAMMING / BITS
_VERSION: Final = 1
_BIT: Final = np.float32(1 / SIDE)


def preprocessing() -> dict[str, Any]:
    """Everything that decides the vectors."""
    return {
        "model": "pdq",
        "version": _VERSION,
        "luma": "BT.601",
        "resize": f"2 box passes each way, then every n-th sample, {PLANE} x {PLANE}",
        "bits": f"{SIDE} x {SIDE} frequencies 1 to {SIDE}, above the median",
        "min_quality": MIN_QUALITY,
    }


def _dct_rows() -> Float32:
    """(SIDE, PLANE) float32: rows 1 to SIDE of the orthonormal DCT-II, the constant one left out."""
    cells = np.arange(PLANE) + 0.5
    basis = np.cos(np.pi * np.outer(np.arange(1, SIDE + 1), cells) / PLANE) * np.sqrt(2.0 / PLANE)
    return np.asarray(basis, np.float32)


_BASIS: Final = _dct_rows()


class _Taps(NamedTuple):
    """The samples that make each of the 64 kept ones: their `places` (taps, 64) and `weights` (taps, 64)."""

    places: npt.NDArray[np.int64]
    weights: Float32


@functools.lru_cache(maxsize=256)
def _taps(length: int) -> _Taps:
    """Two box passes over `length` samples, at the 64 places that are kept."""
    window = -(-length // (2 * PLANE))
    after = (window + 2) // 2  # samples from the middle on; an even window reaches further to the right

    def box(at: int) -> range:
        return range(max(0, at - (window - after)), min(length, at + after))

    count = 2 * window - 1
    places = np.empty((count, PLANE), np.int64)
    weights = np.zeros((count, PLANE))
    for kept in range(PLANE):
        middle = int((kept + 0.5) * length / PLANE)
        first = max(0, min(length - count, middle - 2 * (window - after)))
        places[:, kept] = np.arange(first, first + count)
        for at in box(middle):
            inner = box(at)
            weights[inner.start - first : inner.stop - first, kept] += 1 / (len(box(middle)) * len(inner))
    return _Taps(places, weights.astype(np.float32))


def _filtered(rows: npt.NDArray[Any], taps: _Taps) -> Float32:
    """(64, m) float32 of (length, m)."""
    out = np.zeros((PLANE, rows.shape[1]), np.float32)
    for place, weight in zip(taps.places, taps.weights, strict=True):
        out += weight[:, None] * rows[place]
    return out


def _plane(image: Image) -> Float32:
    """(64, 64) float32 luma. Rows go first, so that the luma of 64 rows is computed instead of all."""
    check_image(image)
    height, width, _ = image.shape
    rows = _filtered(image.reshape(height, width * 3), _taps(height)).reshape(PLANE, width, 3)
    luma = rows[..., 0] * YCBCR[0, 0] + rows[..., 1] * YCBCR[1, 0] + rows[..., 2] * YCBCR[2, 0]
    return np.ascontiguousarray(_filtered(luma.T, _taps(width)).T)


def _qualities(planes: Float32) -> npt.NDArray[np.int64]:
    """(n,) in 0 to 100: sums of the steps between neighbours, in whole hundredths, over 90."""
    steps = [np.abs(np.trunc(np.diff(planes, axis=axis) * np.float32(100) / np.float32(255))) for axis in (1, 2)]
    total = sum(step.sum(axis=(1, 2)) for step in steps)
    return np.minimum(np.asarray(total, np.int64) // 90, 100)


def hashes(images: Sequence[Image]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(n, 256) bits, frequency (i, j) at 16 i + j, and (n,) qualities of n uint8 (h, w, 3) images."""
    if not images:
        return np.empty((0, BITS), np.bool_), np.empty(0, np.int64)
    planes = np.stack([_plane(image) for image in images])
    coefficients = (_BASIS @ planes @ _BASIS.T).reshape(len(images), BITS)
    median = np.partition(coefficients, BITS // 2 - 1, axis=1)[:, BITS // 2 - 1, None]  # the lower of the middle two
    quality = _qualities(planes)
    quality[[min(image.shape[:2]) < MIN_SIDE for image in images]] = 0
    return coefficients > median, quality


class PdqEmbedder:
    """PDQ hashes as vectors: 256 values of +-1/16, or zeros for an image of low quality."""

    name = "pdq"
    dim = BITS
    default_remove_similarity = REMOVE_SIMILARITY

    def __init__(self) -> None:
        self.fingerprint = hash_json(preprocessing())

    def embed(self, images: Sequence[Image]) -> Float32:
        """(n, 256) float32 vectors."""
        bits, quality = hashes(images)
        vectors = np.where(bits, _BIT, -_BIT)
        vectors[quality < MIN_QUALITY] = 0
        return np.asarray(vectors, np.float32)
