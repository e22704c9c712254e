"""Readers of Parquet, CSV and TSV (and Open Images' CSV).

CSV is streamed, all columns as bytes, so that one bad value costs its row and not the file. TSV knows no
quotes: a field holds no tab and no line break, as in Conceptual Captions, whose captions hold lone quotation
marks. Rows with a wrong number of fields are `BadRow`s.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ..errors import InputError
from .files import TextStream, open_text
from .raw import MAX_SHOWN, TEXT_FIELDS, BadRow, RawBatch, check_columns
from .splits import Piece

BLOCK_BYTES: Final = 8 << 20  # of CSV, one batch; also the longest row


def read_parquet(
    filesystem: pafs.FileSystem, piece: Piece, wanted: Mapping[str, str], batch_rows: int
) -> Generator[RawBatch]:
    """The row groups that start within the piece.

    Raises:
        InputError: no Parquet, a missing column, or one of a type that cannot hold its values.
    """
    try:
        source = filesystem.open_input_file(piece.path)
        file = pq.ParquetFile(source)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{piece.path}: expected a Parquet file, found {piece.size:,} bytes of damage: {error}"
        ) from error
    with source, file:
        schema = file.schema_arrow
        check_columns(piece.path, wanted, schema.names)
        for field, name in wanted.items():
            _check_type(piece.path, field, name, schema.field(name).type)
        groups, row = _row_groups(file.metadata, piece)
        if not groups:
            return
        columns = list(dict.fromkeys(wanted.values()))
        for batch in file.iter_batches(batch_rows, row_groups=groups, columns=columns, use_threads=False):
            arrays = {field: batch.column(name) for field, name in wanted.items()}
            yield RawBatch(arrays, np.arange(row, row + batch.num_rows))
            row += batch.num_rows


def _row_groups(metadata: Any, piece: Piece) -> tuple[list[int], int]:
    """Row groups whose first byte lies in the piece, and the number of the first one's first row in the file."""
    starts, rows = [], []
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        column = group.column(0)
        starts.append(min(filter(None, (column.dictionary_page_offset, column.data_page_offset)), default=0))
        rows.append(group.num_rows)
    groups = [i for i, start in enumerate(starts) if piece.start <= start < piece.stop]
    return groups, sum(rows[: groups[0]]) if groups else 0


def _check_type(path: str, field: str, name: str, kind: pa.DataType) -> None:
    """Checks that a column can hold its field's values.

    Raises:
        InputError: it cannot.
    """
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = any(
        test(inner)
        for test in (
            pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
            pa.types.is_binary, pa.types.is_large_binary, pa.types.is_null,
        )
    )  # fmt: skip
    number = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner)
    if field == "negative" and pa.types.is_boolean(inner):
        return
    if field in TEXT_FIELDS:
        # Ids of categories and of pictures are often integers.
        fits, expected = text or pa.types.is_integer(inner), "text"
    else:
        fits, expected = text or number, "a number"
    if not fits:
        raise InputError(f"{path}: column {name!r} (for {field}): expected {expected}, found the type {kind}")


class _RowNumbers:
    """Numbers of the rows that parsed, given the numbers of those that did not."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line  # the reader's number of row 0
        self._waiting: deque[BadRow] = deque()
        self._next = 0

    def invalid(self, row: pacsv.InvalidRow) -> str:
        """Arrow's handler of rows that do not parse."""
        number = int(row.number) - self._first_line
        detail = f"expected {row.expected_columns} fields, found {row.actual_columns}"
        self._waiting.append(BadRow(number, detail, row.text[:MAX_SHOWN]))
        return "skip"

    def take(self, count: int) -> tuple[npt.NDArray[np.int64], tuple[BadRow, ...]]:
        """Numbers of the next `count` good rows, and the bad rows before the last of them."""
        bad = np.fromiter((row.row for row in self._waiting), np.int64, len(self._waiting))
        # A good row that would be the g-th of the rest moves on by the bad ones before it.
        ahead = bad - np.arange(len(bad))
        good = np.arange(self._next, self._next + count)
        good += np.searchsorted(ahead, good, side="right")
        last = int(good[-1]) if count else self._next - 1
        passed = tuple(self._waiting.popleft() for _ in range(int(np.searchsorted(bad, last))))
        self._next = last + 1
        return good, passed

    def rest(self) -> tuple[BadRow, ...]:
        """The bad rows behind the last good one."""
        return tuple(self._waiting)


