r"""Printing what strangers wrote: tables on a terminal, tab-separated lines elsewhere, a spinner for long work.

In: rows of texts and numbers. Out: a terminal gets a table to look at; a pipe gets lines to work with, with a header.
Control characters are shown as `\xNN`, and nothing is taken for rich's markup.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

PATIENCE_S: Final = 2.0  # work that is done by then needs no spinner

Cell = str | int | float | None


def printable(text: str) -> str:
    """The text on one line, without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def cell_text(value: Cell, *, grouped: bool) -> str:
    """A cell as text: 1234 -> '1,234' where grouped, None -> ''."""
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return f"{value:,.2f}" if grouped else f"{value:.6g}"
    return f"{value:,}" if grouped else str(value)


def print_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str = "") -> None:
    """A table with a title on a terminal; elsewhere the header and the rows, tab-separated and plain."""
    if not console.is_terminal:
        typer.echo("\n".join("\t".join(cell_text(cell, grouped=False) for cell in row) for row in (columns, *rows)))
        return
    table = Table(title=Text(printable(title)) if title else None, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(not isinstance(row[i], str) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell_text(cell, grouped=True)) for cell in row))
    console.print(table)


def print_fields(console: Console, fields: Sequence[tuple[str, Cell]]) -> None:
    """Names and values, one pair a line, values aligned on a terminal and after a tab elsewhere."""
    if not console.is_terminal:
        typer.echo("\n".join(f"{name}\t{cell_text(value, grouped=False)}" for name, value in fields))
        return
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        console.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", cell_text(value, grouped=True)), soft_wrap=True)


def print_line(console: Console, text: str, *, style: str = "") -> None:
    """One line as it is."""
    console.print(Text(printable(text), style=style), soft_wrap=True)


@contextlib.contextmanager
def waiting(console: Console, text: str, *, quiet: bool) -> Iterator[None]:
    """A spinner on a terminal, once the work has taken a while."""
    if quiet or not console.is_terminal:
        yield
        return
    status = console.status(Text(printable(text)))
    timer = threading.Timer(PATIENCE_S, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def as_json(value: Any) -> None:
    """Prints a value as JSON; ASCII, so no terminal obeys what a name holds."""
    import json

    typer.echo(json.dumps(value, indent=1))
