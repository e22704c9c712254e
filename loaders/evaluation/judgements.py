"""Who judged what: which classes each image of an evaluation set shows, which it does not, and which nobody knows.

In: a table, wide or long. Out: `Judgements`, dense. FastEval14k (Sun et al. 2017, section 4.2) is such a set: 14,000
images, each judged for all of 6,000 classes.

| shape | a row is | cells |
|---|---|---|
| wide | an image: its file, key or name, then a column a class, named by its id | 1, 0, or empty: not judged |
| long | `file, label, value` (columns `label`, `value`; the first column is the image) | 1 or 0; no row: not judged |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.loaders.errors import DatasetError
from openjft.loaders.folders.table import read_table

Cells = npt.NDArray[np.int8]

YES: Final = 1
NO: Final = 0
UNJUDGED: Final = -1
MAX_CELLS: Final = 1 << 32  # one byte each: 200,000 images for 20,000 classes
_WORDS: Final = {"": UNJUDGED, "0": NO, "1": YES, "0.0": NO, "1.0": YES, "false": NO, "true": YES}
_KEYS: Final = pa.array(list(_WORDS))
_VALUES: Final = np.array([*_WORDS.values(), 9], np.int8)  # the last stands for a word that is none of them


@dataclasses.dataclass(frozen=True, eq=False)
class Judgements:
    """What is known of n images and m classes.

    Attributes:
        path: of the table.
        images: n ids as the table names them.
        classes: m ids of classes.
        cells: (n, m) int8: 1 it shows the class, 0 it does not, -1 not judged.
    """

    path: Path
    images: list[str]
    classes: list[str]
    cells: Cells


def read_judgements(path: Path) -> Judgements:
    """Reads a table, .csv with a header or .parquet.

    Raises:
        DatasetError: it cannot be read, a cell is no judgement, an image or a cell comes twice, or nothing is judged
            to be absent, so that every ranking would be perfect.
    """
    table = read_table(path)
    long = {"label", "value"} <= set(table.column_names[1:])
    images, classes, cells = _long(path, table) if long else _wide(path, table)
    if not (cells == YES).any() or not (cells == NO).any():
        which = "1" if not (cells == YES).any() else "0"
        raise DatasetError(
            f"{path}: expected judgements of both kinds, found none that says {which}; a set without them gives no "
            "score. Of a list of what images show, make a table that says 0 where they were judged not to show a class"
        )
    return Judgements(path, images, classes, cells)


def _wide(path: Path, table: pa.Table) -> tuple[list[str], list[str], Cells]:
    images = _texts(table[0])
    if len(set(images)) < len(images):
        raise DatasetError(f"{path}: expected a row for each image, found {len(images) - len(set(images)):,} again")
    classes = [name.strip() for name in table.column_names[1:]]
    if not classes:
        raise DatasetError(f"{path}: expected a column for each class after {table.column_names[0]!r}, found none")
    cells = _empty(path, len(images), len(classes))
    for j, name in enumerate(classes):
        cells[:, j] = _judged(path, table[j + 1], f"column {name!r}")
    return images, classes, cells


def _long(path: Path, table: pa.Table) -> tuple[list[str], list[str], Cells]:
    values = _judged(path, table["value"], "column 'value'")
    if (values == UNJUDGED).any():
        raise DatasetError(f"{path}: column 'value': expected 0 or 1, found empty cells; leave such rows out")
    images, row = np.unique(np.array(_texts(table[0]), object), return_inverse=True)
    classes, column = np.unique(np.array(_texts(table["label"]), object), return_inverse=True)
    cells = _empty(path, len(images), len(classes))
    places = row.astype(np.int64) * len(classes) + column
    if len(np.unique(places)) < len(places):
        again = int(np.flatnonzero(np.bincount(np.unique(places, return_inverse=True)[1]) > 1)[0])
        image, label = divmod(int(np.unique(places)[again]), len(classes))
        raise DatasetError(
            f"{path}: expected one row for an image and a label, found more for {images[image]!r}, {classes[label]!r}"
        )
    cells.ravel()[places] = values
    return images.tolist(), classes.tolist(), cells


def _empty(path: Path, n: int, m: int) -> Cells:
    if n * m > MAX_CELLS:
        raise DatasetError(f"{path}: expected at most {MAX_CELLS:,} cells, found {n:,} images x {m:,} classes")
    return np.full((n, m), UNJUDGED, np.int8)


def _texts(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_fixed_size_binary(column.type) or pa.types.is_binary(column.type):
        return [value.hex() for value in column.to_pylist()]  # keys, as our own indexes hold them
    return [(value or "").strip() for value in column.cast(pa.string()).to_pylist()]


def _judged(path: Path, column: pa.ChunkedArray, where: str) -> npt.NDArray[np.int8]:
    """(n,) int8 of a column of any type."""
    words = pc.fill_null(pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string()))), "")
    places = pc.fill_null(pc.index_in(words, _KEYS), len(_WORDS)).to_numpy()
    values = _VALUES[places]
    bad = np.flatnonzero(values == _VALUES[-1])
    if len(bad):
        raise DatasetError(
            f"{path}: {where}: expected 1, 0 or an empty cell, found {words[int(bad[0])].as_py()[:40]!r} in row "
            f"{int(bad[0]) + 1:,} below the header"
        )
    return np.asarray(values, np.int8)


def columns_of(judgements: Judgements, category_ids: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """(m,) number of each of the table's classes, -1 where it is none of the network's; and the ids of those."""
    number = {id_: i for i, id_ in enumerate(category_ids)}
    found = np.array([number.get(id_, -1) for id_ in judgements.classes], np.int64)
    return found, [id_ for id_ in judgements.classes if id_ not in number]
