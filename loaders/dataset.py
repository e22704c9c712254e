"""A finished dataset, opened for reading: what it holds, each shard's index, and random access to its samples.

In: a folder with `manifest.json`, local or on an object store. Out: facts (categories, counts), `ShardIndex` of each
shard as NumPy arrays, the bytes of chosen samples. Samples are numbered from 0 in key order, over all shards.

Opening reads the manifest and two small tables. Indexes are read when they are needed and the least recently used are
dropped above a number of bytes, so memory does not grow with the dataset. It is a map-style dataset for
`torch.utils.data.DataLoader` as well: `len`, `[number]`, pickling.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.taxonomy import Taxonomy

from .errors import DatasetError
from .manifest import Manifest, parse_manifest
from .schema import (
    CLASS_COUNTS,
    CLASS_COUNTS_FILE,
    EDGES_FILE,
    GROUPS_FILE,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    VOCABULARY_FILE,
    index_file,
    tar_file,
)
from .shard_index import INDEX_CACHE_BYTES, IndexCache, ShardIndex, key_heads, parse_groups, parse_index, read_parquet
from .storage.cache import ChunkCache, ChunkRef
from .storage.folder import Folder
from .subset import Subset, hash_end, heads_between, make_subset

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]


class Sample(NamedTuple):
    """One sample as it lies in the dataset.

    Key, JPEG bytes; label ids, and of each its probability, whether it is asserted (else inferred) and the asserted
    label that it comes from; the verified negatives; the key of its group's representative, its own where alone.
    """

    key: bytes
    jpeg: bytes
    labels: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float32]
    asserted: npt.NDArray[np.bool_]
    from_labels: npt.NDArray[np.int32]
    negatives: npt.NDArray[np.int32]
    group: bytes


class Dataset:
    """A finished dataset; make it with `Dataset.open`. Safe to share between threads, pickles as its place."""

    def __init__(self, folder: Folder, manifest: Manifest, manifest_sha256: str, *, index_cache_bytes: int) -> None:
        self.folder, self.manifest, self.manifest_sha256 = folder, manifest, manifest_sha256
        self._samples = np.zeros(manifest.num_shards + 1, np.int64)
        np.cumsum([shard.samples for shard in manifest.shards], out=self._samples[1:])
        self._indexes = IndexCache(self._read_index, max_bytes=index_cache_bytes)
        self._tars = [tar_file(shard.name) for shard in manifest.shards]

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        index_cache_bytes: int = INDEX_CACHE_BYTES,
        cache: ChunkCache | None = None,
    ) -> Dataset:
        """Opens the dataset in a folder.

        Args:
            path: local path, address (http://, https://) or URI (s3://, gs://, hdfs://) of the folder that holds
                `manifest.json`.
            index_cache_bytes: of shards' indexes kept in memory. The loader works on up to 128 shards at a time.
            cache: on a local disk, of what is read from afar; local data sets do without. `CacheOptions` makes one.

        Raises:
            DatasetError: there is no dataset, or its manifest is damaged.
        """
        folder = Folder(os.fspath(path), cache)
        data = folder.read(MANIFEST, MAX_MANIFEST_BYTES)
        manifest = parse_manifest(data, where=folder.where(MANIFEST))
        folder.expect(manifest.files)
        digest = hashlib.sha256(data).hexdigest()
        return cls(folder, manifest, digest, index_cache_bytes=index_cache_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        # The folder brings its cache along.
        return _reopened, (self.folder, self._indexes.max_bytes)

    def __repr__(self) -> str:
        return f"Dataset({self.root!r}, {self.num_samples:,} samples, {self.num_categories:,} categories)"

    def __len__(self) -> int:
        return self.num_samples

    @property
    def root(self) -> str:
        """Folder or URI, as messages show it."""
        return self.folder.shown_root

    @property
    def fingerprint(self) -> str:
        """The manifest's sha256, which names what the dataset holds."""
        return self.manifest_sha256

    @property
    def stored(self) -> bool:
        """All images are JPEGs of this project's own."""
        return True

    @property
    def uniform(self) -> bool:
        """Keys are hashes, and samples lie in their order."""
        return True

    @property
    def name(self) -> str:
        """Prefix of the shards."""
        return self.manifest.name

    @property
    def num_samples(self) -> int:
        """Images."""
        return self.manifest.num_samples

    @property
    def num_shards(self) -> int:
        """Tars."""
        return self.manifest.num_shards

    @property
    def num_categories(self) -> int:
        """Categories; labels are [0, num_categories)."""
        return self.manifest.num_categories

    @property
    def image_size(self) -> int | None:
        """Side in pixels when all images are squares of one size, else None."""
        return self.manifest.image.square

    @functools.cached_property
    def taxonomy(self) -> Taxonomy:
        """The hierarchy: `taxonomy.ids[label]`, `taxonomy.names[label]`, parents.

        Raises:
            DatasetError: a table is missing or damaged, or is not of this dataset.
            TaxonomyError: the tables do not fit each other.
        """
        taxonomy = Taxonomy.from_tables(self._table(VOCABULARY_FILE), self._table(EDGES_FILE))
        if taxonomy.num_categories != self.num_categories:
            raise DatasetError(
                f"{self.folder.where(VOCABULARY_FILE)}: expected {self.num_categories:,} categories as in the "
                f"manifest, found {taxonomy.num_categories:,}"
            )
        return taxonomy

    @property
    def category_ids(self) -> Sequence[str]:
        """External id of each label."""
        return self.taxonomy.ids

    @property
    def category_names(self) -> Sequence[str]:
        """Name of each label, for people."""
        return self.taxonomy.names

    @functools.cached_property
    def class_counts(self) -> Int64s:
        """(c,) int64 images of each category, asserted or inferred."""
        return self._counts("expanded")

    @functools.cached_property
    def asserted_counts(self) -> Int64s:
        """(c,) int64 images of each category that carry it as asserted label."""
        return self._counts("asserted")

    def _counts(self, column: str) -> Int64s:
        table = self._table(CLASS_COUNTS_FILE)
        if table.schema != CLASS_COUNTS or table.num_rows != self.num_categories:
            raise DatasetError(
                f"{self.folder.where(CLASS_COUNTS_FILE)}: expected {self.num_categories:,} rows of "
                f"{', '.join(CLASS_COUNTS.names)}, found {table.num_rows:,} of {', '.join(table.schema.names)}"
            )
        counts: Int64s = table[column].to_numpy()
        return counts

    def _table(self, relative: str) -> pa.Table:
        """A table of the dataset, if it is the manifest's: nobody trains on other labels than those that it names."""
        with self.folder.open(relative) as source:
            data = source.read()
        where, expected, found = self.folder.where(relative), self._sha256.get(relative), hashlib.sha256(data)
        if expected is not None and found.hexdigest() != expected:
            raise DatasetError(
                f"{where}: expected sha256 {expected}, as in the manifest, found {found.hexdigest()}; fetch the file "
                "again"
            )
        return read_parquet(pa.BufferReader(data), where=where)

    @functools.cached_property
    def _sha256(self) -> dict[str, str]:
        """sha256 of each file but the tars, whose images have their own."""
        return {entry.path: entry.sha256 for entry in self.manifest.files if not entry.path.endswith(".tar")}

    # -- samples ---------------------------------------------------------------------------------------------

    def locate(self, numbers: Int64s) -> tuple[Int64s, Int64s]:
        """Shards and rows of samples.

        Args:
            numbers: (m,) int64 in [0, num_samples).

        Returns:
            (m,) int64 shard and (m,) int64 row in the shard of each.
        """
        shards = np.searchsorted(self._samples, numbers, side="right") - 1
        return shards, numbers - self._samples[shards]

    def place(self, shard: int) -> str:
        """A shard's tar, for messages."""
        return self.folder.where(self._tars[shard])

    def index(self, shard: int) -> ShardIndex:
        """The index of a shard, from memory or from storage.

        Raises:
            DatasetError: it is missing, damaged, or not of the manifest's size.
        """
        return self._indexes.get(shard)

    def _read_index(self, shard: int) -> ShardIndex:
        entry = self.manifest.shards[shard]
        table = self._table(index_file(entry.name))
        where = self.folder.where(index_file(entry.name))
        if table.num_rows != entry.samples:
            raise DatasetError(f"{where}: expected {entry.samples:,} rows as in the manifest, found {table.num_rows:,}")
        return parse_index(table, where=where)

    def read(self, shard: int, rows: Sequence[int] | Int64s) -> list[bytes]:
        """The JPEG bytes of some rows of a shard.

        Raises:
            DatasetError: the tar is missing or shorter than its index says.
        """
        index = self.index(shard)
        return [self.read_bytes(shard, int(index.offsets[row]), int(index.sizes[row])) for row in rows]

    def read_bytes(self, shard: int, offset: int, size: int) -> bytes:
        """`size` bytes of a shard's tar from `offset` on.

        Raises:
            DatasetError: the tar is missing or shorter than that.
        """
        cure = "the tar is truncated or not the index's; fetch both again, then run `openjft verify`"
        return self.folder.read_image(self._tars[shard], offset, size, cure=cure)

    @property
    def ahead_bytes(self) -> int:
        """The most that is to be fetched before it is used; 0 where nothing is cached."""
        return self.folder.ahead_bytes

    def chunks(self, shard: int, offset: int, size: int) -> list[ChunkRef]:
        """The chunks of the cache that some bytes of a shard lie in; none where nothing is cached."""
        return self.folder.chunks(self._tars[shard], offset, size)

    def fetch(self, shard: int, ref: ChunkRef) -> None:
        """Sees to it that a chunk of a shard is in the cache."""
        self.folder.fetch(self._tars[shard], ref)

    def __getitem__(self, number: int) -> Sample:
        if not 0 <= number < self.num_samples:
            raise IndexError(f"expected a number in [0, {self.num_samples}), found {number}")
        shards, rows = self.locate(np.array([number], np.int64))
        shard, row = int(shards[0]), int(rows[0])
        index = self.index(shard)
        part = slice(*index.labels.offsets[row : row + 2].tolist())
        return Sample(
            index.keys[row].tobytes(),
            self.read(shard, [row])[0],
            index.labels.values[part],
            index.probabilities[part],
            index.asserted[part],
            index.from_labels[part],
            index.negatives.of(row),
            index.groups[row].tobytes(),
        )

    def prefix(self, share: float) -> int:
        """How many samples have a key in the first `share` of the hash space; they are the first so many.

        Whether a sample belongs to a prefix depends on its key alone, so prefixes are nested, and they stay so when
        the dataset is built anew with more or fewer images.

        Args:
            share: in [0, 1].
        """
        if not 0 <= share <= 1:
            raise ValueError(f"expected a share in [0, 1], found {share}")
        end = hash_end(share)
        if end == 2**64:
            return self.num_samples
        # Only the shard that the border falls into is looked at; empty shards have no keys.
        full = [i for i, shard in enumerate(self.manifest.shards) if shard.samples]
        heads = np.array([int(self.manifest.shards[i].first_key[:16], 16) for i in full], np.uint64)  # type: ignore[index]
        place = int(np.searchsorted(heads, np.uint64(end), side="left")) - 1
        if place < 0:
            return 0
        keys = key_heads(self.index(full[place]).keys)
        return int(self._samples[full[place]] + np.searchsorted(keys, np.uint64(end), side="left"))

    def subset(self, low: float, high: float) -> Subset:
        """The samples between two shares of the hash space; those of one group are all in it or all outside.

        A sample's place is its group's key, its own where it is alone, so that subsets are nested as prefixes are.

        Args:
            low: in [0, 1].
            high: in [0, 1], not below `low`.
        """
        first, stop = self.prefix(low), self.prefix(high)
        numbers, places = self._moved
        return make_subset(first, stop, numbers, heads_between(places, low, high))

    @functools.cached_property
    def _moved(self) -> tuple[Int64s, UInt64s]:
        """Numbers of the samples whose place is another key's, rising, and the first 64 bits of that key."""
        if not any(entry.path == GROUPS_FILE for entry in self.manifest.files):
            return np.empty(0, np.int64), np.empty(0, np.uint64)
        table, where = self._table(GROUPS_FILE), self.folder.where(GROUPS_FILE)
        return parse_groups(table, self.num_samples, where=where)


def _reopened(folder: Folder, index_cache_bytes: int) -> Dataset:
    return Dataset.open(folder.root, index_cache_bytes=index_cache_bytes, cache=folder.given_cache)
