"""Score normalisation: how near a picture is to everything, so that a picture of nothing in particular counts less.

s_n = s - mean of the query's three largest similarities to a background set of images that are no copies of it (Douze
et al. 2021, the recipe of the Image Similarity Challenge's organisers and winners). In: background vectors, of the
descriptor in use. Out: that mean, for each query. A background neighbour that is the query itself or a copy of it says
nothing of the sort, so such are passed over.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .errors import DedupError
from .resample import Float32
from .search import FlatSearcher
from .vectors import Float16

NEIGHBOURS: Final = 3
SAME: Final = 0.95  # a background image this near is a copy of the query
_SPARE: Final = 5  # copies of one query among the background that are passed over, at most


class Background:
    """Background vectors, resident."""

    def __init__(self, vectors: Float16) -> None:
        """Takes (n, dim) float16 unit vectors.

        Raises:
            DedupError: there are too few.
        """
        if len(vectors) < NEIGHBOURS + _SPARE:
            raise DedupError(
                f"decontaminate.background: expected {NEIGHBOURS + _SPARE} images or more to compare with, found "
                f"{len(vectors)}; name a folder of a thousand or so, or say normalise = false"
            )
        self._searcher = FlatSearcher(vectors)

    def usual(self, queries: Float32) -> Float32:
        """(m,) float32: the mean of each query's three largest similarities to the background, copies passed over."""
        near = self._searcher.top(queries, NEIGHBOURS + _SPARE)
        skip = np.minimum((near >= SAME).sum(axis=1), _SPARE)
        columns = skip[:, None] + np.arange(NEIGHBOURS)
        mean: Float32 = np.take_along_axis(near, columns, axis=1).mean(axis=1, dtype=np.float32)
        return mean
