"""Large tables by key, read in pieces: runs of row groups whose ranges of keys do not overlap.

In: Parquet files sorted by `image_key` (16 bytes, or 32 hex digits), whose statistics tell the first key of each row
group. Out: `Pieces`, which reads one at a time, so that memory does not grow with the table. An image's rows are in one
piece, also where its rows lie in two row groups.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.loaders.errors import LoaderError
from openjft.loaders.schema import KEY_BYTES
from openjft.loaders.shard_index import fixed_bytes

from .rows import sortable

KEY: Final = "image_key"
PIECE_ROWS: Final = 1 << 18


@dataclasses.dataclass(frozen=True)
class Piece:
    """The row groups [start, stop) of a file, of keys from `first` on; `start` may hold rows of the piece before."""

    path: Path
    start: int
    stop: int
    first: bytes


@dataclasses.dataclass(frozen=True)
class _Group:
    number: int
    rows: int
    low: bytes
    high: bytes


class Pieces:
    """The pieces of some files, by rising key.

    Args:
        files: Parquet files with `image_key`.
        piece_rows: row groups are put together up to so many rows.

    Raises:
        LoaderError: a file is damaged, or the files hold no rows.
    """

    def __init__(self, files: Sequence[Path], *, piece_rows: int = PIECE_ROWS) -> None:
        found = [piece for path in files for piece in _pieces_of(path, piece_rows)]
        if not found:
            raise LoaderError(f"{files[0].parent}: expected labels, found none in {len(files):,} files")
        self.of = sorted(found, key=lambda piece: piece.first)

    @property
    def first_keys(self) -> Sequence[bytes]:
        """First key of each piece, rising."""
        return [piece.first for piece in self.of]

    def read(self, number: int, columns: Sequence[str]) -> tuple[pa.Table, npt.NDArray[np.uint8]]:
        """A piece's rows, and their keys (m, 16) uint8.

        Raises:
            LoaderError: the file is damaged, its rows are not sorted by key, or it overlaps with the next.
        """
        piece = self.of[number]
        with opened(piece.path) as source:
            try:
                names = list(dict.fromkeys((KEY, *columns)))
                table = source.read_row_groups(range(piece.start, piece.stop), columns=names).combine_chunks()
            except (pa.ArrowException, OSError) as error:
                raise _damaged(piece.path, error) from error
        keys = key_array(table[KEY], where=str(piece.path))
        held = sortable(keys)
        falling = held[1:] < held[:-1]
        if falling.any():
            raise LoaderError(
                f"{piece.path}: expected rows by rising {KEY}, found others from row {falling.argmax() + 1:,} of row "
                f"group {piece.start} on; sort the table"
            )
        low = int(np.searchsorted(held, np.bytes_(piece.first)))
        high = self._end(number, keys, held)
        if low >= high or keys[low].tobytes() != piece.first:
            raise LoaderError(f"{piece.path}: expected {piece.first.hex()} as its statistics tell, found damage")
        return table.slice(low, high - low), keys[low:high]

    def _end(self, number: int, keys: npt.NDArray[np.uint8], held: npt.NDArray[np.bytes_]) -> int:
        """How many of a piece's rows lie before the next piece."""
        if number + 1 == len(self.of) or not len(keys):
            return len(held)
        piece, following = self.of[number], self.of[number + 1]
        end = int(np.searchsorted(held, np.bytes_(following.first)))
        # Rows of the image that the next piece begins with are read by it, too, if it lies in the same file.
        last = keys[-1].tobytes()  # not of `held`, whose items have lost the zeros at their end
        shared = following.path == piece.path and last == following.first
        if end < len(held) and not shared:
            raise LoaderError(
                f"{piece.path}: expected keys before {following.first.hex()}, where other rows of "
                f"{following.path.name} begin, found {last.hex()}; the rows are "
                f"not sorted by {KEY}, or the files are not those of one table"
            )
        return end


