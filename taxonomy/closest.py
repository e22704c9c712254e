"""'Did you mean ...?' for ids that a file uses and does not list.

In: the categories that it does list. Out: a hint for each unknown id; quick when thousands are unknown.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Sequence
from typing import Final

from .draft import Category

SEARCHED_IDS: Final = 5  # unknown ids that are compared with every id: 0.4 s each among 72k
NEAR_IDS: Final = 1_000  # unknown ids that are varied by one letter: 0.5 ms each
LONGEST: Final = 100  # characters of an id that is looked at
MOST_LETTERS: Final = 200  # distinct characters that are tried in each place


class Closest:
    """Looks for the id that was meant: other case, an alias or a name, one letter apart, or, for a few, alike."""

    def __init__(self, categories: Sequence[Category]) -> None:
        self._categories = categories
        self._hints: dict[str, str] = {}
        self._searched = 0

    def hint(self, category_id: str) -> str:
        """'Did you mean ...? ', or '' where nothing comes near."""
        if category_id not in self._hints:
            found = self._find(category_id) if 0 < len(category_id) <= LONGEST else None
            self._hints[category_id] = f"Did you mean {found!r}? " if found else ""
        return self._hints[category_id]

    @functools.cached_property
    def _ids(self) -> dict[str, None]:
        return dict.fromkeys(category.id for category in self._categories if category.id)

    @functools.cached_property
    def _called(self) -> dict[str, str]:
        """Casefolded id, alias or name -> id; an id goes before an alias, that before a name."""
        called = {category.name.casefold(): category.id for category in self._categories}
        called |= {alias.casefold(): category.id for category in self._categories for alias in category.aliases}
        return called | {category_id.casefold(): category_id for category_id in self._ids}

    @functools.cached_property
    def _letters(self) -> list[str]:
        return sorted(set().union(*self._ids))[:MOST_LETTERS]

    def _find(self, category_id: str) -> str | None:
        if found := self._called.get(category_id.casefold()):
            return found
        if len(self._hints) >= NEAR_IDS:  # a file of other ids altogether: every one of them is unknown
            return None
        near = [text for text in _one_letter_apart(category_id, self._letters) if text in self._ids]
        if not near and self._searched < SEARCHED_IDS:
            self._searched += 1
            near = list(self._ids)
        return next(iter(difflib.get_close_matches(category_id, near, n=1)), None)


def _one_letter_apart(text: str, letters: Sequence[str]) -> Iterator[str]:
    for i in range(len(text) + 1):
        head, tail = text[:i], text[i:]
        if tail:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in letters:
            yield head + letter + tail
            yield head + letter + tail[1:]
