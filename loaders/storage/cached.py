"""A remote file read through the cache: whole chunks are fetched, parts of them are given."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

from .cache import ChunkCache, ChunkRef
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
        refs = self.chunks(offset, size)
        stop = min(offset + size, self._size)
        if refs and not self._cache.keeps:  # a chunk for each image would be fetched for nothing
            return self._far().read_at(stop - offset, offset)
        parts = []
        for ref in refs:
            start = ref.number * self._cache.chunk_bytes
            low, high = max(offset - start, 0), min(stop - start, ref.length)
            parts.append(self._cache.get(ref, low, high, functools.partial(self._fetch, ref)))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self, offset: int, size: int) -> list[ChunkRef]:
        """The chunks that some bytes lie in, as far as the file goes."""
        step, stop = self._cache.chunk_bytes, min(offset + size, self._size)
        return [self._chunk(number) for number in range(offset // step, -(-stop // step))] if stop > offset else []

    def fetch(self, ref: ChunkRef) -> None:
        """Sees to it that a chunk is in the cache; does nothing where the cache keeps nothing any more."""
        if self._cache.keeps and not self._cache.holds(ref):
            self._cache.get(ref, 0, 0, functools.partial(self._fetch, ref))

    def _chunk(self, number: int) -> ChunkRef:
        step = self._cache.chunk_bytes
        return ChunkRef(self._name, number, min(step, self._size - number * step))

    def _fetch(self, ref: ChunkRef) -> bytes:
        return self._far().read_at(ref.length, ref.number * self._cache.chunk_bytes)

    def _far(self) -> VersionedFile:
        with self._lock:
            if self._file is not None:
                return self._file
        opened = self._open()  # asks the server: not under the lock
        with self._lock:
            self._file = self._file or opened
            return self._file