def opened(path: Path) -> pq.ParquetFile:
    """A Parquet file.

    Raises:
        LoaderError: it is damaged.
    """
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def key_array(column: pa.ChunkedArray, *, where: str) -> npt.NDArray[np.uint8]:
    """(m, 16) uint8 of a column of keys, binary or 32 hex digits.

    Raises:
        LoaderError: it holds nulls or other things than keys.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if array.null_count == 0:
        if pa.types.is_fixed_size_binary(array.type) and array.type.byte_width == KEY_BYTES:
            return fixed_bytes(array, KEY_BYTES)
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            keys = hex_keys(array)
            if keys is not None:
                return keys
    raise LoaderError(f"{where}: expected {KEY} of {KEY_BYTES} bytes or {2 * KEY_BYTES} hex digits, found others")


def hex_keys(array: pa.Array) -> npt.NDArray[np.uint8] | None:
    """(m, 16) uint8 of strings of 32 hex digits; None where one is something else."""
    digits = pa.array(array, pa.large_string()).cast(pa.large_binary()) if len(array) else None
    if digits is None:
        return np.empty((0, KEY_BYTES), np.uint8)
    offsets = np.frombuffer(digits.buffers()[1], np.int64, count=len(digits) + 1, offset=8 * digits.offset)
    if digits.null_count or (np.diff(offsets) != 2 * KEY_BYTES).any():
        return None
    text = np.frombuffer(digits.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    values = _DIGITS[text]
    if (values > 15).any():
        return None
    return np.asarray((values[0::2] << 4 | values[1::2]).reshape(-1, KEY_BYTES), np.uint8)


def _digit_values() -> npt.NDArray[np.uint8]:
    values = np.full(256, 255, np.uint8)
    for digit in "0123456789abcdefABCDEF":
        values[ord(digit)] = int(digit, 16)
    return values


_DIGITS: Final = _digit_values()


def _pieces_of(path: Path, piece_rows: int) -> list[Piece]:
    with opened(path) as source:
        names = source.schema_arrow.names
        if KEY not in names:
            raise LoaderError(f"{path}: expected the column {KEY}, found {', '.join(names)}")
        count = source.metadata.num_row_groups
        groups = [_group(source.metadata, i, names.index(KEY), path) for i in range(count)]
        known = [group for group in groups if group is not None and group.rows]
        if any(group is None for group in groups):
            first = _first_row(source, path)
            return [] if first is None else [Piece(path, 0, count, first)]
    if not known:
        return []
    found, rows = [Piece(path, known[0].number, count, known[0].low)], known[0].rows
    for before, group in itertools.pairwise(known):
        if rows + group.rows > piece_rows and group.low not in (before.low, found[-1].first):
            # An image may have rows at the end of the group before: then that group is read by both.
            shared = before.high == group.low
            found[-1] = dataclasses.replace(found[-1], stop=group.number)
            found.append(Piece(path, before.number if shared else group.number, count, group.low))
            rows = 0
        rows += group.rows
    return found


def _group(metadata: Any, number: int, column: int, path: Path) -> _Group | None:
    """A row group's range of keys; None where the file does not tell."""
    group = metadata.row_group(number)
    if group.num_rows == 0:
        return _Group(number, 0, b"", b"")
    statistics = group.column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return _Group(number, group.num_rows, _key(statistics.min, path), _key(statistics.max, path))


def _first_row(source: pq.ParquetFile, path: Path) -> bytes | None:
    try:
        batch = next(source.iter_batches(batch_size=1, columns=[KEY]), None)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    return None if batch is None or batch.num_rows == 0 else _key(batch.column(0)[0].as_py(), path)


def _key(value: Any, path: Path) -> bytes:
    key = b""
    if isinstance(value, bytes):
        key = value
    elif isinstance(value, str):
        try:
            key = bytes.fromhex(value)
        except ValueError:
            key = b""
    if len(key) != KEY_BYTES:
        raise LoaderError(
            f"{path}: expected {KEY} of {KEY_BYTES} bytes or {2 * KEY_BYTES} hex digits, found {value!r:.60}"
        )
    return key


def _damaged(path: Path, error: Exception) -> LoaderError:
    return LoaderError(f"{path}: expected a Parquet file with {KEY}, found damage: {error}")
