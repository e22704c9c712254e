"""Open English WordNet nouns as a TSV: oewn_id, wnid_pwn30, hypernyms, instance_hypernyms, members, definition.

The id is the WordNet 3.0 one, as ImageNet has it, where there is one; the other becomes an alias. Both kinds of
hypernyms are parents.
"""

from __future__ import annotations

from ..draft import Category, Draft, Edge
from .reader import Reader, ReadOptions
from .source import Source
from .table import items, read_table, require, split_header

COLUMNS = ("oewn_id", "wnid_pwn30", "hypernyms", "instance_hypernyms", "members", "definition")


def recognise(source: Source) -> bool:
    """By its first column."""
    return source.is_text and "oewn_id" in split_header(source)[0]


def read(source: Source, options: ReadOptions) -> Draft:
    """The table's synsets."""
    header, rows = read_table(source, delimiter="\t")
    require(source, header, COLUMNS)
    found = list(rows)
    ids = {row.cells["oewn_id"]: row.cells["wnid_pwn30"] or row.cells["oewn_id"] for row in found}
    categories, edges = [], []
    for line, row in found:
        oewn_id = row["oewn_id"]
        category_id = ids[oewn_id]
        name, *synonyms = items(row["members"]) or [category_id]
        aliases = (oewn_id,) if oewn_id != category_id else ()
        categories.append(Category(category_id, name, tuple(synonyms), row["definition"] or None, aliases, line))
        parents = dict.fromkeys(items(row["hypernyms"]) + items(row["instance_hypernyms"]))
        edges += [Edge(category_id, ids.get(parent, parent), line) for parent in parents]
    return Draft(tuple(categories), tuple(edges), str(source))


READER = Reader("oewn", "Open English WordNet nouns, the TSV", recognise, read)
