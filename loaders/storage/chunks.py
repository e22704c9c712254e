"""A chunk of a remote file as it lies on the local disk: a header with checksums, then the bytes.

    magic (8) | payload length, uint64 | CRC-32 of each block of 16 KiB, uint32 each | CRC-32 of all before | payload

All little-endian. Every read is checked, and touches only the blocks that it needs: an image of 30 KB lies in about
three of a chunk's 512.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final

BLOCK: Final = 16 << 10
_MAGIC: Final = b"OJFTCHK1"
_HEAD: Final = struct.Struct("<8sQ")
_CRC: Final = struct.Struct("<I")


class DamagedChunkError(Exception):
    """An entry is not what was written."""


def header_size(length: int) -> int:
    """Bytes before the payload of so many bytes."""
    return _HEAD.size + (-(-length // BLOCK) + 1) * _CRC.size


def entry_size(length: int) -> int:
    """Bytes of an entry whose payload has so many."""
    return header_size(length) + length


def header(payload: bytes) -> bytes:
    """What stands before a payload."""
    view = memoryview(payload)
    sums = [zlib.crc32(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK)]
    head = _HEAD.pack(_MAGIC, len(payload)) + struct.pack(f"<{len(sums)}I", *sums)
    return head + _CRC.pack(zlib.crc32(head))


def read_part(fd: int, length: int, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of an entry's payload.

    Args:
        fd: the entry's file.
        length: that its payload must have.
        start: at least 0.
        stop: at most `length`.

    Raises:
        DamagedChunkError: a checksum or a length is wrong.
        OSError: it could not be read.
    """
    head = os.pread(fd, header_size(length), 0)
    if (
        len(head) != header_size(length)
        or _HEAD.unpack_from(head) != (_MAGIC, length)
        or _CRC.unpack_from(head, len(head) - _CRC.size)[0] != zlib.crc32(head[: -_CRC.size])
    ):
        raise DamagedChunkError
    first = start // BLOCK
    low, high = first * BLOCK, min(-(-stop // BLOCK) * BLOCK, length)
    blocks = memoryview(os.pread(fd, high - low, len(head) + low))
    if len(blocks) != high - low:
        raise DamagedChunkError
    for number, at in enumerate(range(0, high - low, BLOCK), first):
        if zlib.crc32(blocks[at : at + BLOCK]) != _CRC.unpack_from(head, _HEAD.size + number * _CRC.size)[0]:
            raise DamagedChunkError
    return bytes(blocks[start - low : stop - low])
