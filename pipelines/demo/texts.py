"""Alternative texts of the demo's web: what was written beside each picture, and what its writer meant.

In: the candidates that the source `alt` speaks for, and the pictures that it looked at in vain. Out: a table with the
schema `TEXTS`, one row a text. A text speaks for its candidate's label in words: by the category's name, a synonym, a
longer name that holds another category's, or a word of several categories. The others name nothing of the hierarchy.
Upper case, hashtags, file names and typographic junk are strewn over all of them. Source: METHODS.md section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from .hierarchy import Leaf, category_name, leaves, synonyms
from .phrases import (
    ADJECTIVES,
    BARE,
    BRANDS,
    COMPOUNDS,
    MANY,
    NOTHING,
    ONE,
    PLACES,
    SENSES,
    STRANGERS,
)
from .signals import STATES, Signals

SOURCE: Final = "alt"  # whose labels are text

# kind: what a terminal calls it.
KINDS: Final[Mapping[str, str]] = {
    "name": "its name",
    "synonym": "a synonym",
    "compound": "longer name: parrot fish",
    "sense": "two senses: wading crane",
    "bare": "two senses, alone: crane",
    "brand": "a brand: my new Apple",
    "stranger": "no category: crane fly",
    "nothing": "nothing: IMG_2041",
}

TEXTS: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # one of KINDS
        pa.field("meant", pa.string()),  # the category; null where the hierarchy has none
        pa.field("label", pa.string()),  # of the candidate that it speaks for; null where there is none
    ]
)

_SYNONYM_SHARE: Final = 0.2
_COMPOUND_SHARE: Final = 0.15
_BARE_SHARE: Final = 0.15
_SILENT_SHARE: Final = 0.4  # of the pictures that the source looked at in vain: no text at all
_STRANGER_SHARE: Final = 0.4  # of the other texts that speak for no candidate
_NO_PLURAL: Final = frozenset({"ice cream"})
_PLURALS: Final[Mapping[str, str]] = {"mouse": "mice", "fish": "fish", "cactus": "cacti", "volcano": "volcanoes"}


def draw_texts(signals: Signals, uris: Sequence[str], rng: np.random.Generator) -> pa.Table:
    """The texts: first one for each candidate that the source speaks for, in their order, then the others.

    Args:
        signals: m pictures.
        uris: (m,) address of each.
        rng: of all draws.
    """
    every = leaves()
    evidence = signals.evidence[SOURCE]
    rows: list[tuple[str, str, str, str | None, str | None]] = []
    for i in np.flatnonzero(evidence.fired).tolist():
        leaf, state = every[signals.label[i]], STATES[signals.state[i]]
        text, kind, meant = _write(leaf, state, rng)
        rows.append((uris[signals.picture[i]], text, kind, meant, leaf.id))
    said = np.zeros(len(signals.leaf), bool)
    said[signals.picture[evidence.fired]] = True
    for i in np.flatnonzero(evidence.looked & ~said).tolist():
        if rng.random() >= _SILENT_SHARE:
            text, kind = _write_nothing(rng)
            rows.append((uris[i], text, kind, None, None))
    columns = zip(*rows, strict=True) if rows else ((),) * len(TEXTS)
    return pa.table(dict(zip(TEXTS.names, map(list, columns), strict=True)), schema=TEXTS)


def _pick(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]


def _write(leaf: Leaf, state: str, rng: np.random.Generator) -> tuple[str, str, str]:
    """(text, kind, what is meant) for a candidate of a label."""
    if leaf.id in BRANDS and state == "polysemy":
        meant, phrases = BRANDS[leaf.id]
        return _pick(phrases, rng), "brand", meant
    chance = float(rng.random())
    if leaf.id in SENSES and chance < _BARE_SHARE:
        return _dress(_pick(BARE[leaf.id], rng), rng), "bare", leaf.id
    chance = float(rng.random())
    if leaf.id in COMPOUNDS and chance < _COMPOUND_SHARE:
        return _dress(_fill(_pick(COMPOUNDS[leaf.id], rng), leaf, rng, plural=False), rng), "compound", leaf.id
    further = synonyms(leaf.id)
    if further and chance < _COMPOUND_SHARE + _SYNONYM_SHARE:
        return _phrase(_pick(further, rng), leaf, rng), "synonym", leaf.id
    if leaf.id in SENSES:
        return _dress(_pick(SENSES[leaf.id], rng), rng), "sense", leaf.id
    return _phrase(category_name(leaf.id), leaf, rng), "name", leaf.id


def _phrase(name: str, leaf: Leaf, rng: np.random.Generator) -> str:
    """A name among other words, now and then as hashtags."""
    if rng.random() < 0.06:
        return f"#{name.title().replace(' ', '')} #photooftheday"
    return _dress(_fill(name, leaf, rng, plural=name not in _NO_PLURAL and rng.random() < 0.3), rng)


def _fill(name: str, leaf: Leaf, rng: np.random.Generator, *, plural: bool) -> str:
    """A name in a sentence."""
    many = name.endswith(("s", "mice")) and not plural and name not in {"bus", "octopus", "cactus"}
    template = _pick(MANY if plural or many else ONE, rng)
    return template.format(
        one=name,
        many=name if many else plural_of(name),
        a="an" if name[0] in "aeio" else "a",
        any=_pick(ADJECTIVES, rng),
        place=_pick(PLACES[leaf.scene], rng),
        year=int(rng.integers(1998, 2016)),
    )


def plural_of(name: str) -> str:
    """The plural of a category's name; written by hand, so that it owes nothing to what is tested with it."""
    for one, more in _PLURALS.items():
        if name.endswith(one):
            return name.removesuffix(one) + more
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def _write_nothing(rng: np.random.Generator) -> tuple[str, str]:
    """(text, kind) of a text that speaks for no category."""
    if rng.random() < _STRANGER_SHARE:
        return _dress(_pick(STRANGERS, rng), rng), "stranger"
    return _pick(NOTHING, rng).format(n=int(rng.integers(1000, 10_000))), "nothing"


def _dress(text: str, rng: np.random.Generator) -> str:
    """The text as the web has it: half of the time with another case, junk around it, or odd characters in it."""
    number = int(rng.integers(10, 1000))
    chance = int(rng.integers(24))
    if chance < 6:
        return text.capitalize()
    dressed = {
        6: text.upper(),
        7: text.title(),
        8: f"{text.replace(' ', '_').replace(',', '')}_{number}.jpg",
        9: f"{text} - stock photo",
        10: f"\u201c{text}\u201d",
        11: f"{text}\u2026",
        12: text.replace(" ", "\u00a0"),
        13: f"{text} | Photos &amp; more",
        14: f"{text}!!! \U0001f60d",
        15: f"  {text} ({number} x {number + 90})",
    }
    return dressed.get(chance, text)
