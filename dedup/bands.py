"""A perceptual hash of 64 bits, and the pairs whose hashes differ in at most three of them.

In: images. Out: `perceptual_hash`, the signs of 64 low frequencies against their median (pHash: Zauner 2010), and
`band_blocks` and `close_values`, by which close hashes are found without comparing all with all: of two hashes that
differ in at most 3 bits, one of 4 bands of 16 bits is equal. It knows copies that were recompressed, resized or
recoloured; what it finds is held against the vectors before it counts.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from .resample import Float32, Image, grey

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

BANDS: Final = 4
BAND_BITS: Final = 16
MAX_DISTANCE: Final = BANDS - 1  # differing bits that cannot touch every band
# Distinct hashes of a block that are compared with each other; in a larger block only equal hashes are linked.
MAX_VALUES: Final = 16_384
_SIDE: Final = 32
# Mean of |c| below which the bits are noise: one grey level of structure in all 32 x 32 cells gives about 1.
_FLAT: Final = 4.0
_VERSION: Final = 1
_ROWS: Final = 512


@functools.cache
def _basis() -> tuple[Float32, Int64, Int64]:
    """(12, 32) first rows of the orthonormal DCT-II; rows and columns of the 64 lowest frequencies but the constant."""
    side = 12
    basis = np.cos(np.pi * np.outer(np.arange(side), np.arange(_SIDE) + 0.5) / _SIDE) * np.sqrt(2 / _SIDE)
    basis[0] /= np.sqrt(2)
    row, column = np.divmod(np.arange(side * side), side)
    order = np.lexsort((row, row + column))[1:65]
    return basis.astype(np.float32), row[order], column[order]


def perceptual_hash(image: Image) -> int | None:
    """64 bits of an RGB image; None where it is too plain for them to mean anything."""
    basis, row, column = _basis()
    low = (basis @ grey(image, _SIDE) @ basis.T)[row, column]
    if float(np.abs(low).mean()) < _FLAT:
        return None
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def fingerprint() -> str:
    """What decides the bits."""
    return f"phash64-v{_VERSION}"


def band_blocks(hashes: UInt64) -> UInt64:
    """(n, 4) uint64: the block of each band; hashes with an equal band share a block, other bands never do."""
    bands = np.arange(BANDS, dtype=np.uint64)
    bits = (hashes[:, None] >> (bands * np.uint64(BAND_BITS))) & np.uint64((1 << BAND_BITS) - 1)
    return bits | (bands << np.uint64(BAND_BITS))


def close_values(values: UInt64, *, max_distance: int = MAX_DISTANCE) -> tuple[Int64, Int64]:
    """Pairs of hashes of one block that differ in at most `max_distance` bits.

    Args:
        values: (n,) distinct hashes.
        max_distance: differing bits.

    Returns:
        (a, b) rows of each pair, a < b, by a and then b. None where n is above `MAX_VALUES`: a block so large holds
        hardly anything but plain pictures.
    """
    found: list[tuple[Int64, Int64]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    if len(values) > MAX_VALUES:
        return found[0]
    for start in range(0, len(values), _ROWS):
        distance = np.bitwise_count(values[start : start + _ROWS, None] ^ values[None, start:])
        a, b = np.nonzero(distance <= max_distance)
        later = b > a
        found.append((a[later] + start, b[later] + start))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])
