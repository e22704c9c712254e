"""Texts as one stream of token numbers, with what the later steps ask of each token.

In: texts. Out: `Stream`: arrays over all tokens of a batch, with a break behind each text. A run of characters is
normalised and tagged once and then looked up: web text has few distinct words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ..csr import Int32s, Int64s
from . import grammar
from .automaton import BREAK_WORD, UNKNOWN_WORD
from .normalise import INITIAL, LOWER, MAX_TEXT_CHARS, MAX_WORD_CHARS, Token, run_tokens, scan
from .tagging import BREAK, Tagger

MAX_CACHED_RUNS: Final = 1 << 20  # then the cache begins anew; about 200 MB
PARTITIVE, FLAT, SOLID, IMITATION, OF, CLOSED = 1, 2, 4, 8, 16, 32
_NO_BASE, _BREAK_BASE = -1, -2


class Stream(NamedTuple):
    """The tokens of n texts, one after another, each text closed by a break.

    Attributes:
        text: (t,) int64 number of the text.
        start: (t,) int32 first character.
        end: (t,) int32 character behind the last.
        word: (t,) int32 number for the automaton.
        tag: (t,) uint8 class and flags of the word by itself.
        role: (t,) uint8 bits of grammar's lists.
        case: (t,) int8 how it is capitalised.
        base: (t,) int32 number of its singular; -1 for none, -2 for a break.
        offsets: (n + 1,) int64 first token of each text.
        capped: (n,) bool, texts that were cut.
        has_words: (n,) bool.
    """

    text: Int64s
    start: Int32s
    end: Int32s
    word: Int32s
    tag: npt.NDArray[np.uint8]
    role: npt.NDArray[np.uint8]
    case: npt.NDArray[np.int8]
    base: Int32s
    offsets: Int64s
    capped: npt.NDArray[np.bool_]
    has_words: npt.NDArray[np.bool_]


class Streamer:
    """Makes streams; keeps what it found out about each run of characters.

    Args:
        words: normal form -> number.
        base: number of the singular, by number.
        tagger: tells the class of a normal form.
    """

    def __init__(self, words: Mapping[str, int], base: Int32s, tagger: Tagger) -> None:
        self._words, self._base, self._tagger = words, base, tagger
        self._roles: dict[str, int] = {}
        if tagger.english:
            for bit, group in (
                (PARTITIVE, grammar.PARTITIVES),
                (FLAT, grammar.FLAT_REPRESENTATIONS),
                (SOLID, grammar.SOLID_REPRESENTATIONS),
                (IMITATION, grammar.IMITATION_MODIFIERS),
                (OF, ("of",)),
                (CLOSED, grammar.CLOSED_CLASS),
            ):
                for word in group:
                    self._roles[word] = self._roles.get(word, 0) | bit
        self._reset()

    def _reset(self) -> None:
        self._runs: dict[str, int | tuple[tuple[int, int, int], ...]] = {}
        self._records: dict[tuple[str, int], int] = {}
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._table = np.empty((0, 5), np.int32)
        self._runs[""] = self._record(Token("", 0, 0, LOWER))

    def _record(self, token: Token) -> int:
        """The number of a distinct token."""
        key = token.form, token.case
        if key not in self._records:
            self._records[key] = len(self._rows)
            if token.form:
                word = self._words.get(token.form, UNKNOWN_WORD)
                base = int(self._base[word]) if word != UNKNOWN_WORD else _NO_BASE
                row = word, self._tagger(token.form), self._roles.get(token.form, 0), token.case, base
            else:
                row = BREAK_WORD, BREAK, 0, LOWER, _BREAK_BASE
            self._rows.append(row)
        return self._records[key]

    def _look_up(self, run: str) -> int | tuple[tuple[int, int, int], ...]:
        tokens = run_tokens(run)
        whole = len(run) - (run[0] == "#")
        if len(tokens) == 1 and tokens[0].form and tokens[0].start == 0 and tokens[0].end == whole:
            found: int | tuple[tuple[int, int, int], ...] = self._record(tokens[0])
        else:
            found = tuple((self._record(token), token.start, token.end) for token in tokens if token.form)
        if len(run) <= MAX_WORD_CHARS:  # longer ones are rarely seen twice, and strangers could fill the memory by them
            self._runs[run] = found
        return found

    def __call__(self, texts: Iterable[str | None]) -> Stream:
        """The stream of a batch; None is an empty text."""
        if len(self._runs) > MAX_CACHED_RUNS:
            self._reset()
        records: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        counts: list[int] = []
        capped: list[bool] = []
        runs = self._runs
        for given in texts:
            text = given or ""
            capped.append(len(text) > MAX_TEXT_CHARS)
            for run, start, end in scan(text[:MAX_TEXT_CHARS]):
                found = runs.get(run)
                if found is None:
                    found = self._look_up(run)
                if isinstance(found, int):
                    records.append(found)
                    starts.append(start)
                    ends.append(end)
                    continue
                fits = not found or found[-1][2] <= end - start  # not where an entity made the run shorter
                for record, low, high in found:
                    records.append(record)
                    starts.append(start + low if fits else start)
                    ends.append(start + high if fits else end)
            records.append(0)
            starts.append(0)
            ends.append(0)
            counts.append(len(records))
        return self._gather(records, starts, ends, counts, capped)

    def _gather(
        self, records: list[int], starts: list[int], ends: list[int], counts: list[int], capped: list[bool]
    ) -> Stream:
        if len(self._rows) > len(self._table):
            new = np.array(self._rows[len(self._table) :], np.int32).reshape(-1, 5)
            self._table = np.concatenate([self._table, new])
        offsets = np.array([0, *counts], np.int64)
        columns = self._table[np.array(records, np.int64)]
        word, tag, role, case, base = columns.T
        real = np.concatenate([[0], np.cumsum(word != BREAK_WORD)])
        return Stream(
            text=np.repeat(np.arange(len(counts)), np.diff(offsets)),
            start=np.array(starts, np.int32),
            end=np.array(ends, np.int32),
            word=np.ascontiguousarray(word),
            tag=tag.astype(np.uint8),
            role=role.astype(np.uint8),
            case=case.astype(np.int8),
            base=np.ascontiguousarray(base),
            offsets=offsets,
            capped=np.array(capped, np.bool_),
            has_words=np.diff(real[offsets]) > 0,
        )


def telling_capitals(stream: Stream) -> npt.NDArray[np.bool_]:
    """(t,) bool: whether capitals tell something about a token: its text has both, and it begins no sentence.

    A text all in lower case, in capitals or in title case tells nothing.
    """
    lower = (stream.case == LOWER) & (stream.role & CLOSED == 0) & (stream.word != BREAK_WORD)
    begins = np.ones(len(stream.word), np.bool_)
    begins[1:] = stream.word[:-1] == BREAK_WORD
    upper = (stream.case >= INITIAL) & ~begins
    any_upper = stream.case >= INITIAL

    def per_text(flags: npt.NDArray[np.bool_]) -> Int64s:
        total = np.concatenate([[0], np.cumsum(flags)])
        return np.asarray(np.diff(total[stream.offsets]))

    text = (per_text(lower) > 0) & (2 * per_text(lower) >= per_text(upper)) & (per_text(any_upper) > 0)
    return np.repeat(text, np.diff(stream.offsets)) & ~begins
