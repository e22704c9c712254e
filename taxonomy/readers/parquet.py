"""Edge lists and category lists in Parquet, with the columns that `edges` describes.

Ids are strings or integers; `parents`, `synonyms` and `aliases` are lists, or strings with '|' between items. Where a
table has lines, this has rows, counted from 1.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ..draft import Draft
from ..errors import TaxonomyError
from . import source as caps
from .edges import Cell, describe_columns, draft_of_rows, plan_columns
from .names import named
from .reader import Reader, ReadOptions
from .source import Source

_MAGIC: Final = b"PAR1"
_LIST_COLUMNS: Final = {"parents", "parent", "parent_id", "parent_ids", "synonyms", "aliases"}


def recognise(source: Source) -> bool:
    """By its first and last bytes."""
    if source.is_folder or source.is_text:
        return False
    try:
        return source.data[:4] == source.data[-4:] == _MAGIC
    except TaxonomyError:
        return False


def read(source: Source, options: ReadOptions) -> Draft:
    """The table's edges, or its categories with their parents."""
    table = read_parquet(source)
    plan = plan_columns(table.column_names)
    if plan is None:
        raise TaxonomyError(
            f"{source}: expected the columns {describe_columns()}; found {', '.join(table.column_names)[:200]}. "
            "Rename them"
        )
    columns = {}
    for column in dict.fromkeys(plan.columns):
        may_be_list = plan.edges is None and column.casefold() in _LIST_COLUMNS
        columns[column] = _checked(table[column], f"{source}: column {column!r}", may_be_list=may_be_list)
    return named(draft_of_rows(_rows(pa.table(columns)), plan, str(source)), options)


def read_parquet(source: Source) -> pa.Table:
    """The whole table.

    Raises:
        TaxonomyError: no Parquet, damaged, or longer than `source.MAX_BYTES` in memory.
    """
    try:
        with pq.ParquetFile(io.BytesIO(source.data)) as file:
            # A file may say that it is small: what counts is what comes out, a batch after the other.
            batches: list[pa.RecordBatch] = []
            size = 0
            for batch in file.iter_batches():
                batches.append(batch)
                size += batch.nbytes
                if size > caps.MAX_BYTES:
                    raise TaxonomyError(f"{source}: expected at most {caps.MAX_BYTES:,} bytes, found more")
            return pa.Table.from_batches(batches, schema=file.schema_arrow)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TaxonomyError(f"{source}: expected a Parquet file, found {error}. Is it whole?") from None


def _checked(column: pa.ChunkedArray, place: str, *, may_be_list: bool) -> pa.ChunkedArray:
    """The column as strings, or as lists of strings where it may."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    wanted: Any = pa.string()
    if may_be_list and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        wanted, kind = pa.list_(pa.string()), kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        of_lists = ", or lists of these," if may_be_list else ""
        raise TaxonomyError(f"{place}: expected strings or integers{of_lists} found {column.type}. Convert the column")
    try:
        return column.cast(wanted)
    except pa.ArrowException as error:
        raise TaxonomyError(f"{place}: expected {wanted}, found {column.type}: {error}") from None


def _rows(table: pa.Table) -> Iterator[tuple[int, dict[str, Cell]]]:
    """(row counted from 1, cells without space around them); null is an empty cell."""
    number = 0
    for batch in table.to_batches(max_chunksize=1 << 16):
        columns = [[_cell(value) for value in column.to_pylist()] for column in batch.columns]
        for cells in zip(*columns, strict=True):
            number += 1
            yield number, dict(zip(table.column_names, cells, strict=True))


def _cell(value: str | list[str | None] | None) -> Cell:
    if isinstance(value, list):
        return [item.strip() for item in value if item and item.strip()]
    return (value or "").strip()


READER = Reader("parquet", "the same columns as `edges`, in Parquet", recognise, read)
