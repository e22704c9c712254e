"""Copying ragged rows without a loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


def ragged_places(source: Int64s, target: Int64s, lengths: Int64s) -> tuple[Int64s, Int64s]:
    """Positions of all values of m lists that begin at `source` (m,) and shall begin at `target` (m,).

    Returns:
        Two arrays (nnz,) int64: `out[second] = values[first]` copies the lists.
    """
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(source, lengths) + within, np.repeat(target, lengths) + within
