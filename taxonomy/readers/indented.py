"""A tree as an indented list: one category a line, below the nearest line above with less indentation.

    # what is sold
    Animals
        Dogs
        Cats
    Toys
        Dogs

A category's id is the path to it, 'Toys > Dogs', and its name the line. One rule for all, repeated names or not, so
that an id stays what it is when a name is added elsewhere; `paths` gives the same ids. Comments begin with '#'; empty
lines are passed over. The indentation is tabs, one a level, or spaces, as many a level as the first indented line
has: one of both in a file. A list has one parent a category; for several use a table, and for ids of your own too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .lines import numbered_lines, sample
from .paths import JOINT
from .reader import Reader, ReadOptions
from .source import Source

_NO_NAME: Final = tuple("{}[]<>\"'-*|,;")  # JSON, XML, YAML, Markdown and code begin lines so


class _Item(NamedTuple):
    line: int
    depth: int
    name: str


def recognise(source: Source) -> bool:
    """By indented lines that are not those of JSON, XML, YAML or code.

    Also where the indentation is wrong: a list of names is all else that such a file could be read as.
    """
    lines = sample(source, comments=True)
    names = [line.strip() for line in lines]
    if any(name.startswith(_NO_NAME) or name.endswith((":", ";", "{", ",")) or "\t" in name for name in names):
        return False
    return any(line[0] in " \t" for line in lines)


def read(source: Source, options: ReadOptions) -> Draft:
    """The list's categories."""
    categories, edges = [], []
    path: list[str] = []
    for line, depth, name in _items(numbered_lines(source, comments=True), str(source)):
        parent = JOINT.join(path[:depth])
        path[depth:] = [name]
        category_id = JOINT.join(path)
        categories.append(Category(category_id, name, line=line))
        if depth:
            edges.append(Edge(category_id, parent, line))
    return Draft(tuple(categories), tuple(edges), str(source))


def _items(lines: Iterable[tuple[int, str]], origin: str) -> Iterator[_Item]:
    """Each line's depth and name.

    Raises:
        TaxonomyError: tabs and spaces are mixed, an indentation is no multiple of the first, a line lies more than
            one level below the one above, or a name holds ' > '.
    """
    unit = ""
    above = -1
    for line, text in lines:
        name = text.strip()
        indent = text[: len(text) - len(text.lstrip())]
        if indent and not unit:
            unit = "\t" if indent[0] == "\t" else " " * max(1, len(indent) - len(indent.lstrip(" ")))
        depth = len(indent) // len(unit) if indent else 0
        if indent != unit * depth:
            raise TaxonomyError(
                f"{origin}:{line}: expected an indentation of {_say(unit)} a level, found {indent!r}. Indent all "
                "lines alike, with tabs or with spaces"
            )
        if depth > above + 1:
            found = f"{depth - above} levels more" if above >= 0 else "an indented first line"
            raise TaxonomyError(
                f"{origin}:{line}: expected {name!r} at most one level below the line above it, found {found}. "
                "Add the category between, or mend the indentation"
            )
        if JOINT in name:
            raise TaxonomyError(
                f"{origin}:{line}: expected a name without {JOINT!r}, which joins names to an id, found {name!r}. "
                "Is it a file of paths?"
            )
        yield _Item(line, depth, name)
        above = depth


def _say(unit: str) -> str:
    return "a tab" if unit == "\t" else f"{len(unit)} spaces" if len(unit) > 1 else "a space"


READER = Reader("indented", "a tree as an indented list", recognise, read)
