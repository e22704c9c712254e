"""What the label column says: ids, names, or free text in which categories are named.

In: the distinct values of a batch's label column, and for text the source of each row, since what a word means depends
on who says it. Out: `RowLabels`, the labels of each row: one for an id or a name, any number for a text, each with the
probability that the text means it. Texts are matched once for each distinct (source, text) of a batch.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.taxonomy import Csr, Taxonomy
from openjft.taxonomy.lexicon.matches import AMBIGUOUS_TEXT, EMPTY, MATCHED, NO_MATCH, Matches

from .aggregate import starts_of
from .columns import Bools, Text
from .raw import NO_LABEL


class Lexicon(Protocol):
    """What is asked of `openjft.taxonomy.lexicon.Lexicon`."""

    def match(self, texts: pa.Array, *, source: str | None, min_probability: float) -> Matches:
        """The categories that (n,) texts of one source speak of."""
        ...


@dataclasses.dataclass(frozen=True)
class RowLabels:
    """Labels of n rows.

    Attributes:
        lists: labels of each of m distinct values, [NO_LABEL] where there is none.
        row: (n,) int64, the list of each row.
        rejected: reason -> (n,) mask of the rows that it rules out; rows without any value are not among them.
        probability: (lists' values,) float32 that the value means the label; None where that is not in question.
    """

    lists: Csr
    row: npt.NDArray[np.int64]
    rejected: Mapping[str, Bools]
    probability: npt.NDArray[np.float32] | None = None

    def of(
        self, rows: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int32], npt.NDArray[np.float32] | None]:
        """The (row, label) pairs of some rows.

        Returns:
            (row, label, probability): (p,) each, in the order of the rows.
        """
        taken = self.row[rows]
        if len(self.lists.values) == self.lists.num_lists:  # one label each
            return rows, self.lists.values[taken], None if self.probability is None else self.probability[taken]
        lengths = self.lists.lengths[taken]
        starts = np.repeat(self.lists.offsets[taken] - np.cumsum(lengths) + lengths, lengths)
        at = starts + np.arange(len(starts))
        probability = None if self.probability is None else self.probability[at]
        return np.repeat(rows, lengths), self.lists.values[at], probability


def source_index(
    sources: Sequence[str], constant: str | None, text: Text | None, size: int, *, any_case: bool = False
) -> npt.NDArray[np.int16]:
    """(size,) index of each row's source; -1 where it is unknown.

    Args:
        sources: names of the known ones.
        constant: of all rows; None where the column tells.
        text: the column; None where there is a constant.
        size: how many rows.
        any_case: the column's case does not count.
    """
    if constant is not None:
        return np.full(size, sources.index(constant), np.int16)
    assert text is not None
    values = pc.utf8_lower(text.values) if any_case else text.values
    found = pc.index_in(values, pa.array(sources, pa.string())).fill_null(-1)
    return text.by_row(found.to_numpy(zero_copy_only=False), missing=-1).astype(np.int16)


def lookup(taxonomy: Taxonomy, text: Text, *, names: bool) -> RowLabels:
    """Labels of ids, or of names."""
    ambiguous = np.zeros(len(text.values), bool)
    if names:
        found, ambiguous = taxonomy.lookup_names(text.values)
    else:
        found = taxonomy.lookup_ids(text.values)
    unknown = found.is_null().to_numpy(zero_copy_only=False) & ~ambiguous
    rejected = {
        "unknown_label": text.by_row(unknown, missing=False).astype(bool),
        "ambiguous_label": text.by_row(ambiguous, missing=False).astype(bool),
    }
    labels = np.append(found.fill_null(NO_LABEL).to_numpy(zero_copy_only=False), NO_LABEL).astype(np.int32)
    return RowLabels(Csr(labels, np.arange(len(labels) + 1)), text.index, rejected)


@dataclasses.dataclass(frozen=True)
class TextMatcher:
    """Matches texts with a lexicon.

    Attributes:
        lexicon: of the build's categories.
        sources: names of the sources.
        min_probability: of a match.
    """

    lexicon: Lexicon
    sources: Sequence[str]
    min_probability: float

    def __call__(self, text: Text, source: npt.NDArray[np.integer], *, keep_unmatched: bool) -> RowLabels:
        """Labels of texts.

        Args:
            text: the label column.
            source: (n,) index of each row's source; -1 where it is unknown, which rules the row out anyway.
            keep_unmatched: a text in which no name occurs becomes a row without a label, rather than a reject.
        """
        told = np.flatnonzero(~text.missing & (source >= 0))
        size = max(len(text.values), 1)
        said, said_of = np.unique(source[told].astype(np.int64) * size + text.index[told], return_inverse=True)
        lists, probability, outcome = self._match(text.values, said // size, said % size)
        row = np.full(len(text.index), len(said), np.int64)
        row[told] = said_of
        outcome = np.append(outcome, MATCHED)[row]  # rows without a text are the caller's matter
        rejected = {"ambiguous_text": outcome == AMBIGUOUS_TEXT}
        if not keep_unmatched:
            rejected |= {"no_match": outcome == NO_MATCH, "missing_label": outcome == EMPTY}
        return RowLabels(lists, row, rejected, probability)

    def _match(
        self, texts: pa.StringArray, source: npt.NDArray[np.int64], text: npt.NDArray[np.int64]
    ) -> tuple[Csr, npt.NDArray[np.float32], npt.NDArray[np.int8]]:
        """Matches k distinct (source, text), sorted by the source.

        Returns:
            (lists, probability, outcome): the labels of each and, behind them, of no text, each once, [NO_LABEL] where
            there are none; (values,) the highest probability of each, NaN for `NO_LABEL`; (k,) as `Matches` has it.
        """
        none = np.arange(len(source) + 1)
        owners, labels, probabilities = [none], [np.full(len(none), NO_LABEL)], [np.full(len(none), np.nan)]
        outcome = np.zeros(len(source), np.int8)
        starts = np.flatnonzero(np.diff(source, prepend=source[:1] - 1)).tolist()
        for start, stop in itertools.pairwise([*starts, len(source)]):
            some = texts.take(pa.array(text[start:stop]))
            found = self.lexicon.match(some, source=self.sources[source[start]], min_probability=self.min_probability)
            owners.append(found.text + start)
            labels.append(found.label)
            probabilities.append(found.probability)
            outcome[start:stop] = found.outcome
        owner, label, probability = map(np.concatenate, (owners, labels, probabilities))
        order = np.lexsort((-probability, label, owner))
        owner, label = owner[order], label[order]
        first = starts_of(owner, label)
        owner, label, order = owner[first], label[first], order[first]
        # NO_LABEL stays only where it is alone.
        alone = (label != NO_LABEL) | (np.bincount(owner)[owner] == 1)
        offsets = np.concatenate(([0], np.cumsum(np.bincount(owner[alone], minlength=len(none)))))
        return Csr(label[alone].astype(np.int32), offsets), probability[order][alone].astype(np.float32), outcome
