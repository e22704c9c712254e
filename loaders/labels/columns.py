"""The columns of a table of anyone, as arrays; what is wrong in them is noted, not raised, so that all is told at once.

In: Arrow columns. Out: an array of one value a row; the value of a row that is wrong is arbitrary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.loaders.schema import KEY_BYTES
from openjft.taxonomy import Taxonomy

from .pieces import hex_keys

SHOWN: Final = 5
_HEX: Final = r"^[0-9a-fA-F]{32}$"
_ZEROS: Final = "0" * (2 * KEY_BYTES)


class Mistakes:
    """What is wrong in a table of so many rows.

    Attributes:
        wrong: (n,) bool rows that something is wrong with.
        lines: what was expected and found, a line for each kind.
        counts: rows of each kind.
    """

    def __init__(self, num_rows: int) -> None:
        self.wrong = np.zeros(num_rows, np.bool_)
        self.lines: list[str] = []
        self.counts: dict[str, int] = {}

    def note(self, kind: str, rows: npt.NDArray[np.int64], expected: str, show: Callable[[int], str]) -> None:
        """Notes the rows (m,) that are wrong in one way; none is no mistake."""
        if not rows.size:
            return
        shown = ", ".join(f"{show(int(row))} (row {row + 1:,})" for row in rows[:SHOWN])
        more = ", ..." if rows.size > SHOWN else ""
        self.lines.append(f"{kind}: expected {expected}, found {rows.size:,} others: {shown}{more}")
        self.counts[kind] = int(rows.size)
        self.wrong[rows] = True

    def note_values(self, kind: str, wrong: npt.NDArray[np.bool_], values: pa.ChunkedArray, expected: str) -> None:
        """Notes the rows of a column whose value is wrong."""
        self.note(kind, np.flatnonzero(wrong), expected, lambda row: f"{values[row].as_py()!r:.60}")


def keys_of(table: pa.Table, mistakes: Mistakes, key_of: Callable[[str], bytes]) -> npt.NDArray[np.uint8]:
    """(n, 16) uint8 of `image_key`, or of `name` by `key_of`."""
    if "image_key" not in table.column_names:
        names = table["name"].cast(pa.string())
        missing = pc.or_kleene(names.is_null(), pc.equal(names, "")).to_numpy()
        mistakes.note_values("name", missing.astype(np.bool_), names, "a name in each row")
        flat = b"".join(key_of(name or "") for name in names.to_pylist())
        return np.frombuffer(flat, np.uint8).reshape(-1, KEY_BYTES)
    column = table["image_key"]
    if _is_binary(column.type):
        good = pc.fill_null(pc.equal(pc.binary_length(column), KEY_BYTES), False).to_numpy()
        digits = pc.if_else(pa.array(good), column.cast(pa.large_binary()), bytes(KEY_BYTES))
        keys = np.frombuffer(b"".join(digits.to_pylist()), np.uint8).reshape(-1, KEY_BYTES)
        mistakes.note_values("image_key", ~good, column, f"{KEY_BYTES} bytes")
        return keys
    text = column.cast(pa.string())
    good = pc.fill_null(pc.match_substring_regex(text, _HEX), False).to_numpy()
    mistakes.note_values("image_key", ~good, text, f"{2 * KEY_BYTES} hex digits")
    filled = pc.if_else(pa.array(good), text, _ZEROS)
    decoded = hex_keys(filled.combine_chunks() if isinstance(filled, pa.ChunkedArray) else filled)
    assert decoded is not None
    return decoded


def labels_of(table: pa.Table, taxonomy: Taxonomy, mistakes: Mistakes) -> npt.NDArray[np.int64]:
    """(n,) labels: integers are labels, texts are external ids or aliases."""
    column, n = table["label"], taxonomy.num_categories
    if pa.types.is_integer(column.type):
        numbers = np.asarray(pc.fill_null(column.cast(pa.int64()), -1).to_numpy(), np.int64)
        wrong = (numbers < 0) | (numbers >= n)
        mistakes.note_values("label", wrong, column, f"labels in [0, {n:,})")
        return np.where(wrong, 0, numbers)
    ids = column.cast(pa.string())
    found = taxonomy.lookup_ids(ids)
    rows = np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))
    expected = f"ids of the {n:,} categories, such as {taxonomy.ids[0]!r}"

    def show(row: int) -> str:
        text = ids[row].as_py()
        return f"{text!r:.60}" + (taxonomy.suggest(text[:60]) if text else "")

    mistakes.note("label", rows, expected, show)
    return np.asarray(pc.fill_null(found, 0).to_numpy(zero_copy_only=False), np.int64)


def probabilities_of(table: pa.Table, mistakes: Mistakes) -> npt.NDArray[np.float32]:
    """(n,) float32; 1 where the table has none."""
    if "probability" not in table.column_names:
        return np.ones(table.num_rows, np.float32)
    column = table["probability"]
    values = _floats(column)
    mistakes.note_values("probability", ~((values >= 0) & (values <= 1)), column, "a probability in [0, 1]")
    return values.astype(np.float32)


def truths_of(table: pa.Table, mistakes: Mistakes) -> npt.NDArray[np.bool_]:
    """(n,) bool of `asserted`."""
    column = table["asserted"]
    if pa.types.is_boolean(column.type):
        values = _floats(pc.if_else(column, 1.0, 0.0))
    elif pa.types.is_string(column.type):
        words = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
        values = np.array([words.get((text or "").lower(), np.nan) for text in column.to_pylist()], np.float64)
    else:
        values = _floats(column)
    mistakes.note_values("asserted", ~((values == 0) | (values == 1)), column, "true or false")
    return np.asarray(values == 1, np.bool_)


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """(n,) float64 of a column; NaN where it says something else."""
    try:
        return np.asarray(pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array([_float(value) for value in column.to_pylist()], np.float64)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
