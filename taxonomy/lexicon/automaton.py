"""Longest names first: Aho-Corasick over words.

In: surfaces as rows of word numbers, and a stream of word numbers. Out: the leftmost-longest runs that are a surface.
Each distinct word is one code point, so a match begins and ends where words do and needs no other check. The library
is `ahocorasick-rs` (Rust's aho-corasick).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..csr import Csr, Int32s
from ..errors import TaxonomyError

BREAK_WORD, UNKNOWN_WORD, FIRST_WORD = 0, 1, 2
_SURROGATES, _SKIPPED = 0xD800, 0x800
MAX_WORDS = 0x110000 - _SKIPPED - 1


class Runs(NamedTuple):
    """Surfaces found in a stream.

    Attributes:
        pattern: (m,) int32 number of the surface.
        start: (m,) int32 first word.
        end: (m,) int32 word behind the last.
    """

    pattern: Int32s
    start: Int32s
    end: Int32s


class Automaton:
    """Finds the longest surfaces in a stream of words.

    Args:
        patterns: word numbers of each surface, all >= FIRST_WORD; none is empty or stands twice.

    Raises:
        TaxonomyError: there are more distinct words than code points.
    """

    def __init__(self, patterns: Csr) -> None:
        self._automaton = _build(patterns, longest=True)

    def find(self, words: Int32s) -> Runs:
        """The longest surfaces from left to right; none overlaps another."""
        return _runs(self._automaton.find_matches_as_indexes(_as_text(words)))


def find_all(patterns: Csr, words: Int32s) -> Runs:
    """Every run of `words` that is a pattern, overlapping ones too; errors as `Automaton`."""
    return _runs(_build(patterns, longest=False).find_matches_as_indexes(_as_text(words), overlapping=True))


def _build(patterns: Csr, *, longest: bool) -> Any:
    import ahocorasick_rs

    if patterns.values.max(initial=0) >= MAX_WORDS:
        raise TaxonomyError(
            f"expected names of at most {MAX_WORDS:,} distinct words, found more. Restrict the taxonomy or the "
            "background to the categories that you need"
        )
    text = _as_text(patterns.values)
    kinds = ahocorasick_rs.MatchKind
    return ahocorasick_rs.AhoCorasick(
        [text[start:end] for start, end in itertools.pairwise(patterns.offsets.tolist())],
        matchkind=kinds.LeftmostLongest if longest else kinds.Standard,
        store_patterns=False,
    )


def _runs(found: list[tuple[int, int, int]]) -> Runs:
    rows = np.array(found, np.int32).reshape(-1, 3)
    return Runs(*(np.ascontiguousarray(column) for column in rows.T))


def _as_text(words: npt.NDArray[np.int32]) -> str:
    points = words.astype("<u4") + np.uint32(1)
    points[points >= _SURROGATES] += np.uint32(_SKIPPED)
    return points.tobytes().decode("utf-32-le")
