"""The report on visual consistency: each category's images by their distance to its k-means centroids.

In: the sample of kept labels and embeddings/. Out: a section with a gallery for each of the largest categories, its
images in bins of equal number from the nearest to the farthest (the paper's Figure 2). A diagnostic to see: a second
sense has a centroid of its own and lies near it, so nothing is decided by this distance (`openjft.pipelines.visual`
makes scores that see it). Bounded: so many images of a category, out of the first buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup import vectors_of
from openjft.dedup.schema import KEY, VECTOR
from openjft.pipelines.contradictions import Images
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.schema import KEY_TYPE, LABEL
from openjft.pipelines.storage import Store, bucket_file
from openjft.pipelines.visual.modes import kmeans

from .figures import many
from .page import Gallery, Picture, Section

BINS: Final = 6
PICTURES: Final = 3  # of a bin
CENTROIDS: Final = 4
IMAGES: Final = 256  # of a category: bins of 43
SEED: Final = 17
_TRIED: Final = 2  # pictures asked for, for each shown: some may not decode

Thumbnails = Callable[[Collection[bytes]], dict[bytes, str]]
Float32s = npt.NDArray[np.float32]


def consistency_section(
    labels: pa.Table, names: Sequence[str], store: Store, num_buckets: int, thumbnails: Thumbnails, n: int
) -> Section | None:
    """The section; None where no kept label's image has an embedding.

    Args:
        labels: sample of kept labels (LABELS), sorted by key.
        names: of the categories, by label.
        store: the build's folder.
        num_buckets: of the build.
        thumbnails: pictures by key, of those that there are.
        n: categories shown, those of the most labels in the sample.
    """
    largest = _largest(labels[LABEL].to_numpy(), n)
    keys_of = {label: _keys(labels, label) for label in largest}
    found = _vectors(store, num_buckets, list(keys_of.values()))
    galleries = []
    for label, keys in keys_of.items():
        known = [key for key in keys.to_pylist() if key in found]
        if known:
            vectors = np.stack([found[key] for key in known]).astype(np.float32)
            galleries.append(_gallery(names[label], known, vectors, thumbnails))
    if not any(gallery.pictures for gallery in galleries):
        return None
    text = (
        f"Images of {many(len(galleries), 'category', 'categories')} with the most kept labels, in bins of equal "
        "number by their distance to the nearest k-means centroid of the category, nearest first. This is for looking: "
        "nothing is dropped by it, since pictures of a second sense have a centroid of their own and look central. "
        "The command openjft visual makes scores that tell them."
    )
    return Section("consistency", "Visual consistency", text, galleries=galleries)


def bins_by_distance(vectors: Float32s) -> tuple[Float32s, list[npt.NDArray[np.int64]]]:
    """Distances to the nearest centroid, and the images of each bin, nearest first.

    Args:
        vectors: (n, d) of one category, at least one.

    Returns:
        ((n,) float32, at most `BINS` arrays of rows of nearly equal length, none of them empty).
    """
    weight = np.ones(len(vectors))
    mode = kmeans(vectors, weight, min(CENTROIDS, len(vectors)), seed=SEED)
    centroids = np.stack([vectors[mode == m].mean(axis=0) for m in range(int(mode.max()) + 1)])
    away = vectors - centroids[mode]
    distance = np.sqrt(np.einsum("ij,ij->i", away, away))
    order = np.argsort(distance, kind="stable")
    return distance, [part for part in np.array_split(order, BINS) if len(part)]


def _largest(labels: npt.NDArray[np.int32], n: int) -> list[int]:
    """At most n labels, the most frequent first; equals by label."""
    used, counts = np.unique(labels, return_counts=True)
    chosen: list[int] = used[np.argsort(-counts, kind="stable")[:n]].tolist()
    return chosen


def _keys(labels: pa.Table, label: int) -> pa.Array:
    keys = labels.filter(pc.equal(labels[LABEL], label))[KEY].slice(0, IMAGES)
    return keys.combine_chunks()


def _vectors(store: Store, num_buckets: int, keys: Sequence[pa.Array]) -> dict[bytes, npt.NDArray[np.float16]]:
    """Vectors by key, of those that there are."""
    found: dict[bytes, npt.NDArray[np.float16]] = {}
    if not keys:
        return found
    wanted = pa.array(sorted({key for some in keys for key in some.to_pylist()}), KEY_TYPE)
    buckets = buckets_of(wanted, num_buckets)
    for bucket in np.unique(buckets).tolist():
        path = bucket_file("embeddings", bucket, num_buckets)
        if not store.exists(path):
            continue
        table = store.read_table(path, [KEY, VECTOR])
        vectors = vectors_of(table[VECTOR], table.schema.field(VECTOR).type.list_size, origin=path)
        mine = wanted.filter(pa.array(buckets == bucket))
        row = Images.of(table[KEY]).find(pa.chunked_array([mine]))
        for key, place in zip(mine.to_pylist(), row.tolist(), strict=True):
            if place >= 0 and np.isfinite(vectors[place]).all():
                found[key] = vectors[place]
    return found


def _gallery(name: str, keys: Sequence[bytes], vectors: Float32s, thumbnails: Thumbnails) -> Gallery:
    distance, bins = bins_by_distance(vectors)
    tried = [_spread(part, PICTURES * _TRIED) for part in bins]
    pictures = thumbnails([keys[i] for part in tried for i in part])
    shown = []
    for number, (part, some) in enumerate(zip(bins, tried, strict=True), start=1):
        images = [pictures[keys[i]] for i in some if keys[i] in pictures]
        if images:
            images = [images[i] for i in _spread(np.arange(len(images)), PICTURES)]
            lines = [
                f"distance {distance[part[0]]:.3f} to {distance[part[-1]]:.3f}",
                many(len(part), "image", "images"),
            ]
            shown.append(Picture(images, f"bin {number} of {len(bins)}", lines))
    return Gallery(name, shown, many(len(keys), "image", "images") + " of the sample", wide=True)


def _spread(rows: npt.NDArray[np.int64], count: int) -> list[int]:
    """At most `count` of the rows, from the first to the last."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)
    chosen: list[int] = rows[places].tolist()
    return chosen
