"""Streams a bucket's vectors past the index, reading ahead while FAISS searches.

In: `embeddings/BUCKET.parquet`. Out: `Pairs`, each training image with the eval images that reach the listed score.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Iterator
from typing import IO, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.dedup import EvalIndex, Matches, vectors_of
from openjft.dedup.background import Background
from openjft.dedup.resample import Float32
from openjft.dedup.schema import KEY, VECTOR
from openjft.pipelines.schema import KEY_TYPE
from openjft.pipelines.storage import Store

T = TypeVar("T")
SEARCH_ROWS: Final = 32_768  # vectors read and searched at a time: 64 MB of float32 at 512 dimensions


class Pairs(NamedTuple):
    """Pairs of one bucket, by image, falling similarity, eval image; `rows_in` images were searched."""

    rows_in: int
    full_k: int
    row: npt.NDArray[np.int64]  # of the embeddings file
    keys: pa.Array
    eval_index: npt.NDArray[np.int32]
    view: npt.NDArray[np.int16]
    similarity: Float32
    score: Float32


def search_bucket(
    store: Store,
    source: str,
    index: EvalIndex,
    *,
    min_score: float,
    neighbours: int,
    background: Background | None = None,
) -> Pairs:
    """Searches an embeddings file.

    Raises:
        DedupError: the vectors are of another model, or hold NaN.
    """
    found: list[Matches] = []
    keys: list[pa.Array] = [pa.array([], KEY_TYPE)]
    rows_in = 0
    with store.reading(source) as stream:
        for block, vectors in read_ahead(read_vectors(stream, index.dim, origin=source)):
            matches = index.search(vectors, min_score=min_score, neighbours=neighbours, background=background)
            keys.append(block.take(pa.array(matches.query_index)))
            found.append(matches._replace(query_index=matches.query_index + rows_in))
            rows_in += len(block)
    return Pairs(
        rows_in,
        sum(m.full_k for m in found),
        np.concatenate([np.empty(0, np.int64), *(m.query_index for m in found)]),
        pa.concat_arrays(keys),
        np.concatenate([np.empty(0, np.int32), *(m.eval_index for m in found)]),
        np.concatenate([np.empty(0, np.int16), *(m.view for m in found)]),
        np.concatenate([np.empty(0, np.float32), *(m.similarity for m in found)]),
        np.concatenate([np.empty(0, np.float32), *(m.score for m in found)]),
    )


def read_vectors(stream: IO[bytes], dim: int, *, origin: str) -> Iterator[tuple[pa.Array, Float32]]:
    """(n keys, vectors (n, dim) float32) of an embeddings file, SEARCH_ROWS at a time."""
    # Without buffered reading a whole row group would be held: 131,072 vectors.
    file = pq.ParquetFile(stream, buffer_size=1 << 22, pre_buffer=False)
    for batch in file.iter_batches(SEARCH_ROWS, columns=[KEY, VECTOR]):
        vectors = vectors_of(batch.column(VECTOR), dim, origin=origin)
        yield batch.column(KEY), vectors.astype(np.float32)


def count_vectors(store: Store, sources: Iterable[str]) -> int:
    """Images with a vector, by the footers of embeddings files."""
    total = 0
    for source in sources:
        with store.reading(source) as stream:
            total += int(pq.ParquetFile(stream).metadata.num_rows)
    return total


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one made in a thread while the caller works on this one."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
