"""Walks the members of a tar that may be damaged: a bad header costs its own member, not the rest of the tar.

In: a tar, read at an offset. Out: `Member` for each regular file, with where its data lies, and `Lost` for each
stretch of bytes that could not be used, with the reason. After a header that does not parse the walk goes on at the
next block that is one (checksum, `ustar` mark, a size that the tar has). Zeros that look like the end of the tar and
are none, as a lost page leaves them, are looked through, too. What comes from strangers is not followed: links,
devices, names that climb out of a folder, sizes that the tar does not have.

What it does not do: tell the lost bytes of a tar that holds tars from its own headers; check data, which have no sum.

Readers that take a bad header for the end of the archive drop what follows without a word.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from openjft.loaders.tar import MAX_MEMBER_BYTES, safe_name

BLOCK: Final = tarfile.BLOCKSIZE
MAX_NAME_BYTES: Final = 1 << 16  # of a GNU long name or a pax header
_SEARCH_BYTES: Final = 1 << 20
_KEPT_PIECES: Final = 3
_MAGICS: Final = (b"ustar", bytes(5))  # POSIX and GNU; the tars of before 1988 have none
_ZEROS: Final = bytes(BLOCK)
_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
# They have no data, whatever size their header tells.
_EMPTY: Final = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_PAX: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_FOLLOWING: Final = (tarfile.GNUTYPE_LONGNAME, *_PAX)  # they describe the member after them
_PASSED_OVER: Final = (tarfile.DIRTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)  # nothing is lost with them

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


class _Told(NamedTuple):
    """What headers before a member say of it: where they begin, and its name and size where they tell them."""

    begin: int | None = None
    name: str | None = None
    size: int | None = None


def scan_tar(read_at: ReadAt, size: int) -> Iterator[Member | Lost]:
    """The members of a tar in order, and what was lost between them.

    Args:
        read_at: gives `size` bytes from an offset on, fewer at the end of the tar.
        size: bytes of the tar.
    """
    at, told = 0, _Told()
    while at < size:
        block = read_at(BLOCK, at)
        if len(block) < BLOCK:
            yield Lost(at, size, "truncated", f"the tar ends within a header, after {len(block)} of {BLOCK} bytes")
            return
        if block == _ZEROS and read_at(BLOCK, at + BLOCK) in {_ZEROS, b""}:
            lost, at = _after_end(read_at, at, size)
            yield from lost
            told = _Told()
            continue
        found = _header(block)
        if isinstance(found, tarfile.TarInfo):
            info = found if told.size is None or found.type not in _REGULAR else _resized(found, told.size)
            start, data = (at if told.begin is None else told.begin), at + BLOCK
            held = 0 if info.type in _EMPTY else info.size
            if data + held <= size:
                at = data + -(-held // BLOCK) * BLOCK
                if info.type in _FOLLOWING and held <= MAX_NAME_BYTES:
                    told = _following(info, read_at(held, data), told._replace(begin=start))
                elif info.type != tarfile.GNUTYPE_LONGLINK:  # that one stands between a long name and its member
                    yield from _member(info, told.name, start, data, min(at, size))
                    told = _Told()
                continue
            found = f"{info.name!r:.80}: {held:,} bytes, the tar has {size - data:,} more"
        # A header that is wrong, or a size that is, would skip all that follows: what lies behind is looked through.
        behind = _next_header(read_at, at + BLOCK, size)
        cut = behind == size and not isinstance(_header(block), str)
        yield Lost(at if told.begin is None else told.begin, behind, "truncated" if cut else "bad_header", found)
        # Where the block seems to be one that names the next member, that one's own header has half a name at most.
        at, told = behind, _Told(at, "") if block[156:157] in _FOLLOWING else _Told()


def _after_end(read_at: ReadAt, start: int, size: int) -> tuple[list[Lost], int]:
    """What follows the mark of the end, and where to go on.

    Nothing as a rule; a second tar that was appended; or the rest of a tar that a page of zeros was written into, which
    looks like its end and is none.
    """
    behind = _next_header(read_at, start, size)
    if behind < size:
        return [
            Lost(start, behind, "zeros", f"{behind - start:,} bytes from the mark of the end on, then more")
        ], behind
    at = start
    while part := read_at(_SEARCH_BYTES, at):
        if part.count(0) < len(part):
            return [Lost(at, size, "after_end", "bytes behind the mark of the end that are no tar")], size
        at += len(part)
    return [], size


def _header(block: bytes) -> tarfile.TarInfo | str:
    """A header, or what is wrong with it."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        return str(error)
    return info if info.size >= 0 else f"a size of {info.size}"


