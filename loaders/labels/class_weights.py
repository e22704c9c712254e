"""Weights of classes in the loss, from a table.

In: CSV with the columns `id` (external id or alias) and `weight` (0 or more). Out: (c,) float32, 1 for classes that the
table leaves out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from openjft.loaders.errors import LoaderError
from openjft.taxonomy import Taxonomy

MAX_BYTES: Final = 1 << 26
SHOWN: Final = 5
COLUMNS: Final = ("id", "weight")


def read_class_weights(path: Path, taxonomy: Taxonomy) -> npt.NDArray[np.float32]:
    """The weight of each class.

    Raises:
        LoaderError: the table cannot be read, or rows are wrong; every kind of mistake is told.
    """
    ids, texts = _columns(path)
    labels = taxonomy.lookup_ids(ids)
    weights = np.array([_number(text) for text in texts.to_pylist()], np.float64)
    known = labels.is_valid().to_numpy(zero_copy_only=False)
    mistakes = []
    unknown = [str(text) for text, ok in zip(ids.to_pylist(), known, strict=True) if not ok]
    if unknown:
        hints = ", ".join(f"{text!r:.60}{taxonomy.suggest(text[:60])}" for text in unknown[:SHOWN])
        mistakes.append(
            f"id: expected ids of the {taxonomy.num_categories:,} categories, found {len(unknown):,}: {hints}"
        )
    places = labels.drop_null().to_numpy()
    counts = np.bincount(places, minlength=taxonomy.num_categories)
    if (counts > 1).any():
        again = ", ".join(repr(taxonomy.ids[i]) for i in np.flatnonzero(counts > 1)[:SHOWN])
        mistakes.append(f"id: expected each category once, found {(counts > 1).sum():,} more often: {again}")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        shown = ", ".join(f"{texts[int(i)].as_py()!r:.60} (row {i + 1:,})" for i in wrong[:SHOWN])
        mistakes.append(f"weight: expected numbers of 0 or more, found {wrong.size:,} others: {shown}")
    if mistakes:
        raise LoaderError(f"{path}: class weights\n" + "\n".join(f"  {line}" for line in mistakes))
    found = np.ones(taxonomy.num_categories, np.float32)
    found[places] = weights
    return found


def _columns(path: Path) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LoaderError(f"{path}: expected a table of at most {MAX_BYTES:,} bytes, found more")
        options = pa.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=True)
        table = pa.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise LoaderError(f"{path}: expected a CSV table with the columns id and weight: {error}") from error
    if not set(COLUMNS) <= set(table.column_names) or not table.num_rows:
        raise LoaderError(
            f"{path}: expected rows with the columns id and weight, found {table.num_rows} with "
            f"{', '.join(table.column_names)}"
        )
    return table["id"], table["weight"]


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return float("nan")
