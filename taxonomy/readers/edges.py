"""Generic tables, CSV or TSV.

- `child,parent` and, optionally, `child_name`; an empty parent makes a root.
- `id,name,parents`, one row a category, with '|' between parents, optionally `synonyms`, `aliases` ('|' too) and
  `definition`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .reader import Reader, ReadOptions
from .source import Source
from .table import Row, items, read_table, split_header


def recognise(source: Source) -> bool:
    """By its columns."""
    columns = set(split_header(source)[0])
    return {"child", "parent"} <= columns or {"id", "parents"} <= columns


def read(source: Source, options: ReadOptions) -> Draft:
    """`child,parent` rows, or `id,name,parents` rows."""
    header, rows = read_table(source)
    if {"child", "parent"} <= set(header):
        return _from_edge_rows(rows, source)
    if {"id", "parents"} <= set(header):
        return _from_node_rows(rows, source)
    raise TaxonomyError(
        f"{source}: expected the columns child,parent or id,name,parents, found {','.join(header)}. Name them so in "
        "the first line"
    )


def _from_edge_rows(rows: Iterator[Row], source: Source) -> Draft:
    names: dict[str, str] = {}
    edges = []
    for line, row in rows:
        child, parent, name = row["child"], row["parent"], row.get("child_name", "")
        if not child:
            raise TaxonomyError(
                f"{source}:{line}: expected an id in `child`, found none. Fill it in, or remove the row"
            )
        if name and names.get(child, "") not in {"", name}:
            raise TaxonomyError(
                f"{source}:{line}: category {child!r} is named {name!r} here and {names[child]!r} before. "
                "Choose one name"
            )
        names[child] = name or names.get(child, "")
        if parent:
            names.setdefault(parent, "")
            edges.append(Edge(child, parent, line))
    return Draft(tuple(Category(*item) for item in names.items()), tuple(edges), str(source))


def _from_node_rows(rows: Iterator[Row], source: Source) -> Draft:
    categories, edges = [], []
    for line, row in rows:
        synonyms, aliases = (tuple(items(row.get(column, ""))) for column in ("synonyms", "aliases"))
        definition = row.get("definition") or None
        categories.append(Category(row["id"], row.get("name", ""), synonyms, definition, aliases, line))
        edges += [Edge(row["id"], parent, line) for parent in items(row["parents"])]
    return Draft(tuple(categories), tuple(edges), str(source))


READER = Reader("edges", "tables with child,parent or id,name,parents", recognise, read)
