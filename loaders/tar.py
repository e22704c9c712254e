"""Tars as WebDataset wants them, written so that equal members give equal bytes.

ustar headers (not pax), fixed mode, owner and mtime, members of a sample contiguous. Reading never extracts
and takes regular files only: names that climb out of a folder, links and devices are refused, since tars come
from strangers.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from tarfile import HeaderError
from typing import IO, NamedTuple, Self

from .errors import LoaderError

_BLOCK = tarfile.BLOCKSIZE
_READ_BYTES = 1 << 20
MAX_MEMBER_BYTES = 1 << 30


class Member(NamedTuple):
    """A regular file of a tar: `offset` is where its data starts, in bytes from the tar's start."""

    name: str
    offset: int
    data: bytes


class TarWriter:
    """Appends members to a binary stream that need not seek; `close` writes the end of the archive."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.offset = 0

    def add(self, name: str, data: bytes) -> int:
        """Appends one member and returns the offset of its data.

        Raises:
            LoaderError: the name does not fit into a ustar header.
        """
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o644, 0
        info.uname = info.gname = ""
        try:
            header = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
        except ValueError as error:
            raise LoaderError(
                f"{name!r}: expected a name for a ustar header (ASCII-safe, short), found {error}"
            ) from error
        self._stream.write(header)
        start = self.offset + len(header)
        self._stream.write(data)
        padding = -len(data) % _BLOCK
        self._stream.write(b"\0" * padding)
        self.offset = start + len(data) + padding
        return start

    def close(self) -> None:
        """Two empty blocks; the stream itself stays open."""
        self._stream.write(b"\0" * (2 * _BLOCK))
        self.offset += 2 * _BLOCK


def safe_name(name: str) -> bool:
    """Whether a member's name stays inside the folder it would be extracted to."""
    parts = name.split("/")
    return bool(name) and not name.startswith("/") and "\\" not in name and "\0" not in name and ".." not in parts


class _DamagedError(tarfile.TarError):
    pass


class _StrictInfo(tarfile.TarInfo):
    """A header that does not parse is an error; `tarfile` itself takes it for the archive's end and says nothing."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        at = tarfile.offset
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the end mark
                raise
            raise _DamagedError(f"expected a header or the end mark at byte {at}, found {error}") from error


def read_tar(stream: IO[bytes], *, origin: str = "tar", max_member_bytes: int = MAX_MEMBER_BYTES) -> Iterator[Member]:
    """The regular files of a tar, in order, each read whole. The stream need not seek; its rest is not read.

    Raises:
        LoaderError: the tar is damaged or truncated, or a member is unsafe or too large.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_READ_BYTES, tarinfo=_StrictInfo) as archive:
            while (info := archive.next()) is not None:
                vars(archive)["members"] = []  # the list of all headers would grow with the tar
                if info.isdir():
                    continue
                _check(info, origin, max_member_bytes)
                source = archive.extractfile(info)
                assert source is not None
                data = source.read()
                if len(data) != info.size:
                    raise _DamagedError(f"expected {info.size} bytes of member {info.name!r}, found {len(data)}")
                yield Member(info.name, info.offset_data, data)
    except (tarfile.TarError, EOFError) as error:
        raise LoaderError(f"{origin}: expected an uncompressed tar, found damage: {error}; fetch it again") from error


def _check(info: tarfile.TarInfo, origin: str, max_member_bytes: int) -> None:
    if not info.isreg():
        raise LoaderError(f"{origin}: member {info.name!r}: expected a regular file, found type {info.type!r}")
    if not safe_name(info.name):
        raise LoaderError(f"{origin}: member {info.name!r}: expected a relative name without '..'")
    if info.size > max_member_bytes:
        raise LoaderError(f"{origin}: member {info.name!r}: {info.size} bytes, more than the cap of {max_member_bytes}")
