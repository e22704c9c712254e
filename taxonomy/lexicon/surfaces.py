"""All surfaces of all senses, and how well each fits its sense before any text is seen.

In: an `Inventory`. Out: `Surfaces`: distinct runs of words, the senses of each with a score in nats, the numbers of
the words.

The scores: a category's first name is what it is called, the further ones are less so; a word that many kinds of the
category use in their names and definitions is spoken of more often; the taxonomy's own senses are what its images
show. A surface that is a name in the taxonomy is not also the plural of another ("glasses"); names of the background
compete with plurals ("men"). No name is also a compound form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ..csr import Csr, Int32s, Int64s, csr_from_pairs, offsets_of
from . import forms, grammar
from .automaton import FIRST_WORD
from .forms import AS_NAMED, PLURAL_FORM, VARIANT, ParsedName, Surface
from .normalise import CAPITALS, INITIAL, LOWER, MIXED, normal_form, run_tokens, scan, tokenise
from .senses import Inventory, usage_counts

FURTHER_NAME: Final = 0.5  # nats that every name but the first costs,
LATER_NAME: Final = 0.1  # and each place behind,
LAST_PLACE: Final = 5  # up to here
BESIDE_NAME: Final = 1.0  # a plural that the background has as a name
USAGE: Final = 0.6  # times log(1 + categories below that use the word for it)
BREADTH: Final = 0.1  # times log(1 + categories below)
ARTICLES: Final = (("the",), ("a",), ("an",))
NO_WORD: Final = -1
MAX_DEFINITION_CHARS: Final = 500
OURS: Final = 1.0  # a sense of the taxonomy


class Entry(NamedTuple):
    """One sense of a surface."""

    node: int
    score: float
    kind: int
    case: int


@dataclasses.dataclass(frozen=True, eq=False)
class Surfaces:
    """Surfaces and their senses.

    Attributes:
        words: normal form -> number, from `FIRST_WORD` on.
        patterns: word numbers of each surface.
        offsets: (surfaces + 1,) int64 into the next three.
        node: (entries,) int32, sorted within a surface.
        score: (entries,) float32 nats.
        case: (entries,) int8 how the name is capitalised, where that means something.
        base: (words,) int32, by number: the word that a plural is made of, else its own; -1 for closed classes.
        idle: (surfaces,) bool, fixed phrases of grammar, whose words are no nouns.
        nouns: last words of surfaces.
        plurals: those of them that were made plural.
        unusable: names that no text shall match: empty, a single letter, a bare number.
    """

    words: dict[str, int]
    patterns: Csr
    offsets: Int64s
    node: Int32s
    score: npt.NDArray[np.float32]
    case: npt.NDArray[np.int8]
    base: Int32s
    idle: npt.NDArray[np.bool_]
    nouns: frozenset[str]
    plurals: frozenset[str]
    unusable: int


def compile_surfaces(inventory: Inventory, *, english: bool, exclude: Iterable[str] = ()) -> Surfaces:
    """All surfaces of an inventory; `exclude` names those that shall match nothing."""
    parsed, unusable = _parse_names(inventory, english=english)
    found: dict[tuple[str, ...], list[Entry]] = {}
    for node, name, score in parsed:
        found.setdefault(name.words, []).append(Entry(node, score, AS_NAMED, name.case))
    plurals: dict[str, str] = {}
    idle: set[tuple[str, ...]] = set()
    if english:
        _add_forms(found, parsed, inventory, plurals)
        idle = {words for words in map(_words_of, grammar.IDLE_PHRASES) if not _is_ours(found, words, inventory)}
        idle |= {(word,) for word in grammar.GENERAL_NOUNS}
    unwanted = {words for words in map(_words_of, exclude) if words}
    found.update((words, []) for words in idle | unwanted)
    _drop_strangers(found, inventory)
    return _number(found, plurals, idle, unusable)


def _words_of(name: str) -> tuple[str, ...]:
    return tuple(token.form for token in tokenise(name) if token.form)


def _parse_names(inventory: Inventory, *, english: bool) -> tuple[list[tuple[int, ParsedName, float]], int]:
    """(node, name, score) of every usable name, and how many are not."""
    graph, n = inventory.graph, inventory.num_labels
    below = inventory.below()
    parsed: list[tuple[int, ParsedName, float]] = []
    unusable = 0
    capitals = np.zeros(2), np.zeros(2)
    for node in range(inventory.num_nodes):
        prominence = BREADTH * float(np.log1p(below[node])) + (OURS if node < n else 0.0)
        for place, text in enumerate(dict.fromkeys((graph.names[node], *graph.synonyms[node]))):
            name = forms.parse_name(text)
            article = english and node >= n and name.words[:1] in ARTICLES  # 'the City' would take every city
            if article or not forms.usable(name.words, english=english):
                unusable += 1
                continue
            score = prominence - (FURTHER_NAME if place else 0.0) - LATER_NAME * min(place, LAST_PLACE)
            parsed.append((node, name, score))
            capitals[name.case in (INITIAL, MIXED)][int(node >= n)] += 1
    # Where most names begin with a capital, that is the file's style and tells no proper name.
    styled = capitals[1] > capitals[0]
    parsed = [
        (node, name._replace(case=LOWER) if styled[int(node >= n)] and name.case != CAPITALS else name, score)
        for node, name, score in parsed
    ]
    return parsed, unusable


def _add_forms(
    found: dict[tuple[str, ...], list[Entry]],
    parsed: list[tuple[int, ParsedName, float]],
    inventory: Inventory,
    plurals: dict[str, str],
) -> None:
    """Adds plurals and compounds written together or apart; a name of the taxonomy keeps its surface."""
    n = inventory.num_labels
    named = dict.fromkeys(found, False)
    for label in range(n):
        own = (inventory.graph.names[label], *inventory.graph.synonyms[label])[: inventory.own_names[label]]
        named.update((forms.parse_name(name).words, True) for name in own)
    single = {words[0] for words in named if len(words) == 1 and words[0] not in grammar.CLOSED_CLASS}
    for node, name, score in parsed:
        if name.words[-1] in grammar.CLOSED_CLASS and len(name.words) == 1:
            continue
        spellings: list[Surface] = [Surface(name.words, AS_NAMED, name.case)]
        closed = forms.closed_form(name.words)
        spellings += [Surface(closed, VARIANT, name.case)] if closed and closed not in named else []
        if len(name.words) == 1:
            kinds = _KindNames(inventory, node)
            spellings += [
                Surface(words, VARIANT, name.case)
                for words in forms.open_forms(name.words[0], single, kinds)
                if words not in named
            ]
        for words, kind, case in spellings:
            if kind == VARIANT:
                found.setdefault(words, []).append(Entry(node, score, VARIANT, case))
            for plural in forms.plurals_of(words) if case == LOWER else ():
                if named.get(plural, False):
                    continue
                beside = BESIDE_NAME if plural in named else 0.0
                found.setdefault(plural, []).append(Entry(node, score - beside, PLURAL_FORM, case))
                plurals.update((many, one) for many, one in zip(plural, words, strict=True) if many != one)


class _KindNames:
    """Names of one word of a category's ancestors, looked up only when asked."""

    def __init__(self, inventory: Inventory, node: int) -> None:
        self._inventory, self._node = inventory, node
        self._names: set[str] | None = None

    def __contains__(self, word: object) -> bool:
        if self._names is None:
            graph = self._inventory.graph
            above = self._inventory.closure.of(self._node).tolist()
            self._names = {normal_form(name) for a in above for name in (graph.names[a], *graph.synonyms[a])}
        return word in self._names


