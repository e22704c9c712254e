"""What a loader reads from: numbered samples in shards, each with a key, a place, and labels.

A finished dataset is one (`Dataset`), and so is whatever else can say where its samples lie. A loader, a plan and a
trainer know this interface and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .shard_index import ShardIndex
    from .storage.cache import ChunkRef

Int64s = npt.NDArray[np.int64]
_CHUNK: Final = 1 << 20  # numbers located at a time


class SampleSet(Protocol):
    """Some of a source's samples, in a fixed order."""

    @property
    def num_samples(self) -> int:
        """How many."""
        ...

    def numbers(self, places: Int64s) -> Int64s:
        """The source's numbers of the samples at places (m,) int64 in [0, num_samples), any order."""
        ...


@runtime_checkable
class Fetching(Protocol):
    """A source that can bring chunks of its shards near before they are read; others need not have this."""

    @property
    def ahead_bytes(self) -> int:
        """The most that is to be fetched before it is used; 0 where all is near already."""
        ...

    def chunks(self, shard: int, offset: int, size: int) -> list[ChunkRef]:
        """The chunks that some bytes of a shard lie in; none where they are near already."""
        ...

    def fetch(self, shard: int, ref: ChunkRef) -> None:
        """Brings one near."""
        ...


class Source(Protocol):
    """Samples numbered from 0 over all shards. Safe to share between threads.

    Attributes:
        root: where it lies, for messages.
        fingerprint: hex digest of what it holds, the same wherever it lies: a training goes on with this alone.
        stored: the images are JPEGs that this project wrote: RGB, upright, checked. Else they come from anyone.
        uniform: neighbours on storage are independent draws (keys are hashes), so that the parts of a batch may go to
            ranks by their place on storage.
    """

    @property
    def root(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def stored(self) -> bool: ...  # noqa: D102
    @property
    def uniform(self) -> bool: ...  # noqa: D102

    @property
    def num_samples(self) -> int:
        """Samples, over all shards."""
        ...

    @property
    def num_categories(self) -> int:
        """Categories; labels are [0, num_categories)."""
        ...

    @property
    def image_size(self) -> int | None:
        """Side in pixels when all images are squares of one size, else None."""
        ...

    @property
    def category_ids(self) -> Sequence[str]:
        """External id of each label."""
        ...

    @property
    def category_names(self) -> Sequence[str]:
        """Name of each label, for people."""
        ...

    @property
    def class_counts(self) -> Int64s:
        """(c,) int64 images of each category."""
        ...

    def place(self, shard: int) -> str:
        """The file that a shard's images lie in, for messages."""
        ...

    def locate(self, numbers: Int64s) -> tuple[Int64s, Int64s]:
        """Shard and row in it of samples (m,): two arrays (m,) int64."""
        ...

    def index(self, shard: int) -> ShardIndex:
        """Keys, places and labels of a shard's samples."""
        ...

    def read_bytes(self, shard: int, offset: int, size: int) -> bytes:
        """`size` bytes of a shard from `offset` on: one encoded image."""
        ...

    def subset(self, low: float, high: float) -> SampleSet:
        """The samples whose key, or whose group's, lies between two shares of the hash space."""
        ...


def by_shard(source: Source) -> Iterator[tuple[int, Int64s, Int64s]]:
    """Shards, and the numbers and rows of their samples; each shard once where numbers follow the shards."""
    waiting: tuple[int, Int64s, Int64s] | None = None
    for start in range(0, source.num_samples, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, source.num_samples), dtype=np.int64)
        shards, rows = source.locate(numbers)
        for shard in np.unique(shards).tolist():
            here = shards == shard
            mine = numbers[here], rows[here]
            if waiting is not None and waiting[0] == shard:
                mine = np.concatenate([waiting[1], mine[0]]), np.concatenate([waiting[2], mine[1]])
            elif waiting is not None:
                yield waiting
            waiting = (shard, *mine)
    if waiting is not None:
        yield waiting
