"""What the lexicon found: one row a match, one outcome a text."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ..csr import Int32s, Int64s

OUTCOMES: Final = ("matched", "no_match", "ambiguous", "empty")
MATCHED, NO_MATCH, AMBIGUOUS_TEXT, EMPTY = range(4)


class Status(enum.IntEnum):
    """What became of a name that was found in a text."""

    MATCHED = 0
    FUNCTION_WORD = 1  # a closed class or a fixed phrase
    NOT_A_NOUN = 2  # here a verb or an adjective
    MODIFIER = 3  # says of what kind the next noun is
    POSSESSOR = 4  # whose it is
    REPRESENTATION = 5  # a statue or a toy of it
    PARTITIVE = 6  # the picture, the pair, the front of something
    OTHER_SENSE = 7  # most likely something that the taxonomy does not have
    AMBIGUOUS = 8  # no sense and no informative ancestor of several is likely enough
    UNLIKELY = 9  # one sense, less likely than asked for


class Matches(NamedTuple):
    """The categories that n texts speak of.

    Attributes:
        text: (m,) int64 number of the text, rising; within a text in order of `start`.
        start: (m,) int32 offset of the surface's first character in the text as given.
        end: (m,) int32 offset behind its last one.
        label: (m,) int32.
        probability: (m,) float32 that the surface means this category, or one below it.
        outcome: (n,) int8 index into `OUTCOMES`.
        capped: (n,) bool, True where only the first `MAX_TEXT_CHARS` characters were read.
    """

    text: Int64s
    start: Int32s
    end: Int32s
    label: Int32s
    probability: npt.NDArray[np.float32]
    outcome: npt.NDArray[np.int8]
    capped: npt.NDArray[np.bool_]

    def counts(self) -> dict[str, int]:
        """Texts by outcome."""
        number = np.bincount(self.outcome, minlength=len(OUTCOMES))
        return {name: int(number[i]) for i, name in enumerate(OUTCOMES)}


class SenseProbability(NamedTuple):
    """One reading of a surface: `id` of the category, of the taxonomy or of the background."""

    id: str
    name: str
    probability: float
    label: int  # what it counts as in the taxonomy; -1 for nothing
    background: bool


class Explanation(NamedTuple):
    """Why a name found in a text was taken or dropped."""

    surface: str
    start: int
    end: int
    status: Status
    label: int  # -1 where nothing was taken
    probability: float
    because: str  # the word that decided: the noun that it modifies, the statue
    senses: tuple[SenseProbability, ...]  # the likeliest first