def _is_ours(found: Mapping[tuple[str, ...], list[Entry]], words: tuple[str, ...], inventory: Inventory) -> bool:
    """Whether a surface is a name of the taxonomy."""
    return any(entry.node < inventory.num_labels and entry.kind == AS_NAMED for entry in found.get(words, ()))


def _drop_strangers(found: dict[tuple[str, ...], list[Entry]], inventory: Inventory) -> None:
    """Drops background senses beside a category that the background does not know: it may be any one of them."""
    n = inventory.num_labels
    for words, entries in found.items():
        if any(entry.node < n and not inventory.mapped[entry.node] for entry in entries):
            found[words] = [entry for entry in entries if entry.node < n]


def _number(
    found: dict[tuple[str, ...], list[Entry]], plurals: dict[str, str], idle: set[tuple[str, ...]], unusable: int
) -> Surfaces:
    ordered = sorted(found)
    words: dict[str, int] = {}
    for surface in ordered:
        for word in surface:
            words.setdefault(word, FIRST_WORD + len(words))
    rows: list[Entry] = []
    lengths = np.zeros(len(ordered), np.int64)
    for i, surface in enumerate(ordered):
        best: dict[int, Entry] = {}  # a category once, with its best name
        for entry in found[surface]:
            before = best.get(entry.node)
            if before is None or (entry.score, -entry.kind) > (before.score, -before.kind):
                best[entry.node] = entry
        rows += (best[node] for node in sorted(best))
        lengths[i] = len(best)
    base = np.arange(FIRST_WORD + len(words), dtype=np.int32)
    for many, one in sorted(plurals.items()):
        if one in words:
            base[words[many]] = words[one]
    for word in grammar.CLOSED_CLASS & words.keys():
        base[words[word]] = NO_WORD
    base[:FIRST_WORD] = NO_WORD
    sizes = np.fromiter(map(len, ordered), np.int64, len(ordered))
    numbers = np.fromiter((words[word] for surface in ordered for word in surface), np.int32, int(sizes.sum()))
    return Surfaces(
        words=words,
        patterns=Csr(numbers, offsets_of(sizes)),
        offsets=offsets_of(lengths),
        node=np.fromiter((entry.node for entry in rows), np.int32, len(rows)),
        score=np.fromiter((entry.score for entry in rows), np.float32, len(rows)),
        case=np.fromiter((entry.case for entry in rows), np.int8, len(rows)),
        base=base,
        idle=np.fromiter((surface in idle for surface in ordered), np.bool_, len(ordered)),
        nouns=frozenset(surface[-1] for surface in ordered if found[surface]),
        plurals=frozenset(plurals),
        unusable=unusable,
    )


