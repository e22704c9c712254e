"""Comparisons with clean lists on a terminal, as `openjft evaluate` and `openjft transfer` print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from openjft.loaders.evaluation.clean_table import Comparison


def print_comparisons(out: Console, comparisons: Sequence[Comparison], *, k: int) -> None:
    """Prints the table and a note on each list; nothing where there is no list.

    Args:
        out: where.
        comparisons: of one list each.
        k: of an mAP; of no use where the values are others.
    """
    from openjft.loaders.evaluation.clean_table import HEADER, note, table_cells

    if not comparisons:
        return
    table = Table(*(Column(name, overflow="fold") for name in HEADER))
    for cells in table_cells(comparisons, k):
        table.add_row(*map(escape, cells))
    out.print(table)
    for comparison in comparisons:
        out.print(note(comparison), highlight=False, soft_wrap=True, markup=False)
