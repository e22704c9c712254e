"""Labels of images by key, and their lookup: what a label table is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from openjft.loaders.ragged import ragged_places
from openjft.loaders.schema import KEY_BYTES
from openjft.loaders.shard_index import IndexCache, ShardIndex
from openjft.taxonomy import Csr, Taxonomy
from openjft.taxonomy.csr import offsets_of

Int64s = npt.NDArray[np.int64]
PART_CACHE_BYTES: Final = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False)
class LabelRows:
    """Labels of m images, by rising key; the fields are those of `ShardIndex`."""

    keys: npt.NDArray[np.uint8]
    labels: Csr
    probabilities: npt.NDArray[np.float32]
    asserted: npt.NDArray[np.bool_]
    from_labels: npt.NDArray[np.int32]
    negatives: Csr

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = (self.keys, *self.labels, self.probabilities, self.asserted, self.from_labels, *self.negatives)
        return sum(array.nbytes for array in arrays)

    @classmethod
    def of_shard(cls, index: ShardIndex) -> LabelRows:
        """Those of a shard."""
        return cls(index.keys, index.labels, index.probabilities, index.asserted, index.from_labels, index.negatives)


class PartReader(Protocol):
    """A label table in parts whose ranges of keys do not overlap."""

    @property
    def taxonomy(self) -> Taxonomy:
        """What the labels mean."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex digest of what the table says."""
        ...

    @property
    def first_keys(self) -> Sequence[bytes]:
        """First key of each part, rising."""
        ...

    @property
    def rejected(self) -> Mapping[str, int]:
        """Rows of the table that were left out, by what is wrong with them."""
        ...

    def read(self, part: int) -> LabelRows:
        """A part, its keys rising."""
        ...


class Joined(NamedTuple):
    """Labels of n images in the order asked for; part and place in it of each, (n,) int64, -1: the table has it not."""

    rows: LabelRows
    parts: Int64s
    places: Int64s


class LabelTable:
    """Labels of images by key. Parts are read when they are needed; the least recently used are dropped.

    Args:
        parts: where the labels lie.
        cache_bytes: of parts kept in memory.
    """

    def __init__(self, parts: PartReader, *, cache_bytes: int = PART_CACHE_BYTES) -> None:
        self._parts = parts
        self._firsts = np.array(list(parts.first_keys), f"S{KEY_BYTES}")
        self._cache: IndexCache[LabelRows] = IndexCache(parts.read, max_bytes=cache_bytes)

    @property
    def taxonomy(self) -> Taxonomy:
        """What the labels mean."""
        return self._parts.taxonomy

    @property
    def fingerprint(self) -> str:
        """Hex digest of what the table says, wherever it lies."""
        return self._parts.fingerprint

    @property
    def rejected(self) -> Mapping[str, int]:
        """Rows of the table that were left out, by what is wrong with them."""
        return self._parts.rejected

    @property
    def num_parts(self) -> int:
        """How many parts there are."""
        return len(self._firsts)

    def part(self, number: int) -> LabelRows:
        """The labels of a part."""
        return self._cache.get(number)

    def join(self, keys: npt.NDArray[np.uint8]) -> Joined:
        """The labels of images; those that the table does not have get none.

        Args:
            keys: (n, 16) uint8, any order.
        """
        wanted = sortable(keys)
        parts = np.searchsorted(self._firsts, wanted, side="right") - 1
        places = np.full(len(keys), -1, np.int64)
        groups = []
        for part in np.unique(parts[parts >= 0]).tolist():
            here, table = np.flatnonzero(parts == part), self.part(part)
            held = sortable(table.keys)
            place = np.minimum(np.searchsorted(held, wanted[here]), max(len(held) - 1, 0))
            same = held[place] == wanted[here] if len(held) else np.zeros(len(here), np.bool_)
            here, place = here[same], place[same]
            places[here] = place
            groups.append((table, here, place))
        return Joined(_gather(keys, groups), np.where(places >= 0, parts, -1), places)


def sortable(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.bytes_]:
    """(n,) byte strings of (n, 16) keys, in the same order as the keys. NumPy drops trailing zeros, of all alike."""
    return np.ascontiguousarray(keys).view(f"S{KEY_BYTES}").ravel()


def _gather(keys: npt.NDArray[np.uint8], groups: Sequence[tuple[LabelRows, Int64s, Int64s]]) -> LabelRows:
    """The chosen rows of several parts, put to their places among n images."""
    n = len(keys)
    lengths, negative_lengths = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for table, here, place in groups:
        lengths[here] = table.labels.lengths[place]
        negative_lengths[here] = table.negatives.lengths[place]
    offsets, negative_offsets = offsets_of(lengths), offsets_of(negative_lengths)
    out = LabelRows(
        keys,
        Csr(np.empty(offsets[-1], np.int32), offsets),
        np.empty(offsets[-1], np.float32),
        np.empty(offsets[-1], np.bool_),
        np.empty(offsets[-1], np.int32),
        Csr(np.empty(negative_offsets[-1], np.int32), negative_offsets),
    )
    for table, here, place in groups:
        source, target = ragged_places(table.labels.offsets[place], offsets[here], lengths[here])
        out.labels.values[target] = table.labels.values[source]
        out.probabilities[target] = table.probabilities[source]
        out.asserted[target] = table.asserted[source]
        out.from_labels[target] = table.from_labels[source]
        source, target = ragged_places(table.negatives.offsets[place], negative_offsets[here], negative_lengths[here])
        out.negatives.values[target] = table.negatives.values[source]
    return out
