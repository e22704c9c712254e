"""How a set of copies was answered: recall and precision over unordered pairs, at a threshold or at the best one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from copy_sets import CopySet, Pair


class Score(NamedTuple):
    """Copies there are, of which so many found; and pairs wrongly called copies."""

    copies: int
    found: int
    wrong: int

    @property
    def f1(self) -> float:
        """0 to 1; a set without copies is answered wholly by silence."""
        return 2 * self.found / (self.copies + self.found + self.wrong) if self.copies else 1.0 / (1 + self.wrong)

    def text(self) -> str:
        """Recall / precision."""
        if not self.copies:
            return f"{self.wrong} wrong"
        given = self.found + self.wrong
        return f"{self.found / self.copies:.2f} / {self.found / given:.2f}" if given else "0 / -"


def score(each: CopySet, answered: Iterable[Pair]) -> Score:
    """Answers about a whole collection, held against one set."""
    given = set(_asked(each, answered))
    found = len(given & each.copies)
    return Score(len(each.copies), found, len(given) - found)


def best_score(each: CopySet, names: Sequence[str], codes: npt.NDArray[Any]) -> Score:
    """The best F1 that a threshold of the inner product of (n, d) `codes` could reach, chosen in hindsight."""
    row = {name: i for i, name in enumerate(names)}
    queries = [name for name in each.queries if name in row]
    references = [name for name in each.references if name in row]
    values = codes[[row[name] for name in queries]] @ codes[[row[name] for name in references]].T
    at_query = {name: i for i, name in enumerate(queries)}
    at_reference = {name: i for i, name in enumerate(references)}
    counts, right = np.ones(values.shape, bool), np.zeros(values.shape, bool)
    for pairs, mark, value in ((each.copies, right, True), (each.ignored, counts, False)):
        for a, b in pairs:
            for x, y in ((a, b), (b, a)):
                if x in at_query and y in at_reference:
                    mark[at_query[x], at_reference[y]] = value
    # A pair of two queries stands in two places, of which one counts; a picture and itself in none.
    for name in set(queries) & set(references):
        others = [at_reference[other] for other in queries if other in at_reference and other <= name]
        counts[at_query[name], others] = False
    return _best(values[counts], right[counts], len(each.copies))


def _best(values: npt.NDArray[Any], right: npt.NDArray[np.bool_], copies: int) -> Score:
    if not copies:
        return Score(0, 0, 0)
    order = np.argsort(-values, kind="stable")
    values, right = values[order], right[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    found, given = np.cumsum(right)[last], last + 1
    at = int(np.argmax(2 * found / (copies + given)))
    return Score(copies, int(found[at]), int(given[at] - found[at]))


def _asked(each: CopySet, pairs: Iterable[Pair]) -> Iterator[Pair]:
    queries, references = set(each.queries), set(each.references)
    for a, b in pairs:
        asked = (a in queries and b in references) or (b in queries and a in references)
        if asked and (a, b) not in each.ignored:
            yield a, b
