"""Plain tars as a source of the loader: numbered samples, read at their places by the index.

In: the tars and their index. Out: a `Source`. Images are anyone's, so the loader decodes them with its caps; neighbours
may be alike, so that ranks do not divide a batch by place. A subset goes by the hash of the key, as in a finished data
set, so that subsets are nested.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.loaders.errors import DatasetError
from openjft.loaders.schema import KEY, KEY_BYTES
from openjft.loaders.shard_index import INDEX_CACHE_BYTES, IndexCache, ShardIndex, fixed_bytes
from openjft.loaders.storage.cache import ChunkCache, ChunkRef
from openjft.loaders.subset import NumberSet, Subset, hash_end, heads_between
from openjft.taxonomy import Csr, Taxonomy
from openjft.taxonomy.build import flat_taxonomy
from openjft.taxonomy.csr import offsets_of

from .indexing import Progress, index_tars
from .listing import (
    Collection,
    IndexOptions,
    TarEntry,
    Unknown,
    check_known,
    index_folder,
    label_counts,
    read_collection,
    read_heads,
    read_table,
    read_vocabulary,
)
from .names import TarNames, tar_names

Int64s = npt.NDArray[np.int64]
_STAT_THREADS: Final = 16


class TarCollection:
    """Samples of plain tars; make it with `TarCollection.open`. Safe to share between threads, pickles as its place.

    Args:
        tars: which.
        entries: their list in the index, in the same order.
        index: folder of the index.
        taxonomy: what the labels mean; None: those that occur, without a hierarchy.
        unknown: labels that are not of the taxonomy are an error, or dropped.

    Attributes:
        has_vocabulary: False where no sample has a label, so that the one category stands for none.
    """

    stored, uniform, image_size = False, False, None

    def __init__(
        self,
        tars: TarNames,
        entries: Sequence[TarEntry],
        index: Path,
        taxonomy: Taxonomy | None,
        unknown: Unknown = "error",
    ) -> None:
        self._tars, self._entries, self._index, self._unknown = tars, entries, index, unknown
        self._ends = np.concatenate([[0], np.cumsum([entry.samples for entry in entries])]).astype(np.int64)
        counts = label_counts(index, entries)
        self.taxonomy = taxonomy or flat_taxonomy(counts["label"].to_pylist() or ["unlabelled"], origin="tars")
        self.has_vocabulary = taxonomy is not None or counts.num_rows > 0
        if unknown == "error":
            check_known(counts, self.taxonomy, self.root)
        labels = self.taxonomy.lookup_ids(counts["label"])
        known = labels.is_valid()
        # An id and its alias may both occur: in one image they count twice here.
        self.class_counts = np.zeros(self.num_categories, np.int64)
        np.add.at(
            self.class_counts,
            labels.filter(known).to_numpy(zero_copy_only=False).astype(np.int64),
            counts["images"].filter(known).to_numpy(),
        )
        digest = hashlib.sha256("\0".join(entry.digest for entry in entries).encode())
        digest.update(self.taxonomy.fingerprint().encode())
        self.fingerprint = digest.hexdigest()
        self._indexes: IndexCache[ShardIndex] = IndexCache(self._read_index, max_bytes=INDEX_CACHE_BYTES)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        index: Path | None = None,
        options: IndexOptions | None = None,
        taxonomy: Taxonomy | None = None,
        unknown: Unknown | None = None,
        cache: ChunkCache | None = None,
        on_progress: Progress | None = None,
    ) -> TarCollection:
        """Opens plain tars, and indexes them when they are seen for the first time.

        Args:
            path: a folder, a tar, or names in brace notation; local, an address, or a URI.
            index: folder of the index; None: beside the tars, or in the user's cache.
            options: of the index; None: those that it was made with, else the defaults.
            taxonomy: what the labels mean; None: the vocabulary of the index, else the labels that occur.
            unknown: labels that are not of the vocabulary are an error, or dropped; None: as the index says.
            cache: on local disk, for tars that lie elsewhere.
            on_progress: called while tars are indexed.

        Raises:
            LoaderError: there are no tars, the index cannot be made, or labels are not of the vocabulary.
            DatasetError: a tar is not as it was when it was indexed.
        """
        tars = tar_names(os.fspath(path), cache=cache)
        folder = index_folder(tars, index)
        found = read_collection(folder)
        if found is None or (options is not None and found.options != options) or set(tars.names) - set(found.entries):
            index_tars(tars, options, output=folder, on_progress=on_progress)
            found = read_collection(folder)
        assert found is not None
        _check_unchanged(tars, found)
        if taxonomy is None and found.vocabulary:
            taxonomy = read_vocabulary(folder)
        return cls(tars, [found.entries[name] for name in tars.names], folder, taxonomy, unknown or found.unknown)

    def __reduce__(self) -> tuple[Any, ...]:
        return TarCollection, (self._tars, self._entries, self._index, self.taxonomy, self._unknown)

    def __repr__(self) -> str:
        return f"TarCollection({self.root!r}, {self.num_samples:,} samples, {self.num_categories:,} categories)"

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
        """Keys, places and labels of a tar's samples, in the order of the tar.

        Raises:
            DatasetError: it is missing or damaged.
        """
        return self._indexes.get(shard)

    def read_bytes(self, shard: int, offset: int, size: int) -> bytes:
        """`size` bytes of a tar from `offset` on.

        Raises:
            DatasetError: the tar is missing, or shorter than that.
        """
        cure = "the tar is truncated; fetch it again, then run `openjft index`"
        return self._tars.folder.read_image(self._tars.names[shard], offset, size, cure=cure)

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

    def subset(self, low: float, high: float) -> Subset | NumberSet:
        """The samples whose key lies between two shares of the hash space, by number."""
        first, stop = hash_end(low), hash_end(high)
        none = np.empty(0, np.int64)
        # For all samples and for none no key needs to be read.
        if first == 0 and stop == 2**64:
            return Subset(0, self.num_samples, none, none)
        if first == 2**64:
            return NumberSet(none)
        return NumberSet(np.flatnonzero(heads_between(self._heads, low, high)))

    @functools.cached_property
    def _heads(self) -> npt.NDArray[np.uint64]:
        """(n,) uint64 places of the keys in the hash space."""
        return np.concatenate([read_heads(self._index, entry) for entry in self._entries])

    def _read_index(self, shard: int) -> ShardIndex:
        return _shard_index(read_table(self._index, self._entries[shard]), self.taxonomy)


def _check_unchanged(tars: TarNames, found: Collection) -> None:
    """Every tar is the one that was indexed, as far as size and version tell."""
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        stats = pool.map(tars.folder.stat, tars.names)
        for name, (size, version) in zip(tars.names, stats, strict=True):
            entry = found.entries[name]
            if (entry.bytes, entry.version) != (size, version):
                was, now = f"{entry.bytes:,} bytes of {entry.version}", f"{size:,} bytes of {version}"
                raise DatasetError(
                    f"{tars.folder.where(name)}: expected the tar as it was indexed ({was}), found {now}; run "
                    "`openjft index` again, which reads the tars that have changed"
                )


def _shard_index(table: pa.Table, taxonomy: Taxonomy) -> ShardIndex:
    n = table.num_rows
    lists = table["labels"].combine_chunks()
    found = taxonomy.lookup_ids(lists.flatten())
    image = np.repeat(np.arange(n), np.diff(lists.offsets.to_numpy()))[found.is_valid().to_numpy(zero_copy_only=False)]
    # Labels rise within a sample, each once: two names of one category may stand there.
    code = np.unique(image * taxonomy.num_categories + found.drop_null().to_numpy(zero_copy_only=False))
    values = (code % taxonomy.num_categories).astype(np.int32)
    return ShardIndex.plain(
        keys=fixed_bytes(table[KEY].combine_chunks(), KEY_BYTES),
        offsets=table["offset"].to_numpy(),
        sizes=table["size"].to_numpy(),
        sha256=fixed_bytes(table["sha256"].combine_chunks(), 32),
        widths=table["width"].to_numpy(),
        heights=table["height"].to_numpy(),
        labels=Csr(values, offsets_of(np.bincount(code // taxonomy.num_categories, minlength=n))),
    )
