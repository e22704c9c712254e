"""Generic tables: CSV (',' or ';'), TSV, and through `parquet` the same columns in Parquet.

- Edges, one a row: two columns named as in `EDGE_COLUMNS`, above all `child,parent`; an empty parent makes a root. A
  third column may name the child, or give a further id of it.
- Categories, one a row: `id`, `parents` (or `parent`, `parent_id`) with '|' between several, and optionally `name`,
  `synonyms`, `aliases` ('|' too) and `definition`.

Case does not matter; other columns are passed over. A table without a header line is not read: which of two columns
is the parent cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .names import named
from .reader import Reader, ReadOptions
from .source import Source
from .table import items, read_table, split_header

Cell = str | list[str]


class EdgeColumns(NamedTuple):
    """Names of the columns of an edge table; the last two need not be there."""

    child: str
    parent: str
    name: str  # of the child
    alias: str  # a further id of the child


EDGE_COLUMNS: Final = (
    EdgeColumns("child", "parent", "child_name", "child_id"),
    EdgeColumns("child_id", "parent_id", "child_name", ""),
    EdgeColumns("fine", "coarse", "", "fine_id"),  # CIFAR-100
    EdgeColumns("subclass", "superclass", "", ""),
    EdgeColumns("category", "supercategory", "", "category_id"),
    EdgeColumns("subcategory", "category", "", "subcategory_id"),
    EdgeColumns("hyponym", "hypernym", "", ""),
    EdgeColumns("narrower", "broader", "", ""),
)
PARENTS_COLUMNS: Final = ("parents", "parent", "parent_id", "parent_ids")
_TEXTS: Final = ("name", "definition")
_LISTS: Final = ("synonyms", "aliases")


class Plan(NamedTuple):
    """How a table's rows are read: as edges, or as categories with their parents; by the names in its header."""

    edges: EdgeColumns | None
    categories: dict[str, str]

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return [column for column in (self.edges or self.categories.values()) if column]


def plan_columns(header: Sequence[str]) -> Plan | None:
    """How to read a table with this header; None if it has not the columns."""
    own = {column.casefold(): column for column in reversed(header)}
    for columns in EDGE_COLUMNS:
        if columns.child in own and columns.parent in own:
            return Plan(EdgeColumns(*(own.get(column, "") for column in columns)), {})
    parents = next((column for column in PARENTS_COLUMNS if column in own), None)
    if parents is None or "id" not in own:
        return None
    optional: dict[str, str] = {column: own[column] for column in (*_TEXTS, *_LISTS) if column in own}
    return Plan(None, {"id": own["id"], "parents": own[parents], **optional})


def describe_columns() -> str:
    """The columns that a table may have, for an error."""
    pairs = "; ".join(f"{columns.child},{columns.parent}" for columns in EDGE_COLUMNS)
    return f"id,name,parents, or one of the pairs {pairs}"


def recognise(source: Source) -> bool:
    """By its columns."""
    return source.is_text and plan_columns(split_header(source)[0]) is not None


def read(source: Source, options: ReadOptions) -> Draft:
    """The table's edges, or its categories with their parents."""
    header, rows = read_table(source)
    plan = plan_columns(header)
    if plan is None:
        raise TaxonomyError(
            f"{source}: expected the columns {describe_columns()}; found {','.join(header)[:200]}. Name them so in the "
            "first line, or add that line"
        )
    return named(draft_of_rows(rows, plan, str(source)), options)


def draft_of_rows(rows: Iterable[tuple[int, Mapping[str, Cell]]], plan: Plan, origin: str) -> Draft:
    """The draft of (line, cells by column) rows; `synonyms`, `aliases` and `parents` may be lists.

    Raises:
        TaxonomyError: no child in a row, or two names of one category.
    """
    if plan.edges is not None:
        return _from_edge_rows(rows, plan.edges, origin)
    return _from_category_rows(rows, plan.categories, origin)


def _from_edge_rows(rows: Iterable[tuple[int, Mapping[str, Cell]]], columns: EdgeColumns, origin: str) -> Draft:
    categories: dict[str, Category] = {}
    edges = []
    roots: dict[str, int] = {}  # line of the row without a parent
    repeated = []
    for line, row in rows:
        child, parent, name, alias = (_text(row[column]) if column else "" for column in columns)
        if not child:
            raise TaxonomyError(
                f"{origin}:{line}: expected an id in `{columns.child}`, found none. Fill it in, or remove the row"
            )
        before = categories.get(child, Category(child))
        if name and before.name not in {"", name}:
            raise TaxonomyError(
                f"{origin}:{line}: category {child!r} is named {name!r} here and {before.name!r} before. "
                "Choose one name"
            )
        aliases = (*before.aliases, alias) if alias and alias not in {child, *before.aliases} else before.aliases
        # A category that only stands as a parent has no line of its own; its first row as a child is its line.
        line_of = line if before.line is None else before.line
        categories[child] = before._replace(name=name or before.name, aliases=aliases, line=line_of)
        if parent:
            categories.setdefault(parent, Category(parent))
            edges.append(Edge(child, parent, line))
        elif roots.setdefault(child, line) != line:
            repeated.append(Category(child, line=line))  # for the checks to name
    return Draft((*categories.values(), *repeated), tuple(edges), origin)


def _from_category_rows(
    rows: Iterable[tuple[int, Mapping[str, Cell]]], columns: Mapping[str, str], origin: str
) -> Draft:
    categories, edges = [], []
    for line, row in rows:
        category_id, name, definition = (
            _text(row[columns[field]]) if field in columns else "" for field in ("id", *_TEXTS)
        )
        synonyms, aliases = (tuple(_items(row[columns[field]])) if field in columns else () for field in _LISTS)
        categories.append(Category(category_id, name, synonyms, definition or None, aliases, line))
        edges += [Edge(category_id, parent, line) for parent in _items(row[columns["parents"]])]
    return Draft(tuple(categories), tuple(edges), origin)


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else "|".join(cell)


def _items(cell: Cell) -> list[str]:
    return items(cell) if isinstance(cell, str) else cell


READER = Reader("edges", "tables (CSV, TSV) with the columns child,parent or id,name,parents", recognise, read)
