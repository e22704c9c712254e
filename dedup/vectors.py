"""Vectors between NumPy and Arrow, without copies: (n, dim) float16 and `fixed_size_list<float16>(dim)`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .errors import DedupError
from .resample import Float32
from .schema import VECTOR, embeddings_schema

Float16 = npt.NDArray[np.float16]


def embeddings_table(keys: pa.Array, vectors: Float32 | Float16, perceptual: pa.Array | None = None) -> pa.Table:
    """Rows of `embeddings_schema`.

    Args:
        keys: n binary(16), sorted.
        vectors: (n, dim) unit vectors, or zeros.
        perceptual: n uint64; none: nulls.

    Raises:
        DedupError: the numbers of keys and vectors differ, or a value is NaN.
    """
    if len(keys) != len(vectors):
        raise DedupError(f"expected as many keys as vectors, found {len(keys)} and {len(vectors)}")
    check_finite(vectors, origin="embeddings")
    half = np.ascontiguousarray(vectors, np.float16)
    schema = embeddings_schema(half.shape[1])
    column = pa.FixedSizeListArray.from_arrays(pa.array(half.reshape(-1)), type=schema.field(VECTOR).type)
    hashes = pa.nulls(len(keys), pa.uint64()) if perceptual is None else perceptual
    return pa.table([keys, column, hashes], schema=schema)


def vectors_of(column: pa.Array | pa.ChunkedArray, dim: int, *, origin: str) -> Float16:
    """(n, dim) float16 of a vector column; without a copy when it has one chunk. Values are not looked at.

    Raises:
        DedupError: the column's type is another.
    """
    expected = embeddings_schema(dim).field(VECTOR).type
    if not pa.types.is_fixed_size_list(column.type) or (column.type.list_size, column.type.value_type) != (
        dim,
        pa.float16(),
    ):
        raise DedupError(
            f"{origin}: expected vectors {expected}, found {column.type}: they were made by another model; "
            "embed the images again"
        )
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, dim) for chunk in chunks if len(chunk)]
    if not parts:
        return np.empty((0, dim), np.float16)
    vectors: Float16 = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return vectors


def check_finite(vectors: Float32 | Float16, *, origin: str) -> None:
    """Refuses NaN and infinity, which no comparison would ever match.

    Raises:
        DedupError: with the first bad row.
    """
    # A sum is finite only when all its terms are; one pass, no boolean matrix. Unit vectors cannot overflow it.
    sums = vectors.sum(axis=1)
    if not np.isfinite(sums).all():
        row = int(np.argmax(~np.isfinite(sums)))
        raise DedupError(f"{origin}: expected finite vectors, found NaN or infinity in row {row}; embed again")
