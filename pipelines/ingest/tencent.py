"""Reader of Tencent ML-Images' lists: `URL_OR_FILE<tab>index:confidence<tab>index:confidence...`, no header.

In: a piece of a list. Out: a raw row for each label of a line, numbered by the line; a line without labels is one row
without a label. Items that are no `index:confidence` are `BadRow`s, and the rest of their line counts. A file's name
becomes an address by the input's `uri_template`. Source: Wu et al. (2019), github.com/Tencent/tencent-ml-images.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from .files import open_text, whole_lines
from .raw import MAX_SHOWN, BadRow, RawBatch
from .splits import Piece

_ITEM: Final = r"^(?P<label>[^:]+):(?P<score>[^:]+)$"


def read_tencent(filesystem: pafs.FileSystem, piece: Piece) -> Generator[RawBatch]:
    """The labels of the lines of a piece; empty lines have a number but are no rows.

    Raises:
        InputError: the file cannot be opened, or a line is no line of text.
    """
    first = 0
    with open_text(filesystem, piece) as stream:
        for block in whole_lines(stream, piece.path):
            yield _batch(block, first)
            first += block.count(b"\n")


def _batch(block: bytes, first: int) -> RawBatch:
    """The rows of a block of whole lines, of which the first has the number `first`."""
    text = pa.array([block.replace(b"\r\n", b"\n").removesuffix(b"\n")], pa.large_binary())
    lines = pc.split_pattern(text, b"\n").flatten()
    fields = pc.split_pattern(lines, b"\t")
    flat = fields.flatten()
    line_of = pc.list_parent_indices(fields).to_numpy(zero_copy_only=False).astype(np.int64)
    at_start = np.diff(line_of, prepend=-1) > 0
    uris = flat.filter(pa.array(at_start))
    items = ~at_start & pc.not_equal(flat, b"").to_numpy(zero_copy_only=False)
    parsed = pc.extract_regex(flat, _ITEM)
    good = items & parsed.is_valid().to_numpy(zero_copy_only=False)
    without = np.bincount(line_of[items], minlength=len(lines)) == 0
    without &= pc.not_equal(lines, b"").to_numpy(zero_copy_only=False)
    # A line without labels stands at its address, which is an item of none.
    taken = np.flatnonzero(good | (at_start & without[line_of]))
    unlabelled = ~good[taken]
    bad = tuple(
        BadRow(first + int(line_of[i]), "expected index:confidence", _shown(flat[i], uris[line_of[i]]))
        for i in np.flatnonzero(items & ~good).tolist()
    )
    return RawBatch(
        {"uri": uris.take(pa.array(line_of[taken])), **_columns(parsed, taken, unlabelled)}, first + line_of[taken], bad
    )


def _columns(
    parsed: pa.StructArray, taken: npt.NDArray[np.intp], unlabelled: npt.NDArray[np.bool_]
) -> dict[str, pa.Array]:
    """Labels and scores of the rows taken, null where a line has none."""
    at = pa.array(taken, mask=unlabelled)
    return {field: pc.struct_field(parsed, field).take(at) for field in ("label", "score")}


def _shown(item: pa.Scalar, uri: pa.Scalar) -> str:
    """An item that does not parse, and the address it stands behind."""
    return b" behind ".join((item.as_py(), uri.as_py()))[:MAX_SHOWN].decode(errors="replace")
