"""Plain tars as a source of the loader: numbered samples, read at their places by the index.

In: the tars and their index. Out: a `Source`. Images are anyone's, so the loader decodes them with its caps; neighbours
may be alike, so that ranks do not divide a batch by place. A subset goes by the hash of the key, as in a finished data
set, so that subsets are nested.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.loaders.errors import DatasetError, LoaderError, ShortReadError
from openjft.loaders.schema import KEY_BYTES
from openjft.loaders.shard_index import INDEX_CACHE_BYTES, IndexCache, ShardIndex, key_heads
from openjft.loaders.storage.cache import ChunkCache, ChunkRef
from openjft.loaders.subset import NumberSet, hash_end
from openjft.taxonomy import Category, Csr, Taxonomy, build_taxonomy

from .indexing import IndexOptions, Progress, TarEntry, index_folder, index_tars, read_collection
from .names import TarNames, tar_names
from .schema import TAR_INDEX, index_name

Int64s = npt.NDArray[np.int64]
SHOWN = 5


class TarCollection:
    """Samples of plain tars; make it with `TarCollection.open`. Safe to share between threads.

    Args:
        tars: which.
        entries: their list in the index, in the same order.
        index: folder of the index.
        taxonomy: what the labels mean; None: those that occur, without a hierarchy.
    """

    stored, uniform, image_size = False, False, None

    def __init__(self, tars: TarNames, entries: Sequence[TarEntry], index: Path, taxonomy: Taxonomy | None) -> None:
        self._tars, self._entries, self._index = tars, entries, index
        self._ends = np.concatenate([[0], np.cumsum([entry.samples for entry in entries])]).astype(np.int64)
        counts: dict[str, int] = {}
        for entry in entries:
            for label, count in entry.labels.items():
                counts[label] = counts.get(label, 0) + count
        self.taxonomy = taxonomy or _flat(counts)
        labels = self.taxonomy.lookup_ids(pa.array(list(counts), pa.string()))
        unknown = [label for label, found in zip(counts, labels.to_pylist(), strict=True) if found is None]
        if unknown:
            raise LoaderError(
                f"{self.root}: expected labels of the vocabulary ({self.num_categories:,} categories, such as "
                f"{self.taxonomy.ids[0]!r}), found {len(unknown):,} others: {', '.join(map(repr, unknown[:SHOWN]))}"
            )
        self.class_counts = np.bincount(
            labels.to_numpy(zero_copy_only=False).astype(np.int64) if counts else np.empty(0, np.int64),
            weights=np.array(list(counts.values()), np.float64),
            minlength=self.num_categories,
        ).astype(np.int64)
        digest = hashlib.sha256("\0".join(entry.digest for entry in entries).encode())
        digest.update(self.taxonomy.fingerprint().encode())
        self.fingerprint = digest.hexdigest()
        self._indexes: IndexCache[ShardIndex] = IndexCache(self._read_index, max_bytes=INDEX_CACHE_BYTES)

    @classmethod
    def open(
        cls,
        path: str,
        *,
        index: Path | None = None,
        options: IndexOptions | None = None,
        taxonomy: Taxonomy | None = None,
        cache: ChunkCache | None = None,
        on_progress: Progress | None = None,
    ) -> TarCollection:
        """Opens plain tars, and indexes them when they are seen for the first time.

        Args:
            path: a folder, a tar, or names in brace notation; local or a URI.
            index: folder of the index; None: beside the tars, or in the user's cache.
            options: of the index, when it is made.
            taxonomy: what the labels mean; None: those that occur.
            cache: on local disk, for tars that lie elsewhere.
            on_progress: called while tars are indexed.

        Raises:
            LoaderError: there are no tars, or the index cannot be made.
            DatasetError: a tar is not as it was when it was indexed.
        """
        tars = tar_names(path, cache=cache)
        folder = index_folder(tars, index)
        found = read_collection(folder)
        if found is None or (options is not None and found[0] != options):
            index_tars(tars, options, output=folder, on_progress=on_progress)
            found = read_collection(folder)
        assert found is not None
        entries = {entry.name: entry for entry in found[1]}
        for name in tars.names:
            size, _ = tars.folder.stat(name)
            entry = entries.get(name)
            if entry is None or entry.bytes != size:
                was = "no such tar" if entry is None else f"{entry.bytes:,} bytes"
                raise DatasetError(
                    f"{tars.folder.where(name)}: expected the tar as it was indexed ({was}), found {size:,} bytes; run "
                    "`openjft index` again, which looks at what has changed"
                )
        return cls(tars, [entries[name] for name in tars.names], folder, taxonomy)

    @property
    def root(self) -> str:
        """Folder or URI, as messages show it."""
        return self._tars.folder.shown_root

    @property
    def num_samples(self) -> int:
        """Samples of all tars."""
        return int(self._ends[-1])

    @property
    def num_categories(self) -> int:
        """Categories of the vocabulary."""
        return self.taxonomy.num_categories

    @property
    def category_ids(self) -> Sequence[str]:
        """External id of each label."""
        return self.taxonomy.ids

    @property
    def category_names(self) -> Sequence[str]:
        """Name of each label."""
        return self.taxonomy.names

    def place(self, shard: int) -> str:
        """A tar, for messages."""
        return self._tars.folder.where(self._tars.names[shard])

    def locate(self, numbers: Int64s) -> tuple[Int64s, Int64s]:
        """Shard and row of samples (m,)."""
        shards = np.searchsorted(self._ends, numbers, side="right") - 1
        return shards, numbers - self._ends[shards]

    def index(self, shard: int) -> ShardIndex:
        """Keys, places and labels of a tar's samples; widths and heights are not known (0)."""
        return self._indexes.get(shard)

    def read_bytes(self, shard: int, offset: int, size: int) -> bytes:
        """`size` bytes of a tar from `offset` on."""
        name = self._tars.names[shard]
        data = self._tars.folder.random_access(name).read_at(size, offset)
        if len(data) != size:
            raise ShortReadError(
                f"{self.place(shard)}: expected {size} bytes at {offset}, found {len(data)}: the tar is truncated; "
                "fetch it again, then run `openjft index`"
            )
        return data

    @property
    def ahead_bytes(self) -> int:
        """The most that is to be fetched before it is used; 0 where nothing is cached."""
        return self._tars.folder.ahead_bytes

    def chunks(self, shard: int, offset: int, size: int) -> list[ChunkRef]:
        """The chunks of the cache that some bytes lie in."""
        return self._tars.folder.chunks(self._tars.names[shard], offset, size)

    def fetch(self, shard: int, ref: ChunkRef) -> None:
        """Brings a chunk near."""
        self._tars.folder.fetch(self._tars.names[shard], ref)

    def subset(self, low: float, high: float) -> NumberSet:
        """The samples whose key lies between two shares of the hash space, by number."""
        first, stop = hash_end(low), hash_end(high)
        inside = self._heads >= np.uint64(first) if first < 2**64 else np.zeros(self.num_samples, np.bool_)
        if stop < 2**64:
            inside &= self._heads < np.uint64(stop)
        return NumberSet(np.flatnonzero(inside))

    @functools.cached_property
    def _heads(self) -> npt.NDArray[np.uint64]:
        """(n,) uint64 places of the keys in the hash space."""
        parts = [key_heads(self.index(shard).keys) for shard in range(len(self._entries))]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def _read_index(self, shard: int) -> ShardIndex:
        entry = self._entries[shard]
        path = self._index / index_name(entry.name)
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{path}: expected the index of {entry.name}, found {error}; index again") from error
        if table.schema != TAR_INDEX or table.num_rows != entry.samples:
            raise DatasetError(f"{path}: expected {entry.samples:,} rows of {TAR_INDEX.names}; index again")
        return _shard_index(table.combine_chunks(), self.taxonomy)


