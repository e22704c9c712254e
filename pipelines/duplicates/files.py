"""What this package reads and writes in a build's folder.

`cells/` vectors by cell and hashes by block, for readers of other buckets; `edges/` links, and under members/ what
hangs together; `members/` the vectors of these, and under groups/ the groups; `duplicates/` what is kept
(`openjft.dedup.schema.DUPLICATES`), and under lent/ labels for representatives in other buckets.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openjft.dedup import vectors_of
from openjft.dedup.schema import DUPLICATES, PERCEPTUAL, VECTOR
from openjft.dedup.vectors import check_finite
from openjft.pipelines.errors import StaleError
from openjft.pipelines.keys import buckets_of, key_words, sortable_keys
from openjft.pipelines.schema import KEY, KEY_TYPE, LABEL, STATUS_OK
from openjft.pipelines.storage import Store, bucket_file

CELLS: Final = "cells"
CENTRES_FILE: Final = f"{CELLS}/fit/centres.npy"
VECTORS: Final = "vectors.arrow"  # endings of the files of a bucket
MARKS: Final = "marks.arrow"
EDGES: Final = "edges"
MEMBERS_FOLDER: Final = f"{EDGES}/members"
MEMBERS: Final = "members"
GROUPS_FOLDER: Final = f"{MEMBERS}/groups"
SUMMARY_FILE: Final = f"{MEMBERS}/_groups.json"
FOLDER: Final = "duplicates"
LENT_FOLDER: Final = f"{FOLDER}/lent"

# Equal (kind, block): hashes that share a band, or a part of sha256. Equal value too: the same hash.
MARK: Final = pa.schema(
    [
        pa.field("kind", pa.uint8(), nullable=False),  # the number of the hash: SHA256 or PHASH
        pa.field("block", pa.uint64(), nullable=False),
        pa.field("value", pa.uint64(), nullable=False),
        pa.field(KEY, KEY_TYPE, nullable=False),
    ]
)
SHA256: Final = 0
PHASH: Final = 1

EDGE: Final = pa.schema([pa.field("a", KEY_TYPE, nullable=False), pa.field("b", KEY_TYPE, nullable=False)])
MEMBER: Final = pa.schema([pa.field(KEY, KEY_TYPE, nullable=False), pa.field("component", pa.int64(), nullable=False)])
GROUPED: Final = pa.schema([field for field in DUPLICATES if field.name != "kept"])
LENT: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),  # of the representative
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("asserted", pa.bool_(), nullable=False),
        pa.field("from_label", pa.int32(), nullable=False),
    ]
)


def vector_schema(dim: int, place: pa.Field) -> pa.Schema:
    """Rows of an image with its vector, in a cell or in a component."""
    return pa.schema(
        [
            place,
            pa.field(KEY, KEY_TYPE, nullable=False),
            pa.field("sha256", pa.binary(32), nullable=False),
            pa.field("pixels", pa.int64(), nullable=False),  # of the original
            pa.field(VECTOR, pa.list_(pa.field("item", pa.float16(), nullable=False), dim), nullable=False),
        ]
    )


CELL: Final = pa.field("cell", pa.int32(), nullable=False)
COMPONENT: Final = pa.field("component", pa.int64(), nullable=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """The n stored images of a bucket, in key order.

    Attributes:
        keys: binary(16).
        sha256: binary(32) of the bytes as received.
        pixels: (n,) int64 of the original.
        vectors: (n, dim) float16; zeros where there is none.
        perceptual: n uint64, null where there is none.
    """

    keys: pa.Array
    sha256: pa.Array
    pixels: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float16]
    perceptual: pa.Array

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, place: pa.Field, values: npt.NDArray[np.integer[Any]], take: npt.NDArray[np.int64]) -> pa.Table:
        """Some images as rows of `vector_schema`, each with its place."""
        schema = vector_schema(self.vectors.shape[1], place)
        flat = pa.array(np.ascontiguousarray(self.vectors[take]).reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(VECTOR).type)
        at = pa.array(take)
        columns = [pa.array(values), self.keys.take(at), self.sha256.take(at), pa.array(self.pixels[take]), vectors]
        return pa.table(columns, schema=schema)


def read_images(store: Store, bucket: int, num_buckets: int) -> Images:
    """Joins the catalog and the embeddings of a bucket.

    Raises:
        StaleError: an embedded image is not in the catalog.
    """
    columns = [KEY, "status", "sha256", "original_width", "original_height"]
    catalog = store.read_table(bucket_file("catalog", bucket, num_buckets), columns)
    catalog = catalog.filter(pc.equal(catalog["status"], STATUS_OK)).combine_chunks()
    keys = _column(catalog, KEY)
    sides = [pc.fill_null(catalog[c], 0).to_numpy().astype(np.int64) for c in columns[3:]]
    path = bucket_file("embeddings", bucket, num_buckets)
    with store.reading(path) as source:
        embedded = pq.read_table(source).combine_chunks()
    dim = embedded.schema.field(VECTOR).type.list_size
    found = vectors_of(embedded[VECTOR], dim, origin=path)
    check_finite(found, origin=path)
    at = places(_column(embedded, KEY), keys)
    if (at < 0).any():
        raise StaleError(
            f"{store.path(path)}: expected images of catalog/, found others: the two are not of one run. Run "
            "`openjft embed CONFIG` again"
        )
    vectors = np.zeros((len(keys), dim), np.float16)
    vectors[at] = found
    row = np.full(len(keys), -1, np.int64)
    row[at] = np.arange(len(at))
    hashes = pa.nulls(len(keys), pa.uint64())
    if PERCEPTUAL in embedded.column_names:  # embeddings of an older build have none
        hashes = _column(embedded, PERCEPTUAL).take(pa.array(row, mask=row < 0))
    return Images(keys, _column(catalog, "sha256"), sides[0] * sides[1], vectors, hashes)


def _column(table: pa.Table, name: str) -> pa.Array:
    """A column as one array."""
    column = table[name].combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def write_by_bucket(store: Store, folder: str, num_buckets: int, table: pa.Table) -> None:
    """Rows in key order, each in the file of its bucket; a bucket without rows has an empty file."""
    buckets = buckets_of(table[KEY], num_buckets)
    for bucket in range(num_buckets):
        start, stop = np.searchsorted(buckets, [bucket, bucket + 1]).tolist()
        store.write_table(bucket_file(folder, bucket, num_buckets), table.slice(start, stop - start))


def sorted_words(keys: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """(n,) keys as NumPy sorts them."""
    return sortable_keys(key_words(keys))


def places(keys: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """(n,) int64 row of each key among sorted ones; -1 where it is not there."""
    wanted, known = sorted_words(keys), sorted_words(among)
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at, -1).astype(np.int64)


def key_array(words: npt.NDArray[np.bytes_]) -> pa.FixedSizeBinaryArray:
    """Keys as Arrow holds them, of byte strings that NumPy has stripped of zeros at their ends."""
    data = np.ascontiguousarray(words.astype(f"S{KEY_TYPE.byte_width}"))
    return pa.FixedSizeBinaryArray.from_buffers(KEY_TYPE, len(data), [None, pa.py_buffer(data.tobytes())])
