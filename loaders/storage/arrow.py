"""A dataset's folder on a local disk or on any file system that pyarrow knows: S3, Google Cloud Storage, HDFS."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.fs as pafs

from ..errors import DatasetError
from .addresses import without_secrets
from .files import LocalFile, VersionedFile


class ArrowFile:
    """A file of a `pyarrow.fs` file system, opened.

    Raises:
        OSError: there is none, or it cannot be opened.
    """

    def __init__(self, fs: pafs.FileSystem, path: str) -> None:
        self._fs, self._path = fs, path
        self._file = fs.open_input_file(path)

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on."""
        data: bytes = self._file.read_at(size, offset)
        return data

    def size(self) -> int:
        """Bytes of it."""
        return int(self._file.size())

    def version(self) -> str | None:
        """The time of its last change, in nanoseconds."""
        time = self._fs.get_file_info(self._path).mtime_ns
        return None if time is None else str(time)


class ArrowFiles:
    """The files below a local path or a URI. Its methods raise `OSError`.

    Args:
        root: the path or URI. Keys, endpoint and region may stand in it; better in the environment, where pyarrow and
            the tools of the provider look for them.

    Raises:
        DatasetError: pyarrow knows no such file system.
    """

    def __init__(self, root: str) -> None:
        shown = without_secrets(root)
        try:
            if "://" in root:
                self._fs, base = pafs.FileSystem.from_uri(root)
            else:
                self._fs, base = pafs.LocalFileSystem(), str(Path(root).absolute())
        except (pa.ArrowInvalid, OSError, ImportError, NotImplementedError) as error:
            raise DatasetError(
                f"{shown}: expected a local path, an address (http, https) or a URI of a file system that pyarrow "
                f"knows (file, s3, gs, hdfs), found {str(error).replace(root, shown)}"
            ) from None  # the error itself may hold the URI and its secrets
        self._base = base.rstrip("/")
        local = isinstance(self._fs, pafs.LocalFileSystem)
        self.local_path = Path(self._base or "/") if local else None
        # The query says which store: an endpoint, a region.
        self.origin = f"{shown}?{root.partition('?')[2]}"

    def random_access(self, relative: str, size: int | None = None) -> VersionedFile:
        """A file for reads at an offset."""
        path = f"{self._base}/{relative}"
        return LocalFile(path) if self.local_path is not None else ArrowFile(self._fs, path)

    def open(self, relative: str, size: int | None = None) -> IO[bytes]:
        """A seekable binary file of Arrow."""
        opened: IO[bytes] = self._fs.open_input_file(f"{self._base}/{relative}")
        return opened

    def read(self, relative: str, max_bytes: int) -> bytes:
        """All of a file."""
        with self.open(relative) as source:
            data = source.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise OSError(f"expected at most {max_bytes:,} bytes, found more")
        return data

    def sizes(self, expected: Iterable[str]) -> dict[str, int]:
        """Bytes of every file below the root."""
        selector = pafs.FileSelector(self._base, recursive=True, allow_not_found=True)
        skip = len(self._base) + 1
        infos = self._fs.get_file_info(selector)
        return {info.path[skip:]: int(info.size) for info in infos if info.type == pafs.FileType.File}
