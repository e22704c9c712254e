"""Rows of CSV and TSV, with the line of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import TaxonomyError
from .source import Source


class Row(NamedTuple):
    """One row: the line of the file where it ends, and its cells by column."""

    line: int
    cells: dict[str, str]


def split_header(source: Source) -> tuple[list[str], str]:
    """Column names of the first line, and the delimiter that parts them."""
    first = source.first_line
    delimiter = "\t" if "\t" in first else ","
    return [name.strip().strip('"') for name in first.split(delimiter)], delimiter


def read_table(source: Source, *, delimiter: str | None = None) -> tuple[list[str], Iterator[Row]]:
    """The header, and the rows with their lines; empty lines are passed over.

    Raises:
        TaxonomyError: a column stands twice, or, while iterating, a row has more or fewer fields than the header.
    """
    header, found = split_header(source)
    delimiter = delimiter or found
    if len(set(header)) != len(header):
        raise TaxonomyError(f"{source}:1: expected each column once, found {delimiter.join(header)!r}")

    def rows() -> Iterator[Row]:
        # A TSV has no quotes: a definition may begin with one.
        reader = csv.reader(
            io.StringIO(source.text, newline=""),
            delimiter=delimiter,
            quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        )
        try:
            next((cells for cells in reader if any(cells)), None)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise TaxonomyError(
                        f"{source}:{reader.line_num}: expected {len(header)} fields ({', '.join(header)}), found "
                        f"{len(cells)}. Quote a field that holds the delimiter"
                    )
                yield Row(reader.line_num, {k: v.strip() for k, v in zip(header, cells, strict=True)})
        except csv.Error as error:
            raise TaxonomyError(f"{source}:{reader.line_num}: expected a row of a table, found {error}") from None

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


def items(cell: str) -> list[str]:
    """The parts of a cell between '|'."""
    return [item for item in (part.strip() for part in cell.split("|")) if item]
