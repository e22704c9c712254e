"""The build's folder, on any `pyarrow.fs` file system: where a stage's files lie, and how they appear at once.

A file is written under a temporary name and renamed when it is whole, so a reader never sees half a file and a
killed build leaves at most a `.tmp-*` behind. Object stores make an object visible at its close, so there the
rename is not needed. A unit of work is done when its record under `STAGE/_done/` exists, which is written last.
"""

from __future__ import annotations

import contextlib
import errno
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from .errors import StorageError

TEMPORARY = ".tmp-"
ROW_GROUP_ROWS = 131_072


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system and path of a local path or URI.

    Raises:
        StorageError: the scheme is unknown.
    """
    try:
        if "://" in uri:
            return cast("tuple[pafs.FileSystem, str]", pafs.FileSystem.from_uri(uri))
        return pafs.LocalFileSystem(), str(Path(uri).absolute())
    except (pa.ArrowInvalid, OSError, ImportError) as error:
        raise StorageError(
            f"{uri}: expected a local path or a URI of a file system that pyarrow knows (file, s3, gs, hdfs), "
            f"found {error}"
        ) from error


def bucket_file(stage: str, bucket: int, num_buckets: int, ending: str = "parquet") -> str:
    """Relative path of a stage's file for one bucket: `evidence/00003-of-00016.parquet`."""
    return f"{stage}/{bucket:05d}-of-{num_buckets:05d}.{ending}"


class Store:
    """A folder on a file system; all paths given to it are relative. Pickles as its URI."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.fs, self.base = resolve(root)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.root,)

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def path(self, relative: str) -> str:
        """The path as the file system takes it."""
        return f"{self.base}/{relative}" if relative else self.base

    @property
    def is_local(self) -> bool:
        """Whether paths are paths of this machine."""
        return isinstance(self.fs, pafs.LocalFileSystem)

    def exists(self, relative: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self.fs.get_file_info(self.path(relative)).type != pafs.FileType.NotFound)

    def size(self, relative: str) -> int:
        """Bytes of a file; 0 when there is none."""
        return int(self.fs.get_file_info(self.path(relative)).size or 0)

    def list_files(self, relative: str, *, recursive: bool = False) -> list[str]:
        """Relative paths of the files below a folder, sorted; temporary ones left out."""
        selector = pafs.FileSelector(self.path(relative), recursive=recursive, allow_not_found=True)
        skip = len(self.base) + 1
        return sorted(
            info.path[skip:]
            for info in self.fs.get_file_info(selector)
            if info.type == pafs.FileType.File and not info.base_name.startswith(TEMPORARY)
        )

    def delete(self, relative: str) -> None:
        """Removes a file or a folder with all that is in it; nothing happens when there is none."""
        info = self.fs.get_file_info(self.path(relative))
        if info.type == pafs.FileType.Directory:
            self.fs.delete_dir(info.path)
        elif info.type == pafs.FileType.File:
            self.fs.delete_file(info.path)

    @contextlib.contextmanager
    def writing(self, relative: str) -> Iterator[IO[bytes]]:
        """A binary file that appears under its name when the block ends, and not at all when it raises.

        Raises:
            StorageError: the disk is full, or the place cannot be written.
        """
        final = self.path(relative)
        folder, _, name = final.rpartition("/")
        target = f"{folder}/{TEMPORARY}{name}-{uuid.uuid4().hex}" if self.is_local else final
        try:
            self.fs.create_dir(folder, recursive=True)
            with self._guard(target):
                # Closed before the rename, so that a full disk shows here.
                with self.fs.open_output_stream(target) as sink:
                    yield cast("IO[bytes]", sink)
                if target != final:
                    self.fs.move(target, final)
        except OSError as error:
            raise _storage_error(final, error) from error

    @contextlib.contextmanager
    def _guard(self, target: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # A local temporary is ours to remove; an object store has taken the half file at its close.
            with contextlib.suppress(OSError):
                self.fs.delete_file(target)
            raise

    @contextlib.contextmanager
    def reading(self, relative: str) -> Iterator[IO[bytes]]:
        """A seekable binary file."""
        try:
            with self.fs.open_input_file(self.path(relative)) as source:
                yield cast("IO[bytes]", source)
        except FileNotFoundError as error:
            raise StorageError(f"{self.path(relative)}: expected a file of this build, found none") from error

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Writes a small file at once."""
        with self.writing(relative) as sink:
            sink.write(data)

    def read_bytes(self, relative: str) -> bytes:
        """All of a small file."""
        with self.reading(relative) as source:
            return source.read()

    def write_json(self, relative: str, value: Mapping[str, Any]) -> None:
        """JSON with sorted keys: equal values give equal bytes."""
        self.write_bytes(relative, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def read_json(self, relative: str) -> Any:
        """A JSON file's value."""
        return json.loads(self.read_bytes(relative))

    def write_table(self, relative: str, table: pa.Table, *, row_group_rows: int = ROW_GROUP_ROWS) -> None:
        """A Parquet file, zstd; equal tables give equal bytes (chunking does not matter)."""
        with self.writing(relative) as sink:
            pq.write_table(
                table.combine_chunks(),
                sink,
                compression="zstd",
                row_group_size=row_group_rows,
                store_schema=True,
            )

    def read_table(self, relative: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file written by `write_table`."""
        with self.reading(relative) as source:
            return pq.read_table(source, columns=columns)


def _storage_error(path: str, error: OSError) -> StorageError:
    if error.errno == errno.ENOSPC:
        return StorageError(
            f"{path}: no space left on the device. Nothing half-written was left behind; free some space and "
            "run the same command again, it goes on where it stopped"
        )
    if error.errno == errno.EFBIG:
        return StorageError(f"{path}: the file grew over this process's or file system's size limit (ulimit -f)")
    return StorageError(f"{path}: could not be written: {error}")
