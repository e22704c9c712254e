"""The tortoise trap as a list: names that stand inside longer names of things that they are not.

In: a `Taxonomy`. Out: a table `CONFUSIONS`: "tortoise" inside "tortoise shell" and "tortoise shell cat", since neither
is a tortoise. A matcher that looks for words and not for the longest name takes the one for the other; so may people
who label. A name inside a longer one is no confusion where a category that bears it lies above the longer one's
category (a "sports car" is a car), below it, or is it.

Source: METHODS section 3. Names are compared as the lexicon does: normal forms, whole words, without what stands in
brackets or behind a comma.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .closure import Closure, ancestor_closure
from .csr import Csr, Int64s, csr_from_pairs, offsets_of, sorted_unique
from .hierarchy import Taxonomy
from .lexicon.automaton import BREAK_WORD, FIRST_WORD, find_all
from .lexicon.forms import parse_name

CONFUSIONS: Final = pa.schema(
    [
        pa.field("label", pa.int32(), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # a name of it, as the taxonomy writes it
        pa.field("inside_label", pa.int32(), nullable=False),
        pa.field("inside_name", pa.string(), nullable=False),  # the longer name, of another thing
    ]
)


def find_confusions(taxonomy: Taxonomy, closure: Closure | None = None) -> pa.Table:
    """All pairs of a name and a longer name that holds it and is not of its kind.

    Args:
        taxonomy: names and synonyms of all categories.
        closure: of the taxonomy, where it is at hand.

    Returns:
        Table with the schema `CONFUSIONS`, sorted by (label, inside_label, name, inside_name).
    """
    closure = closure or ancestor_closure(taxonomy)
    texts, owners, runs = _runs_of(taxonomy)
    surfaces = {run: i for i, run in enumerate(dict.fromkeys(runs))}
    surface_of = np.fromiter((surfaces[run] for run in runs), np.int64, len(runs))
    names_of = csr_from_pairs(surface_of, np.arange(len(runs)), len(surfaces))
    short, long = _inside(list(surfaces))
    # From surfaces to names: every longer name, and for each the names that the shorter surface is.
    longer = names_of.take(long)
    inside = longer.values.astype(np.int64)
    shorter = np.repeat(short, longer.lengths)
    related = _are_kin(shorter, owners[inside], names_of, owners, closure)
    inside, shorter = inside[~related], shorter[~related]
    bearers = names_of.take(shorter)
    return _table(texts, owners, bearers.values.astype(np.int64), np.repeat(inside, bearers.lengths))


def _runs_of(taxonomy: Taxonomy) -> tuple[list[str], Int64s, list[tuple[str, ...]]]:
    """(names, their labels, their words) of all names that have words; each name of a category once."""
    texts: list[str] = []
    owners: list[int] = []
    runs: list[tuple[str, ...]] = []
    for label, (name, synonyms) in enumerate(zip(taxonomy.names, taxonomy.synonyms, strict=True)):
        own: dict[tuple[str, ...], str] = {}
        for text in (name, *synonyms):
            own.setdefault(parse_name(text).words, text)
        own.pop((), None)
        texts += own.values()
        runs += own
        owners += [label] * len(own)
    return texts, np.array(owners, np.int64), runs


def _inside(surfaces: list[tuple[str, ...]]) -> tuple[Int64s, Int64s]:
    """(short, long) numbers of surfaces of which the first stands inside the second, each pair once."""
    words = {word: i for i, word in enumerate(dict.fromkeys(itertools.chain.from_iterable(surfaces)), FIRST_WORD)}
    sizes = np.fromiter(map(len, surfaces), np.int64, len(surfaces))
    numbers = np.fromiter((words[word] for surface in surfaces for word in surface), np.int32, int(sizes.sum()))
    # The stream is the surfaces themselves, each behind a break.
    stream = np.full(len(numbers) + len(surfaces), BREAK_WORD, np.int32)
    owner = np.repeat(np.arange(len(surfaces)), sizes)
    stream[np.arange(len(numbers)) + owner + 1] = numbers
    short, start, _ = find_all(Csr(numbers, offsets_of(sizes)), stream)
    long = (np.cumsum(stream == BREAK_WORD) - 1)[start]
    kept = sizes[short] < sizes[long]
    keys = sorted_unique(short[kept].astype(np.int64) * len(surfaces) + long[kept])
    return keys // max(len(surfaces), 1), keys % max(len(surfaces), 1)


def _are_kin(surface: Int64s, label: Int64s, names_of: Csr, owners: Int64s, closure: Closure) -> npt.NDArray[np.bool_]:
    """(m,) bool: whether a category that bears the surface lies above `label`, below it, or is it."""
    n = closure.num_categories
    bearers = names_of.take(surface)
    row = np.repeat(np.arange(len(surface)), bearers.lengths)
    bearer, other = owners[bearers.values], label[row]
    line = closure.with_self
    known = np.repeat(np.arange(n), line.lengths) * n + line.values  # sorted (category, ancestor or self)
    found = _contains(known, other * n + bearer) | _contains(known, bearer * n + other)
    return np.bincount(row[found], minlength=len(surface)) > 0


def _contains(known: Int64s, asked: Int64s) -> npt.NDArray[np.bool_]:
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.asarray(known[place] == asked)


def _table(texts: list[str], owners: Int64s, short: Int64s, long: Int64s) -> pa.Table:
    names = pa.array(texts, pa.string())
    columns = (
        pa.array(owners[short].astype(np.int32)),
        names.take(pa.array(short)),
        pa.array(owners[long].astype(np.int32)),
        names.take(pa.array(long)),
    )
    table = pa.table(list(columns), schema=CONFUSIONS)
    return table.sort_by([(name, "ascending") for name in ("label", "inside_label", "name", "inside_name")])


__all__ = ["CONFUSIONS", "find_confusions"]
