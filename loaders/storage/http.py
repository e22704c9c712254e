"""Files below an HTTP(S) address, read by ranges from many threads.

Connections, time-outs and retries (429, 5xx, broken connections; with growing pauses) are urllib3's. What is checked
here: the answer is the range that was asked for, so that a server without ranges cannot send a whole shard for each
image; the file is the same one at each read (size, ETag); redirects are few, never from https to http, and never from
a public address to one inside this network. An address that the user names may be private.
"""

from __future__ import annotations

import functools
import io
import ipaddress
import re
import socket
import threading
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import urllib3

from openjft.loaders.errors import DatasetError

MAX_REDIRECTS: Final = 5
MAX_WHOLE_BYTES: Final = 1 << 30  # of a file that is read whole: an index, a manifest
CONNECT_S, READ_S, TRIES = 10.0, 60.0, 5
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_BUFFER: Final = 8 << 20


@functools.cache
def _pool() -> urllib3.PoolManager:
    """One for the process: connections are kept for the next read."""
    retry = urllib3.Retry(
        total=TRIES,
        redirect=False,
        backoff_factor=0.2,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "HEAD"),
        raise_on_status=False,
    )
    timeout = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
    return urllib3.PoolManager(
        num_pools=8, maxsize=64, retries=retry, timeout=timeout, headers={"User-Agent": "openjft"}
    )


