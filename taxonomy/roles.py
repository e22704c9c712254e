"""Role nodes by list: categories that say what a thing is for or whose it is, not what it looks like.

In: ids, aliases or names, one a line. Out: labels, and the mask of the ancestors that may be inferred. A role node
("pet", "commodity", "causal agent") is a true ancestor and useless as an image's label: a rabbit in a wood is a pet by
the hierarchy. Source: METHODS section 3. `wordnet_roles.txt`, shipped with the package, is a list for WordNet; it
holds roles and no kinds. Nothing here drops an asserted label.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .csr import Int32s
from .errors import UnknownCategoryError
from .hierarchy import Taxonomy
from .readers.id_list import parse_ids

WORDNET_ROLES: Final = "wordnet"
_SHOWN: Final = 10  # mistakes of one message


def wordnet_roles() -> tuple[str, ...]:
    """WordNet 3.0 ids of the role nodes that come with the package."""
    return parse_ids(resources.files(__package__).joinpath("wordnet_roles.txt").read_text(encoding="utf-8"))


def resolve(taxonomy: Taxonomy, entries: Iterable[str], *, origin: str = "roles") -> Int32s:
    """Labels of ids, aliases or unambiguous names.

    Args:
        taxonomy: that they belong to.
        entries: an id or alias first, else a name or synonym in any case.
        origin: file or key of the entries, the beginning of the message.

    Returns:
        (m,) int32, sorted, each once.

    Raises:
        UnknownCategoryError: entries are unknown or are the name of several categories; the message lists them, each
            with what may be meant.
    """
    wanted = tuple(dict.fromkeys(entries))
    by_id = taxonomy.lookup_ids(pa.array(wanted, pa.string())).to_pylist()
    by_name, ambiguous = taxonomy.lookup_names(pa.array(wanted, pa.string()))
    labels, mistakes = [], []
    for entry, label, named, several in zip(wanted, by_id, by_name.to_pylist(), ambiguous.tolist(), strict=True):
        found = label if label is not None else named
        if found is not None:
            labels.append(found)
        elif several:
            mistakes.append(f"  {entry!r} is the name of several categories. Give one of {_namesakes(taxonomy, entry)}")
        else:
            mistakes.append(f"  {entry!r} is no category.{taxonomy.suggest(entry) or _close_name(taxonomy, entry)}")
    if mistakes:
        more = [f"  and {len(mistakes) - _SHOWN} more"] if len(mistakes) > _SHOWN else []
        raise UnknownCategoryError(
            f"{origin}: expected ids, aliases or unambiguous names of the {taxonomy.num_categories:,} categories; "
            f"{len(mistakes)} of {len(wanted)} entries are none:\n" + "\n".join([*mistakes[:_SHOWN], *more])
        )
    return np.unique(np.array(labels, np.int32))


def resolve_known(taxonomy: Taxonomy, ids: Sequence[str], *, origin: str = "roles") -> Int32s:
    """Labels of those ids or aliases that the hierarchy has: a list for all of WordNet serves each part of it.

    Raises:
        UnknownCategoryError: it has none of them.
    """
    labels = taxonomy.lookup_ids(pa.array(ids, pa.string())).drop_null().to_numpy()
    if len(ids) and not len(labels):
        raise UnknownCategoryError(
            f"{origin}: expected a hierarchy with WordNet 3.0 ids such as {ids[0]!r}, found none of the {len(ids)} "
            "ids of the list. Name the roles of this hierarchy in a file of its own"
        )
    return np.unique(labels).astype(np.int32)


def keep_mask(num_categories: int, *dropped: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """(num_categories,) bool: the ancestors that may be inferred, all but those dropped; for `expand_labels`."""
    keep = np.ones(num_categories, np.bool_)
    for labels in dropped:
        keep[labels] = False
    return keep


def _namesakes(taxonomy: Taxonomy, name: str) -> str:
    """Ids of the categories that bear a name, with what sets them apart."""
    folded = name.casefold()
    found = [
        label
        for label, (own, others) in enumerate(zip(taxonomy.names, taxonomy.synonyms, strict=True))
        if folded in {own.casefold(), *(other.casefold() for other in others)}
    ]
    shown = [f"{taxonomy.ids[label]!r}{_gloss(taxonomy.definitions[label])}" for label in found[:_SHOWN]]
    return ", ".join(shown) + (", ..." if len(found) > _SHOWN else "")


def _gloss(definition: str | None) -> str:
    if not definition:
        return ""
    return f" ({definition[:57]}...)" if len(definition) > 60 else f" ({definition})"


def _close_name(taxonomy: Taxonomy, text: str) -> str:
    folded = {name.casefold(): name for name in taxonomy.names}
    close = difflib.get_close_matches(text.casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""
