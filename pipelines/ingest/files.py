"""Opens pieces of input files as streams of bytes.

In: a file system, a `Piece`. Out: a stream that is read once from start to end in bounded memory: decompressed,
or cut to the lines that start within the piece. Damage (a truncated gzip) is an error of the stream, never a
quiet end.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.fs as pafs

from ..errors import InputError
from .splits import Piece, compression_of

READ_BYTES = 1 << 20
LINES_BYTES: Final = 4 << 20  # of a block of whole lines
MAX_LINE_BYTES: Final = 64 << 20


def line_blocks(source: IO[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Blocks of bytes that together are the lines of a seekable stream that start in [start, stop)."""
    at, block = 0, b""
    if start:
        # One byte early: a line that starts at `start` follows the line break there.
        at = start - 1
        source.seek(at)
        end = -1
        while end < 0:
            at += len(block)
            block = source.read(READ_BYTES)
            if not block:
                return
            end = block.find(b"\n")
        at, block = at + end + 1, block[end + 1 :]
        if at >= stop:
            return
    while block := block or source.read(READ_BYTES):
        if at + len(block) >= stop:
            # The last line is the one that holds the byte before `stop`.
            end = block.find(b"\n", max(0, stop - 1 - at))
            if end >= 0:
                yield block[: end + 1]
                return
        yield block
        at, block = at + len(block), b""


def stream_blocks(source: IO[bytes]) -> Iterator[bytes]:
    """Blocks of a stream to its end."""
    while block := source.read(READ_BYTES):
        yield block


class TextStream(io.RawIOBase):
    """Blocks of text as a file to read, with a line break at the end; counts what went by.

    `quotes` is the number of quotation marks, `bytes_read` that of the bytes as given.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._held = b""
        self._last = b"\n"
        self.bytes_read = 0
        self.quotes = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, a block at a time; all that is left for a negative size."""
        if size < 0:
            return b"".join(iter(lambda: self.read(READ_BYTES), b""))
        if not self._held:
            self._held = next(self._blocks, b"")
            self.bytes_read += len(self._held)
            self.quotes += self._held.count(b'"')
            if not self._held and self._last != b"\n":
                self._held = b"\n"
            self._last = self._held[-1:] or self._last
        out, self._held = self._held[:size], self._held[size:]
        return out


@contextlib.contextmanager
def open_text(filesystem: pafs.FileSystem, piece: Piece) -> Iterator[TextStream]:
    """The text of a piece, decompressed.

    Raises:
        InputError: the file cannot be opened.
    """
    codec = compression_of(piece.path)
    with contextlib.ExitStack() as stack:
        try:
            if codec is not None:
                raw = stack.enter_context(filesystem.open_input_stream(piece.path, compression=None))
                blocks = stream_blocks(stack.enter_context(pa.CompressedInputStream(raw, codec)))
            elif piece.is_whole:
                blocks = stream_blocks(stack.enter_context(filesystem.open_input_stream(piece.path, compression=None)))
            else:
                source = stack.enter_context(filesystem.open_input_file(piece.path))
                blocks = line_blocks(source, piece.start, piece.stop)
        except OSError as error:
            raise InputError(f"{piece.path}: the file cannot be opened: {error}") from error
        yield TextStream(blocks)


def whole_lines(stream: TextStream, path: str) -> Iterator[bytes]:
    """Blocks of whole lines, each ending in a line break.

    Raises:
        InputError: a line is longer than `MAX_LINE_BYTES`.
    """
    held = bytearray()
    while block := stream.read(1 << 20):
        held += block
        if len(held) < LINES_BYTES:
            continue
        end = held.rfind(b"\n") + 1
        if end:
            yield bytes(held[:end])
            del held[:end]
        elif len(held) > MAX_LINE_BYTES:
            raise InputError(f"{path}: expected lines of text, found a line of more than {MAX_LINE_BYTES:,} bytes")
    if held:
        yield bytes(held)
