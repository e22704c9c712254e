"""Everything that is wrong with a hierarchy's file, or worth knowing, found in one pass and each with its line.

In: a `Draft`. Out: findings in the order of the file, errors first. Errors make it no hierarchy; `build_draft` raises
the first of them. Notes are lawful: several roots, categories without any edge, names that several categories bear.
What it does not do: mend (`cycles.collapse_cycles` does, on request), or judge whether an edge is true.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import numpy as np

from .closest import Closest
from .csr import Int64s, sorted_unique
from .cycles import Graph, components, graph_of, shortest_cycle
from .draft import Category, Draft, Edge

Kind = Literal[
    "no_category",
    "empty_id",
    "duplicate_category",
    "duplicate_alias",
    "self_edge",
    "unknown_id",
    "duplicate_edge",
    "cycle",
    "several_roots",
    "orphan",
    "no_name",
    "shared_name",
]
SHOWN_ON_A_CYCLE: Final = 100
SHOWN_ROOTS: Final = 5
SHOWN_BEARERS: Final = 20
MOST_STEPS: Final = 10_000_000  # of walks that count what lies below roots: 5 s; thousands of roots may share all


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing about a file.

    Attributes:
        kind: which check it is of.
        severity: an error makes the file no hierarchy; a note is lawful.
        place: 'file:line', as far as it is known.
        message: what was found and what to do.
    """

    kind: Kind
    severity: Literal["error", "note"]
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def check(draft: Draft) -> list[Finding]:
    """All findings: the errors, then the notes, each in the order of the file."""
    errors = find_errors(draft)
    return [*errors, *find_notes(draft)]


def find_errors(draft: Draft) -> list[Finding]:
    """What makes a draft no hierarchy, in the order of the file; a cycle stands at its first edge."""
    if not draft.categories and not draft.edges:
        message = "expected at least one category, found none. Is it the right file?"
        return [Finding("no_category", "error", draft.origin, message)]
    order = _Order(draft)
    found = [*_wrong_categories(draft), *_wrong_edges(draft), *_cycles(draft)]
    found.sort(key=lambda item: order.key(item[0]))
    return [finding for _, finding in found]


def find_notes(draft: Draft) -> list[Finding]:
    """What is lawful and worth knowing, kind by kind, each in the order of the file."""
    graph = graph_of(draft)
    return [*_roots(draft, graph), *_orphans(draft, graph), *_nameless(draft), *_shared_names(draft)]


