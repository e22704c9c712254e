"""Hierarchies told by nesting: an object for each category, which holds the objects of its children.

In: JSON values. Out: categories and edges in the order of the text. A category with several parents stands below
each of them, mostly with all that is below it: such places are merged. The same child twice in one list is what a
person wrote there: both edges are kept, for the checks to name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .json_text import as_category, as_id, as_list, as_object, show

# Where a value stands: the place of what holds it, None for the outermost, and the key or index there.
Place = tuple["Place | None", "str | int"]
Step = tuple[Any, "Place | None", "str | None", int]  # value, place, parent's id, number of the list it stands in


def read_nested(
    roots: Sequence[tuple[Any, Place | None]], origin: str, *, id_keys: Sequence[str], below: Mapping[str, bool]
) -> Draft:
    """The hierarchy of nested objects.

    Args:
        roots: the outermost objects, each with its place.
        origin: file, the beginning of every error.
        id_keys: keys of an object's id; the first that is there counts.
        below: keys of the lists of children, and whether these are edges; a category in a list that is none still
            is a category.

    Raises:
        TaxonomyError: an object, list or string is something else, or a category is told in two ways.
    """
    categories: dict[str, Category] = {}
    edges: list[Edge] = []
    edge_lists: dict[tuple[str, str], int] = {}  # the list in which an edge was met first, by its number
    stack: list[Step] = [(root, place, None, -1) for root, place in roots[::-1]]
    num_lists = 0
    while stack:
        value, place, parent, list_number = stack.pop()
        node, category_id = _identify(value, origin, place, id_keys)
        found = as_category(node, category_id, _words(origin, place))
        categories[category_id] = _merged(categories.get(category_id, found), found, origin, place)
        if parent is not None and edge_lists.setdefault((category_id, parent), list_number) == list_number:
            edges.append(Edge(category_id, parent))
        following: list[Step] = []
        for key, is_edge in below.items():
            children = as_list(node.get(key, []), f"{_words(origin, place)}.{key}")
            num_lists += 1
            parent_below = category_id if is_edge else None
            following += [(child, ((place, key), i), parent_below, num_lists) for i, child in enumerate(children)]
        stack += following[::-1]
    return Draft(tuple(categories.values()), tuple(edges), origin)


def _identify(value: Any, origin: str, place: Place | None, id_keys: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The object and its id."""
    words = _words(origin, place) if not isinstance(value, dict) else ""
    node = as_object(value, words)
    key = next((key for key in id_keys if key in node), None)
    if key is None:
        raise TaxonomyError(
            f"{_words(origin, place)}: expected an object with {' or '.join(f'`{key}`' for key in id_keys)}, found "
            f"{show(node)}"
        )
    return node, as_id(node[key], f"{_words(origin, place)}.{key}")


def _words(origin: str, place: Place | None) -> str:
    """'file: children[2].children[0]', or 'file: $' of the outermost object."""
    parts: list[str] = []
    while place is not None:
        place, part = place
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    path = "".join(parts[::-1]).removeprefix(".")
    return f"{origin}: {path or '$'}"


def _merged(first: Category, second: Category, origin: str, place: Place | None) -> Category:
    """What both places of a category tell; one of them may leave out what the other tells."""
    if first == second:
        return first
    for field, one, other in zip(Category._fields, first, second, strict=True):
        if one and other and one != other:
            raise TaxonomyError(
                f"{_words(origin, place)}: category {first.id!r} has the {field} {other!r} here and {one!r} before. "
                "Choose one"
            )
    return Category._make(one or other for one, other in zip(first, second, strict=True))
