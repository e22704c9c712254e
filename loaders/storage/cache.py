"""A bounded cache on a local disk, of aligned chunks of remote files. Many threads and processes may share its folder.

An entry is one chunk, in a file of its own: written under a temporary name, renamed when it is whole, checked whenever
it is read (`chunks`). Its name is a hash. The files' times say when they were last used; the least recently used go
first.

The bound holds at every moment and for all processes together. Room is reserved under a lock before a byte is
written: `usage` holds the sum of all reservations; where it would go beyond the bound, the folder is listed, which
makes the sum exact again, and a sixteenth is freed, so that a folder of many entries is seldom listed.

A disk that is full or fails costs the cache, never the reading.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple

import filelock

from ..errors import LoaderError
from .chunks import DamagedChunkError, entry_size, header, read_part

# 8 MiB: an object store answers in 20 to 100 ms and gives 50 to 100 MB/s on a connection, so that a request of this
# size spends most of its time on bytes; and a shuffle window of 2 GB is some 300 of them.
CHUNK_BYTES: Final = 8 << 20
TOUCH_S: Final = 10.0  # an entry used again within this time keeps its time of last use
STALE_S: Final = 3_600.0  # a temporary file this old was left by a process that died
_LOCK_S: Final = 60.0
_POLL_S: Final = 0.005
_ENTRY: Final = re.compile(r"[0-9a-f]{32}-[0-9]{8}\.chunk")
_TEMPORARY: Final = re.compile(r"\.tmp-[0-9a-f]{32}-[0-9]{8}\.[0-9]+-[0-9]+")


@dataclasses.dataclass(frozen=True)
class CacheStats:
    """What became of the reads of this process so far.

    Attributes:
        hits: parts that were on the disk.
        waits: parts that another thread was just fetching.
        misses: chunks that were fetched.
        fetched_bytes: of these.
        evicted_bytes: of entries taken away by this process to make room.
        damaged: entries that were not what was written, and were fetched anew.
        note: why nothing is kept any more; None while all is well.
    """

    hits: int = 0
    waits: int = 0
    misses: int = 0
    fetched_bytes: int = 0
    evicted_bytes: int = 0
    damaged: int = 0
    note: str | None = None


class ChunkRef(NamedTuple):
    """A chunk of a file: the file's hash, the chunk's number in it, and its bytes."""

    file: str
    number: int
    length: int

    @property
    def name(self) -> str:
        """Of its entry."""
        return f"{self.file}-{self.number:08d}.chunk"


def file_hash(*parts: str) -> str:
    """The name of a file in the cache: a hash of all that tells it and its version from others."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