def _parse_options(delimiter: str, numbers: _RowNumbers | None) -> pacsv.ParseOptions:
    quoted = delimiter == ","
    return pacsv.ParseOptions(
        delimiter=delimiter,
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        invalid_row_handler=numbers.invalid if numbers else lambda _: "skip",
    )


def read_csv(
    filesystem: pafs.FileSystem,
    piece: Piece,
    wanted: Mapping[str, str],
    delimiter: str,
    *,
    header: Sequence[str] | None = None,
) -> Generator[RawBatch]:
    """The rows of a piece of CSV or TSV. No bytes, no rows.

    Args:
        filesystem: where the file is.
        piece: of it.
        wanted: fields of `RAW` -> names of columns.
        delimiter: tab or comma.
        header: names of the columns; None takes them from the first line of the file.

    Raises:
        InputError: a missing column, a header that is no UTF-8 or of another width, an open quotation mark.
    """
    names = _header(filesystem, piece, delimiter, given=header)
    if names is None:
        return
    check_columns(piece.path, wanted, names)
    named_by_file = header is None and piece.start == 0
    numbers = _RowNumbers(2 if named_by_file else 1)
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.binary()),
        include_columns=list(dict.fromkeys(wanted.values())),
        strings_can_be_null=False,
    )
    with open_text(filesystem, piece) as stream:
        try:
            reader = pacsv.open_csv(
                stream,
                read_options=pacsv.ReadOptions(
                    use_threads=False, block_size=BLOCK_BYTES, column_names=None if named_by_file else names
                ),
                parse_options=_parse_options(delimiter, numbers),
                convert_options=convert,
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):  # a range in which no line starts
                return
            raise
        for batch in reader:
            rows, bad = numbers.take(batch.num_rows)
            yield RawBatch({field: batch.column(name) for field, name in wanted.items()}, rows, bad)
        yield RawBatch({field: pa.array([], pa.binary()) for field in wanted}, np.empty(0, np.int64), numbers.rest())
        if delimiter == "," and stream.quotes % 2:
            _check_quotes(filesystem, piece)


def _header(
    filesystem: pafs.FileSystem, piece: Piece, delimiter: str, *, given: Sequence[str] | None
) -> list[str] | None:
    """Names of the columns; None for a file without bytes.

    Raises:
        InputError: the first line is no UTF-8, or has another number of fields than names are given.
    """
    start = Piece(piece.path, piece.size, piece.modified_ns, 0, min(piece.size, 1))
    if piece.is_whole or piece.start == 0:
        start = piece
    with open_text(filesystem, start) as stream:
        first = _first_line(stream, piece.path, delimiter, is_names=given is None)
    if first is None or given is None:
        return first
    if len(first) != len(given):
        raise InputError(
            f"{piece.path}: expected {len(given)} columns ({', '.join(given)}), as inputs.header names them, found "
            f"{len(first)} in the first line. Name every column of the file, in order"
        )
    return list(given)


def _first_line(stream: TextStream, path: str, delimiter: str, *, is_names: bool) -> list[str] | None:
    """The fields of the first line; made-up names for them where it holds a row. None without bytes."""
    head = bytearray()
    while len(head) < BLOCK_BYTES and (not head.strip() or head.count(b"\n") < 2 or head.count(b'"') % 2):
        block = stream.read(1 << 16)
        if not block:
            break
        head += block
    if not head.strip():
        return None
    try:
        names: list[str] = pacsv.open_csv(
            io.BytesIO(bytes(head)),
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=len(head) + 1, autogenerate_column_names=not is_names
            ),
            parse_options=_parse_options(delimiter, None),
            convert_options=None if is_names else pacsv.ConvertOptions(check_utf8=False),
        ).schema.names
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: expected a first line with the columns' names in UTF-8, found {error}") from error
    return names


def _check_quotes(filesystem: pafs.FileSystem, piece: Piece) -> None:
    """Looks for a quotation mark that is never closed and so swallowed all rows behind it.

    Called for files with an odd number of them; a second pass, since inches (5") are odd and harmless.

    Raises:
        InputError: there is one.
    """
    last: list[str] = []
    with open_text(filesystem, piece) as stream:
        lines = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", errors="replace", newline="")
        try:
            last = next(iter(deque(csv.reader(lines), maxlen=1)), [])
        except csv.Error:
            last = ["\n"]
    if any("\n" in value for value in last):
        raise InputError(
            f"{piece.path}: expected every quotation mark to be closed, found one that is open at the end of the file: "
            "the rows behind it are lost. Close or double it, or name the format 'tsv' if fields are not quoted"
        )
