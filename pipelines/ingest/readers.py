"""From a piece of a file to raw batches, whatever its format."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pyarrow as pa
import pyarrow.fs as pafs

from ..config import Input
from ..errors import InputError
from .jsonl import read_jsonl
from .raw import RawBatch, wanted_columns
from .splits import Piece, format_of, input_filesystem, input_uri
from .tabular import read_csv, read_parquet
from .tars import read_webdataset
from .tencent import read_tencent


def read_piece(item: Input, piece: Piece, batch_rows: int) -> Generator[RawBatch]:
    """The raw rows of a piece of one of an input's files.

    Raises:
        InputError: the file cannot be read, or not to its end.
    """
    filesystem = input_filesystem(item.path)
    rows = 0
    try:
        with contextlib.closing(_open(item, piece, filesystem, batch_rows)) as batches:
            for batch in batches:
                rows += len(batch.rows) + len(batch.bad)
                yield batch
    except (OSError, pa.ArrowException) as error:
        hint = ". A row is longer than a block: is a quotation mark left open?" if "straddling" in str(error) else ""
        raise InputError(
            f"{piece.name}: expected a whole {format_of(piece.path, item.format)} file, found damage after {rows:,} "
            f"rows: {error}{hint}. Nothing of the file was taken; fetch it again, or take it out of the input"
        ) from error


def _open(item: Input, piece: Piece, filesystem: pafs.FileSystem, batch_rows: int) -> Generator[RawBatch]:
    kind = format_of(piece.path, item.format)
    wanted = wanted_columns(item, kind)
    match kind:
        case "parquet":
            return read_parquet(filesystem, piece, wanted, batch_rows)
        case "jsonl":
            return read_jsonl(filesystem, piece, wanted)
        case "webdataset":
            return read_webdataset(filesystem, piece, input_uri(item.path, piece.path), item, wanted)
        case "tencent_ml_images":
            return read_tencent(filesystem, piece)
        case "tsv":
            return read_csv(filesystem, piece, wanted, "\t", header=item.header)
        case "csv" | "open_images":
            return read_csv(filesystem, piece, wanted, ",", header=item.header)