class ChunkCache:
    """The cache in a folder; pickles as its options.

    Args:
        folder: on a local disk; made when it is not there. Other files in it are left alone.
        max_bytes: of all entries.
        chunk_bytes: of a chunk; processes that share a folder have to agree on it.

    Raises:
        LoaderError: the options do not fit each other, or the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], *, max_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.folder, self.max_bytes, self.chunk_bytes = Path(folder), max_bytes, chunk_bytes
        if chunk_bytes < 1 or max_bytes < 2 * entry_size(chunk_bytes):
            raise LoaderError(
                f"{folder}: expected room for two chunks of {chunk_bytes:,} bytes or more, found {max_bytes:,} bytes"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LoaderError(f"{folder}: expected a folder for the cache, found {error}; give another one") from error
        self._lock = threading.Lock()  # of the fields below
        self._root = str(self.folder)
        self._alone_here = threading.Lock()
        self._file_lock = filelock.FileLock(self.folder / "lock", thread_local=False)
        self._underway: dict[ChunkRef, Future[bytes]] = {}
        self._counts = dict.fromkeys((f.name for f in dataclasses.fields(CacheStats) if f.name != "note"), 0)
        self._note: str | None = None
        self._touched: dict[str, float] = {}
        self._temporaries = 0

    def __reduce__(self) -> tuple[Any, ...]:
        made = functools.partial(ChunkCache, max_bytes=self.max_bytes, chunk_bytes=self.chunk_bytes)
        return made, (self.folder,)

    @property
    def stats(self) -> CacheStats:
        """The counts so far."""
        with self._lock:
            return CacheStats(**self._counts, note=self._note)

    @property
    def keeps(self) -> bool:
        """Whether chunks are kept still; not once the disk failed."""
        return self._note is None

    def get(self, chunk: ChunkRef, start: int, stop: int, fetch: Callable[[], bytes]) -> bytes:
        """Bytes [start, stop) of a chunk.

        Args:
            chunk: which.
            start: first byte within it.
            stop: the byte after the last.
            fetch: gives the whole chunk from afar; called once, however many threads ask for it at a time.
        """
        found = self._load(chunk, start, stop)
        if found is not None:
            self._count(hits=1)
            return found
        with self._lock:
            future = self._underway.get(chunk)
            first = future is None
            if future is None:
                future = self._underway[chunk] = Future()
        if not first:
            self._count(waits=1)
            return future.result()[start:stop]
        try:
            data = self._lead(chunk, fetch, future)
        finally:
            with self._lock:
                del self._underway[chunk]
        return data[start:stop]

    def holds(self, chunk: ChunkRef) -> bool:
        """Whether an entry is there; it may be gone a moment later."""
        return os.path.exists(self._path(chunk))  # noqa: PTH110 - as `_path` says

    def _lead(self, chunk: ChunkRef, fetch: Callable[[], bytes], future: Future[bytes]) -> bytes:
        """Fetches and keeps a chunk, for all that wait for it."""
        try:
            # Whoever fetched it before may have ended between the look at the disk and the entry of the future.
            found = self._load(chunk, 0, chunk.length)
            data = found if found is not None else fetch()
        except BaseException as error:
            future.set_exception(error)
            raise
        future.set_result(data)
        if found is not None:
            self._count(hits=1)
        else:
            self._count(misses=1, fetched_bytes=len(data))
            # Less than was asked for: the file is not what it should be, which whoever reads it will find.
            if self.keeps and len(data) == chunk.length:
                self._store(chunk, data)
        return data

    # -- on the disk -------------------------------------------------------------------------------------------

    def _path(self, chunk: ChunkRef) -> str:
        # 256 folders: a terabyte is 125,000 entries. A string: making a `Path` takes half as long as the reading.
        return f"{self._root}/{chunk.file[:2]}/{chunk.name}"

    def _load(self, chunk: ChunkRef, start: int, stop: int) -> bytes | None:
        """A part of an entry; None where there is none. A damaged one is taken away."""
        path = self._path(chunk)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            data = read_part(fd, chunk.length, start, stop)
            self._touch(chunk.name, fd)
        except (DamagedChunkError, OSError):
            self._count(damaged=1)
            with contextlib.suppress(OSError):
                Path(path).unlink()
            return None
        finally:
            os.close(fd)
        return data

    def _touch(self, name: str, fd: int) -> None:
        """Marks an entry as used just now."""
        now = time.monotonic()
        if now - self._touched.get(name, -TOUCH_S) >= TOUCH_S:
            if len(self._touched) > 1 << 16:
                self._touched.clear()
            self._touched[name] = now
            with contextlib.suppress(OSError):  # another user's entry
                os.utime(fd)

    def _store(self, chunk: ChunkRef, data: bytes) -> None:
        """Writes an entry; where that fails, none is written from now on."""
        path = Path(self._path(chunk))
        with self._lock:
            self._temporaries += 1
            temporary = path.with_name(f".tmp-{path.stem}.{os.getpid()}-{self._temporaries}")
        try:
            path.parent.mkdir(exist_ok=True)
            if not self._reserve(temporary, entry_size(chunk.length)):
                return
            with temporary.open("r+b") as sink:
                sink.write(header(data))
                sink.write(data)
            with self._alone():  # a listing would miss what is renamed meanwhile
                temporary.replace(path)
        except OSError as error:  # also when the lock is not to be had
            with contextlib.suppress(OSError):
                temporary.unlink()
            reason = error.strerror or str(error)
            with self._lock:
                self._note = self._note or f"{self.folder}: nothing is kept in the cache any more: {reason}"

    # -- the bound ---------------------------------------------------------------------------------------------

    def _reserve(self, temporary: Path, size: int) -> bool:
        """Makes a file of so many bytes, once there is room for it; False where none can be made."""
        usage = self.folder / "usage"
        with self._alone():
            used = _read_number(usage)
            if used is None or used + size > self.max_bytes:
                used = self._evict(self.max_bytes - max(size, self.max_bytes // 16))
                if used + size > self.max_bytes:  # others are writing that much just now
                    usage.write_text(str(used))
                    return False
            usage.write_text(str(used + size))
            # It has its full length from here on, so that a listing counts it whole.
            with temporary.open("xb") as sink:
                sink.truncate(size)
        return True

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process changes what is there, but to take it away."""
        # The threads' lock first, so that they do not poll for the processes'.
        with self._alone_here, self._file_lock.acquire(timeout=_LOCK_S, poll_interval=_POLL_S):
            yield

    def _evict(self, keep: int) -> int:
        """Takes entries away, the least recently used first, until at most `keep` bytes are left; how many are."""
        entries = sorted(self._listed())
        used = sum(entry.size for entry in entries)
        freed = 0
        for entry in entries:
            if used - freed <= keep:
                break
            if _ENTRY.fullmatch(entry.path.name):
                with contextlib.suppress(FileNotFoundError):
                    entry.path.unlink()
                freed += entry.size
        self._count(evicted_bytes=freed)
        return used - freed

    def _listed(self) -> Iterator[_Listed]:
        """All entries, and what is being written; what dead processes left is taken away."""
        now = time.time()
        for part in self.folder.glob("[0-9a-f][0-9a-f]"):
            with os.scandir(part) as files:
                for file in files:
                    temporary = _TEMPORARY.fullmatch(file.name) is not None
                    if not temporary and not _ENTRY.fullmatch(file.name):
                        continue
                    with contextlib.suppress(FileNotFoundError):  # renamed, or gone
                        info = file.stat(follow_symlinks=False)
                        if temporary and now - info.st_mtime > STALE_S:
                            Path(file.path).unlink()
                            continue
                        yield _Listed(info.st_mtime_ns, info.st_size, Path(file.path))

    def _count(self, **amounts: int) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount


class _Listed(NamedTuple):
    used_ns: int
    size: int
    path: Path


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
