"""A finished OpenJFT dataset, or the build folder before it: `vocabulary.parquet` and `edges.parquet` (`schema`).

In: the folder of both files, one that holds it as `taxonomy/`, or either file. Out: ids, names, synonyms,
definitions and aliases exactly as they were. Places are rows, counted from 1.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from ..schema import EDGES, VOCABULARY
from .parquet import read_parquet
from .reader import Reader, ReadOptions
from .source import Source

_FILES: Final = ("vocabulary.parquet", "edges.parquet")


def recognise(source: Source) -> bool:
    """By the names of its two files."""
    return _find(source) is not None


def read(source: Source, options: ReadOptions) -> Draft:
    """The dataset's hierarchy."""
    found = _find(source)
    if found is None:
        raise TaxonomyError(
            f"{source}: expected a folder with {' and '.join(_FILES)}, in it or in its `taxonomy` folder, found none. "
            "Is it the dataset's own folder?"
        )
    vocabulary, edges = (_checked(file, schema) for file, schema in zip(found, (VOCABULARY, EDGES), strict=True))
    places = str(found[0]), str(found[1])
    if not np.array_equal(vocabulary["label"].to_numpy(), np.arange(len(vocabulary))):
        raise TaxonomyError(f"{places[0]}: expected the labels 0, 1, 2, ... in order. Is the file of another release?")
    columns = [vocabulary[name].to_pylist() for name in ("id", "name", "synonyms", "definition", "aliases")]
    categories = tuple(
        Category(category_id, name, tuple(synonyms), definition, tuple(aliases), row, places[0])
        for row, (category_id, name, synonyms, definition, aliases) in enumerate(zip(*columns, strict=True), 1)
    )
    return Draft(categories, _edges(edges, columns[0], places[1]), str(source))


def _edges(edges: pa.Table, ids: list[str], place: str) -> tuple[Edge, ...]:
    pairs = np.stack([edges["child"].to_numpy(), edges["parent"].to_numpy()], axis=1)
    outside = np.flatnonzero(((pairs < 0) | (pairs >= len(ids))).any(axis=1))
    if outside.size:
        row = int(outside[0])
        raise TaxonomyError(
            f"{place}:{row + 1}: expected labels in [0, {len(ids)}), found the edge {pairs[row].tolist()}. Are both "
            "files of one dataset?"
        )
    return tuple(Edge(ids[child], ids[parent], row, place) for row, (child, parent) in enumerate(pairs.tolist(), 1))


def _find(source: Source) -> tuple[Source, Source] | None:
    """Both files; None where one is missing."""
    if source.is_folder:
        names = [_FILES, tuple(f"taxonomy/{name}" for name in _FILES)]
    else:
        names = [_FILES] if source.name in _FILES else []
    for first, second in names:
        files = source.file(first), source.file(second)
        if all(file.exists for file in files):
            return files
    return None


def _checked(source: Source, schema: pa.Schema) -> pa.Table:
    table = read_parquet(source)
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise TaxonomyError(
            f"{source}: expected the columns {', '.join(schema.names)}, found {', '.join(table.column_names)}: "
            f"{', '.join(missing)} missing. Is the dataset of another release?"
        )
    table = table.select(schema.names)
    nulls = [field.name for field in schema if not field.nullable and table[field.name].null_count]
    if nulls:
        raise TaxonomyError(f"{source}: expected no nulls in {', '.join(nulls)}, found some. Is the file whole?")
    try:
        return table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise TaxonomyError(f"{source}: expected the columns of a dataset's file, found {error}") from None


READER = Reader("dataset", "a finished OpenJFT dataset or a build folder", recognise, read)
