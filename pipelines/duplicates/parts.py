"""A file of rows for several readers, each of which finds its own without reading the others'.

The way of `pipelines.ingest.runs`, for any columns: an Arrow IPC file with one record batch for each part that has
rows, and a last, empty batch whose metadata says which batch is which part's. A reader of one part reads the footer,
that index, and its batch.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.errors import StorageError
from openjft.pipelines.storage import Store

_INDEX: Final = b"part_of_batch"


def write_parts(
    store: Store, path: str, parts: npt.NDArray[np.integer[Any]], table: pa.Table, *, compression: str | None = "lz4"
) -> None:
    """Writes rows by part, within each in the order given.

    Args:
        store: the build's folder.
        path: of the file.
        parts: (n,) part of each row, 0 or more.
        table: n rows.
        compression: of the batches; None for vectors, which are noise to it.
    """
    order = np.argsort(parts, kind="stable")
    rows = table.take(pa.array(order)).combine_chunks()
    values, starts = np.unique(parts[order], return_index=True)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with store.writing(path) as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        for start, stop in itertools.pairwise([*starts.tolist(), table.num_rows]):
            for batch in rows.slice(start, stop - start).to_batches():
                writer.write_batch(batch)
        # Hex, since Arrow's metadata is text.
        empty = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)
        index = values.astype("<i8").tobytes().hex().encode()
        writer.write_batch(empty, custom_metadata={_INDEX: index})


def read_part(store: Store, path: str, part: int) -> pa.Table:
    """The rows of one part; none where it has none.

    Raises:
        StorageError: the file is missing, or is no such file.
    """
    try:
        with store.reading(path) as source, pa.ipc.open_file(source) as reader:
            last, metadata = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
            index = np.frombuffer(bytes.fromhex(metadata[_INDEX].decode()), "<i8")
            batches = [reader.get_batch(i) for i in np.flatnonzero(index == part).tolist()]
            return pa.Table.from_batches(batches or [last], schema=reader.schema)
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{store.path(path)}: expected a file of parts written by `openjft duplicates`, found damage: {error}. "
            "Remove its folder and run `openjft duplicates` again"
        ) from error
