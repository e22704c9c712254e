"""A remote file read through the cache: whole chunks are fetched, parts of them are given."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

from .cache import Chunk, ChunkCache
from .files import VersionedFile


class CachedFile:
    """Safe from many threads.

    Args:
        cache: keeps the chunks.
        name: of the file in the cache.
        size: bytes of it.
        opened: opens the file itself; called at the first read that goes to it.
    """

    def __init__(self, cache: ChunkCache, name: str, size: int, opened: Callable[[], VersionedFile]) -> None:
        self._cache, self._name, self._size, self._open = cache, name, size, opened
        self._lock = threading.Lock()
        self._file: VersionedFile | None = None

    def size(self) -> int:
        """Bytes of it."""
        return self._size

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on; fewer at the end of the file."""
        stop = min(offset + size, self._size)
        if stop <= offset:
            return b""
        if not self._cache.keeps:  # a chunk for each image would be fetched for nothing
            return self._far().read_at(stop - offset, offset)
        step = self._cache.chunk_bytes
        parts = []
        for number in range(offset // step, -(-stop // step)):
            chunk, start = self._chunk(number), number * step
            low, high = max(offset - start, 0), min(stop - start, chunk.length)
            parts.append(self._cache.get(chunk, low, high, functools.partial(self._fetch, chunk)))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def fetch_ahead(self, start: int, stop: int) -> None:
        """Puts the chunks of bytes [start, stop) into the cache, those that are not there."""
        step = self._cache.chunk_bytes
        for number in range(start // step, -(-min(stop, self._size) // step)):
            chunk = self._chunk(number)
            if self._cache.keeps and not self._cache.holds(chunk):
                self._cache.get(chunk, 0, 0, functools.partial(self._fetch, chunk))

    def _chunk(self, number: int) -> Chunk:
        step = self._cache.chunk_bytes
        return Chunk(self._name, number, min(step, self._size - number * step))

    def _fetch(self, chunk: Chunk) -> bytes:
        return self._far().read_at(chunk.length, chunk.number * self._cache.chunk_bytes)

    def _far(self) -> VersionedFile:
        with self._lock:
            if self._file is not None:
                return self._file
        opened = self._open()  # asks the server: not under the lock
        with self._lock:
            self._file = self._file or opened
            return self._file
