"""Numbers out of columns of any type, with a mask of the values that are none.

In: integers, floats, decimals or text. Out: float64 with a mask of what is null and of what is wrong. One bad
value costs its row, never the column.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
# Sums of counts stay exact in an int64 for 32,768 rows of the largest; no real count comes near.
MAX_COUNT = 1 << 48
EXPOSURE_UNIT = 1 / 1024  # of an impression at the first place; whole units, so that sums do not depend on the order
_MAX_EXPOSURE = 1 << 53  # units of one row


class Numbers(NamedTuple):
    """(n,) float64 values, (n,) bool null, (n,) bool wrong; the value is 0 where one of them is set."""

    values: npt.NDArray[np.float64]
    null: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.bool_]


def parse_numbers(column: pa.Array) -> Numbers:
    """Finite numbers; NaN, infinities and other text are wrong, null and empty text are null."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    unparsed = np.zeros(len(column), bool)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)
        fits = pc.match_substring_regex(text, _NUMBER)
        unparsed = np.array(pc.invert(fits).fill_null(fill_value=False))
        column = pc.utf8_ltrim(pc.if_else(fits, text, pa.scalar(None, text.type)), "+")
    values = column.cast(pa.float64(), safe=False)
    null = np.array(values.is_null()) & ~unparsed
    out = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    wrong = unparsed | ~np.isfinite(out)
    return Numbers(np.where(wrong, 0.0, out), null, wrong)


def parse_scores(column: pa.Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores as float32, NaN where none is given, and the mask of those that are no finite float32."""
    numbers = parse_numbers(column)
    with np.errstate(over="ignore"):
        scores = numbers.values.astype(np.float32)
    wrong = numbers.wrong | ~np.isfinite(scores)
    # Minus zero becomes zero, so that the greater of two equal scores has one form.
    return np.where(numbers.null, np.float32(np.nan), scores + np.float32(0)), wrong


def parse_counts(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Counts as int64 (0 where none is given), the mask of those not given, and of those that are no count."""
    numbers = parse_numbers(column)
    values = numbers.values
    wrong = numbers.wrong | (values < 0) | (values > MAX_COUNT) | (values != np.floor(values))
    return np.where(wrong, 0, values).astype(np.int64), numbers.null, wrong


def parse_positions(column: pa.Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Places from 1 on (1 where none is given), and the mask of those that are none."""
    numbers = parse_numbers(column)
    positions = np.where(numbers.null, 1.0, numbers.values)
    wrong = numbers.wrong | (positions < 1)
    return np.where(wrong, 1.0, positions), wrong


def exposures(
    impressions: npt.NDArray[np.int64], positions: npt.NDArray[np.float64], exponents: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """(n,) impressions by how likely they were looked at, position^-exponent of each, in whole `EXPOSURE_UNIT`s.

    An impression is worth a unit at least: what was shown was shown. The examination hypothesis of click models.
    """
    units = np.rint(impressions * positions**-exponents / EXPOSURE_UNIT)
    return np.clip(units, np.minimum(impressions, 1), _MAX_EXPOSURE).astype(np.int64)


def parse_flags(column: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Flags as bool (False where none is given), and the mask of those that are neither 0, 1, false nor true."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        text = pc.replace_with_mask(text, pc.equal(text, "true"), pa.scalar("1", text.type))
        column = pc.replace_with_mask(text, pc.equal(text, "false"), pa.scalar("0", text.type))
    elif pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    numbers = parse_numbers(column)
    flags = numbers.values == 1
    return flags, numbers.wrong | ~(flags | (numbers.values == 0))
