"""A dataset's folder, read-only, on any `pyarrow.fs` file system, with reads at an offset from many threads.

Local files are read by `os.pread`, which keeps no position and so needs no lock and survives a fork; others by
Arrow's `read_at`. Open files are kept for the next read, the least recently used closed first.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from ..errors import DatasetError
from .cache import CachedFile, ChunkCache, ChunkRef, Readable
from .http import HttpFile, HttpRoot, open_buffered, read_whole, shown

MAX_OPEN_FILES = 256


class RandomAccess(Protocol):
    """A file that is read at an offset."""

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on; fewer at the end of the file."""
        ...


class _LocalFile:
    """Closes when its last user lets go of it, not when the cache does: a read may be under way."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, size: int, offset: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
            data += more
        return data

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


class _ArrowFile:
    def __init__(self, fs: pafs.FileSystem, path: str) -> None:
        self._file = fs.open_input_file(path)
        self.size = int(self._file.size())

    def read_at(self, size: int, offset: int) -> bytes:
        data: bytes = self._file.read_at(size, offset)
        return data


class Folder:
    """The folder of a dataset: a local path, an HTTP(S) address, or a URI that pyarrow knows. Pickles as that.

    Args:
        root: the place.
        cache: for files that are not local; None reads them directly.

    Raises:
        DatasetError: the place is of no kind that is known.
    """

    def __init__(self, root: str, cache: ChunkCache | None = None) -> None:
        self.root, self._cache = root, cache
        self._http = HttpRoot(root) if root.startswith(("http://", "https://")) else None
        self._fs: pafs.FileSystem | None = None
        self._base = ""
        if self._http is None:
            self._fs, self._base = _file_system(root)
        self._local = isinstance(self._fs, pafs.LocalFileSystem)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, RandomAccess] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._cache is None:
            return Folder, (self.root,)
        return _with_cache, (self.root, self._cache.folder, self._cache.max_bytes, self._cache.chunk_bytes)

    @property
    def cached(self) -> bool:
        """Whether files are read through a cache, so that reading ahead has somewhere to go."""
        return self._cache is not None and not self._local

    @property
    def cache(self) -> ChunkCache | None:
        """The cache, if there is one."""
        return self._cache

    @property
    def shown_root(self) -> str:
        """The place as a message shows it: without passwords and signatures."""
        return shown(self.root) if "://" in self.root else self.root

    def where(self, relative: str) -> str:
        """The path as a message shows it."""
        return f"{self.shown_root.rstrip('/')}/{relative}"

    @property
    def local_path(self) -> Path | None:
        """The folder, where it is a local one."""
        return Path(self._base or "/") if self._local else None

    def stat(self, relative: str) -> tuple[int, str]:
        """Bytes of a file, and what tells a later version from it ("" where the storage tells nothing).

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        try:
            if self._http is not None:
                identity = HttpFile(self._http, relative).identity
                return identity.size, identity.tag
            assert self._fs is not None
            info = self._fs.get_file_info(f"{self._base}/{relative}")
            if info.type != pafs.FileType.File:
                raise FileNotFoundError(relative)
            return int(info.size), str(info.mtime_ns or "")
        except OSError as error:
            raise self._unreadable(relative, error) from error

    def sizes(self, expected: Iterable[str]) -> dict[str, int]:
        """Bytes of every file below the folder, by relative path.

        Args:
            expected: the files to ask for where a folder cannot be listed (HTTP).
        """
        if self._http is not None:
            found = {}
            for relative in expected:
                try:
                    found[relative] = HttpFile(self._http, relative).size
                except FileNotFoundError:
                    continue
            return found
        assert self._fs is not None
        selector = pafs.FileSelector(self._base, recursive=True, allow_not_found=True)
        skip = len(self._base) + 1
        infos = self._fs.get_file_info(selector)
        return {info.path[skip:]: int(info.size) for info in infos if info.type == pafs.FileType.File}

    def open(self, relative: str) -> Any:
        """A seekable binary file; use it in a `with`.

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        try:
            if self._http is not None:
                return open_buffered(HttpFile(self._http, relative))
            assert self._fs is not None
            return self._fs.open_input_file(f"{self._base}/{relative}")
        except OSError as error:
            raise self._unreadable(relative, error) from error

    def read(self, relative: str) -> bytes:
        """All of a file.

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        if self._http is not None:
            try:
                return read_whole(HttpFile(self._http, relative))
            except OSError as error:
                raise self._unreadable(relative, error) from error
        with self.open(relative) as source:
            data: bytes = source.read()
            return data

    def random_access(self, relative: str) -> RandomAccess:
        """The file for reads at an offset, opened when it is not open yet; safe from many threads.

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        with self._lock:
            found = self._open.get(relative)
            if found is not None:
                self._open.move_to_end(relative)
                return found
        try:
            found = self._opened(relative)
        except OSError as error:
            raise self._unreadable(relative, error) from error
        with self._lock:
            found = self._open.setdefault(relative, found)
            if len(self._open) > MAX_OPEN_FILES:
                self._open.popitem(last=False)
            return found

    def chunks(self, relative: str, offset: int, size: int) -> list[ChunkRef]:
        """The chunks of the cache that some bytes of a file lie in; none where there is no cache."""
        file = self.random_access(relative)
        return file.chunks(offset, size) if isinstance(file, CachedFile) else []

    def fetch(self, relative: str, ref: ChunkRef) -> None:
        """Sees to it that a chunk is in the cache."""
        file = self.random_access(relative)
        if isinstance(file, CachedFile):
            file.fetch(ref)

    def _opened(self, relative: str) -> RandomAccess:
        if self._local:
            return _LocalFile(f"{self._base}/{relative}")
        if self._http is not None:
            http = HttpFile(self._http, relative)
            source: RandomAccess = http
            size, tag = (http.identity.size, http.identity.tag) if self._cache else (0, "")
        else:
            assert self._fs is not None
            arrow = _ArrowFile(self._fs, f"{self._base}/{relative}")
            changed = self._fs.get_file_info(f"{self._base}/{relative}").mtime_ns
            source, size, tag = arrow, arrow.size, str(changed or "")
        if self._cache is None:
            return source
        return CachedFile(
            self._cache, Readable(self._cache.file_id(self.where(relative), str(size), tag), size, source.read_at)
        )

    def _unreadable(self, relative: str, error: OSError) -> DatasetError:
        if isinstance(error, FileNotFoundError):
            return DatasetError(f"{self.where(relative)}: expected a file of the dataset, found none")
        return DatasetError(f"{self.where(relative)}: could not be read: {error}")


def _file_system(root: str) -> tuple[pafs.FileSystem, str]:
    """Arrow's file system of a place, and the folder in it."""
    try:
        if "://" in root:
            fs, base = pafs.FileSystem.from_uri(root)
        else:
            fs, base = pafs.LocalFileSystem(), str(Path(root).absolute())
    except (pa.ArrowInvalid, OSError, ImportError) as error:
        raise DatasetError(
            f"{root}: expected a local path, http(s)://, or a URI of a file system that pyarrow knows (file, s3, gs, "
            f"hdfs), found {error}"
        ) from error
    return fs, base.rstrip("/")


def _with_cache(root: str, folder: Path, max_bytes: int, chunk_bytes: int) -> Folder:
    return Folder(root, ChunkCache(folder, max_bytes=max_bytes, chunk_bytes=chunk_bytes))
