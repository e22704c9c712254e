"""Tables that people hand in: CSV with a header, or Parquet, every cell as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..errors import DatasetError

MAX_TABLE_BYTES: Final = 4 << 30  # 14,000 images x 18,000 classes as CSV are 0.5 GB
_BLOCK_BYTES: Final = 1 << 26  # of one line at most: 18,000 classes with their header


def read_table(path: Path) -> pa.Table:
    """A .csv (all cells text, as they stand) or a .parquet file.

    Raises:
        DatasetError: it is neither, too large, damaged, without rows, or has a column twice.
    """
    try:
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise DatasetError(f"{path}: expected a table of at most {MAX_TABLE_BYTES:,} bytes, found {size:,}")
        table = pa.parquet.read_table(path) if path.suffix == ".parquet" else _read_csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: expected a CSV with a header, or a Parquet file: {error}") from error
    if len(set(table.column_names)) < table.num_columns:
        again = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        raise DatasetError(f"{path}: expected each column once, found again: {', '.join(map(repr, again[:5]))}")
    if not table.num_rows:
        raise DatasetError(f"{path}: expected rows below the header, found none")
    return table


def _read_csv(path: Path) -> pa.Table:
    with path.open(encoding="utf-8-sig") as source:
        header = source.readline(_BLOCK_BYTES)
    names = pa.csv.read_csv(pa.BufferReader(header.encode()), pa.csv.ReadOptions(autogenerate_column_names=True))
    columns = [str(column[0].as_py()) for column in names.columns]
    return pa.csv.read_csv(
        path,
        pa.csv.ReadOptions(block_size=_BLOCK_BYTES),
        convert_options=pa.csv.ConvertOptions(
            column_types={name.removeprefix("\ufeff"): pa.string() for name in columns},
            strings_can_be_null=False,
        ),
    )


def read_text_table(path: Path, *, at_least: int) -> Sequence[Sequence[str]]:
    """The columns of a table as texts; a null is empty.

    Raises:
        DatasetError: as `read_table`, or there are fewer columns than `at_least`.
    """
    table = read_table(path)
    if table.num_columns < at_least:
        raise DatasetError(
            f"{path}: expected at least {at_least} columns, the first of them the file, found "
            f"{', '.join(table.column_names)}"
        )
    return [["" if cell is None else cell.strip() for cell in column.cast(pa.string()).to_pylist()] for column in table]
