"""Files that are read at an offset, from many threads at once, and what makes a seekable file of one."""

from __future__ import annotations

import io
import os
from typing import Protocol


class RandomAccess(Protocol):
    """A file that is read at an offset."""

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on; fewer at the end of the file."""
        ...


class VersionedFile(RandomAccess, Protocol):
    """One that tells which version of it is read."""

    def size(self) -> int:
        """Bytes of it."""
        ...

    def version(self) -> str | None:
        """Names its content as far as the server tells (an ETag, a time); None: it does not."""
        ...


class LocalFile:
    """Closes when its last user lets go of it, not when the cache does: a read may be under way."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on; keeps no position, so it needs no lock and survives a fork."""
        data = os.pread(self._fd, size, offset)
        while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
            data += more
        return data

    def size(self) -> int:
        """Bytes of it."""
        return os.fstat(self._fd).st_size

    def version(self) -> str | None:
        """The time of its last change, in nanoseconds."""
        return str(os.fstat(self._fd).st_mtime_ns)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


class SeekableFile(io.RawIOBase):
    """A binary file with a position over one that has none, as pyarrow and tarfile read it; buffer it."""

    def __init__(self, file: RandomAccess, size: int) -> None:
        super().__init__()
        self._file, self._size, self._position = file, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position, bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, also behind the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"expected a position of 0 or more, found {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Reads at the position, and moves it."""
        size = min(len(buffer), max(self._size - self._position, 0))
        data = self._file.read_at(size, self._position) if size else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
