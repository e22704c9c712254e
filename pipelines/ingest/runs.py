"""The file of a split's runs: sorted pairs that one bucket's reader finds without reading the others'.

`spill/00003-of-00040.arrow` is an Arrow IPC file (lz4). Each run adds one record batch for each bucket that has
rows in it; a last, empty batch carries, as metadata, the bucket of every batch before it. A reader of one
bucket reads the footer, that index, and the batches that it wants. All runs of a split are in one file, so that
the file appears at once and a retried split leaves nothing of a former attempt behind.

A row's URI stands only at the first row of its image in a batch; the others hold null.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import StorageError
from ..keys import buckets_of
from ..schema import KEY, KEY_TYPE, LABEL, URI
from ..storage import Store
from .aggregate import Images, Pairs, starts_of

RUN: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field("source", pa.uint8(), nullable=False),
        pa.field("domain", pa.uint64(), nullable=False),
        pa.field("text", pa.uint64(), nullable=False),  # hash; 0: none
        pa.field(URI, pa.string()),
        pa.field("score", pa.float32(), nullable=False),  # NaN: none
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),
        pa.field("impressions", pa.int64(), nullable=False),
        pa.field("exposure", pa.int64(), nullable=False),  # in EXPOSURE_UNIT
    ]
)
_INDEX: Final = b"bucket_of_batch"


def run_table(images: Images, pairs: Pairs) -> pa.RecordBatch:
    """Sorted pairs with their images' keys and URIs, in the columns of `RUN`."""
    first = starts_of(pairs.key)
    absent = np.ones(len(pairs.key), bool)
    absent[first] = False
    return pa.RecordBatch.from_arrays(
        [
            images.keys.take(pa.array(pairs.key)), pa.array(pairs.label), pa.array(pairs.source),
            pa.array(pairs.domain), pa.array(pairs.text), images.uris.take(pa.array(pairs.key, mask=absent)),
            pa.array(pairs.score), pa.array(pairs.rows), pa.array(pairs.clicks), pa.array(pairs.impressions),
            pa.array(pairs.exposure),
        ],
        schema=RUN,
    )  # fmt: skip


def empty_run() -> pa.RecordBatch:
    """No rows, in the columns of `RUN`."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in RUN], schema=RUN)


class RunsWriter:
    """Writes runs to a stream; `close` writes the index. `rows` and `runs` count what was written."""

    def __init__(self, sink: IO[bytes], num_buckets: int) -> None:
        self.rows = 0
        self.runs = 0
        self._num_buckets = num_buckets
        self._buckets: list[npt.NDArray[np.int32]] = []
        self._writer = pa.ipc.new_file(sink, RUN, options=pa.ipc.IpcWriteOptions(compression="lz4"))

    def add(self, batch: pa.RecordBatch) -> None:
        """Appends one sorted run."""
        buckets = buckets_of(batch.column(KEY), self._num_buckets)
        starts = starts_of(buckets)
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), batch.num_rows], strict=True):
            self._writer.write_batch(batch.slice(start, stop - start))
        self._buckets.append(buckets[starts])
        self.rows += batch.num_rows
        self.runs += 1

    def close(self) -> None:
        """Ends the file; the stream stays open."""
        index = np.concatenate([np.empty(0, np.int32), *self._buckets]).astype("<i4").tobytes()
        # Hex, since Arrow's metadata is text.
        self._writer.write_batch(empty_run(), custom_metadata={_INDEX: index.hex().encode()})
        self._writer.close()


def read_bucket(store: Store, path: str, bucket: int) -> Iterator[pa.RecordBatch]:
    """The batches of one bucket in a file of runs, in the order of the runs.

    Raises:
        StorageError: the file is missing or is no file of runs.
    """
    try:
        with store.reading(path) as source, pa.ipc.open_file(source) as reader:
            last = reader.num_record_batches - 1
            _, metadata = reader.get_batch_with_custom_metadata(last)
            index = np.frombuffer(bytes.fromhex(metadata[_INDEX].decode()), "<i4")
            for i in np.flatnonzero(index == bucket).tolist():
                yield reader.get_batch(i)
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{store.path(path)}: expected a file of runs written by `openjft ingest`, found damage: {error}. Remove "
            "the folder spill/ and run `openjft ingest` again"
        ) from error
