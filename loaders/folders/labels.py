"""Labels of image files: by the folder that each lies in, or by a table.

In: a `FileList`. Out: the files that have labels, their labels and the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openjft.taxonomy import Csr
from openjft.taxonomy.csr import offsets_of

from ..errors import DatasetError
from .table import read_text_table
from .walk import FileList, some


class Labelled(NamedTuple):
    """Files with their labels, and the classes that these are numbers of."""

    files: FileList
    labels: Csr
    classes: tuple[str, ...]


def class_labels(files: FileList, classes: Sequence[str] | None) -> Labelled:
    """The first folder of each path is its class.

    Args:
        files: all below the root.
        classes: in the order of their numbers; None: those found, by name.

    Raises:
        DatasetError: there are no class folders, or one is not in `classes`.
    """
    inside = np.array([row for row, path in enumerate(files.paths) if "/" in path], np.int64)
    if not len(inside):
        raise DatasetError(
            f"{files.root}: expected a folder with images for each class, found {len(files.paths):,} images and no "
            "folder with any"
        )
    loose = len(files.paths) - len(inside)
    kept = files.taken(inside)
    if loose:
        kept.ignored["outside_class"] = loose
    names = [path.partition("/")[0] for path in kept.paths]
    chosen = tuple(sorted(set(names))) if classes is None else tuple(classes)
    number = _numbers(str(files.root), set(names), chosen)
    values = np.array([number[name] for name in names], np.int32)
    return Labelled(kept, Csr(values, np.arange(len(values) + 1, dtype=np.int64)), chosen)


def table_labels(files: FileList, table: Path, classes: Sequence[str] | None) -> Labelled:
    """The labels of a table with the file in its first column and a class in each other one.

    Raises:
        DatasetError: the table cannot be read, names a file that is not there or twice, or a class not in `classes`.
    """
    columns = read_text_table(table, at_least=2)
    listed = list(columns[0])
    row_of = {path: row for row, path in enumerate(files.paths)}
    missing = [name for name in listed if name not in row_of]
    if missing:
        raise DatasetError(
            f"{table}: expected images below {files.root}, found {len(missing):,} others: {some(missing)}"
        )
    if len(set(listed)) < len(listed):
        twice = sorted({name for name in listed if listed.count(name) > 1}) if len(listed) < 10_000 else []
        raise DatasetError(f"{table}: expected each file once, found some again{': ' + some(twice) if twice else ''}")
    sets = [sorted({cell for cell in cells if cell}) for cells in zip(*columns[1:], strict=True)]
    names = {cell for cells in sets for cell in cells}
    chosen = tuple(sorted(names)) if classes is None else tuple(classes)
    number = _numbers(str(table), names, chosen)
    rows = np.array([row_of[name] for name in listed], np.int64)
    order = np.argsort(rows)
    lists = [sorted(number[cell] for cell in sets[i]) for i in order.tolist()]
    values = np.array([value for row in lists for value in row], np.int32)
    kept = files.taken(rows[order])
    if len(kept.paths) < len(files.paths):
        kept.ignored["unlisted"] = len(files.paths) - len(kept.paths)
    return Labelled(kept, Csr(values, offsets_of(np.array([len(row) for row in lists], np.int64))), chosen)


def _numbers(where: str, found: set[str], classes: tuple[str, ...]) -> dict[str, int]:
    number = {name: i for i, name in enumerate(classes)}
    if len(number) < len(classes):
        raise DatasetError(f"{where}: classes: expected each once, found {len(classes) - len(number):,} again")
    unknown = sorted(found - number.keys())
    if unknown:
        raise DatasetError(
            f"{where}: expected the {len(classes):,} classes that were given, found {len(unknown):,} others: "
            f"{some(unknown)}"
        )
    return number
