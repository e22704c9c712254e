"""Looking around in a hierarchy: a category from what a person types, what lies above and below, the ways up.

In: a `Taxonomy`, and an id, an alias or a name that no other category bears. Out: labels. For one category at a time;
`closure` has the ancestors of all.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .csr import Csr, Int32s, Int64s, sorted_unique
from .errors import UnknownCategoryError
from .hierarchy import Taxonomy

SHOWN: Final = 10


def find_category(taxonomy: Taxonomy, text: str) -> int:
    """The label of an id, an alias, a name or a synonym; names without regard to case.

    Raises:
        UnknownCategoryError: nothing is called so, with the closest; or several are, with their ids.
    """
    try:
        return taxonomy.index_of(text)
    except UnknownCategoryError as error:
        folded = text.casefold()
        bearers = [label for label in range(taxonomy.num_categories) if folded in _names(taxonomy, label)]
        if len(bearers) == 1:
            return bearers[0]
        if not bearers:
            raise UnknownCategoryError(
                f"expected the id or the name of one of {taxonomy.num_categories:,} categories, found {text!r}."
                f"{taxonomy.suggest(text)}"
            ) from error
    # A category that is called so first is not preferred to one that is called so second: the choice is the user's.
    ids = [f"{taxonomy.ids[b]} ({taxonomy.definitions[b] or taxonomy.names[b]})" for b in bearers[:SHOWN]]
    more = f"\n  and {len(bearers) - SHOWN:,} more" if len(bearers) > SHOWN else ""
    raise UnknownCategoryError(
        f"{text!r} is the name of {len(bearers):,} categories. Give the id of the one that is meant:\n  "
        + "\n  ".join(ids)
        + more
    )


def _names(taxonomy: Taxonomy, label: int) -> set[str]:
    return {name.casefold() for name in (taxonomy.names[label], *taxonomy.synonyms[label])}


def reach(lists: Csr, label: int, *, most: int | None = None) -> tuple[Int32s, Int32s]:
    """What a walk along parents (or children) comes to.

    Args:
        lists: `Taxonomy.parents` for the ancestors, `Taxonomy.children` for the descendants.
        label: where it begins.
        most: edges that it may go; None goes to the end.

    Returns:
        (labels, distance): (m,) int32 each, by distance, then label; the distance is the least number of edges.
        The beginning is not among them.
    """
    seen = np.zeros(lists.num_lists, bool)
    seen[label] = True
    frontier = np.array([label], np.int64)
    found: list[Int64s] = []
    while frontier.size and (most is None or len(found) < most):
        reached = sorted_unique(lists.take(frontier).values.astype(np.int64))
        frontier = reached[~seen[reached]]
        seen[frontier] = True
        found.append(frontier)
    lengths = [len(part) for part in found]
    labels = np.concatenate([np.empty(0, np.int64), *found]).astype(np.int32)
    return labels, np.repeat(np.arange(1, len(found) + 1, dtype=np.int32), lengths)


def paths_to_roots(taxonomy: Taxonomy, label: int, *, most: int) -> list[list[int]]:
    """Up to `most` ways from a category up to a root, each from the category on, in the order of the labels."""
    done: list[list[int]] = []
    # Depth first: diamonds above diamonds double the ways, and only those begun are kept.
    waiting = [[label]]
    while waiting and len(done) < most:
        path = waiting.pop()
        parents = taxonomy.parents.of(path[-1]).tolist()
        if not parents:
            done.append(path)
        waiting.extend([*path, parent] for parent in reversed(parents))
    return done


def count_paths_to_roots(taxonomy: Taxonomy, label: int) -> int:
    """All ways from a category up to a root; a Python integer: diamonds multiply."""
    above = np.append(reach(taxonomy.parents, label)[0], np.int32(label))
    ways: dict[int, int] = {}
    for node in above[np.argsort(taxonomy.depth()[above], kind="stable")].tolist():
        parents = taxonomy.parents.of(node).tolist()
        ways[node] = sum(ways[parent] for parent in parents) if parents else 1
    return ways[label]
