"""Builds a validated hierarchy from categories and edges, whatever file they came from.

In: categories and (child, parent) edges by external id, with the line of each where a reader knows it. Out: a
`Taxonomy`. Every mistake is an error that names the place; nothing is mended in silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import numpy as np

from .csr import csr_from_pairs
from .draft import Category, Draft, Edge
from .errors import CycleError, TaxonomyError, UnknownCategoryError
from .hierarchy import Taxonomy


def build_taxonomy(categories: Iterable[Category], edges: Iterable[Edge], *, origin: str) -> Taxonomy:
    """The hierarchy of these categories and edges.

    Args:
        categories: each once, in any order.
        edges: each once, in any order; a category without one is a root.
        origin: file or place, the beginning of every error.

    Raises:
        TaxonomyError: no category, an empty or repeated id, an edge to itself or a repeated edge.
        UnknownCategoryError: an edge with an id that is no category.
        CycleError: a category is its own ancestor.
    """
    return build_draft(Draft(tuple(categories), tuple(edges), origin))


def build_draft(draft: Draft) -> Taxonomy:
    """The hierarchy of a draft; errors as `build_taxonomy`."""
    by_id = _index_categories(draft)
    ordered = [by_id[category_id] for category_id in sorted(by_id)]  # code points sort as their UTF-8 bytes do
    labels = {category.id: label for label, category in enumerate(ordered)}
    pairs = _index_edges(draft, labels)
    child, parent = np.array(pairs, np.int64).reshape(-1, 2).T
    try:
        return Taxonomy(
            ids=tuple(category.id for category in ordered),
            names=tuple(category.name or category.id for category in ordered),
            synonyms=tuple(category.synonyms for category in ordered),
            definitions=tuple(category.definition for category in ordered),
            aliases=tuple(category.aliases for category in ordered),
            parents=csr_from_pairs(child, parent, len(ordered)),
        )
    except CycleError as error:
        raise CycleError(f"{draft.origin}: {error}") from None


def _index_categories(draft: Draft) -> dict[str, Category]:
    by_id: dict[str, Category] = {}
    for category in draft.categories:
        place = draft.place(category)
        if not category.id:
            raise TaxonomyError(f"{place}: expected the id of a category, found none. Give it one, or remove the row")
        before = by_id.setdefault(category.id, category)
        if before is not category:
            first = f" (first in line {before.line})" if before.line else ""
            raise TaxonomyError(f"{place}: category {category.id!r} stands twice{first}. Remove one of the rows")
    if not by_id:
        raise TaxonomyError(f"{draft.origin}: expected at least one category, found none. Is it the right file?")
    return by_id


def _index_edges(draft: Draft, labels: Mapping[str, int]) -> list[tuple[int, int]]:
    lines: dict[tuple[int, int], int | None] = {}
    for edge in draft.edges:
        place = draft.place(edge)
        if edge.child == edge.parent:
            raise TaxonomyError(f"{place}: category {edge.child!r} is its own parent. Remove this edge")
        for category_id in (edge.child, edge.parent):
            if category_id not in labels:
                raise UnknownCategoryError(_unknown(edge, category_id, labels, place))
        pair = labels[edge.child], labels[edge.parent]
        if pair in lines:
            first = f" (first in line {lines[pair]})" if lines[pair] else ""
            raise TaxonomyError(
                f"{place}: the edge {edge.child!r} -> {edge.parent!r} stands twice{first}. Remove one of them"
            )
        lines[pair] = edge.line
    return list(lines)


def _unknown(edge: Edge, category_id: str, labels: Mapping[str, int], place: str) -> str:
    close = difflib.get_close_matches(category_id, labels, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return (
        f"{place}: expected the edge {edge.child!r} -> {edge.parent!r} between known categories, found no category "
        f"{category_id!r}. {hint}Add a row for it, or remove the edge"
    )