class HttpRoot:
    """An address that files lie below: `https://host/path`, with a query (a signature) that each request gets.

    Raises:
        DatasetError: it is no address of that kind.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise DatasetError(f"{shown(url)}: expected http://host/path or https://host/path")
        self._parts = parts
        self._private: bool | None = None

    def url(self, relative: str) -> str:
        """The address of a file."""
        path = f"{self._parts.path.rstrip('/')}/{quote(relative)}"
        return urlunsplit((self._parts.scheme, self._parts.netloc, path, self._parts.query, ""))

    def request(self, method: str, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer, its body not read yet, after redirects.

        Raises:
            DatasetError: the server cannot be reached, does not have the file, or sends us where we do not go.
        """
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = _pool().request(method, url, headers=headers, preload_content=False, redirect=False)
            except urllib3.exceptions.HTTPError as error:
                raise DatasetError(f"{shown(url)}: could not be read after {TRIES} tries: {error}") from error
            if answer.status not in {301, 302, 303, 307, 308}:
                return _checked(answer, url)
            answer.drain_conn()
            url = self._followed(url, answer.headers.get("Location", ""))
        raise DatasetError(f"{shown(url)}: expected at most {MAX_REDIRECTS} redirects, found more")

    def _followed(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.scheme not in {"http", "https"} or (urlsplit(url).scheme == "https" and parts.scheme == "http"):
            raise DatasetError(f"{shown(url)}: expected a redirect to https, found one to {shown(target)}")
        if self._private is None:
            self._private = is_private(self._parts.hostname or "")
        if not self._private and is_private(parts.hostname or ""):
            raise DatasetError(
                f"{shown(url)}: found a redirect to {shown(target)}, an address inside this network, which a public "
                "server does not get to name; give that address yourself if it is right"
            )
        return target


def is_private(host: str) -> bool:
    """Whether a name leads to an address that is not a public one; one that leads nowhere counts as such."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return True
    return any(not ipaddress.ip_address(entry[4][0]).is_global for entry in found)


def shown(url: str) -> str:
    """An address as a message shows it: without password and query, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _checked(answer: urllib3.BaseHTTPResponse, url: str) -> urllib3.BaseHTTPResponse:
    if answer.status in {200, 206, 416}:
        return answer
    answer.drain_conn()
    if answer.status in {404, 410}:
        raise FileNotFoundError(shown(url))
    cure = "; is the signature still valid?" if answer.status in {401, 403} else ""
    raise DatasetError(f"{shown(url)}: expected the file, found HTTP status {answer.status}{cure}")


class _Identity(NamedTuple):
    """What tells one version of a file from another."""

    size: int
    tag: str


class HttpFile:
    """A file that is read at an offset; safe from many threads."""

    def __init__(self, root: HttpRoot, relative: str) -> None:
        self._root, self._url = root, root.url(relative)
        self._lock = threading.Lock()
        self._identity: _Identity | None = None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.identity.size

    @property
    def identity(self) -> _Identity:
        """Size and tag, asked for once."""
        if self._identity is None:
            self.read_at(1, 0)
        assert self._identity is not None
        return self._identity

    def read_at(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset` on; fewer at the end of the file.

        Raises:
            DatasetError: the server has no ranges, sent another one, or the file has changed.
            FileNotFoundError: there is no such file.
        """
        if size <= 0:
            return b""
        answer = self._root.request("GET", self._url, {"Range": f"bytes={offset}-{offset + size - 1}"})
        try:
            return self._body(answer, size, offset)
        except urllib3.exceptions.HTTPError as error:
            raise DatasetError(
                f"{shown(self._url)}: {size:,} bytes at {offset:,}: the answer broke off: {error}"
            ) from error
        finally:
            answer.release_conn()

    def _body(self, answer: urllib3.BaseHTTPResponse, size: int, offset: int) -> bytes:
        where = shown(self._url)
        if answer.status == 416:  # the range begins behind the end, or the file is empty
            answer.drain_conn()
            told = answer.headers.get("Content-Range", "").rpartition("/")[2]
            self._same(_Identity(int(told) if told.isdigit() else 0, _tag(answer)))
            return b""
        if answer.status != 206:
            answer.close()  # unread: it may be a terabyte
            raise DatasetError(
                f"{where}: expected a server that sends ranges of a file (status 206), found the whole file "
                f"(status {answer.status}); serve it by one that can, or copy the data set"
            )
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        start, end, total = [int(part) for part in found.groups()] if found else [-1, -1, -1]
        if start != offset or end != min(offset + size, total) - 1:
            answer.close()
            raise DatasetError(
                f"{where}: expected bytes {offset} to {offset + size - 1}, found Content-Range "
                f"{answer.headers.get('Content-Range')!r}"
            )
        self._same(_Identity(total, _tag(answer)))
        wanted = end - start + 1
        data = answer.read(wanted)
        if len(data) != wanted:
            raise DatasetError(f"{where}: expected {wanted:,} bytes at {offset:,}, found {len(data):,}")
        return data

    def _same(self, found: _Identity) -> None:
        with self._lock:
            if self._identity is None:
                self._identity = found
            elif self._identity != found:
                raise DatasetError(
                    f"{shown(self._url)}: the file has changed while it was read: {self._identity.size:,} bytes "
                    f"{self._identity.tag} before, {found.size:,} bytes {found.tag} now; start again"
                )


def _tag(answer: urllib3.BaseHTTPResponse) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


class SeekableFile(io.RawIOBase):
    """A file at an offset as a seekable binary file, for libraries that want one."""

    def __init__(self, source: HttpFile) -> None:
        super().__init__()
        self._source, self._at = source, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves, and tells where to."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Where it stands."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer as far as the file goes."""
        data = self._source.read_at(len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_buffered(source: HttpFile) -> io.BufferedReader:
    """The file for reading in sequence, 8 MiB a request.

    Raises:
        FileNotFoundError: there is no such file.
    """
    _ = source.identity  # asked now, so that a missing file is told by `open`
    return io.BufferedReader(SeekableFile(source), _BUFFER)


def read_whole(source: HttpFile) -> bytes:
    """All of a file.

    Raises:
        DatasetError: it is larger than is taken into memory.
        FileNotFoundError: there is no such file.
    """
    if source.size > MAX_WHOLE_BYTES:
        raise DatasetError(f"expected a file of at most {MAX_WHOLE_BYTES:,} bytes, found {source.size:,}")
    with open_buffered(source) as stream:
        return stream.read()