def shared_names(names: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    """Casefolded names that several categories bear, and the positions of these.

    Args:
        names: for each category its name and synonyms; one that it bears twice counts once.
    """
    bearers: dict[str, list[int]] = {}
    for position, texts in enumerate(names):
        for text in {text.casefold() for text in texts}:
            bearers.setdefault(text, []).append(position)
    shared = {text: positions for text, positions in bearers.items() if len(positions) > 1}
    return dict(sorted(shared.items(), key=lambda item: (item[1], item[0])))


Found = tuple[Category | Edge, Finding]


class _Order:
    """Where an item stands: by file, then by line; items without a line by their position, categories first."""

    def __init__(self, draft: Draft) -> None:
        self._files: dict[str, int] = {draft.origin: 0}
        self._positions: dict[int, int] = {}
        self._origin = draft.origin
        items: tuple[Category | Edge, ...] = (*draft.categories, *draft.edges)
        for position, item in enumerate(items):
            self._files.setdefault(item.file or draft.origin, len(self._files))
            self._positions[id(item)] = position

    def key(self, item: Category | Edge) -> tuple[int, int, int]:
        return self._files[item.file or self._origin], item.line or 0, self._positions[id(item)]


def _where(draft: Draft, item: Category | Edge, other: Category | Edge, *, first: bool = True) -> str:
    """' (first in line 2)', with the file where it is another one."""
    if not other.line:
        return ""
    place = f"line {other.line}" if other.file == item.file else draft.place(other)
    return f" (first in {place})" if first else f" ({place})"


def _wrong_categories(draft: Draft) -> Iterator[Found]:
    by_id: dict[str, Category] = {}
    for category in draft.categories:
        place = draft.place(category)
        if not category.id:
            message = "expected the id of a category, found none. Give it one, or remove the row"
            yield category, Finding("empty_id", "error", place, message)
            continue
        before = by_id.setdefault(category.id, category)
        if before is not category:
            message = f"category {category.id!r} stands twice{_where(draft, category, before)}. Remove one of the rows"
            yield category, Finding("duplicate_category", "error", place, message)
    owners: dict[str, Category] = {}
    for category in by_id.values():
        for alias in category.aliases:
            owner = by_id.get(alias) or owners.setdefault(alias, category)
            if owner is not category or alias == category.id:
                yield (
                    category,
                    Finding("duplicate_alias", "error", draft.place(category), _alias(draft, category, alias, owner)),
                )


def _alias(draft: Draft, category: Category, alias: str, owner: Category) -> str:
    where = (
        "its own id"
        if owner is category
        else f"the id of another category{_where(draft, category, owner, first=False)}"
    )
    if alias != owner.id:
        where = f"an alias of category {owner.id!r} too{_where(draft, category, owner, first=False)}"
    return f"alias {alias!r} of category {category.id!r} is {where}. An id means one category: remove the alias"


def _wrong_edges(draft: Draft) -> Iterator[Found]:
    known = {category.id for category in draft.categories if category.id}
    closest = Closest(draft.categories)
    seen: dict[tuple[str, str], Edge] = {}
    for edge in draft.edges:
        place = draft.place(edge)
        if edge.child == edge.parent:
            message = f"category {edge.child!r} is its own parent. Remove this edge"
            yield edge, Finding("self_edge", "error", place, message)
            continue
        for category_id in (edge.child, edge.parent):
            if category_id not in known:
                message = (
                    f"expected the edge {edge.child!r} -> {edge.parent!r} between known categories, found no category "
                    f"{category_id!r}. {closest.hint(category_id)}Add a row for it, or remove the edge"
                )
                yield edge, Finding("unknown_id", "error", place, message)
        before = seen.setdefault((edge.child, edge.parent), edge)
        if before is not edge:
            message = (
                f"the edge {edge.child!r} -> {edge.parent!r} stands twice{_where(draft, edge, before)}. "
                "Remove one of them"
            )
            yield edge, Finding("duplicate_edge", "error", place, message)


def _cycles(draft: Draft) -> Iterator[Found]:
    graph = graph_of(draft)
    found = components(graph)
    if not found:
        return
    categories = {category.id: category for category in _distinct(draft)}
    edges: dict[tuple[str, str], Edge] = {}
    for edge in draft.edges:
        edges.setdefault((edge.child, edge.parent), edge)
    rank = {pair: position for position, pair in enumerate(edges)}
    for component in found:
        path = [graph.ids[position] for position in shortest_cycle(graph, component)]
        steps = [edges[pair] for pair in itertools.pairwise(path)]
        first = min(steps, key=lambda edge: rank[edge.child, edge.parent])
        message = _cycle(draft, [categories[category_id] for category_id in path], steps, len(component))
        yield first, Finding("cycle", "error", draft.place(first), message)


def _cycle(draft: Draft, path: list[Category], steps: list[Edge], size: int) -> str:
    def elided(parts: list[str]) -> list[str]:
        if len(parts) <= SHOWN_ON_A_CYCLE:
            return parts
        half = SHOWN_ON_A_CYCLE // 2
        return [*parts[:half], f"... {len(parts) - 2 * half:,} more ...", *parts[-half:]]

    lines = ""
    if all(edge.line for edge in steps):
        one_file = all(edge.file == steps[0].file for edge in steps)
        places = [str(edge.line) if one_file else draft.place(edge) for edge in steps]
        lines = f" ({'lines ' if one_file else ''}{', '.join(elided(places))})"
    others = size - len(steps)
    more = f"; {others:,} more categories lie on cycles with it" if others else ""
    way = " -> ".join(elided([_show(category) for category in path]))
    return f"category {_show(path[0])} is its own ancestor via {way}{lines}{more}. Remove one of these edges"


def _roots(draft: Draft, graph: Graph) -> Iterator[Finding]:
    has_child = graph.children.lengths > 0
    roots = np.flatnonzero((graph.parents.lengths == 0) & has_child)
    if len(roots) < 2:
        return
    below = _count_below(graph, roots)
    largest = roots[np.argsort(-below, kind="stable")][:SHOWN_ROOTS]
    sizes = dict(zip(roots.tolist(), below.tolist(), strict=True))
    categories = {category.id: category for category in _distinct(draft)}
    shown = ", ".join(f"{_show(categories[graph.ids[root]])} with {sizes[root]:,} below" for root in largest.tolist())
    more = f", and {len(roots) - len(largest):,} more" if len(roots) > len(largest) else ""
    yield Finding("several_roots", "note", draft.origin, f"{len(roots):,} roots have children: {shown}{more}")


def _count_below(graph: Graph, roots: Int64s) -> Int64s:
    """(m,) categories below each root, by a walk down from each: cycles do no harm.

    The roots with most children go first; 0 for those that were not reached after `MOST_STEPS`.
    """
    seen = np.full(len(graph.ids), -1)
    below = np.zeros(len(roots), np.int64)
    steps = 0
    for i in np.argsort(-graph.children.lengths[roots], kind="stable").tolist():
        frontier = roots[i : i + 1]
        while frontier.size:
            reached = sorted_unique(graph.children.take(frontier).values.astype(np.int64))
            frontier = reached[seen[reached] != i]
            seen[frontier] = i
            below[i] += len(frontier)
        steps += below[i]
        if steps > MOST_STEPS:
            break
    return below


def _orphans(draft: Draft, graph: Graph) -> Iterator[Finding]:
    if not len(graph.parents.values):  # a plain list has no edges at all
        return
    # An edge that is an error itself counts: mending it may mend this.
    used = {category_id for edge in draft.edges for category_id in (edge.child, edge.parent)}
    for category in _distinct(draft):
        if category.id and category.id not in used:
            message = f"category {_show(category)} has no parent and no child"
            yield Finding("orphan", "note", draft.place(category), message)


def _nameless(draft: Draft) -> Iterator[Finding]:
    categories = _distinct(draft)
    if not any(category.name for category in categories):  # the ids are the names
        return
    for category in categories:
        if category.id and not category.name:
            message = f"category {category.id!r} has no name, unlike others: its id stands for it"
            yield Finding("no_name", "note", draft.place(category), message)


def _shared_names(draft: Draft) -> Iterator[Finding]:
    categories = _distinct(draft)
    names = ((category.name or category.id, *category.synonyms) for category in categories)
    for name, positions in shared_names(names).items():
        bearers = [categories[position] for position in positions]
        shown = [f"{bearer.id} (line {bearer.line})" if bearer.line else bearer.id for bearer in bearers]
        more = [f"and {len(shown) - SHOWN_BEARERS:,} more"] if len(shown) > SHOWN_BEARERS else []
        listed = ", ".join([*shown[:SHOWN_BEARERS], *more])
        message = f"{name!r} is the name of {len(bearers):,} categories: {listed}"
        yield Finding("shared_name", "note", draft.place(bearers[0]), message)


def _distinct(draft: Draft) -> list[Category]:
    by_id: dict[str, Category] = {}
    for category in draft.categories:
        by_id.setdefault(category.id, category)
    return list(by_id.values())


def _show(category: Category) -> str:
    return category.id if category.name in {"", category.id} else f"{category.id} ({category.name})"
