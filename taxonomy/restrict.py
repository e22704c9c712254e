"""A hierarchy cut down to a list of categories and what lies above them: ImageNet's 21,841 of WordNet's 72k.

In: a `Taxonomy` and external ids. Out: a `Taxonomy` of its own, with new labels. Names, definitions and aliases are
kept; so are the edges between categories that stay. What lies below a listed category and is not listed itself goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from .csr import Int32s, Int64s, csr_from_pairs, sorted_unique
from .errors import TaxonomyError, UnknownCategoryError
from .hierarchy import Taxonomy

SHOWN: Final = 5


def restrict(
    taxonomy: Taxonomy, ids: Sequence[str], *, ancestors: bool = True, missing: Literal["error", "ignore"] = "error"
) -> Taxonomy:
    """The listed categories and their ancestors.

    Args:
        taxonomy: the whole.
        ids: ids or aliases, in any order, repeated ones too.
        ancestors: False keeps the listed categories alone, and so only edges from one of them to another.
        missing: what to do about ids that the hierarchy does not have; `unknown_ids` lists them.

    Raises:
        UnknownCategoryError: an id is unknown and `missing` is "error".
        TaxonomyError: no category stays.
    """
    unknown = unknown_ids(taxonomy, ids)
    if unknown and missing == "error":
        more = f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else ""
        raise UnknownCategoryError(
            f"expected ids of the hierarchy's {taxonomy.num_categories:,} categories, found {len(unknown):,} of "
            f"{len(dict.fromkeys(ids)):,} unknown: {', '.join(map(repr, unknown[:SHOWN]))}{more}. Remove them from the "
            "list, or let them be ignored"
        )
    listed = taxonomy.lookup_ids(pa.array(ids, pa.string())).drop_null().to_numpy().astype(np.int64)
    if not listed.size:
        raise TaxonomyError(
            f"expected ids of the hierarchy's {taxonomy.num_categories:,} categories (such as {taxonomy.ids[0]!r}), "
            f"found none of them among {len(ids):,} ids. Is it the list of another hierarchy?"
        )
    return _cut(taxonomy, _upwards(taxonomy, listed) if ancestors else sorted_unique(listed).astype(np.int32))


def unknown_ids(taxonomy: Taxonomy, ids: Sequence[str]) -> tuple[str, ...]:
    """Those of `ids` that are neither an id nor an alias, each once, in their order."""
    known = taxonomy.lookup_ids(pa.array(ids, pa.string())).is_valid().to_pylist()
    return tuple(dict.fromkeys(text for text, is_known in zip(ids, known, strict=True) if not is_known))


def _upwards(taxonomy: Taxonomy, listed: Int64s) -> Int32s:
    """Sorted labels of the listed categories and all above them."""
    kept = np.zeros(taxonomy.num_categories, bool)
    frontier = listed
    while frontier.size:
        kept[frontier] = True
        above = taxonomy.parents.take(frontier).values
        frontier = sorted_unique(above[~kept[above]].astype(np.int64))
    return np.flatnonzero(kept).astype(np.int32)


def _cut(taxonomy: Taxonomy, kept: Int32s) -> Taxonomy:
    new = np.full(taxonomy.num_categories, -1, np.int32)
    new[kept] = np.arange(len(kept))
    up = taxonomy.parents.take(kept)
    child, parent = np.repeat(np.arange(len(kept)), up.lengths), new[up.values]
    stays = parent >= 0
    labels = kept.tolist()
    return Taxonomy(
        ids=tuple(taxonomy.ids[label] for label in labels),
        names=tuple(taxonomy.names[label] for label in labels),
        synonyms=tuple(taxonomy.synonyms[label] for label in labels),
        definitions=tuple(taxonomy.definitions[label] for label in labels),
        aliases=tuple(taxonomy.aliases[label] for label in labels),
        parents=csr_from_pairs(child[stays], parent[stays], len(kept)),
    )
