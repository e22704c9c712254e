"""The shape of a hierarchy in the figures by which the paper describes its own, and some that a user should know.

In: a `Taxonomy`. Out: `TaxonomyStatistics`. Source: Sun et al. (2017), section 3: 18,291 categories, depth 12, a
largest fan-out of 2,876, 1,165 kinds of animals, 5,720 of vehicles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from .checks import shared_names
from .closure import Closure, ancestor_closure
from .csr import Int64s
from .find import find_category
from .hierarchy import Taxonomy

LARGEST_BRANCHES: Final = 10
TOO_LARGE: Final = 1 / 3  # of all categories: such a branch is opened, unless it was asked for


@dataclasses.dataclass(frozen=True)
class Branch:
    """A category and how much lies below it.

    Attributes:
        id: external id.
        name: for people.
        below: categories below it, without itself.
        leaves: those of them without a child.
        depth: edges on the longest path from a root to it.
    """

    id: str
    name: str
    below: int
    leaves: int
    depth: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaxonomyStatistics:
    """Counts of a hierarchy.

    Attributes:
        categories: all of them.
        edges: (child, parent) pairs.
        roots: categories without a parent.
        leaves: categories without a child.
        orphans: categories without either, in a hierarchy that has edges.
        depth: edges on the longest path from a root.
        mean_leaf_depth: depth of a leaf, averaged over the leaves.
        largest_fan_out: most children of one category.
        largest_fan_out_of: its id; the first of several; None without edges.
        several_parents: categories with more than one parent.
        most_parents: most parents of one category.
        most_parents_of: its id; the first of several; None without edges.
        mean_ancestors: ancestors of a category, averaged over all categories.
        max_ancestors: most ancestors of one category.
        closure_pairs: (category, ancestor) pairs.
        shared_names: casefolded names and synonyms that several categories bear.
        levels: (depth + 1,) categories at each depth, from the roots on.
        branches: the branches asked for, in that order, or the largest.
    """

    categories: int
    edges: int
    roots: int
    leaves: int
    orphans: int
    depth: int
    mean_leaf_depth: float
    largest_fan_out: int
    largest_fan_out_of: str | None
    several_parents: int
    most_parents: int
    most_parents_of: str | None
    mean_ancestors: float
    max_ancestors: int
    closure_pairs: int
    shared_names: int
    levels: tuple[int, ...]
    branches: tuple[Branch, ...]


def statistics(
    taxonomy: Taxonomy, closure: Closure | None = None, *, branches: Sequence[str] = ()
) -> TaxonomyStatistics:
    """The shape of `taxonomy`.

    Args:
        taxonomy: any.
        closure: of it, where it is at hand: saves computing it.
        branches: ids or names of branches to measure; none takes the largest.

    Raises:
        UnknownCategoryError: a branch is no category, or the name of several.
    """
    closure = closure or ancestor_closure(taxonomy)
    fan_out, fan_in, depth = taxonomy.children.lengths, taxonomy.parents.lengths, taxonomy.depth()
    leaf, edges = fan_out == 0, len(taxonomy.parents.values)
    ancestors = np.diff(closure.offsets)
    chosen = [find_category(taxonomy, text) for text in branches] or largest_branches(taxonomy, closure)
    names = ((name, *more) for name, more in zip(taxonomy.names, taxonomy.synonyms, strict=True))
    return TaxonomyStatistics(
        categories=taxonomy.num_categories,
        edges=edges,
        roots=len(taxonomy.roots),
        leaves=int(np.count_nonzero(leaf)),
        orphans=int(np.count_nonzero(leaf & (fan_in == 0))) if edges else 0,
        depth=int(depth.max(initial=0)),
        mean_leaf_depth=float(depth[leaf].mean()),
        largest_fan_out=int(fan_out.max(initial=0)),
        largest_fan_out_of=taxonomy.ids[int(fan_out.argmax())] if edges else None,
        several_parents=int(np.count_nonzero(fan_in > 1)),
        most_parents=int(fan_in.max(initial=0)),
        most_parents_of=taxonomy.ids[int(fan_in.argmax())] if edges else None,
        mean_ancestors=len(closure.values) / taxonomy.num_categories,
        max_ancestors=int(ancestors.max(initial=0)),
        closure_pairs=len(closure.values),
        shared_names=len(shared_names(names)),
        levels=tuple(np.bincount(depth).tolist()),
        branches=_measure(taxonomy, closure, chosen),
    )


def descendant_counts(closure: Closure) -> Int64s:
    """(n,) int64 categories below each, without itself."""
    return np.bincount(closure.values, minlength=closure.num_categories)


def largest_branches(taxonomy: Taxonomy, closure: Closure, *, most: int = LARGEST_BRANCHES) -> list[int]:
    """Labels of the branches that tell the hierarchy apart, the largest first.

    The roots; in place of one that holds more than a third of all categories stand its children, and so on down:
    'entity' and 'physical entity' say little of WordNet, 'artifact' and 'living thing' do.
    """
    below, children = descendant_counts(closure), taxonomy.children
    candidates = {int(root) for root in taxonomy.roots if below[root]}
    done: set[int] = set()
    while large := {label for label in candidates - done if below[label] > TOO_LARGE * taxonomy.num_categories}:
        done |= large
        for label in large:
            inner = {int(child) for child in children.of(label) if below[child]}
            if inner:  # else its children are leaves: it is itself what there is to tell
                candidates = candidates - {label} | inner
    return sorted(candidates, key=lambda label: (-below[label], label))[:most]


def _measure(taxonomy: Taxonomy, closure: Closure, labels: Sequence[int]) -> tuple[Branch, ...]:
    below, depth = descendant_counts(closure), taxonomy.depth()
    is_leaf = (taxonomy.children.lengths == 0).astype(np.int64)
    leaves = np.bincount(
        closure.values, weights=np.repeat(is_leaf, np.diff(closure.offsets)), minlength=closure.num_categories
    )
    return tuple(
        Branch(taxonomy.ids[i], taxonomy.names[i], int(below[i]), int(leaves[i]), int(depth[i])) for i in labels
    )
