"""Fetches chunks into the cache in the order in which they will be used, in threads of its own.

In: what will be read, batch after batch, long before it is. Out: nothing; the chunks are near when they are read. Each
is asked for once as long as some announced batch needs it, and never more than a number of bytes is fetched ahead of
its use: a chunk counts from the moment its fetching starts until a batch has used it for the first time.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, NamedTuple

from ..source import Fetching, Int64s
from .cache import ChunkRef

FETCHERS: Final = 16  # at 20 ms a request and 8 MiB a chunk that is 6 GB/s, more than the network has


class _Wanted(NamedTuple):
    shard: int
    ref: ChunkRef


class ReadAhead:
    """The fetching threads; safe from many threads.

    Args:
        source: that the chunks belong to.
        threads: that fetch.
        ahead_bytes: the most that is fetched before it is used; one chunk is in any case.
    """

    def __init__(self, source: Fetching, *, threads: int = FETCHERS, ahead_bytes: int) -> None:
        self._source, self._ahead_bytes = source, ahead_bytes
        self._changed = threading.Condition()
        # All below under it.
        self._queue: deque[_Wanted] = deque()
        self._batches: deque[list[_Wanted]] = deque()  # announced and not used
        self._used_early = 0  # batches that were used before they were announced
        self._uses: dict[ChunkRef, int] = {}  # announced batches that need each chunk
        self._waiting: set[ChunkRef] = set()  # in the queue, and still worth fetching
        self._ahead: dict[ChunkRef, int] = {}  # bytes of those fetched, or being fetched, before their first use
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"openjft-fetch-{i}", daemon=True) for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def bytes_ahead(self) -> int:
        """Bytes fetched, or being fetched, and not used yet."""
        with self._changed:
            return sum(self._ahead.values())

    def will_need(self, shards: Int64s, offsets: Int64s, sizes: Int64s) -> None:
        """Announces the next batch.

        Args:
            shards: (n,) of its samples.
            offsets: (n,) where they start.
            sizes: (n,) bytes of each.

        Raises:
            DatasetError: a shard is missing, or cannot be asked for its size.
        """
        wanted: dict[ChunkRef, _Wanted] = {}
        for shard, offset, size in zip(shards.tolist(), offsets.tolist(), sizes.tolist(), strict=True):
            for ref in self._source.chunks(shard, offset, size):
                wanted.setdefault(ref, _Wanted(shard, ref))
        with self._changed:
            if self._used_early:
                self._used_early -= 1
                return
            self._batches.append(list(wanted.values()))
            for item in wanted.values():
                uses = self._uses.get(item.ref, 0)
                self._uses[item.ref] = uses + 1
                if not uses:
                    self._waiting.add(item.ref)
                    self._queue.append(item)
            self._changed.notify_all()

    def used(self) -> None:
        """The oldest batch that was announced, or the next one that will be, has been read."""
        with self._changed:
            if not self._batches:
                self._used_early += 1
                return
            for _, ref in self._batches.popleft():
                self._waiting.discard(ref)
                self._ahead.pop(ref, None)
                self._uses[ref] -= 1
                if not self._uses[ref]:
                    del self._uses[ref]
            self._changed.notify_all()

    def close(self, *, wait: bool = True) -> None:
        """Ends the threads; no other fetch is begun, and one that is under way is waited for unless told not to."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._source.fetch(item.shard, item.ref)
            except Exception:  # noqa: BLE001 - the reader meets the same error, at its place, and tells it
                with self._changed:
                    self._ahead.pop(item.ref, None)
                    self._changed.notify_all()

    def _next(self) -> _Wanted | None:
        """The next chunk to fetch, once there is room for it; None at the end."""
        with self._changed:
            while not self._closed:
                while self._queue and self._queue[0].ref not in self._waiting:
                    self._queue.popleft()
                if self._queue:
                    length, ahead = self._queue[0].ref.length, sum(self._ahead.values())
                    if not ahead or ahead + length <= self._ahead_bytes:
                        item = self._queue.popleft()
                        self._waiting.discard(item.ref)
                        self._ahead[item.ref] = length
                        return item
                self._changed.wait()
            return None
