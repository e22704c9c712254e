"""Walks the members of a tar that may be damaged: a bad header costs its own member, not the rest of the tar.

In: a tar, read at an offset. Out: `Member` for each regular file, with where its data lies, and `Lost` for each
stretch of bytes that could not be used, with the reason. After a header that does not parse the walk goes on at the
next block that is one (checksum, `ustar` mark, a name that is sane). What comes from strangers is not followed:
links, devices, names that climb out of a folder, sizes that the tar does not have.

Readers that take a bad header for the end of the archive drop what follows without a word; see benchmarks/RESULTS.md.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from openjft.loaders.tar import MAX_MEMBER_BYTES, safe_name

BLOCK: Final = tarfile.BLOCKSIZE
MAX_NAME_BYTES: Final = 1 << 16  # of a GNU long name or a pax header
_SEARCH_BYTES: Final = 1 << 20
_MAGIC: Final = b"ustar"
_ZEROS: Final = b"\0" * BLOCK
_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_FOLLOWING: Final = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE)  # they name the member after them

ReadAt = Callable[[int, int], bytes]  # (size, offset)


class Member(NamedTuple):
    """A regular file: `header` is where its first header block begins, `offset` its data, in bytes from the start."""

    name: str
    header: int
    offset: int
    size: int


class Lost(NamedTuple):
    """Bytes [start, stop) that no member could be made of, and why, in a word and in a sentence."""

    start: int
    stop: int
    reason: str
    detail: str


def scan_tar(read_at: ReadAt, size: int) -> Iterator[Member | Lost]:
    """The members of a tar in order, and what was lost between them.

    Args:
        read_at: gives `size` bytes from an offset on, fewer at the end of the tar.
        size: bytes of the tar.
    """
    at, named, begin = 0, None, None
    while at < size:
        block = read_at(BLOCK, at)
        if len(block) < BLOCK:
            yield Lost(
                at, size, "truncated", f"the tar ends in the middle of a header, after {len(block)} of 512 bytes"
            )
            return
        if block == _ZEROS:
            if read_at(BLOCK, at + BLOCK) in {_ZEROS, b""}:
                return
            at += BLOCK
            continue
        info = _header(block)
        if isinstance(info, str):
            found = _next_header(read_at, at + BLOCK, size)
            yield Lost(at, found, "bad_header", info)
            at, named, begin = found, None, None
            continue
        start, data = (at if begin is None else begin), at + BLOCK
        end = data + -(-info.size // BLOCK) * BLOCK
        if data + info.size > size:
            # A size that is wrong would skip all that follows: what lies behind the header is looked through.
            found = _next_header(read_at, data, size)
            reason = "truncated" if found == size else "bad_header"
            yield Lost(at, found, reason, f"{info.name!r:.80}: {info.size:,} bytes, the tar has {size - data:,} more")
            at, named, begin = found, None, None
            continue
        if info.type in _FOLLOWING and info.size <= MAX_NAME_BYTES:
            named, begin = _name_from(info, read_at(info.size, data)) or named, start
        else:
            yield from _member(info, named, start, data, end)
            named, begin = None, None
        at = end


def _header(block: bytes) -> tarfile.TarInfo | str:
    """A header, or what is wrong with it."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        return str(error)


def _next_header(read_at: ReadAt, start: int, size: int) -> int:
    """Where the next block lies that is surely a header; the end of the tar where there is none."""
    at = start
    while at + BLOCK <= size:
        part = read_at(min(_SEARCH_BYTES, size - at), at)
        for within in range(0, len(part) - BLOCK + 1, BLOCK):
            block = part[within : within + BLOCK]
            # The mark first: nearly all blocks of pixels fail it, and it is cheap.
            if block[257:262] == _MAGIC:
                info = _header(block)
                if isinstance(info, tarfile.TarInfo) and info.name and at + within + BLOCK + info.size <= size:
                    return at + within
        at += len(part) // BLOCK * BLOCK
        if len(part) < BLOCK:
            break
    return size


def _name_from(info: tarfile.TarInfo, data: bytes) -> str | None:
    """The name that a GNU long name or a pax header gives the member after it; None where it gives none."""
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    at = 0
    while at < len(data):  # records "LENGTH KEY=VALUE\n"
        digits, _, _ = data[at : at + 12].partition(b" ")
        if not digits.isdigit() or int(digits) <= len(digits):
            return None
        record = data[at + len(digits) + 1 : at + int(digits)].rstrip(b"\n")
        if record.startswith(b"path="):
            return record[5:].decode("utf-8", "surrogateescape")
        at += int(digits)
    return None


def _member(info: tarfile.TarInfo, named: str | None, start: int, data: int, end: int) -> Iterator[Member | Lost]:
    """A member that can be used; nothing of a folder; what is wrong with any other."""
    name = info.name if named is None else named
    if info.type in {tarfile.DIRTYPE, tarfile.XGLTYPE, *_FOLLOWING}:
        if info.type in _FOLLOWING:
            yield Lost(start, end, "bad_header", f"a name of {info.size:,} bytes, expected at most {MAX_NAME_BYTES:,}")
    elif info.type not in _REGULAR:
        yield Lost(start, end, "not_a_file", f"{name!r:.80}: type {info.type!r}, links and devices are not followed")
    elif not safe_name(name) or not name.isprintable():
        yield Lost(start, end, "unsafe_name", f"{name!r:.80}: expected a relative name without '..'")
    elif info.size > MAX_MEMBER_BYTES:
        yield Lost(start, end, "too_large", f"{name!r:.80}: {info.size:,} bytes, the cap is {MAX_MEMBER_BYTES:,}")
    else:
        yield Member(name, start, data, info.size)


class Sequential:
    """Reads at offsets that mostly rise, in large pieces: for files that lie far away, or will be read whole anyway."""

    def __init__(self, read_at: ReadAt, *, piece: int = 8 << 20) -> None:
        self._read_at, self._piece = read_at, piece
        self._start, self._data = 0, b""

    def read_at(self, size: int, offset: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end."""
        within = offset - self._start
        if within >= 0 and within + size <= len(self._data):
            return self._data[within : within + size]
        self._start, self._data = offset, self._read_at(max(size, self._piece), offset)
        return self._data[:size]
