"""Cells of vector space: k-means centres, so that only vectors of one cell are compared with each other.

In: a sample of unit vectors. Out: `train_cells`, the centres, and `assign_cells`, the nearest cells of each vector. A
vector goes into its two nearest cells: near-duplicates on both sides of a border still meet in one of them. With one
cell nothing is left out, and small sets have one.
"""

from __future__ import annotations

from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from .errors import DedupError
from .resample import Float32
from .vectors import Float16

Int32 = npt.NDArray[np.int32]

MAX_CELLS: Final = 65_536
# Vectors of a cell, so that comparing all of a cell takes about a second; 300M images, each in two cells, are 9,200 for
# each of 65,536.
IMAGES_OF_A_CELL: Final = 4_096
NEAREST: Final = 2
ITERATIONS: Final = 10
_SAMPLE_OF_A_CELL: Final = 64
_SAMPLE_VALUES: Final = 1 << 30  # 4 GiB of float32: at 512 dimensions 32 vectors for each of 65,536 cells
_BLOCK: Final = 16_384


def num_cells(images: int) -> int:
    """How many cells so many images get: 1 up to 8,191, a power of 2, at most `MAX_CELLS`."""
    wanted = max(images // IMAGES_OF_A_CELL, 1)
    return min(1 << (wanted.bit_length() - 1), MAX_CELLS)


def sample_size(cells: int, dim: int) -> int:
    """Vectors to train so many cells on; 0 where there is nothing to train."""
    return 0 if cells <= 1 else max(min(_SAMPLE_OF_A_CELL * cells, _SAMPLE_VALUES // dim), cells)


def train_cells(sample: Float32 | Float16, cells: int, *, seed: int) -> Float32:
    """Centres of the cells.

    Args:
        sample: (n, dim) unit vectors; rows of zeros are left out.
        cells: how many; fewer come out of a sample with fewer vectors.
        seed: of the first centres.

    Returns:
        (c, dim) float32 unit vectors, c at least 1 where the sample is not empty. Equal samples give equal centres on
        one machine.

    Raises:
        DedupError: `cells` is out of range.
    """
    if not 1 <= cells <= MAX_CELLS:
        raise DedupError(f"expected 1 to {MAX_CELLS:,} cells, found {cells:,}")
    used = np.ascontiguousarray(sample[np.asarray(sample != 0).any(axis=1)], np.float32)
    count = min(cells, len(used))
    if count <= 1:
        return used[:count]
    kmeans: Any = faiss.Kmeans(
        used.shape[1], count, niter=ITERATIONS, seed=seed, spherical=True, min_points_per_centroid=1,
        max_points_per_centroid=len(used), gpu=faiss.get_num_gpus() > 0,
    )  # fmt: skip
    kmeans.train(used)
    centres: Float32 = kmeans.centroids
    return centres


def assign_cells(vectors: Float32 | Float16, centres: Float32, *, nearest: int = NEAREST) -> Int32:
    """The nearest cells of each vector, by cosine.

    Returns:
        (n, k) int32, the nearest first; k is `nearest` or the number of cells, whichever is less. -1 where the vector
        is zero, which says that the image shows too little to be compared.
    """
    k = min(nearest, len(centres))
    cells = np.full((len(vectors), k), -1, np.int32)
    if not k:
        return cells
    index = faiss.IndexFlatIP(centres.shape[1])
    index.add(np.ascontiguousarray(centres))
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK], np.float32)
        _, found = index.search(block, k)
        cells[start : start + _BLOCK] = np.where((block != 0).any(axis=1)[:, None], found, -1)
    return cells
