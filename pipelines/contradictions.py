"""Contradictions in a build: pairs of categories that exclude each other, and the labels of a bucket that do.

In: `labels/`, `negatives/` (labels that a person denied; no file means none). Out: `expanded/_disjoint.json`, learned
in the driver on a prefix of the buckets, which is a uniform sample of the images; and rows of `CONTRADICTIONS`. The
statistics are `openjft.taxonomy.contradictions`'. Labels are flagged, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.taxonomy import Closure, Taxonomy
from openjft.taxonomy.contradictions import (
    Contradictions,
    DisjointPairs,
    denied_by,
    find_contradictions,
    find_denied,
    learn_disjoint,
)

from .config import Expand
from .keys import KEY_BYTES, first_of_image, key_words, sortable_keys
from .schema import CONTRADICTIONS, KEY, LABEL
from .storage import Store, bucket_file

FOLDER: Final = "contradictions"
DISJOINT: Final = "expanded/_disjoint.json"
DISJOINT_KIND: Final = "disjoint"
NEGATIVE_KIND: Final = "verified_negative"
NEGATIVES_STAGE: Final = "negatives"

# A pair of categories needs some hundred expected images: with 4M labels both may be as rare as 1 % of the images of
# several labels. More would be read in the driver, one process, for pairs that are rarer still.
SAMPLE_LABELS: Final = 4_000_000

Words = npt.NDArray[np.uint64]


class Images(NamedTuple):
    """The images of a bucket's rows, which are sorted by key.

    Attributes:
        number: (n,) int64 image of each row, from 0.
        words: (images, 2) uint64 key of each image, its bytes.
    """

    number: npt.NDArray[np.int64]
    words: Words

    @classmethod
    def of(cls, keys: pa.ChunkedArray) -> Images:
        """The images of (n,) keys, sorted."""
        first = first_of_image(keys)
        return cls(np.cumsum(first) - 1, np.ascontiguousarray(key_words(keys)).view(np.uint64)[first])

    def __len__(self) -> int:
        return len(self.words)

    def keys(self, number: npt.NDArray[np.int64]) -> pa.FixedSizeBinaryArray:
        """(m,) keys of images."""
        buffers = [None, pa.py_buffer(self.words[number])]
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(number), buffers)

    def find(self, keys: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """(m,) int64 image of each key, -1 where there is none."""
        own, wanted = sortable_keys(self.words), sortable_keys(key_words(keys))
        if not len(own):
            return np.full(len(wanted), -1, np.int64)
        place = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
        return np.where(own[place] == wanted, place, -1)


class Negatives(NamedTuple):
    """Verified negatives of a bucket's images: (m,) int64 image and (m,) int32 label."""

    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int32]

    @classmethod
    def none(cls) -> Negatives:
        """No negatives."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int32))

    @classmethod
    def read(cls, store: Store, unit: int, num_buckets: int, images: Images) -> Negatives:
        """Those of the images that have labels; none where there is no file."""
        path = bucket_file(NEGATIVES_STAGE, unit, num_buckets)
        if not store.exists(path):
            return cls.none()
        table = store.read_table(path, [KEY, LABEL])
        image = images.find(table[KEY])
        known = image >= 0
        return cls(image[known], table[LABEL].to_numpy()[known])

    def deny(
        self, image: npt.NDArray[np.int64], label: npt.NDArray[np.int32], closure: Closure
    ) -> npt.NDArray[np.bool_]:
        """(n,) whether each label is a verified negative of its image, or below one."""
        denied = np.zeros(len(label), np.bool_)
        if len(self.image):
            denied[denied_by(image, label, self.image, self.label, closure)[0]] = True
        return denied


def learn(store: Store, config: Expand, num_buckets: int, taxonomy: Taxonomy, closure: Closure) -> dict[str, Any]:
    """Learns the disjoint pairs on a prefix of the buckets.

    Returns:
        JSON values: `buckets`, `labels` and `images` of the sample, `images_of_several` labels, `categories` that were
        frequent enough, `tested` pairs; and `pairs`, each with label, id and name of both sides, `observed` images
        with both, `expected` by chance, `lift` and its upper `bound`.
    """
    tables, rows, buckets = [], 0, 0
    while buckets < num_buckets and rows < SAMPLE_LABELS:
        path = bucket_file("labels", buckets, num_buckets)
        tables.append(store.read_table(path, [KEY, LABEL, "probability"]))
        rows, buckets = rows + tables[-1].num_rows, buckets + 1
    table = pa.concat_tables(tables).combine_chunks()
    images = Images.of(table[KEY])
    pairs = learn_disjoint(
        images.number,
        table[LABEL].to_numpy(),
        table["probability"].to_numpy(),
        closure,
        max_lift=config.max_lift,
        min_images=config.min_images,
    )
    return {
        "buckets": buckets,
        "labels": rows,
        "images": len(images),
        "images_of_several": pairs.images,
        "categories": pairs.categories,
        "tested": pairs.tested,
        "pairs": [_pair(pairs, i, taxonomy) for i in range(len(pairs))],
    }


def _pair(pairs: DisjointPairs, i: int, taxonomy: Taxonomy) -> dict[str, Any]:
    sides = {"a": int(pairs.label_a[i]), "b": int(pairs.label_b[i])}
    told: dict[str, Any] = {}
    for side, label in sides.items():
        told |= {f"label_{side}": label, f"id_{side}": taxonomy.ids[label], f"name_{side}": taxonomy.names[label]}
    numbers = {"expected": pairs.expected[i], "lift": pairs.lift[i], "bound": pairs.bound[i]}
    return told | {"observed": int(pairs.observed[i])} | {key: round(float(x), 6) for key, x in numbers.items()}


def disjoint_pairs(value: Mapping[str, Any]) -> DisjointPairs:
    """The pairs of `learn`'s JSON."""
    pairs = value["pairs"]

    def column(name: str, kind: type[np.generic]) -> npt.NDArray[Any]:
        return np.array([pair[name] for pair in pairs], kind)

    return DisjointPairs(
        column("label_a", np.int32),
        column("label_b", np.int32),
        column("observed", np.int64),
        column("expected", np.float64),
        column("lift", np.float64),
        column("bound", np.float64),
        value["images_of_several"],
        value["categories"],
        value["tested"],
    )


