"""Reads a table of sizes and values, for a fit of one's own: a CSV with a header, one value a line."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Final

from openjft.loaders.errors import LoaderError

from .levels import MAX_POINTS

_MAX_BYTES: Final = 64 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """n sizes and values; `deviations` where a column of them was named."""

    sizes: list[float]
    values: list[float]
    deviations: list[float] | None


def read_table(path: Path, *, x: str = "images", y: str = "map_at_k", sd: str | None = None) -> Measured:
    """Reads the columns of a table.

    Args:
        path: of the CSV; `table.csv` of a size study is one.
        x: column of the sizes; equal ones are seeds of one size.
        y: column of the values.
        sd: column of the values' standard deviations, where they are known.

    Raises:
        LoaderError: the file, a column or a number is not as expected.
    """
    columns = [x, y, *([] if sd is None else [sd])]
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise LoaderError(f"{path}: expected at most {_MAX_BYTES >> 20} MiB, found {path.stat().st_size:,} bytes")
        with path.open(encoding="utf-8-sig", newline="") as source:
            rows = _rows(path, csv.DictReader(source), columns)
    except FileNotFoundError:
        raise LoaderError(f"{path}: expected a CSV with the columns {', '.join(columns)}, found no file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoaderError(f"{path}: expected a CSV in UTF-8, found a file that cannot be read: {error}") from error
    return Measured(
        sizes=[row[0] for row in rows],
        values=[row[1] for row in rows],
        deviations=None if sd is None else [row[2] for row in rows],
    )


def _rows(path: Path, reader: csv.DictReader[str], columns: list[str]) -> list[list[float]]:
    header = reader.fieldnames or []
    missing = [name for name in columns if name not in header]
    if missing:
        raise LoaderError(
            f"{path}: expected the columns {', '.join(columns)}, found no {', '.join(missing)} among "
            f"{', '.join(header) or 'none at all'}; name yours with --x and --y"
        )
    rows: list[list[float]] = []
    for row in reader:
        if len(rows) == MAX_POINTS:
            raise LoaderError(f"{path}: expected at most {MAX_POINTS:,} lines, found more")
        rows.append([_number(path, reader.line_num, name, row[name]) for name in columns])
    return rows


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LoaderError(f"{path}, line {line}: expected a finite number in column {column}, found {text!r}")
    return value
