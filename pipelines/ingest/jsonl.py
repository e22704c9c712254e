"""Reader of JSON lines: one object a line.

A block of lines goes through Arrow's parser at once; a block that it does not take goes line by line through
Python's, which tells the bad lines from the good.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Generator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.json as pajson

from .files import open_text, whole_lines
from .raw import MAX_SHOWN, REQUIRED_FIELDS, TEXT_FIELDS, BadRow, RawBatch, missing_column
from .splits import Piece

_SAMPLE_LINES: Final = 1000


def read_jsonl(filesystem: pafs.FileSystem, piece: Piece, wanted: Mapping[str, str]) -> Generator[RawBatch]:
    """The lines of a piece; empty lines have a number but are no rows.

    Raises:
        InputError: the first lines have no URI or label under the names that the input gives.
    """
    line = 0
    with open_text(filesystem, piece) as stream:
        for block in whole_lines(stream, piece.path):
            if line == 0:
                _check_names(piece.path, block, wanted)
            count = block.count(b"\n")
            columns = _parse_block(block, count, wanted)
            if columns is not None:
                yield RawBatch(columns, np.arange(line, line + count))
            else:
                yield _parse_lines(block, line, wanted)
            line += count


def _check_names(path: str, block: bytes, wanted: Mapping[str, str]) -> None:
    found: dict[str, None] = {}
    for line in block.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]:
        value = _loads(line)
        if isinstance(value, dict):
            found.update(dict.fromkeys(value))
    names = list(found)
    for field, name in wanted.items():
        # A column of numbers may be rare, but not one whose name was mistyped.
        if name not in found and names and (field in REQUIRED_FIELDS or difflib.get_close_matches(name, names, n=1)):
            raise missing_column(path, field, name, names)


def _parse_block(block: bytes, lines: int, wanted: Mapping[str, str]) -> dict[str, pa.Array] | None:
    """All lines at once; None when that cannot be done without losing one."""
    schema = pa.schema(
        [(name, pa.string() if field in TEXT_FIELDS else pa.float64()) for field, name in wanted.items()]
    )
    if len(set(schema.names)) < len(schema.names):
        return None
    try:
        table = pajson.read_json(
            pa.BufferReader(block),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != lines:
        return None
    return {field: table.column(name).combine_chunks() for field, name in wanted.items()}


def _loads(line: bytes) -> Any:
    """A line's value; None where it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _parse_lines(block: bytes, first: int, wanted: Mapping[str, str]) -> RawBatch:
    rows: list[int] = []
    bad: list[BadRow] = []
    values: dict[str, list[str | None]] = {field: [] for field in wanted}
    for number, line in enumerate(block.split(b"\n")[:-1], first):
        if not line.strip():
            continue
        parsed = _row(line, wanted)
        if isinstance(parsed, str):
            bad.append(BadRow(number, parsed, line[:MAX_SHOWN].decode(errors="replace")))
            continue
        rows.append(number)
        for field, value in parsed.items():
            values[field].append(value)
    columns = {field: pa.array(column, pa.string()) for field, column in values.items()}
    return RawBatch(columns, np.array(rows, np.int64), tuple(bad))


def _row(line: bytes, wanted: Mapping[str, str]) -> dict[str, str | None] | str:
    """The fields of one line as text, or what is wrong with it."""
    value = _loads(line)
    if not isinstance(value, dict):
        return "expected one JSON object in the line"
    out: dict[str, str | None] = {}
    for field, name in wanted.items():
        item = value.get(name)
        text = field in TEXT_FIELDS
        if item is not None and text and (isinstance(item, (bool, float)) or not isinstance(item, (str, int))):
            return f"{name}: expected text, found {type(item).__name__}"
        out[field] = item if item is None or isinstance(item, str) else json.dumps(item)
        try:
            (out[field] or "").encode()
        except UnicodeEncodeError:
            return f"{name}: half of a surrogate pair"
    return out