def weigh_usage(surfaces: Surfaces, inventory: Inventory, own: Csr) -> Surfaces:
    """The surfaces with the use of each word for each sense in the scores; `own` is that of `words_of_nodes`."""
    num_words = len(surfaces.base)
    owner = np.repeat(np.arange(surfaces.patterns.num_lists), np.diff(surfaces.offsets))
    single = surfaces.patterns.lengths[owner] == 1
    word = surfaces.base[surfaces.patterns.values[surfaces.patterns.offsets[owner]]]
    single &= word >= 0
    pairs = np.unique(surfaces.node[single].astype(np.int64) * num_words + word[single])
    names = csr_from_pairs(pairs // num_words, pairs % num_words, inventory.num_nodes)
    keys, counts = usage_counts(inventory.closure, own, names, num_words)
    if not len(keys):
        return surfaces
    asked = surfaces.node.astype(np.int64) * num_words + word
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    used = np.where(single & (keys[place] == asked), counts[place], 0)
    return dataclasses.replace(surfaces, score=(surfaces.score + USAGE * np.log1p(used)).astype(np.float32))


def words_of_nodes(inventory: Inventory, surfaces: Surfaces) -> tuple[Surfaces, Csr]:
    """Numbers of the words in each node's names and definition, in their singular, sorted and unique.

    Returns:
        (surfaces, words): the surfaces with numbers for the definitions' words too, and the words of each node.
    """
    graph = inventory.graph
    numbers, base = dict(surfaces.words), surfaces.base.tolist()
    rows: list[int] = []
    words: list[int] = []
    known: dict[str, list[int]] = {"": []}
    for node in range(inventory.num_nodes):
        definition = (graph.definitions[node] or "")[:MAX_DEFINITION_CHARS]
        found: set[int] = set()
        for run, _, _ in scan(" ; ".join((graph.names[node], *graph.synonyms[node], definition))):
            if run not in known:
                known[run] = [_base_of(token.form, numbers, base) for token in run_tokens(run)]
            found.update(known[run])
        found.discard(NO_WORD)
        rows += [node] * len(found)
        words += found
    own = csr_from_pairs(np.array(rows, np.int64), np.array(words, np.int64), inventory.num_nodes)
    return dataclasses.replace(surfaces, words=numbers, base=np.array(base, np.int32)), own


def _base_of(form: str, numbers: dict[str, int], base: list[int]) -> int:
    """The number of a word's singular; gives a new word a number."""
    if form not in numbers:
        numbers[form] = len(base)
        base.append(NO_WORD if form in grammar.CLOSED_CLASS else len(base))
    return base[numbers[form]]
