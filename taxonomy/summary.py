"""The shape of a hierarchy in a few numbers, for the report and for a first look at a new file."""

from __future__ import annotations

import dataclasses

import numpy as np

from .closure import Closure, ancestor_closure
from .hierarchy import Taxonomy


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaxonomyStatistics:
    """Counts of a hierarchy.

    Attributes:
        categories: all of them.
        edges: (child, parent) pairs.
        roots: categories without a parent.
        leaves: categories without a child.
        depth: edges on the longest path from a root.
        largest_fan_out: most children of one category.
        several_parents: categories with more than one parent.
        mean_ancestors: ancestors of a category, averaged over all categories.
    """

    categories: int
    edges: int
    roots: int
    leaves: int
    depth: int
    largest_fan_out: int
    several_parents: int
    mean_ancestors: float


def statistics(taxonomy: Taxonomy, closure: Closure | None = None) -> TaxonomyStatistics:
    """The shape of `taxonomy`; `closure` saves computing it where it is at hand."""
    closure = closure or ancestor_closure(taxonomy)
    fan_out, fan_in = taxonomy.children.lengths, taxonomy.parents.lengths
    return TaxonomyStatistics(
        categories=taxonomy.num_categories,
        edges=len(taxonomy.parents.values),
        roots=len(taxonomy.roots),
        leaves=int(np.count_nonzero(fan_out == 0)),
        depth=int(taxonomy.depth().max(initial=0)),
        largest_fan_out=int(fan_out.max(initial=0)),
        several_parents=int(np.count_nonzero(fan_in > 1)),
        mean_ancestors=len(closure.values) / taxonomy.num_categories,
    )
