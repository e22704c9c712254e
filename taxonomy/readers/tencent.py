"""Tencent ML-Images: `dictionary_and_semantic_hierarchy.txt`, a TSV.

Columns: category_index, category_id (a WordNet id or a Freebase MID), index_of_parent_category (-1 for a root),
category name (comma-separated). The index is what Tencent's image lists name categories by: it becomes an alias.
Every category has one parent at most.
"""

from __future__ import annotations

from typing import Final

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .lines import split_names
from .reader import Reader, ReadOptions
from .source import Source
from .table import read_table, require, split_header

COLUMNS: Final = ("category_index", "category_id", "index_of_parent_category", "category name")
_NO_PARENT: Final = "-1"


def recognise(source: Source) -> bool:
    """By its columns."""
    return not source.is_folder and source.is_text and set(COLUMNS) <= set(split_header(source)[0])


def read(source: Source, options: ReadOptions) -> Draft:
    """The table's categories."""
    header, rows = read_table(source, delimiter="\t")
    require(source, header, COLUMNS)
    found = list(rows)
    ids: dict[str, str] = {}
    for line, row in found:
        if ids.setdefault(row["category_index"], row["category_id"]) != row["category_id"]:
            raise TaxonomyError(
                f"{source}:{line}: expected each category_index once, found {row['category_index']!r} for "
                f"{row['category_id']!r} and before for {ids[row['category_index']]!r}. Remove one of the rows"
            )
    categories, edges = [], []
    for line, row in found:
        name, synonyms = split_names(row["category name"])
        categories.append(Category(row["category_id"], name, synonyms, aliases=(row["category_index"],), line=line))
        parent = row["index_of_parent_category"]
        if parent == _NO_PARENT:
            continue
        if parent not in ids:
            raise TaxonomyError(
                f"{source}:{line}: expected the category_index of a row, or {_NO_PARENT}, as "
                f"index_of_parent_category, found {parent!r}. Add that row, or mend the number"
            )
        edges.append(Edge(row["category_id"], ids[parent], line))
    return Draft(tuple(categories), tuple(edges), str(source))


READER = Reader("tencent", "Tencent ML-Images' dictionary and semantic hierarchy", recognise, read)
