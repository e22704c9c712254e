"""Cycles of a draft: found, described, and, on request, collapsed.

In: a `Draft`. Out: its strongly connected components of two or more categories; or a draft in which each of them is
one category, with a record of what went. The survivor is the member that the file lists first. It takes over the
names of the others as synonyms and their ids as aliases, so that a label given by any of the ids still resolves. What
it does not do: choose one edge to drop. No edge of a cycle is more wrong than another, as far as the file tells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .csr import Csr, csr_from_pairs
from .draft import Category, Draft, Edge
from .hierarchy import longest_paths


class Collapsed(NamedTuple):
    """One component that became one category.

    Attributes:
        survivor: the id that stays.
        merged: ids that became its aliases, in the order of the file; none for an edge from a category to itself.
        removed: edges between members.
        doubled: edges to or from outside that repeat another one now, and so were left out.
    """

    survivor: str
    merged: tuple[str, ...]
    removed: tuple[Edge, ...]
    doubled: tuple[Edge, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """The sound edges of a draft by position: n distinct ids in the order of the file."""

    ids: tuple[str, ...]
    index: dict[str, int]
    parents: Csr
    children: Csr


def graph_of(draft: Draft) -> Graph:
    """What a draft says, less its repeated rows, and its edges to itself or to ids that it does not list."""
    index: dict[str, int] = {}
    for category in draft.categories:
        if category.id:
            index.setdefault(category.id, len(index))
    pairs = {
        (index[edge.child], index[edge.parent])
        for edge in draft.edges
        if edge.child != edge.parent and edge.child in index and edge.parent in index
    }
    child, parent = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    n = len(index)
    return Graph(tuple(index), index, csr_from_pairs(child, parent, n), csr_from_pairs(parent, child, n))


def components(graph: Graph) -> list[list[int]]:
    """Positions of each strongly connected component of two or more, sorted, by their first member."""
    looped = np.flatnonzero(longest_paths(graph.parents, graph.children) < 0)
    if not looped.size:  # Kahn's order reaches all: the common case costs no walk in Python
        return []
    inside = set(looped.tolist())
    import networkx as nx  # half a second, which only a mended hierarchy pays

    walk: nx.DiGraph[int] = nx.DiGraph()
    walk.add_edges_from((c, p) for c in looped.tolist() for p in graph.parents.of(c).tolist() if p in inside)
    return sorted(sorted(found) for found in nx.strongly_connected_components(walk) if len(found) > 1)


def shortest_cycle(graph: Graph, component: Sequence[int]) -> list[int]:
    """The shortest way up from a component's first member back to it: [first, parent, ..., first]."""
    first, inside = component[0], set(component)
    came_from: dict[int, int] = {}
    frontier = [first]
    while frontier:
        reached: list[int] = []
        for node in frontier:
            for parent in graph.parents.of(node).tolist():
                if parent == first:
                    path = [node]
                    while path[-1] != first:
                        path.append(came_from[path[-1]])
                    return [*reversed(path), first]
                if parent in inside and parent not in came_from:
                    came_from[parent] = node
                    reached.append(parent)
        frontier = reached
    raise AssertionError("a strongly connected component has a cycle through each member")


def collapse_cycles(draft: Draft) -> tuple[Draft, list[Collapsed]]:
    """A draft without cycles, and what became of each.

    Args:
        draft: any; repeated rows and unknown ids stay in it for `checks.check`.

    Returns:
        (mended, collapsed): the same draft and [] where there is no cycle; categories and edges keep their order.
    """
    graph = graph_of(draft)
    groups = [[graph.ids[member] for member in component] for component in components(graph)]
    survivor_of = {member: group[0] for group in groups for member in group}
    loops = {edge.child for edge in draft.edges if edge.child == edge.parent}
    if not survivor_of and not loops:
        return draft, []
    edges, removed, doubled = _rewire(draft.edges, survivor_of)
    categories = tuple(_merge(draft.categories, survivor_of))
    alone = [[category] for category in dict.fromkeys(edge.child for edge in draft.edges) if category in loops]
    groups += [group for group in alone if group[0] not in survivor_of]
    groups.sort(key=lambda group: graph.index.get(group[0], len(graph.ids)))
    collapsed = [
        Collapsed(group[0], tuple(group[1:]), tuple(removed.get(group[0], ())), tuple(doubled.get(group[0], ())))
        for group in groups
    ]
    return dataclasses.replace(draft, categories=categories, edges=tuple(edges)), collapsed


def _rewire(
    edges: Sequence[Edge], survivor_of: Mapping[str, str]
) -> tuple[list[Edge], dict[str, list[Edge]], dict[str, list[Edge]]]:
    """(kept, removed by survivor, doubled by survivor)."""
    kept: list[Edge] = []
    removed: dict[str, list[Edge]] = {}
    doubled: dict[str, list[Edge]] = {}
    seen: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for edge in edges:
        child, parent = survivor_of.get(edge.child, edge.child), survivor_of.get(edge.parent, edge.parent)
        if child == parent:
            removed.setdefault(child, []).append(edge)
            continue
        before = seen.setdefault((child, parent), set())
        if before and (edge.child, edge.parent) not in before:  # a row repeated in the file itself stays an error
            owner = child if edge.child in survivor_of else parent
            doubled.setdefault(owner, []).append(edge)
        else:
            kept.append(edge._replace(child=child, parent=parent))
        before.add((edge.child, edge.parent))
    return kept, removed, doubled


def _merge(categories: Sequence[Category], survivor_of: Mapping[str, str]) -> Iterator[Category]:
    members: dict[str, list[Category]] = {}
    seen: set[str] = set()
    for category in categories:
        if category.id in survivor_of and category.id not in seen:
            members.setdefault(survivor_of[category.id], []).append(category)
        seen.add(category.id)
    emitted: set[str] = set()
    for category in categories:
        again, survivor = category.id in emitted, survivor_of.get(category.id)
        emitted.add(category.id)
        if survivor is None or again:
            yield category
        elif survivor == category.id:
            yield _united(members[survivor])


def _united(members: Sequence[Category]) -> Category:
    """The first member with the names, ids and, if it has none, the definition of the others."""
    first = members[0]
    texts = [text for member in members for text in (member.name or member.id, *member.synonyms)]
    aliases = [
        alias for member in members for alias in ((member.id, *member.aliases) if member != first else member.aliases)
    ]
    return first._replace(
        synonyms=tuple(text for text in dict.fromkeys(texts) if text != (first.name or first.id)),
        definition=next((member.definition for member in members if member.definition), None),
        aliases=tuple(dict.fromkeys(aliases)),
    )
