"""Columns of raw rows as text, worked on once for each distinct value.

In: a column as its file types it. Out: `Text`, its distinct values and the value of each row. Bytes that are no UTF-8
are masked, never guessed at.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .raw import MAX_SHOWN

Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass
class Text:
    """A column of text by its distinct values; `index` is `len(values)` where the row has none."""

    values: pa.Array
    index: npt.NDArray[np.int64]

    def by_row(self, values: npt.NDArray[np.generic], missing: object) -> npt.NDArray[np.generic]:
        """Values of the distinct texts, spread over the rows."""
        return np.append(values, np.array([missing], values.dtype))[self.index]

    @property
    def missing(self) -> Bools:
        """(n,) rows that have none."""
        return np.asarray(self.index == len(self.values))


def as_string(column: pa.Array) -> tuple[pa.StringArray, Bools]:
    """A column as text, and the mask of rows that are no UTF-8 (null there)."""
    bad = np.zeros(len(column), bool)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column = column.cast(pa.string()) if _is_plain(column) else column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        values = [_decoded(value) for value in column.cast(pa.binary()).to_pylist()]
        bad = np.array([value is False for value in values])
        column = pa.array([value or None for value in values], pa.string())
    return column, bad


def distinct(column: pa.StringArray, *, trim: bool) -> Text:
    """The distinct values of a column; empty text is none."""
    encoded = column.dictionary_encode()
    values = pc.utf8_trim_whitespace(encoded.dictionary) if trim else encoded.dictionary
    index = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = np.flatnonzero(pc.equal(values, "").to_numpy(zero_copy_only=False))
    if len(empty):
        index[np.isin(index, empty)] = len(values)
    return Text(values, index)


def _is_plain(column: pa.Array) -> bool:
    """Whether a column's values need no check of their encoding: numbers and nulls."""
    return bool(pa.types.is_integer(column.type) or pa.types.is_null(column.type))


def _decoded(value: bytes | None) -> str | bool | None:
    """Text, None, or False where it is no UTF-8."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return False


def decodable(column: pa.Array) -> pa.Array:
    """Binary text as text; what is no UTF-8 becomes a text that is no number."""
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([v if v is None else v.decode(errors="replace") for v in column.to_pylist()], pa.string())


def shown(text: Text | None, rows: npt.NDArray[np.intp], more: int) -> pa.Array:
    """The texts of some rows, cut short, and nulls for `more` rows."""
    if text is None:
        return pa.nulls(len(rows) + more, pa.string())
    index = text.index[rows]
    missing = np.append(index == len(text.values), np.ones(more, bool))
    take = pa.array(np.append(index, np.zeros(more, np.int64)), mask=missing)
    return pc.utf8_slice_codeunits(text.values.take(take), 0, MAX_SHOWN)
