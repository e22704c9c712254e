"""Walks the order of an epoch ahead of the consumer, so that what it will read is near by then.

The order of samples is known for as long as one likes, so nothing is guessed: a thread walks the steps, and announces
what each one reads (`storage.readahead`). Samples are mixed within a window of blocks (`order`), so the first batch of
a window touches nearly all of its chunks: the walk is a window ahead, and a window's chunks arrive while the one before
is used. That is why a cache must hold two windows (`check_cache`). Nothing happens for a source that fetches nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from .errors import LoaderError
from .order import BLOCK, WINDOW
from .source import Fetching, Source
from .storage.cache import ChunkCache
from .storage.readahead import ReadAhead

if TYPE_CHECKING:
    from .loader import Loader
    from .order import SampleOrder


class EpochAhead:
    """Reads ahead for one epoch of one loader; `used` says how far the consumer is, `close` ends it.

    Args:
        loader: whose steps.
        order: of the epoch.
        steps: that will be read, rising.
        ahead_steps: how far to walk before the consumer.
    """

    def __init__(self, loader: Loader, order: SampleOrder, steps: range, *, ahead_steps: int) -> None:
        source = loader.dataset
        assert isinstance(source, Fetching)
        self._loader, self._order, self._steps = loader, order, steps
        self._ahead = ReadAhead(source, ahead_bytes=source.ahead_bytes)
        self._room = threading.Semaphore(ahead_steps)
        self._ending = threading.Event()
        self._walker = threading.Thread(target=self._walk, name="openjft-ahead", daemon=True)
        self._walker.start()

    def used(self) -> None:
        """The consumer has taken a batch."""
        self._ahead.used()
        self._room.release()

    def close(self, *, wait: bool = True) -> None:
        """Ends the walk and what is not yet being fetched; returns before it has ended if not told to wait."""
        self._ending.set()
        self._room.release()
        if wait:
            self._walker.join()
        self._ahead.close(wait=wait)

    def _walk(self) -> None:
        source = self._loader.dataset
        for step in self._steps:
            self._room.acquire()
            if self._ending.is_set():
                return
            try:
                shards, rows = source.locate(self._loader.sample_numbers(self._order, step))
                offsets, sizes = np.empty_like(rows), np.empty_like(rows)
                for shard in np.unique(shards).tolist():
                    here = shards == shard
                    index = source.index(shard)
                    offsets[here], sizes[here] = index.offsets[rows[here]], index.sizes[rows[here]]
                    if self._ending.is_set():
                        return
                self._ahead.will_need(shards, offsets, sizes)
            except Exception:  # noqa: BLE001 - the reader meets the same error, at its place, and tells it
                return


def fetches(source: Source) -> bool:
    """Whether a source reads from afar, through a cache."""
    return isinstance(source, Fetching) and source.ahead_bytes > 0


def check_cache(source: Source, cache: ChunkCache, *, world_size: int = 1, sharing: int | None = None) -> None:
    """Refuses a cache that a shuffled epoch would fetch the same chunks into again and again.

    It must hold two windows of the order, the one that is read and the next one, or all of the source.

    Args:
        source: that is read.
        cache: for its chunks.
        world_size: processes that share the global batches.
        sharing: of these, how many share the folder of the cache; None: all. Where neighbours on storage are
            independent draws each process reads its own part of a window, else every one all of it.

    Raises:
        LoaderError: it is smaller; says how large it should be.
    """
    if not fetches(source) or source.num_samples == 0:
        return
    shard = int(source.locate(np.zeros(1, np.int64))[0][0])
    index = source.index(shard)
    sample = int((index.offsets + index.sizes).max()) / index.num_samples  # with its header, JSON and padding
    part = (sharing or world_size) / world_size if source.uniform else 1.0
    # A block's ends lie in chunks that it shares with its neighbours: one chunk more for each, in the mean.
    window = WINDOW * (BLOCK * sample + cache.chunk_bytes)
    whole = source.num_samples * sample + cache.chunk_bytes * len(np.unique(_shards_of(source)))
    needed = min(2 * window * part, whole)
    if cache.max_bytes < needed:
        raise LoaderError(
            f"{cache.folder}: expected a cache that holds two windows of {BLOCK * WINDOW:,} samples of "
            f"{sample / 1000:,.1f} KB, found one of {cache.max_bytes / 1e9:.3f} GB, into which chunks would be fetched "
            f"many times over: give cache_gb {needed / 1e9 + 0.001:.3f} or more"
        )


def _shards_of(source: Source) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The shards of at most some thousand samples, evenly spread."""
    numbers = np.linspace(0, source.num_samples - 1, min(source.num_samples, 4_096)).astype(np.int64)
    return source.locate(numbers)[0]
