"""Rejected raw rows, with the reason, on storage: `rejects/00003-of-00040.parquet` for each split that has some.

In: `Rejected` rows as they come. Out: one Parquet file, written row group by row group, so that a file of
nothing but bad rows takes no more memory than a good one. No rejects, no file.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ..schema import REJECTS
from ..storage import Store
from .validate import Rejected

_ROW_GROUP_ROWS: Final = 65_536


class RejectsWriter:
    """Writes the rejects of one split; `counts` holds them by reason."""

    def __init__(self, store: Store, path: str) -> None:
        self.counts: Counter[str] = Counter()
        self._store, self._path = store, path
        self._stack = contextlib.ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        # On an error the writer is left open and its file goes away with the store's temporary.
        if kind is None and self._writer is not None:
            self._writer.close()
        self._stack.__exit__(kind, error, traceback)

    def add(self, rejected: Rejected, file: str) -> None:
        """Adds rows of one file."""
        if not len(rejected):
            return
        for item in rejected.reason.value_counts().to_pylist():
            self.counts[item["values"]] += item["counts"]
        columns = [
            rejected.reason, pa.repeat(file, len(rejected)), rejected.row,
            rejected.uri, rejected.label, rejected.source, rejected.detail,
        ]  # fmt: skip
        self._held.append(pa.RecordBatch.from_arrays(columns, schema=REJECTS))
        if sum(batch.num_rows for batch in self._held) >= _ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            sink = self._stack.enter_context(self._store.writing(self._path))
            self._writer = pq.ParquetWriter(sink, REJECTS, compression="zstd")
        self._writer.write_table(pa.Table.from_batches(self._held).combine_chunks())
        self._held.clear()
