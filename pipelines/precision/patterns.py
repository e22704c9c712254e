"""Patterns: distinct rows of the state matrix, and how often each occurs.

In: (n, sources) uint8 states. Out: a table (pattern, count), a few thousand rows for billions of candidates, on
which the models of `lr1` and `em` are exact. A pattern is stored as one byte for each source, so any number of
sources fits and a pattern can be read by eye; its order is the order of these bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.schema import LABEL
from openjft.pipelines.storage import Store

from .bins import FIRST_FIRED, SourceBins, StateColumn, States

PATTERN: Final = "pattern"
COUNT: Final = "count"

Int64s = npt.NDArray[np.int64]


def as_patterns(states: States) -> pa.FixedSizeBinaryArray:
    """(n,) patterns of (n, sources) states; no copy of a C-contiguous matrix."""
    states = np.ascontiguousarray(states)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(states.shape[1]), len(states), [None, pa.py_buffer(states)])


def as_states(patterns: pa.Array | pa.ChunkedArray) -> States:
    """(m, sources) uint8 states of patterns; the inverse of `as_patterns`."""
    if isinstance(patterns, pa.ChunkedArray):
        patterns = patterns.combine_chunks()
    width = patterns.type.byte_width
    flat = np.frombuffer(patterns.buffers()[1], np.uint8, count=len(patterns) * width, offset=patterns.offset * width)
    return flat.reshape(-1, width)


def encode(states: States) -> tuple[pa.FixedSizeBinaryArray, npt.NDArray[np.int32]]:
    """(distinct patterns, (n,) int32 index of each row's pattern among them); hashed, not sorted."""
    encoded = as_patterns(states).dictionary_encode()  # 15 ns a row, where np.unique sorts: 600 ns
    return encoded.dictionary, encoded.indices.to_numpy()


def pattern_schema(num_sources: int) -> pa.Schema:
    """Of the counts of a bucket."""
    return pa.schema(
        [pa.field(PATTERN, pa.binary(num_sources), nullable=False), pa.field(COUNT, pa.int64(), nullable=False)]
    )


def count_patterns(states: States) -> pa.Table:
    """(pattern, count) of the rows of a state matrix, sorted by pattern."""
    distinct, index = encode(states)
    counts = np.bincount(index, minlength=len(distinct)).astype(np.int64)
    return pa.table([distinct, pa.array(counts)], schema=pattern_schema(states.shape[1])).sort_by(PATTERN)


def merge_counts(tables: Iterable[pa.Table], most: int) -> tuple[pa.Table, int]:
    """The sum of tables of counts, sorted by pattern; one after the other, so at most two are held.

    Args:
        tables: of the buckets, in order, at least one.
        most: distinct patterns at which further buckets are left out: those before are a uniform sample of the images.

    Returns:
        (the sum, how many tables are in it).
    """
    total, used = None, 0
    for table in tables:
        total, used = (table if total is None else _add(total, table)), used + 1
        if total.num_rows > most:
            break
    assert total is not None
    return total, used


def _add(a: pa.Table, b: pa.Table) -> pa.Table:
    summed = pa.concat_tables([a, b]).group_by(PATTERN).aggregate([(COUNT, "sum")])
    return summed.select([PATTERN, f"{COUNT}_sum"]).rename_columns([PATTERN, COUNT]).cast(a.schema).sort_by(PATTERN)


@dataclasses.dataclass(frozen=True)
class PatternTable:
    """All patterns of a build: `states` (m, sources) uint8 in pattern order, `counts` (m,) int64, at least 1."""

    states: States
    counts: Int64s

    @classmethod
    def from_table(cls, table: pa.Table) -> PatternTable:
        """From (pattern, count)."""
        return cls(as_states(table[PATTERN]), table[COUNT].to_numpy())


def read_states(store: Store, path: str) -> tuple[npt.NDArray[np.int32], States, npt.NDArray[np.int32]]:
    """The candidates of a bucket, in the order of the evidence, from `precision/states/`.

    Returns:
        (label, states, index): (n,) label of each, (m, columns) distinct states, (n,) which of them each has.
    """
    table = store.read_table(path)
    encoded = table[PATTERN].combine_chunks().dictionary_encode()
    return table[LABEL].to_numpy(), as_states(encoded.dictionary), encoded.indices.to_numpy()


def fired_bits(states: States, columns: Sequence[StateColumn]) -> npt.NDArray[np.uint64]:
    """(m,) uint64 with bit s set where source s fired; columns that are no sources do not count."""
    bits = np.zeros(len(states), np.uint64)
    for i, source in enumerate(column for column in columns if isinstance(column, SourceBins)):
        fired = (states[:, i] >= FIRST_FIRED) & ~np.isin(states[:, i], source.silent_states)
        bits |= fired.astype(np.uint64) << np.uint64(i)
    return bits
