"""A dataset's folder on a web server: files read by ranges (RFC 9110, section 14), each answer checked.

A server must answer a range with the range. One that sends whole files in place of ranges is refused before a body is
read: a shard may be a terabyte. A file whose size or ETag changes between two reads is an error, since its parts would
not fit together. Folders cannot be listed.
"""

from __future__ import annotations

import functools
import io
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final, NamedTuple

from urllib3.exceptions import ProtocolError
from urllib3.response import BaseHTTPResponse

from ..errors import DatasetError
from .addresses import HttpRoot
from .files import SeekableFile
from .web import Place, WebClient

SMALL_BYTES: Final = (
    8 << 20
)  # a file up to this size is fetched whole when it is opened; also the buffer of larger ones
_PROBES: Final = 16  # requests for sizes at a time
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")


class _Version(NamedTuple):
    """What must not change between two reads."""

    size: int
    name: str | None  # ETag, else the time of the last change


class HttpFile:
    """A file by its address. Safe from many threads.

    Args:
        client: asks for it.
        place: its address, and how messages name it.
        size: bytes that it must have; None: any.
    """

    def __init__(self, client: WebClient, place: Place, size: int | None = None) -> None:
        self._client, self._place, self._expected = client, place, size
        self._lock = threading.Lock()
        self._seen: _Version | None = None

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on, by one request; fewer at the end of the file.

        Raises:
            DatasetError: there is no such file, the server knows no ranges, or the file is not the one it was.
        """
        if self._seen is not None:
            size = min(size, self._seen.size - offset)
        if size <= 0:
            return b""
        headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
        return self._client.get(self._place, headers, functools.partial(self._take, size=size, offset=offset))

    def size(self) -> int:
        """Bytes of it; asks the server the first time."""
        return self._version().size

    def version(self) -> str | None:
        """Its ETag, else the time of its last change; None where the server tells neither."""
        return self._version().name

    def _version(self) -> _Version:
        if self._seen is None:
            self.read_at(1, 0)
        assert self._seen is not None
        return self._seen

    def _take(self, answer: BaseHTTPResponse, *, size: int, offset: int) -> bytes:
        """The body of an answer to a range."""
        where = self._place.where
        if answer.status == 200:
            if answer.headers.get("Content-Length") == "0":  # there is no range of an empty file
                self._note(0, answer)
                return b""
            raise DatasetError(
                f"{where}: expected the {size:,} bytes at {offset:,} that were asked for (status 206), found the whole "
                "file (status 200): this server knows no ranges; serve the data set by one that does (nginx, an object "
                "store), or copy it to a local folder"
            )
        if answer.status not in {206, 416}:
            raise refused(answer.status, where)
        told = answer.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(told.strip())
        if match is None:
            raise DatasetError(f"{where}: expected a Content-Range with the file's size, found {told!r:.80}")
        first, last, total = (int(part) if part else -1 for part in match.groups())
        self._note(total, answer)
        if answer.status == 416 and offset >= total:
            return b""
        if (first, last) != (offset, min(offset + size, total) - 1):
            raise DatasetError(f"{where}: expected bytes {offset}-{offset + size - 1}, found {told!r:.80}")
        return _body(answer, last - first + 1, where)

    def _note(self, size: int, answer: BaseHTTPResponse) -> None:
        """Compares the file's size and version with those of the first answer."""
        name = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        version = _Version(size, None if name is None else name.removeprefix("W/"))
        with self._lock:
            if self._seen is None and self._expected not in {None, size}:
                raise DatasetError(
                    f"{self._place.where}: expected {self._expected:,} bytes, as the manifest says, found {size:,}; "
                    "put the whole data set there again"
                )
            if self._seen is None:
                self._seen = version
            if self._seen != version:
                raise DatasetError(
                    f"{self._place.where}: expected the file as it was ({self._seen.size:,} bytes, version "
                    f"{self._seen.name!r:.80}), found {size:,} bytes, version {version.name!r:.80}: it was changed "
                    "while it was read; open the data set anew"
                )


class HttpFiles:
    """The files below an address.

    Args:
        uri: `https://[user:password@]host/folder[?query]`, or with http.
        client: asks for them; None: one of its own.
    """

    local_path: Path | None = None

    def __init__(self, uri: str, client: WebClient | None = None) -> None:
        self._root = HttpRoot(uri)
        self.origin = self._root.shown
        self._client = client if client is not None else WebClient(self._root)

    def random_access(self, relative: str, size: int | None = None) -> HttpFile:
        """A file for reads at an offset; nothing is asked before the first one."""
        return HttpFile(self._client, self._place(relative), size)

    def open(self, relative: str, size: int | None = None) -> IO[bytes]:
        """A seekable binary file; a small one is fetched at once."""
        file = self.random_access(relative, size)
        head = file.read_at(SMALL_BYTES, 0)
        if len(head) == file.size():
            return io.BytesIO(head)
        return io.BufferedReader(SeekableFile(file, file.size()), SMALL_BYTES)

    def read(self, relative: str, max_bytes: int) -> bytes:
        """All of a file, by one request without a range.

        Raises:
            DatasetError: there is no such file, or it is larger than `max_bytes`.
        """
        place = self._place(relative)

        def take(answer: BaseHTTPResponse) -> bytes:
            if answer.status != 200:
                raise refused(answer.status, place.where)
            length = answer.headers.get("Content-Length", "")
            if length.isascii() and length.isdigit() and int(length) <= max_bytes:
                return _body(answer, int(length), place.where)
            data = answer.read(max_bytes + 1) if not length else b""
            if length or len(data) > max_bytes:
                raise DatasetError(f"{place.where}: expected at most {max_bytes:,} bytes, found {length or 'more'}")
            return data

        return self._client.get(place, {}, take)

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each of these files that is there; by one request each, since a signed address allows no HEAD."""

        def size(relative: str) -> int | None:
            try:
                return self.random_access(relative).size()
            except MissingError:
                return None

        names = list(paths)
        with ThreadPoolExecutor(_PROBES, thread_name_prefix="openjft-sizes") as pool:
            return {name: found for name, found in zip(names, pool.map(size, names), strict=True) if found is not None}

    def _place(self, relative: str) -> Place:
        return Place(self._root.url(relative), self._root.where(relative))


class MissingError(DatasetError):
    """The server says that there is no such file."""


def refused(status: int, where: str) -> DatasetError:
    """The error of an answer without a file."""
    if status in {404, 410}:
        return MissingError(f"{where}: expected a file of the dataset, found none")
    if status in {401, 403}:
        return DatasetError(
            f"{where}: expected leave to read, found status {status}; look at user and password, and whether a signed "
            "address is still valid"
        )
    return DatasetError(f"{where}: expected a file, found status {status}")


def _body(answer: BaseHTTPResponse, size: int, where: str) -> bytes:
    """A body of exactly so many bytes. Raises `ProtocolError`, so that it is asked for again, where it breaks off."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise DatasetError(f"{where}: expected the file as it is, found it encoded ({encoding!r:.40}) by the server")
    parts, left = [], size
    while left and (part := answer.read(left)):
        parts.append(part)
        left -= len(part)
    if left:
        raise ProtocolError("the body breaks off")
    return parts[0] if len(parts) == 1 else b"".join(parts)
