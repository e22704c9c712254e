"""A label table of one's own: rows of (image, label), checked all at once, with the ancestors filled in.

In: CSV or Parquet with `image_key` or `name`, `label`, and as wanted `probability` (1 where not told) and `asserted`.
Where `asserted` is not told, every row is asserted and the ancestors follow from the hierarchy, each with the
probability of the surest label below it. Out: `LabelRows` by rising key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from openjft.loaders.errors import LoaderError
from openjft.loaders.tars.indexing import sample_key as tar_sample_key
from openjft.taxonomy import Csr, Taxonomy, ancestor_closure
from openjft.taxonomy.build import flat_taxonomy
from openjft.taxonomy.csr import offsets_of

from .columns import Mistakes, keys_of, labels_of, probabilities_of, truths_of
from .pieces import opened
from .rows import LabelRows, sortable

MAX_OCCURRING: Final = 1_000_000  # categories of a vocabulary that a table's rows make
MAX_ROWS: Final = 20_000_000  # held in memory, 200 bytes each on the way
COLUMNS: Final = ("image_key", "name", "label", "probability", "asserted")
_TEXT: Final = ("image_key", "name", "label")


class OwnRows(NamedTuple):
    """The labels of a table, and how many of its rows were rejected for each reason."""

    rows: LabelRows
    rejected: Mapping[str, int]


def sample_key(name: str) -> bytes:
    """The key of a sample of plain tars that has this name: 16 bytes of its hash, or the name where it is a key."""
    return tar_sample_key(name, "", "name")


def read_own(files: Sequence[Path], *, max_rows: int = MAX_ROWS) -> pa.Table:
    """The rows of some CSV or Parquet files.

    Raises:
        LoaderError: one is damaged, or they are too many rows for memory.
    """
    tables: list[pa.Table] = []
    rows = 0
    for path in files:
        for table in [_read_parquet(path)] if path.suffix == ".parquet" else _read_csv(path):
            rows += table.num_rows
            if rows > max_rows:
                raise LoaderError(
                    f"{path}: expected at most {max_rows:,} rows in a table that is sorted in memory, found more; "
                    "write them as Parquet, sorted by image_key, then they are read piece by piece"
                )
            tables.append(table)
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise LoaderError(f"{files[0].parent}: expected files with the same columns, found {error}") from error


def _read_parquet(path: Path) -> pa.Table:
    with opened(path) as source:
        try:
            return source.read(columns=[name for name in source.schema_arrow.names if name in COLUMNS])
        except (pa.ArrowException, OSError) as error:
            raise LoaderError(f"{path}: expected a Parquet file of labels, found damage: {error}") from error


def _read_csv(path: Path) -> list[pa.Table]:
    """A CSV file in blocks, so that one too large is noticed before memory is full."""
    strings = pa.csv.ConvertOptions(column_types=dict.fromkeys(_TEXT, pa.string()), strings_can_be_null=True)
    tables, rows = [], 0
    try:
        with pa.csv.open_csv(path, convert_options=strings) as reader:
            tables.append(pa.table([[]] * len(reader.schema), schema=reader.schema))
            for batch in reader:
                tables.append(pa.Table.from_batches([batch]))
                rows += batch.num_rows
                if rows > MAX_ROWS:
                    break
    except (pa.ArrowException, OSError) as error:
        raise LoaderError(f"{path}: expected a CSV file of labels, found {error}") from error
    return [table.select([name for name in table.column_names if name in COLUMNS]) for table in tables]


def own_rows(table: pa.Table, taxonomy: Taxonomy, *, where: str, allow_rejects: bool = False) -> OwnRows:
    """The rows of a table, checked and sorted.

    Args:
        table: as `read_own` gives it.
        taxonomy: of the labels.
        where: the table's name, for messages.
        allow_rejects: rows that are wrong are left out and counted.

    Raises:
        LoaderError: columns are missing, no row is left, or rows are wrong; every kind of mistake is told, with its
            first examples.
    """
    check_columns(table.column_names, where=where)
    mistakes = Mistakes(table.num_rows)
    keys = keys_of(table, mistakes, sample_key)
    labels = labels_of(table, taxonomy, mistakes)
    probabilities = probabilities_of(table, mistakes)
    asserted = truths_of(table, mistakes) if "asserted" in table.column_names else None
    _note_repeated(keys, labels, taxonomy, mistakes)
    if mistakes.lines and not allow_rejects:
        kinds = f"{len(mistakes.lines)} kind{'s' * (len(mistakes.lines) > 1)} of mistakes"
        raise LoaderError(f"{where}: {kinds}\n" + "\n".join(f"  {line}" for line in mistakes.lines))
    good = ~mistakes.wrong
    if not good.any():
        told = "".join(f"\n  {line}" for line in mistakes.lines)
        raise LoaderError(f"{where}: expected at least one row of an image and a label, found none{told}")
    rows = _sorted(
        keys[good], labels[good], probabilities[good], None if asserted is None else asserted[good], taxonomy
    )
    return OwnRows(rows, mistakes.counts)


def check_columns(names: Sequence[str], *, where: str) -> None:
    """Raises `LoaderError` where a table does not say which image has which label."""
    if "label" not in names or not {"image_key", "name"} & set(names):
        raise LoaderError(f"{where}: expected the columns label and image_key (or name), found {', '.join(names)}")


def occurring(labels: Iterable[pa.ChunkedArray | pa.Array], *, where: str) -> Taxonomy:
    """The vocabulary of a table that comes without one: the ids that occur, in order, without a hierarchy.

    Args:
        labels: the table's column, in as many parts as it has.
        where: the table's name, for messages.

    Raises:
        LoaderError: there are no ids, too many, or numbers, which say nothing without a vocabulary.
    """
    found: set[str] = set()
    for part in labels:
        if not (pa.types.is_string(part.type) or pa.types.is_large_string(part.type)):
            raise LoaderError(
                f"{where}: expected category ids as text, since the images have no vocabulary, found labels of type "
                f"{part.type}; name a folder that has the vocabulary with --taxonomy"
            )
        found.update(text for text in pc.unique(part).to_pylist() if text)
        if len(found) > MAX_OCCURRING:
            raise LoaderError(
                f"{where}: expected at most {MAX_OCCURRING:,} different labels, found more; is `label` the column of "
                "the category ids? A larger vocabulary is named with --taxonomy"
            )
    if not found:
        raise LoaderError(f"{where}: expected at least one row of an image and a label, found none")
    return flat_taxonomy(found, origin=where)


def _note_repeated(
    keys: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], taxonomy: Taxonomy, mistakes: Mistakes
) -> None:
    """The second and further rows of an image and a label, among the rows that are right."""
    good = np.flatnonzero(~mistakes.wrong)
    held = sortable(keys[good])
    order = np.lexsort((labels[good], held))
    again = (held[order][1:] == held[order][:-1]) & (labels[good][order][1:] == labels[good][order][:-1])
    rows = np.sort(good[order[1:][again]])

    def show(row: int) -> str:
        return f"{keys[row].tobytes().hex()} {taxonomy.ids[int(labels[row])]!r}"

    mistakes.note("repeated", rows, "each (image, label) once", show)


def _sorted(
    keys: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    asserted: npt.NDArray[np.bool_] | None,
    taxonomy: Taxonomy,
) -> LabelRows:
    """One list an image, by rising key; with ancestors, unless the table says itself what is asserted."""
    held, image = np.unique(sortable(keys), return_inverse=True)
    first = np.zeros(len(held), np.int64)
    first[image] = np.arange(len(image))
    origin = labels
    if asserted is None:
        above = ancestor_closure(taxonomy).csr.take(labels)
        below = np.repeat(np.arange(len(labels)), above.lengths)
        asserted = np.concatenate([np.ones(len(labels), np.bool_), np.zeros(len(below), np.bool_)])
        image, origin = np.concatenate([image, image[below]]), np.concatenate([labels, labels[below]])
        probabilities = np.concatenate([probabilities, probabilities[below]])
        labels = np.concatenate([labels, above.values])
    # Of one image's rows of one label the asserted one comes first, then the surest, then the smallest origin.
    order = np.lexsort((origin, -probabilities, ~asserted, labels, image))
    code = image[order] * taxonomy.num_categories + labels[order]
    order = order[np.append(True, code[1:] != code[:-1])]
    return LabelRows(
        keys[first],
        Csr(labels[order].astype(np.int32), offsets_of(np.bincount(image[order], minlength=len(held)))),
        probabilities[order],
        asserted[order],
        origin[order].astype(np.int32),
        Csr(np.empty(0, np.int32), np.zeros(len(held) + 1, np.int64)),
    )
