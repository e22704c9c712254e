"""Images that do not come over HTTP: local files, object stores, members of tars.

In: canonical URIs (`file://`, `s3://`, `gs://`, `hdfs://`, `tar+file://`, ...). Out: bytes, or a `FetchFailure`
with a counted reason. Local files must lie below one of the allowed folders after links are resolved, and be
regular files. Object stores go through `pyarrow.fs` with the credentials of the environment; a query string in
their URIs is refused, since it could name another endpoint. A tar's member is read by its offset, after the
header before it was found to name it.

All calls block; the stage runs them in threads.
"""

from __future__ import annotations

import os
import stat
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from ..ingest.uris import TAR_PREFIX, UriError, parse_tar_member_uri
from .failure import FetchFailure

OBJECT_SCHEMES: Final = frozenset({"s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"})
_NAME_BYTES: Final = 100  # of a tar header; longer names stand in an extension before it, cut off in the header


class SourceReader:
    """Reads images from files, object stores and tars; may be called from many threads."""

    def __init__(self, *, max_bytes: int, allow_paths: Sequence[str], tar_paths: Sequence[str] = ()) -> None:
        """Sets up a reader.

        Args:
            max_bytes: cap of one image.
            allow_paths: folders that `file:` URIs may read, and `tar+file:` too.
            tar_paths: folders or tars that only `tar+file:` URIs may read.
        """
        self._max_bytes = max_bytes
        self._file_roots = [Path(path).resolve() for path in allow_paths]
        self._tar_roots = [*self._file_roots, *(Path(path).resolve() for path in tar_paths)]
        self._stores: dict[str, tuple[pafs.FileSystem, str]] = {}
        self._lock = threading.Lock()

    def read(self, uri: str) -> bytes:
        """The bytes of one image.

        Raises:
            FetchFailure: `forbidden_scheme`, `forbidden_path`, `not_found`, `too_many_bytes` or `read_failed`.
        """
        scheme = uri.partition(":")[0]
        try:
            if scheme.startswith(TAR_PREFIX):
                return self._read_member(uri, scheme.removeprefix(TAR_PREFIX))
            parts = urlsplit(uri)
            if scheme == "file":
                with _open_local(unquote(parts.path), self._file_roots) as source:
                    return self._read_all(source, os.fstat(source.fileno()).st_size)
            with self._open_object(uri, scheme) as source:
                return self._read_all(source, source.size())
        except (FileNotFoundError, NotADirectoryError):
            raise FetchFailure("not_found", f"no such {'file' if scheme == 'file' else 'object'}") from None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise FetchFailure("read_failed", f"{type(error).__name__}: {error}") from error

    def _read_all(self, source: IO[bytes], size: int) -> bytes:
        if size > self._max_bytes:
            raise FetchFailure("too_many_bytes", f"{size} bytes, cap is {self._max_bytes}")
        data = source.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise FetchFailure("too_many_bytes", f"more than {self._max_bytes} bytes")
        return data

    def _read_member(self, uri: str, inner: str) -> bytes:
        try:
            tar, name, offset, size = parse_tar_member_uri(uri)
        except UriError as error:
            raise FetchFailure("read_failed", error) from None
        if size > self._max_bytes:
            raise FetchFailure("too_many_bytes", f"{size} bytes, cap is {self._max_bytes}")
        if offset < tarfile.BLOCKSIZE:
            raise FetchFailure("read_failed", f"offset {offset} is within a tar's first header")
        opened = _open_local(tar, self._tar_roots) if inner == "file" else self._open_object(tar, inner)
        with opened as source:
            source.seek(offset - tarfile.BLOCKSIZE)
            _check_member(source.read(tarfile.BLOCKSIZE), name, size)
            data = source.read(size)
        if len(data) != size:
            raise FetchFailure("read_failed", f"tar ends within member {name!r}")
        return data

    def _open_object(self, uri: str, scheme: str) -> Any:
        """A seekable file of an object store, opened with the store's client of this process."""
        parts = urlsplit(uri)
        if scheme not in OBJECT_SCHEMES:
            raise FetchFailure("forbidden_scheme", f"scheme {scheme!r} cannot be read")
        if parts.query or "@" in parts.netloc:
            raise FetchFailure("forbidden_path", "query or credentials in the URI of an object")
        with self._lock:  # making a client asks the network: once for each bucket
            root = f"{scheme}://{parts.netloc}"
            if root not in self._stores:
                self._stores[root] = pafs.FileSystem.from_uri(root)
            store, base = self._stores[root]
        return store.open_input_file(base.rstrip("/") + unquote(parts.path))


def _open_local(path: str, roots: Sequence[Path]) -> IO[bytes]:
    """A regular file below one of the roots.

    Raises:
        FetchFailure: `forbidden_path`; told before whether the file exists, and for whatever is not a regular file.
    """
    real = Path(path).resolve()
    if not any(real.is_relative_to(root) for root in roots):
        raise FetchFailure("forbidden_path", "not below a folder of fetch.allow_paths")
    # Not through a link made since, and without waiting at a pipe.
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FetchFailure("forbidden_path", "not a regular file")
    return os.fdopen(descriptor, "rb")


def _check_member(header: bytes, name: str, size: int) -> None:
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise FetchFailure("read_failed", f"no tar header before the member's bytes: {error}") from None
    cut = name.encode("utf-8", "surrogateescape")[:_NAME_BYTES].decode("utf-8", "surrogateescape")
    if not info.isreg() or info.size != size or info.name not in {name, cut}:
        found = f"{info.name!r} of {info.size} bytes"
        raise FetchFailure(
            "read_failed", f"expected member {name!r} of {size} bytes, found {found}: the tar has changed"
        )