def contradictions_table(
    labels: pa.Table,
    images: Images,
    negatives: Negatives,
    closure: Closure,
    *,
    disjoint: DisjointPairs | None,
    negative_error_rate: float,
) -> tuple[pa.Table, dict[str, int]]:
    """A bucket's asserted labels that contradict each other or a person.

    Args:
        labels: the bucket's rows of `LABELS`, sorted by (image_key, label).
        images: of these rows.
        negatives: of these images.
        closure: of the labels' taxonomy.
        disjoint: pairs of categories that exclude each other; None: not looked for.
        negative_error_rate: share of the verified negatives that are wrong.

    Returns:
        (rows of `CONTRADICTIONS`, how many of each kind).
    """
    columns = (images.number, labels[LABEL].to_numpy(), labels["probability"].to_numpy())
    found: dict[str, Contradictions] = {}
    if disjoint is not None and len(disjoint):
        found[DISJOINT_KIND] = find_contradictions(*columns, disjoint, closure)
    if len(negatives.image):
        found[NEGATIVE_KIND] = find_denied(*columns, *negatives, closure, error_rate=negative_error_rate)
    tables = [CONTRADICTIONS.empty_table(), *(_rows(items, kind, images) for kind, items in found.items())]
    order = [(name, "ascending") for name in (KEY, "label_a", "label_b", "kind")]
    table = pa.concat_tables(tables).combine_chunks().sort_by(order)
    counts = {kind: len(found[kind].label_a) if kind in found else 0 for kind in (DISJOINT_KIND, NEGATIVE_KIND)}
    return table, counts


def _rows(found: Contradictions, kind: str, images: Images) -> pa.Table:
    columns = [
        images.keys(found.image_index),
        pa.array(found.label_a),
        pa.array(found.label_b),
        pa.array(np.full(len(found.label_a), kind), pa.string()),
        pa.array(found.lift, mask=np.isnan(found.lift)),
        pa.array(found.probability),
    ]
    return pa.table(columns, schema=CONTRADICTIONS)
