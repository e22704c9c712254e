"""Rows of CSV and TSV, with the line of each."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from ..errors import TaxonomyError
from .source import Source


class Row(NamedTuple):
    """One row: the line of the file where it begins, and its cells by column."""

    line: int
    cells: dict[str, str]


def find_delimiter(line: str) -> str:
    """The delimiter of a table with this first line: a tab where there is one, else the commoner of ',' and ';'."""
    if "\t" in line:
        return "\t"
    return ";" if line.count(";") > line.count(",") else ","


def split_header(source: Source) -> tuple[list[str], str]:
    """Column names of the first line ([''] where there is none), and the delimiter that parts them; never raises."""
    first = source.first_line
    delimiter = find_delimiter(first)
    return [name.strip().strip('"').strip() for name in first.split(delimiter)], delimiter


def read_rows(source: Source, *, delimiter: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, cells without space around them) of each row; empty lines are passed over.

    Raises:
        TaxonomyError: while iterating: quotes are not closed, or a field is too long.
    """
    delimiter = delimiter or find_delimiter(source.first_line)
    # A TSV has no quotes: a definition may begin with one.
    reader = csv.reader(
        io.StringIO(source.text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        strict=True,
        skipinitialspace=True,
    )
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if len(stripped) > 1 or any(stripped):
                yield line, stripped
            line = reader.line_num + 1
    except csv.Error as error:
        raise TaxonomyError(
            f"{source}:{line}: expected a row of a table, found {error}. Close the quotes, or double "
            "those inside a field"
        ) from None


def read_table(source: Source, *, delimiter: str | None = None) -> tuple[list[str], Iterator[Row]]:
    """The header, and the rows with their lines; empty lines are passed over.

    Raises:
        TaxonomyError: a column stands twice, or, while iterating, a row has more or fewer fields than the header.
    """
    found = read_rows(source, delimiter=delimiter)
    line, header = next(found, (1, [""]))
    if len(set(header)) != len(header):
        raise TaxonomyError(f"{source}:{line}: expected each column once, found {', '.join(header)}")

    def rows() -> Iterator[Row]:
        for line, cells in found:
            if len(cells) != len(header):
                raise TaxonomyError(
                    f"{source}:{line}: expected {len(header)} fields ({', '.join(header)}), found "
                    f"{len(cells)}. Quote a field that holds the delimiter"
                )
            yield Row(line, dict(zip(header, cells, strict=True)))

    return header, rows()


def require(source: Source, header: Sequence[str], columns: Sequence[str]) -> None:
    """Checks that a table has its format's columns.

    Raises:
        TaxonomyError: one is missing.
    """
    missing = [column for column in columns if column not in header]
    if missing:
        raise TaxonomyError(
            f"{source}: expected the columns {', '.join(columns)}, found {', '.join(header)}: {', '.join(missing)} "
            "missing. Is it another format?"
        )


# An escape, or any character but the separator; a backslash before another character is itself.
_ITEM: Final = re.compile(r"((?:\\[\\|]|[^|])*)(?:\||$)")
_ESCAPE: Final = re.compile(r"\\([\\|])")


def items(cell: str) -> list[str]:
    r"""The parts of a cell between '|'; '\|' and '\\' in a part are '|' and '\'."""
    if "\\" not in cell:
        return [item for item in (part.strip() for part in cell.split("|")) if item]
    return [_ESCAPE.sub(r"\1", item) for item in (part.strip() for part in _ITEM.findall(cell)) if item]


def join_items(parts: Iterable[str]) -> str:
    """The cell that `items` takes apart, for parts that are neither empty nor begin or end with space."""
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
