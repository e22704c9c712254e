"""The surfaces of a name: every way in which text may write it.

In: the names of a category. Out: `Surface`s, tuples of normal forms. Plurals are made forward, from names, so that no
stranger's word is ever cut down to a singular ("glasses" is not "glass"). Only the head is inflected: "birds of prey".

What stands in brackets or behind a comma tells categories apart and is no part of the surface: "crane (bird)".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Container
from typing import Any, Final, NamedTuple

from . import grammar
from .normalise import CAPITALS, LOWER, Token, tokenise
from .tagging import is_plural

AS_NAMED, PLURAL_FORM, VARIANT = 0, 1, 2
# Endings of words from Latin and Greek that have a second plural: cacti, fungi, formulae, persons.
CLASSICAL: Final = ("us", "a", "um", "is", "ex", "ix", "on", "o", "eau")
MIN_PART: Final = (
    3  # letters of a part of a compound: 'carpet' is no 'car pet' for other reasons, 'island' no 'is land'
)
MIN_FREE_PART: Final = 4  # from here on both parts need only be names; shorter ones need a head that is a kind of it
_BRACKETS: Final = re.compile(r"\s*[(\[]([^)\]]*)[)\]]\s*")


class Surface(NamedTuple):
    """One way to write a name.

    Attributes:
        words: normal forms, at least one.
        kind: AS_NAMED, PLURAL_FORM, or VARIANT (written together or apart).
        case: LOWER, or how the name is capitalised, where that tells it from a common noun.
    """

    words: tuple[str, ...]
    kind: int
    case: int


class ParsedName(NamedTuple):
    """A name's words, and those that only tell it apart."""

    words: tuple[str, ...]
    context: tuple[str, ...]
    case: int


def parse_name(name: str) -> ParsedName:
    """The words of a name, without what stands in brackets or behind a comma; no words where nothing is left."""
    told_apart = " ".join(_BRACKETS.findall(name))
    head, _, tail = _BRACKETS.sub(" ", name).partition(",")
    tokens = [token for token in tokenise(head) if token.form]
    context = [token.form for token in tokenise(f"{told_apart} {tail}") if token.form]
    return ParsedName(tuple(token.form for token in tokens), tuple(context), _name_case(tokens))


def _name_case(tokens: list[Token]) -> int:
    # The T of a T-shirt is no proper name.
    content = [token for token in tokens if token.form not in grammar.CLOSED_CLASS and len(token.form) > 1] or tokens
    if not content:
        return LOWER
    if all(token.case == CAPITALS for token in content):
        return CAPITALS
    return content[0].case


def usable(words: tuple[str, ...], *, english: bool) -> bool:
    """Whether a surface may match at all: not a single character (unless a word of its script), not a bare number."""
    if not words:
        return False
    if len(words) > 1:
        return not all(word.isdigit() for word in words)
    word = words[0]
    if word.replace(".", "").isdigit() or (word.isascii() and len(word) < 2):
        return False
    return not (english and not word.isascii() and len(word) < 2 and word.isdecimal())


def plurals_of(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The plurals of an English name by its head word (cactuses, cacti); none where it has none or is one."""
    head = len(words) - 1
    if words[head] in grammar.CLOSED_CLASS:
        return []  # stand-in: "stands in" is mostly a verb
    for place, word in enumerate(words[1:], 1):
        if word in grammar.PREPOSITIONS:
            head = place - 1
            break
    return [(*words[:head], plural, *words[head + 1 :]) for plural in _plural_words(words[head])]


@functools.lru_cache(1 << 18)
def _plural_words(word: str) -> tuple[str, ...]:
    if not word.isascii() or not word.isalpha() or len(word) < 2 or word in grammar.CLOSED_CLASS or is_plural(word):
        return ()
    import typeguard  # inflect checks its arguments by it at run time, which takes half the time

    with typeguard.suppress_type_checks():
        plurals = [str(_inflect().plural_noun(word))]
        if word.endswith(CLASSICAL):
            plurals.append(str(_inflect(classical=True).plural_noun(word)))
    return tuple(plural for plural in dict.fromkeys(plurals) if plural != word and plural.isalpha())


@functools.cache
def _inflect(*, classical: bool = False) -> Any:
    import inflect

    engine = inflect.engine()
    if classical:
        engine.classical(all=True)
    return engine


def closed_form(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """Two words written as one: tortoise shell, tortoiseshell."""
    if len(words) != 2 or not all(word.isalpha() and len(word) >= MIN_PART for word in words):
        return None
    return None if grammar.CLOSED_CLASS.intersection(words) else ("".join(words),)


def open_forms(word: str, known: Container[str], kinds: Container[str]) -> list[tuple[str, ...]]:
    """One word written as two: both parts are names, and long, or the head names what the whole is a kind of.

    Args:
        word: normal form.
        known: names of one word.
        kinds: names of the category's ancestors.
    """
    found: list[tuple[str, ...]] = []
    if len(word) < 2 * MIN_PART or not word.isalpha():
        return found
    for cut in range(MIN_PART, len(word) - MIN_PART + 1):
        first, last = word[:cut], word[cut:]
        if first in known and last in known and not grammar.CLOSED_CLASS.intersection((first, last)):
            free = min(len(first), len(last)) >= MIN_FREE_PART
            if free or last in kinds:
                found.append((first, last))
    return found
