"""YOLO9000's tree as darknet has it: `9k.tree`, an id and the parent's line a line, counted from 0, -1 for a root.

The line, from 0, is the network's output: it becomes an alias. Names come from `options.names`, or from the file of
the same stem that ends in `.names` (`9k.names`): one name a line, in the order of the tree.
"""

from __future__ import annotations

import re
from typing import Final

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .lines import numbered_lines, sample
from .reader import Reader, ReadOptions
from .source import Source

_LINE: Final = re.compile(r"\s*(\S+)[ \t]+(-1|\d+)\s*")
_NO_PARENT: Final = -1


def recognise(source: Source) -> bool:
    """An id and a number on every line, the root's -1 among them (lists of classes with their numbers have none)."""
    matches = [_LINE.fullmatch(line) for line in sample(source)]
    return all(matches) and any(match is not None and int(match[2]) == _NO_PARENT for match in matches)


def read(source: Source, options: ReadOptions) -> Draft:
    """The tree's categories."""
    rows: list[tuple[int, str, int]] = []
    for line, text in numbered_lines(source):
        match = _LINE.fullmatch(text)
        if match is None:
            raise TaxonomyError(
                f"{source}:{line}: expected an id and the line of its parent, counted from 0, or -1, found "
                f"{text[:80]!r}. Mend the line, or is it another format?"
            )
        rows.append((line, match[1], int(match[2])))
    names = _names(source, options, len(rows))
    categories, edges = [], []
    for position, (line, category_id, parent) in enumerate(rows):
        categories.append(Category(category_id, names[position], aliases=(str(position),), line=line))
        if parent == _NO_PARENT:
            continue
        if parent >= len(rows):
            raise TaxonomyError(
                f"{source}:{line}: expected the line of the parent in [0, {len(rows)}), counted from 0, or -1, found "
                f"{parent}. Is the file whole?"
            )
        edges.append(Edge(category_id, rows[parent][1], line))
    return Draft(tuple(categories), tuple(edges), str(source))


def _names(source: Source, options: ReadOptions, num_categories: int) -> list[str]:
    """One name a category; '' without a file of names."""
    found = Source(options.names) if options.names is not None else _beside(source)
    if found is None:
        return [""] * num_categories
    names = [text.strip() for _, text in numbered_lines(found)]
    if len(names) != num_categories:
        raise TaxonomyError(
            f"{found}: expected a name for each of the {num_categories:,} lines of {source}, found {len(names):,}. "
            "Do both belong together?"
        )
    return names


def _beside(source: Source) -> Source | None:
    stem = source.name.rpartition(".")[0] or source.name
    wanted = {f"{stem}.names", f"{stem}.names.gz"} - {source.name}
    return next((source.file(name) for name in source.files() if name in wanted), None)


READER = Reader("yolo9000", "YOLO9000's tree: an id and its parent's line a line", recognise, read)
