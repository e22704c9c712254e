"""Where the members of a tar lie, read from its headers; the members' bytes are passed over.

In: a tar, plain or gzip, by strangers. Out: `TarMember`s in order. Nothing is extracted. Links, devices, sparse files
and names that climb out of a folder are refused; so are headers of headers above 1 MiB and a compressed tar that
unpacks to more than `MAX_UNPACKED_BYTES`. `openjft.loaders.tar` reads the bytes of our own shards; this package does
not import it, and needs the places only.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self, cast

from ..errors import EvalSetError
from .spec import is_safe

MAX_UNPACKED_BYTES: Final = 64 << 30
_MAX_EXTENSION_BYTES: Final = 1 << 20  # long names and pax records, which tarfile reads into memory
_EXTENSIONS: Final = frozenset((*tarfile.GNU_TYPES, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE))
_READ_BYTES: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_OTHERS: Final = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


class TarMember(NamedTuple):
    """A regular file of a tar: `size` bytes from `offset` of the unpacked tar on."""

    name: str
    offset: int
    size: int


class _DamagedError(tarfile.TarError):
    pass


class _StrictInfo(tarfile.TarInfo):
    """A header that does not parse is an error; `tarfile` itself takes it for the archive's end and says nothing."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENSIONS and info.type != tarfile.GNUTYPE_SPARSE and info.size > _MAX_EXTENSION_BYTES:
            raise _DamagedError(f"expected names of less than {_MAX_EXTENSION_BYTES:,} bytes, found {info.size:,}")
        return info

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        at = tarfile.offset
        try:
            return super().fromtarfile(tarfile)
        except _HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the end mark
                raise
            raise _DamagedError(f"expected a header or the end mark at byte {at:,}, found {error}") from error


_HeaderError = tarfile.HeaderError


class _Capped:
    """A stream that ends with an error after a number of bytes: what a small gzip unpacks to has no bound."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._left = stream, most

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _DamagedError(f"it unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
        return data


def is_packed(path: Path) -> bool:
    """Whether a tar is compressed by gzip, by its first bytes.

    Raises:
        OSError: it cannot be read.
        EvalSetError: it is compressed by something else.
    """
    with path.open("rb") as source:
        head = source.read(6)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise EvalSetError(f"{path}: expected a tar, plain or gzip, found {name}; unpack it to a plain tar")
    return head.startswith(_GZIP)


def read_members(path: Path, *, packed: bool) -> Iterator[TarMember]:
    """The regular files of a tar, in order.

    Raises:
        EvalSetError: the tar is damaged or truncated, or a member is unsafe.
    """
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            # A stream is read through; in a file that seeks, tarfile jumps from header to header.
            source: Any = _Capped(cast("IO[bytes]", stream), MAX_UNPACKED_BYTES) if packed else stream
            with tarfile.open(
                fileobj=source, mode="r|" if packed else "r:", bufsize=_READ_BYTES, tarinfo=_StrictInfo
            ) as archive:
                while (info := archive.next()) is not None:
                    vars(archive)["members"] = []  # the list of all headers would grow with the tar
                    if not info.isdir():
                        yield _member(info)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise EvalSetError(f"{path}: expected a whole tar, found damage: {error}; fetch it again") from error


def _member(info: tarfile.TarInfo) -> TarMember:
    if not info.isreg() or info.issparse():
        raise _DamagedError(f"member {info.name!r}: expected a regular file, found type {info.type!r}")
    if not is_safe(info.name):
        raise _DamagedError(f"member {info.name!r}: expected a relative name without '..'")
    return TarMember(info.name, info.offset_data, info.size)
