"""Builds a validated hierarchy from categories and edges, whatever file they came from.

In: categories and (child, parent) edges by external id, with the line of each where a reader knows it. Out: a
`Taxonomy`. Every mistake is an error that names the place; nothing is mended in silence: `build_mended` collapses
cycles and cuts down to a list only when asked, and tells what it did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from .checks import Finding, find_errors
from .csr import csr_from_pairs
from .cycles import Collapsed, collapse_cycles
from .draft import Category, Draft, Edge
from .errors import CycleError, TaxonomyError, UnknownCategoryError
from .hierarchy import Taxonomy
from .restrict import restrict, unknown_ids

MENDED_BY_COLLAPSING: Final = frozenset({"cycle", "self_edge"})


@dataclasses.dataclass(frozen=True)
class Built:
    """A hierarchy, and what was done to its file's content on the way.

    Attributes:
        taxonomy: the result.
        collapsed: cycles that became one category each.
        unknown: ids of the list that it was cut down to and that it does not have, in the order of the list.
    """

    taxonomy: Taxonomy
    collapsed: tuple[Collapsed, ...] = ()
    unknown: tuple[str, ...] = ()


def flat_taxonomy(ids: Iterable[str], *, origin: str) -> Taxonomy:
    """The categories of some ids, without a hierarchy; `origin` and errors as of `build_taxonomy`."""
    return build_taxonomy([Category(identifier) for identifier in sorted(set(ids))], [], origin=origin)


def build_taxonomy(categories: Iterable[Category], edges: Iterable[Edge], *, origin: str) -> Taxonomy:
    """The hierarchy of these categories and edges.

    Args:
        categories: each once, in any order.
        edges: each once, in any order; a category without one is a root.
        origin: file or place, the beginning of every error.

    Raises:
        TaxonomyError: no category, an empty or repeated id, an alias that is another's, an edge to itself or a
            repeated edge.
        UnknownCategoryError: an edge with an id that is no category.
        CycleError: a category is its own ancestor.
    """
    return build_draft(Draft(tuple(categories), tuple(edges), origin))


def build_draft(draft: Draft) -> Taxonomy:
    """The hierarchy of a draft; errors as `build_taxonomy`, the first in the order of the file."""
    _raise_first(find_errors(draft), draft)
    ordered = sorted(draft.categories, key=lambda category: category.id)  # code points sort as their UTF-8 bytes do
    labels = {category.id: label for label, category in enumerate(ordered)}
    child = np.fromiter((labels[edge.child] for edge in draft.edges), np.int64, len(draft.edges))
    parent = np.fromiter((labels[edge.parent] for edge in draft.edges), np.int64, len(draft.edges))
    return Taxonomy(
        ids=tuple(labels),
        names=tuple(category.name or category.id for category in ordered),
        synonyms=tuple(category.synonyms for category in ordered),
        definitions=tuple(category.definition for category in ordered),
        aliases=tuple(category.aliases for category in ordered),
        parents=csr_from_pairs(child, parent, len(ordered)),
    )


def build_mended(draft: Draft, *, collapse: bool = False, only: Sequence[str] | None = None) -> Built:
    """The hierarchy of a draft, mended as asked.

    Args:
        draft: what a reader found.
        collapse: make each cycle one category (`cycles.collapse_cycles`); all other mistakes stay errors.
        only: ids to cut down to, with their ancestors; those that it does not have are told, not an error.

    Raises:
        TaxonomyError: as `build_taxonomy`, or none of `only` is a category.
    """
    collapsed: list[Collapsed] = []
    if collapse:
        errors = find_errors(draft)
        # First of the file as it stands: after collapsing, a repeated row would look like a shared alias.
        _raise_first([error for error in errors if error.kind not in MENDED_BY_COLLAPSING], draft)
        if errors:
            draft, collapsed = collapse_cycles(draft)
    taxonomy = build_draft(draft)
    if only is None:
        return Built(taxonomy, tuple(collapsed))
    unknown = unknown_ids(taxonomy, only)
    return Built(restrict(taxonomy, only, missing="ignore"), tuple(collapsed), unknown)


def _raise_first(errors: Sequence[Finding], draft: Draft) -> None:
    if not errors:
        return
    more = len(errors) - 1
    rest = ""
    if more:
        mistakes = "1 more mistake" if more == 1 else f"{more:,} more mistakes"
        rest = f"\nand {mistakes}; `openjft taxonomy check {draft.origin}` lists them"
    kinds: dict[str, type[TaxonomyError]] = {"cycle": CycleError, "unknown_id": UnknownCategoryError}
    raise kinds.get(errors[0].kind, TaxonomyError)(f"{errors[0]}{rest}")
