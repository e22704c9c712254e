"""Groups of images that show one picture: connected components, each member held against its representative.

In: links between images (any order, some of them wrong), and the members' vectors, hashes and order of importance. Out:
the representative of each. A chain of similar pairs may lead from one picture to another; so each component is taken
apart: its most important image takes what is as similar to itself as the threshold asks, of the others again the most
important takes what is left, until none is left. That is the same as going through all images from the most important
on and giving each those near it that have no representative yet; the order of the links plays no part.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .resample import Float32
from .vectors import Float16

Int64 = npt.NDArray[np.int64]
_BLOCK: Final = 65_536


class Groups(NamedTuple):
    """Of n images.

    Attributes:
        leader: (n,) int64 row of each one's representative, itself where it is one or is alone.
        similarity: (n,) float32 cosine to the representative; 1 for itself and for the same bytes.
        failures: images that hung together with the first of their component and are not similar to it.
    """

    leader: Int64
    similarity: Float32
    failures: int


def connected(a: Int64, b: Int64, n: int) -> Int64:
    """(n,) int64: the component of each of n nodes, numbered by their first nodes.

    Args:
        a: (m,) one end of each link.
        b: (m,) the other end.
        n: nodes.
    """
    # scipy takes half a second to import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    _, first, component = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[component], np.int64)


def make_groups(component: Int64, rank: Int64, content: Int64, vectors: Float16, *, min_similarity: float) -> Groups:
    """Takes components apart into groups.

    Args:
        component: (n,) of each image.
        rank: (n,) distinct; the least of a group is its representative.
        content: (n,) equal numbers for equal bytes: these are similar whatever their vectors say.
        vectors: (n, dim) about unit length; a row of zeros is similar to nothing.
        min_similarity: cosine to the representative.
    """
    leader = np.arange(len(component), dtype=np.int64)
    similarity = np.ones(len(component), np.float32)
    left = np.lexsort((rank, component))
    failures = -1
    while len(left):
        owner = component[left]
        begins = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
        of = np.repeat(left[begins], np.diff(np.append(begins, len(left))))
        near = _cosines(vectors, left, of)
        same = content[left] == content[of]
        near[same] = 1.0
        taken = near >= np.float32(min_similarity)
        taken |= same
        leader[left[taken]], similarity[left[taken]] = of[taken], near[taken]
        left = left[~taken]
        failures = len(left) if failures < 0 else failures
    return Groups(leader, similarity, max(failures, 0))


def _cosines(vectors: Float16, a: Int64, b: Int64) -> Float32:
    """(m,) float32 cosines of pairs of rows, in float64; minus infinity where one is zero."""
    out = np.empty(len(a), np.float32)
    for start in range(0, len(a), _BLOCK):
        part = slice(start, start + _BLOCK)
        x, y = vectors[a[part]].astype(np.float64), vectors[b[part]].astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", x, x) * np.einsum("ij,ij->i", y, y))
        product = np.einsum("ij,ij->i", x, y) / np.where(lengths == 0, 1.0, lengths)
        out[part] = np.where(lengths == 0, -np.inf, np.clip(product, -1, 1))
    return out