def _resized(info: tarfile.TarInfo, size: int) -> tarfile.TarInfo:
    """The header with the size that a pax header tells: those above 8 GiB do not fit into its own field."""
    info.size = size
    return info


def _next_header(read_at: ReadAt, start: int, size: int) -> int:
    """Where the next block lies that is surely a header; the end of the tar where there is none."""
    at = start
    while at + BLOCK <= size:
        part = read_at(min(_SEARCH_BYTES, size - at), at)
        if len(part) < BLOCK:
            break
        for within in range(0, len(part) - BLOCK + 1, BLOCK) if part.count(0) < len(part) else ():
            block = part[within : within + BLOCK]
            # The mark and the form of the checksum first: nearly all blocks of pixels fail these, and they are cheap.
            if block[257:262] in _MAGICS and block[148:156].strip(b" \0").isdigit():
                info = _header(block)
                if isinstance(info, tarfile.TarInfo) and info.name and at + within + BLOCK + info.size <= size:
                    return at + within
        at += len(part) // BLOCK * BLOCK
    return size


def _following(info: tarfile.TarInfo, data: bytes, told: _Told) -> _Told:
    """What a GNU long name or a pax header tells of the member after it; damaged records tell nothing."""
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return told._replace(name=data.rstrip(b"\0").decode("utf-8", "surrogateescape"))
    at = 0
    while at < len(data):  # records "LENGTH KEY=VALUE\n"
        digits, _, _ = data[at : at + 12].partition(b" ")
        if not digits.isdigit() or int(digits) <= len(digits):
            break
        key, _, value = data[at + len(digits) + 1 : at + int(digits)].removesuffix(b"\n").partition(b"=")
        if key == b"path":
            told = told._replace(name=value.decode("utf-8", "surrogateescape"))
        elif key == b"size" and value.isdigit() and len(value) < 19:
            told = told._replace(size=int(value))
        at += int(digits)
    return told


def _member(info: tarfile.TarInfo, named: str | None, start: int, data: int, end: int) -> Iterator[Member | Lost]:
    """A member that can be used; nothing of a folder; what is wrong with any other."""
    name = info.name if named is None else named
    if info.type in _PASSED_OVER:
        return
    if info.type in _FOLLOWING:
        yield Lost(start, end, "bad_header", f"a name of {info.size:,} bytes, expected at most {MAX_NAME_BYTES:,}")
    elif named == "":
        yield Lost(start, end, "bad_header", f"{info.name!r:.80}: its name stood in a header that is damaged")
    elif info.type not in _REGULAR:
        yield Lost(start, end, "not_a_file", f"{name!r:.80}: type {info.type!r}, links and devices are not followed")
    elif not safe_name(name) or not name.isprintable():
        yield Lost(start, end, "unsafe_name", f"{name!r:.80}: expected a relative name without '..'")
    elif info.size > MAX_MEMBER_BYTES:
        yield Lost(start, end, "too_large", f"{name!r:.80}: {info.size:,} bytes, the cap is {MAX_MEMBER_BYTES:,}")
    else:
        yield Member(name, start, data, info.size)


class Sequential:
    """Reads at offsets that mostly rise, in large pieces: for files that lie far away, or will be read whole anyway.

    The last pieces are kept: a sample is looked at once the header behind it was read, and may lie in two of them.
    """

    def __init__(self, read_at: ReadAt, *, piece: int = 8 << 20) -> None:
        self._read_at, self._piece = read_at, piece
        self._held: dict[int, bytes] = {}

    def read_at(self, size: int, offset: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end."""
        if size > self._piece:
            return self._read_at(size, offset)
        first, last = offset // self._piece, (offset + size - 1) // self._piece
        if first == last:
            start = offset - first * self._piece
            return self._part(first)[start : start + size]
        start = offset - first * self._piece
        head = self._part(first)[start:]
        return head + self._part(last)[: size - len(head)] if len(head) == self._piece - start else head

    def _part(self, number: int) -> bytes:
        found = self._held.get(number)
        if found is None:
            found = self._read_at(self._piece, number * self._piece)
            self._held[number] = found
            while len(self._held) > _KEPT_PIECES:
                del self._held[next(iter(self._held))]
        return found
