"""A dataset's folder, read-only, on any `pyarrow.fs` file system, with reads at an offset from many threads.

Local files are read by `os.pread`, which keeps no position and so needs no lock and survives a fork; others by
Arrow's `read_at`. Open files are kept for the next read, the least recently used closed first.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from ..errors import DatasetError

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

    def read_at(self, size: int, offset: int) -> bytes:
        data: bytes = self._file.read_at(size, offset)
        return data


class Folder:
    """The folder of a dataset: a local path or a URI that pyarrow knows. Pickles as that."""

    def __init__(self, root: str) -> None:
        self.root = root
        try:
            if "://" in root:
                self._fs, self._base = pafs.FileSystem.from_uri(root)
            else:
                self._fs, self._base = pafs.LocalFileSystem(), str(Path(root).absolute())
        except (pa.ArrowInvalid, OSError, ImportError) as error:
            raise DatasetError(
                f"{root}: expected a local path or a URI of a file system that pyarrow knows (file, s3, gs, hdfs), "
                f"found {error}"
            ) from error
        self._base = self._base.rstrip("/")
        self._local = isinstance(self._fs, pafs.LocalFileSystem)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, RandomAccess] = OrderedDict()

    def __reduce__(self) -> tuple[type[Folder], tuple[str]]:
        return Folder, (self.root,)

    def where(self, relative: str) -> str:
        """The path as a message shows it."""
        return f"{self.root.rstrip('/')}/{relative}"

    def sizes(self) -> dict[str, int]:
        """Bytes of every file below the folder, by relative path."""
        selector = pafs.FileSelector(self._base, recursive=True, allow_not_found=True)
        skip = len(self._base) + 1
        infos = self._fs.get_file_info(selector)
        return {info.path[skip:]: int(info.size) for info in infos if info.type == pafs.FileType.File}

    def open(self, relative: str) -> Any:
        """A seekable binary file of Arrow; use it in a `with`.

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        try:
            return self._fs.open_input_file(f"{self._base}/{relative}")
        except OSError as error:
            raise self._unreadable(relative, error) from error

    def read(self, relative: str) -> bytes:
        """All of a file.

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
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
                path = f"{self._base}/{relative}"
                found = _LocalFile(path) if self._local else _ArrowFile(self._fs, path)
            except OSError as error:
                raise self._unreadable(relative, error) from error
            self._open[relative] = found
            if len(self._open) > MAX_OPEN_FILES:
                self._open.popitem(last=False)
            return found

    def _unreadable(self, relative: str, error: OSError) -> DatasetError:
        if isinstance(error, FileNotFoundError):
            return DatasetError(f"{self.where(relative)}: expected a file of the dataset, found none")
        return DatasetError(f"{self.where(relative)}: could not be read: {error}")
