"""A shard's index in memory: where each sample lies, its key, hash and labels, as NumPy arrays.

In: the Parquet table beside a tar. Out: `ShardIndex`. `IndexCache` keeps the indexes last used, up to a number of
bytes.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openjft.taxonomy import Csr

from .errors import DatasetError
from .schema import GROUPS, INDEX, INDEX_2, KEY_BYTES

INDEX_CACHE_BYTES: Final = 1 << 30

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, eq=False)
class ShardIndex:
    """The index of a shard of n samples with nnz labels.

    Attributes:
        keys: (n, 16) uint8, rising.
        offsets: (n,) int64 of the JPEG in the tar, bytes.
        sizes: (n,) int32, bytes.
        sha256: (n, 32) uint8 of the JPEG.
        widths: (n,) int32, pixels.
        heights: (n,) int32, pixels.
        labels: n lists of label ids, each rising.
        probabilities: (nnz,) float32.
        asserted: (nnz,) bool; False: inferred through the hierarchy.
        from_labels: (nnz,) int32 asserted label that each comes from, itself where asserted.
        negatives: n lists of verified negatives, each rising; all categories below them are denied, too.
        groups: (n, 16) uint8 key of the group's representative: samples of one group show one picture. Its own where it
            is alone.
    """

    keys: npt.NDArray[np.uint8]
    offsets: Int64s
    sizes: npt.NDArray[np.int32]
    sha256: npt.NDArray[np.uint8]
    widths: npt.NDArray[np.int32]
    heights: npt.NDArray[np.int32]
    labels: Csr
    probabilities: npt.NDArray[np.float32]
    asserted: npt.NDArray[np.bool_]
    from_labels: npt.NDArray[np.int32]
    negatives: Csr
    groups: npt.NDArray[np.uint8]

    @classmethod
    def plain(
        cls,
        *,
        keys: npt.NDArray[np.uint8],
        offsets: Int64s,
        sizes: npt.NDArray[np.int32],
        sha256: npt.NDArray[np.uint8],
        widths: npt.NDArray[np.int32],
        heights: npt.NDArray[np.int32],
        labels: Csr,
    ) -> ShardIndex:
        """Of images that are not of this project: every label asserted and certain, nothing denied, no groups."""
        return cls(
            keys=keys,
            offsets=offsets,
            sizes=sizes,
            sha256=sha256,
            widths=widths,
            heights=heights,
            labels=labels,
            probabilities=np.ones(len(labels.values), np.float32),
            asserted=np.ones(len(labels.values), np.bool_),
            from_labels=labels.values,
            negatives=Csr(np.empty(0, np.int32), np.zeros(len(sizes) + 1, np.int64)),
            groups=keys,
        )

    @property
    def num_samples(self) -> int:
        """Samples of the shard."""
        return len(self.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = (self.keys, self.offsets, self.sizes, self.sha256, self.widths, self.heights, self.groups)
        labels = (*self.labels, self.probabilities, self.asserted, self.from_labels, *self.negatives)
        return sum(array.nbytes for array in (*arrays, *labels))


class Sized(Protocol):
    """Something that knows its size in memory."""

    @property
    def nbytes(self) -> int: ...  # noqa: D102


T = TypeVar("T", bound=Sized)


class IndexCache(Generic[T]):
    """The indexes last used, dropped above a number of bytes; safe from many threads.

    Args:
        read: gives the index of a shard.
        max_bytes: of the indexes kept; one is kept in any case.
    """

    def __init__(self, read: Callable[[int], T], *, max_bytes: int = INDEX_CACHE_BYTES) -> None:
        self._read, self.max_bytes = read, max_bytes
        self._lock = threading.Lock()
        self._indexes: OrderedDict[int, T] = OrderedDict()
        self._bytes = 0

    def get(self, shard: int) -> T:
        """The index of a shard, from memory or read."""
        with self._lock:
            found = self._indexes.get(shard)
            if found is not None:
                self._indexes.move_to_end(shard)
                return found
        found = self._read(shard)
        with self._lock:
            if shard not in self._indexes:
                self._indexes[shard] = found
                self._bytes += found.nbytes
            while self._bytes > self.max_bytes and len(self._indexes) > 1:
                self._bytes -= self._indexes.popitem(last=False)[1].nbytes
        return found


def read_parquet(source: Any, *, where: str) -> pa.Table:
    """A Parquet file of a dataset.

    Raises:
        DatasetError: it is damaged.
    """
    try:
        return pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{where}: expected a Parquet file, found damage: {error}") from error


def parse_index(table: pa.Table, *, where: str) -> ShardIndex:
    """A table of schema `INDEX` as arrays.

    Raises:
        DatasetError: a column is missing or of a wrong type, holds nulls, or the lists differ in length.
    """
    if table.schema == INDEX_2:
        table = table.append_column(INDEX.field("group"), pa.nulls(table.num_rows, INDEX.field("group").type))
    if table.schema != INDEX:
        raise DatasetError(f"{where}: expected the columns\n{INDEX}\nfound\n{table.schema.remove_metadata()}")
    if any(table[name].null_count for name in INDEX_2.names):
        raise DatasetError(f"{where}: expected no nulls")
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    lists = {name: columns[name] for name in ("labels", "probabilities", "asserted", "from_labels")}
    offsets = {name: _list_offsets(column) for name, column in lists.items()}
    if any(not np.array_equal(offsets["labels"], other) for other in offsets.values()):
        raise DatasetError(f"{where}: expected {', '.join(lists)} of one length in each row")
    groups = pc.coalesce(columns["group"], columns["image_key"])
    return ShardIndex(
        keys=fixed_bytes(columns["image_key"], KEY_BYTES),
        offsets=columns["offset"].to_numpy(),
        sizes=columns["size"].to_numpy(),
        sha256=fixed_bytes(columns["sha256"], 32),
        widths=columns["width"].to_numpy(),
        heights=columns["height"].to_numpy(),
        labels=Csr(lists["labels"].flatten().to_numpy(), offsets["labels"]),
        probabilities=lists["probabilities"].flatten().to_numpy(),
        asserted=lists["asserted"].flatten().to_numpy(zero_copy_only=False),
        from_labels=lists["from_labels"].flatten().to_numpy(),
        negatives=Csr(columns["negatives"].flatten().to_numpy(), _list_offsets(columns["negatives"])),
        groups=fixed_bytes(groups, KEY_BYTES),
    )


def parse_groups(table: pa.Table, num_samples: int, *, where: str) -> tuple[Int64s, UInt64s]:
    """A table of schema `GROUPS`: numbers, and the first 64 bits of the keys of their groups.

    Raises:
        DatasetError: a column is missing or of a wrong type, or the numbers are no rising ones of the dataset.
    """
    if table.schema != GROUPS or any(column.null_count for column in table.columns):
        raise DatasetError(
            f"{where}: expected the columns\n{GROUPS}\nwithout nulls, found\n{table.schema.remove_metadata()}"
        )
    numbers = table["number"].to_numpy()
    if len(numbers) and not (numbers[0] >= 0 and numbers[-1] < num_samples and (np.diff(numbers) > 0).all()):
        raise DatasetError(f"{where}: expected rising numbers in [0, {num_samples:,}), found others; fetch it again")
    return numbers, key_heads(fixed_bytes(table["group"].combine_chunks(), KEY_BYTES))


def key_heads(keys: npt.NDArray[np.uint8]) -> UInt64s:
    """(n,) uint64 of (n, 16) keys: their place in the hash space."""
    return np.ascontiguousarray(keys[:, :8]).view(">u8").ravel().astype(np.uint64)


def _list_offsets(column: pa.ListArray) -> Int64s:
    offsets = column.offsets.to_numpy().astype(np.int64)
    return np.asarray(offsets - offsets[0], np.int64)


def fixed_bytes(column: pa.FixedSizeBinaryArray, width: int) -> npt.NDArray[np.uint8]:
    """(n, width) uint8 view of fixed-size binary values."""
    buffer = column.buffers()[1]
    if len(column) == 0 or buffer is None:
        return np.empty((0, width), np.uint8)
    flat = np.frombuffer(buffer, np.uint8, count=len(column) * width, offset=column.offset * width)
    return flat.reshape(-1, width)