def _flat(counts: dict[str, int]) -> Taxonomy:
    """The labels that occur, without a hierarchy; one category stands for none."""
    return build_taxonomy([Category(label) for label in sorted(counts)] or [Category("unlabelled")], [], origin="tars")


def _shard_index(table: pa.Table, taxonomy: Taxonomy) -> ShardIndex:
    n = table.num_rows
    lists = table["labels"].combine_chunks()
    offsets = lists.offsets.to_numpy().astype(np.int64)
    found = taxonomy.lookup_ids(lists.flatten()).to_numpy(zero_copy_only=False).astype(np.int32)
    # Labels rise within a sample.
    image = np.repeat(np.arange(n), np.diff(offsets))
    values = found[np.lexsort((found, image))]
    keys = np.frombuffer(b"".join(table["image_key"].to_pylist()), np.uint8).reshape(n, KEY_BYTES)
    return ShardIndex(
        keys=keys,
        offsets=table["offset"].to_numpy(),
        sizes=table["size"].to_numpy(),
        sha256=np.frombuffer(b"".join(table["sha256"].to_pylist()), np.uint8).reshape(n, 32),
        widths=np.zeros(n, np.int32),
        heights=np.zeros(n, np.int32),
        labels=Csr(values, offsets),
        probabilities=np.ones(len(values), np.float32),
        asserted=np.ones(len(values), np.bool_),
        from_labels=values,
        negatives=Csr(np.empty(0, np.int32), np.zeros(n + 1, np.int64)),
        groups=keys,
    )
