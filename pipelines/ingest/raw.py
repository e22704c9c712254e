"""What every reader yields: batches of raw rows under the names of `RAW`, with their row numbers.

In: one piece of a file and the input's column names. Out: `RawBatch`es of columns as the file types them, text
as it stands; making sense of the values is the matter of `validate`. Rows that do not parse at all come as
`BadRow`s. A file that cannot be used as a whole is an `InputError`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..config import Input
from ..errors import InputError
from .splits import Format

TEXT_FIELDS: Final = ("uri", "label", "source", "page", "text")
REQUIRED_FIELDS: Final = ("uri", "label")
NO_LABEL: Final = -1  # the label of a row that says: looked, and found nothing
MAX_SHOWN: Final = 1000  # characters of a rejected row's text that are kept


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that does not parse: its number in the piece, what is wrong, and its text."""

    row: int
    detail: str
    text: str | None = None


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """Rows of one piece of a file.

    `columns`: fields of `RAW` -> (n,) arrays, those that the input names; text as string or binary, numbers as
    numbers or as text. `rows`: (n,) int64 row numbers. `bad`: rows that do not parse, none of them in `rows`.
    """

    columns: Mapping[str, pa.Array]
    rows: npt.NDArray[np.int64]
    bad: tuple[BadRow, ...] = ()


def wanted_columns(item: Input, kind: Format) -> dict[str, str]:
    """Fields of `RAW` -> the names that an input gives them in its files; fields that it does not have left out."""
    if kind == "open_images":
        names: dict[str, str | None] = {"uri": "ImageID", "label": "LabelName", "score": "Confidence"}
        names["source"] = None if item.source is not None else "Source"
    elif kind == "tencent_ml_images":
        names = {field: field for field in (*REQUIRED_FIELDS, "score")}
    else:
        names = item.columns.model_dump()
    return {field: name for field, name in names.items() if name is not None}


def check_columns(path: str, wanted: Mapping[str, str], found: Sequence[str]) -> None:
    """Checks that a file has the columns that its input names.

    Raises:
        InputError: one is missing or stands there twice.
    """
    for field, name in wanted.items():
        if name not in found:
            raise missing_column(path, field, name, found)
        if found.count(name) > 1:
            raise InputError(f"{path}: expected one column {name!r} (for {field}), found {found.count(name)}")


def missing_column(path: str, field: str, name: str, found: Sequence[str]) -> InputError:
    """The error for a missing column, with the names that are there."""
    close = difflib.get_close_matches(name, found, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else f" Set inputs.columns.{field} to the right name."
    return InputError(
        f"{path}: expected a column {name!r} (for {field}), found {', '.join(map(repr, found[:50])) or 'none'}.{hint}"
    )
