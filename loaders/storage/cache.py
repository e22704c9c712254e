"""A bounded cache on local disk for files that lie elsewhere, in aligned chunks.

A chunk is fetched once for all threads that want it, written under a temporary name, renamed, and checked (length,
CRC-32) the first time that a process takes it from the disk: what is damaged or gone is fetched anew. Processes of
one machine may share the folder. The chunks used last stay; above the bound the others go. A full disk makes it go on
without storing, and count.

In: a folder, a bound in bytes. Out: bytes at an offset of a file, by its `read_at`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock

from openjft.loaders.errors import LoaderError

CHUNK_BYTES: Final = 8 << 20
_TRAILER: Final = 4  # CRC-32, little-endian, behind the chunk's bytes
_TOUCH_S: Final = 10.0  # a chunk in use gets a new time so often
_KEEP: Final = 0.85  # of the bound is left by a clearing
_CLEAR: Final = 0.02  # of the bound is written by a process between two looks at the folder


@dataclasses.dataclass(frozen=True)
class CacheStats:
    """Chunks taken from the disk, chunks fetched, bytes fetched, bytes cleared, chunks that did not fit on the disk."""

    hits: int = 0
    misses: int = 0
    fetched_bytes: int = 0
    cleared_bytes: int = 0
    unstored: int = 0


class ChunkRef(NamedTuple):
    """A chunk: the digest that names its file's content, and its number in the file."""

    file: str
    number: int


class ChunkCache:
    """The cache of one process; safe from many threads, and beside other processes.

    Args:
        folder: it lies in; made when it is missing.
        max_bytes: of all chunks in it.
        chunk_bytes: of a chunk. The folder keeps chunks of other sizes apart.

    Raises:
        LoaderError: the folder cannot be made, or the bound is smaller than 8 chunks.
    """

    def __init__(self, folder: Path, *, max_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> None:
        if max_bytes < 8 * chunk_bytes:
            raise LoaderError(f"cache: expected at least {8 * chunk_bytes:,} bytes (8 chunks), found {max_bytes:,}")
        self.folder, self.max_bytes, self.chunk_bytes = folder, max_bytes, chunk_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LoaderError(f"{folder}: expected a folder for the cache: {error}") from error
        self._lock = threading.Lock()
        self._flights: dict[ChunkRef, Future[bytes]] = {}
        self._touched: dict[ChunkRef, float] = {}
        self._unseen = max_bytes  # bytes since the last look: the first write looks
        self._counts = dict.fromkeys((f.name for f in dataclasses.fields(CacheStats)), 0)

    @property
    def stats(self) -> CacheStats:
        """Counts of this process so far."""
        with self._lock:
            return CacheStats(**self._counts)

    def file_id(self, *parts: str) -> str:
        """The digest that names a file's content, from what tells it apart (place, size, tag)."""
        return hashlib.blake2b("\0".join((str(self.chunk_bytes), *parts)).encode(), digest_size=16).hexdigest()

    def chunk(self, ref: ChunkRef, fetch: Callable[[], bytes]) -> bytes:
        """A chunk's bytes, from the disk or fetched; many threads that want it wait for one fetch."""
        with self._lock:
            flight = self._flights.get(ref)
            if flight is None:
                mine: Future[bytes] = Future()
                self._flights[ref] = mine
        if flight is not None:
            return flight.result()
        try:
            data = self._from_disk(ref)
            if data is None:
                data = fetch()
                self._count(misses=1, fetched_bytes=len(data))
                self._store(ref, data)
            mine.set_result(data)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[ref]
        return data

    def part(self, ref: ChunkRef, start: int, stop: int) -> bytes | None:
        """Bytes [start, stop) of a chunk that this process has checked and that is still there; else None."""
        with self._lock:
            touched = self._touched.get(ref)
        if touched is None:
            return None
        try:
            with self._path(ref).open("rb", buffering=0) as source:
                data = os.pread(source.fileno(), stop - start, start)
        except OSError:  # cleared by us or by another process
            data = b""
        if len(data) != stop - start:
            with self._lock:
                self._touched.pop(ref, None)
            return None
        self._touch(ref, touched)
        self._count(hits=1)
        return data

    # -- the disk ------------------------------------------------------------------------------------------------

    def _path(self, ref: ChunkRef) -> Path:
        return self.folder / ref.file[:2] / f"{ref.file}-{ref.number:08d}"

    def _from_disk(self, ref: ChunkRef) -> bytes | None:
        path = self._path(ref)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        data, check = content[:-_TRAILER], content[-_TRAILER:]
        if len(content) < _TRAILER or zlib.crc32(data).to_bytes(_TRAILER, "little") != check:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        self._count(hits=1)
        self._touch(ref, 0.0)
        return data

    def _store(self, ref: ChunkRef, data: bytes) -> None:
        path = self._path(ref)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            self._make_room(len(data) + _TRAILER)
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as sink:
                sink.write(data)
                sink.write(zlib.crc32(data).to_bytes(_TRAILER, "little"))
            temporary.replace(path)
        except OSError:  # no space, no right: the bytes are here, the run goes on
            self._count(unstored=1)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            return
        self._touch(ref, 0.0)

    def _touch(self, ref: ChunkRef, touched: float) -> None:
        now = time.monotonic()
        if now - touched < _TOUCH_S and touched:
            return
        with contextlib.suppress(OSError):
            os.utime(self._path(ref))
        with self._lock:
            self._touched[ref] = now

    def _make_room(self, size: int) -> None:
        """Clears the chunks not used for longest, when enough was written since the last look."""
        with self._lock:
            self._unseen += size
            if self._unseen < max(self.max_bytes * _CLEAR, size + 1):
                return
            self._unseen = size
        with FileLock(self.folder / ".lock"):
            files = _files(self.folder)
            total = sum(held for _, held, _ in files) + size
            if total <= self.max_bytes * (1 - 2 * _CLEAR):
                return
            for _, held, path in files:
                if total <= self.max_bytes * _KEEP:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= held
                    self._count(cleared_bytes=held)

    def _count(self, **amounts: int) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """(time of the last use, bytes, path) of the chunks, the longest unused first."""
    found = []
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return sorted(found)


class Readable(NamedTuple):
    """A file elsewhere: what names its content, its size, and how its bytes are read."""

    file: str
    size: int
    read_at: Callable[[int, int], bytes]  # (size, offset)


class CachedFile:
    """A file elsewhere, read by chunks through a cache."""

    def __init__(self, cache: ChunkCache, source: Readable) -> None:
        self._cache, self._source = cache, source

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on; fewer at the end of the file."""
        stop = min(offset + size, self._source.size)
        parts = []
        for ref in self.chunks(offset, stop - offset):
            base = ref.number * self._cache.chunk_bytes
            start, end = max(offset - base, 0), min(stop - base, self._cache.chunk_bytes)
            part = self._cache.part(ref, start, end)
            parts.append(self.fetch(ref)[start:end] if part is None else part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self, offset: int, size: int) -> list[ChunkRef]:
        """The chunks that some bytes lie in."""
        if size <= 0:
            return []
        first, last = offset // self._cache.chunk_bytes, (offset + size - 1) // self._cache.chunk_bytes
        return [ChunkRef(self._source.file, number) for number in range(first, last + 1)]

    def fetch(self, ref: ChunkRef) -> bytes:
        """A chunk's bytes; afterwards it is in the cache."""
        start = ref.number * self._cache.chunk_bytes
        size = min(self._cache.chunk_bytes, self._source.size - start)
        return self._cache.chunk(ref, lambda: self._source.read_at(size, start))
