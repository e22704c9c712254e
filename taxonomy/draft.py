"""A hierarchy as its file tells it: categories and edges by external id, with their places, not yet checked.

In: what a reader found. Out: `Draft`, which `checks` looks through, `cycles` mends and `build` makes a `Taxonomy` of.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


class Category(NamedTuple):
    """One category as a reader found it; an empty name stands for the id."""

    id: str
    name: str = ""
    synonyms: tuple[str, ...] = ()
    definition: str | None = None
    aliases: tuple[str, ...] = ()  # further ids of the same category
    line: int | None = None  # counted from 1
    file: str = ""  # where it is another one than the draft's origin


class Edge(NamedTuple):
    """`child` is a kind of `parent`; `line` is where the file says so, counted from 1."""

    child: str
    parent: str
    line: int | None = None
    file: str = ""


@dataclasses.dataclass(frozen=True)
class Draft:
    """Categories and edges in the order of their file.

    Attributes:
        categories: as found, repeated ones too.
        edges: as found, repeated and dangling ones too.
        origin: file or place, the beginning of every error.
    """

    categories: tuple[Category, ...]
    edges: tuple[Edge, ...]
    origin: str

    def place(self, item: Category | Edge) -> str:
        """'file:line' of a category or an edge, as far as it is known."""
        file = item.file or self.origin
        return file if item.line is None else f"{file}:{item.line}"
