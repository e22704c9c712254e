"""A label table of one's own: rows of (image, label), checked all at once, with the ancestors filled in.

In: CSV or Parquet with `image_key` or `name`, `label`, and as wanted `probability` (1 where not told) and `asserted`.
Where `asserted` is not told, every row is asserted and the ancestors follow from the hierarchy, each with the
probability of the surest label below it. Out: `LabelRows` by rising key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from openjft.loaders.errors import LoaderError
from openjft.loaders.schema import KEY_BYTES
from openjft.taxonomy import Csr, Taxonomy, ancestor_closure
from openjft.taxonomy.csr import offsets_of

from .rows import LabelRows, sortable

MAX_ROWS: Final = 50_000_000  # held in memory: 2 GB
SHOWN: Final = 5
_HEX: Final = r"^[0-9a-f]{32}$"


def sample_key(name: str) -> bytes:
    """The key of a sample that has a name and no key: 16 bytes of its hash."""
    return hashlib.blake2b(name.encode(), digest_size=KEY_BYTES).digest()


def read_own(files: Sequence[Path]) -> pa.Table:
    """The rows of some CSV or Parquet files.

    Raises:
        LoaderError: one is damaged, or they are too many rows for memory.
    """
    tables = []
    for path in files:
        try:
            if path.suffix == ".parquet":
                tables.append(pq.read_table(path))
            else:
                strings = pa.csv.ConvertOptions(column_types=dict.fromkeys(("image_key", "name", "label"), pa.string()))
                tables.append(pa.csv.read_csv(path, convert_options=strings))
        except (pa.ArrowException, OSError) as error:
            raise LoaderError(f"{path}: expected a CSV or Parquet file of labels, found {error}") from error
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise LoaderError(f"{files[0].parent}: expected files with the same columns, found {error}") from error
    if table.num_rows > MAX_ROWS:
        raise LoaderError(
            f"{files[0]}: expected at most {MAX_ROWS:,} rows in a table that is sorted in memory, found "
            f"{table.num_rows:,}; write them as a build's expanded/ folder, by rising key in several files"
        )
    return table


def own_rows(table: pa.Table, taxonomy: Taxonomy, *, where: str) -> LabelRows:
    """The rows of a table, checked and sorted.

    Raises:
        LoaderError: columns are missing, or rows are wrong; every kind of mistake is told, with its first examples.
    """
    names = set(table.column_names)
    if "label" not in names or not names & {"image_key", "name"}:
        raise LoaderError(
            f"{where}: expected the columns label and image_key (or name), found {', '.join(table.column_names)}"
        )
    mistakes: list[str] = []
    keys = _keys(table, mistakes)
    labels = _labels(table, taxonomy, mistakes)
    probabilities = _probabilities(table, mistakes)
    if not mistakes:
        _check_repeated(keys, labels, taxonomy, mistakes)
    if table.num_rows == 0:
        mistakes.append("expected at least one row, found none")
    if mistakes:
        raise LoaderError(f"{where}: {len(mistakes)} kinds of mistakes\n" + "\n".join(f"  {m}" for m in mistakes))
    asserted = None
    if "asserted" in names:
        asserted = pc.fill_null(table["asserted"].cast(pa.bool_()), True).to_numpy()
    return _sorted(keys, labels, probabilities, asserted, taxonomy)


def _tell(wrong: npt.NDArray[np.bool_], values: pa.ChunkedArray, expected: str, mistakes: list[str]) -> None:
    """Adds a line about the rows that are wrong, if some are."""
    rows = np.flatnonzero(wrong)
    if rows.size:
        shown = ", ".join(f"{values[int(row)].as_py()!r:.60} (row {row + 1:,})" for row in rows[:SHOWN])
        mistakes.append(f"expected {expected}, found {rows.size:,} others: {shown}")


def _keys(table: pa.Table, mistakes: list[str]) -> npt.NDArray[np.uint8]:
    if "image_key" not in table.column_names:
        names = table["name"].cast(pa.string())
        _tell(names.is_null().to_numpy(), names, "a name in each row", mistakes)
        keys = [sample_key(name or "") for name in names.to_pylist()]
    else:
        column = table["image_key"]
        if pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == KEY_BYTES:
            keys = [key or bytes(KEY_BYTES) for key in column.to_pylist()]
        else:
            column = pc.utf8_lower(column.cast(pa.string()))
            good = pc.fill_null(pc.match_substring_regex(column, _HEX), False).to_numpy()
            _tell(~good, column, "image_key of 32 hex digits", mistakes)
            keys = [
                bytes.fromhex(key) if ok else bytes(KEY_BYTES) for key, ok in zip(column.to_pylist(), good, strict=True)
            ]
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)


def _labels(table: pa.Table, taxonomy: Taxonomy, mistakes: list[str]) -> npt.NDArray[np.int64]:
    ids = table["label"].cast(pa.string())
    found = taxonomy.lookup_ids(ids)
    unknown = found.is_null().to_numpy(zero_copy_only=False)
    expected = f"labels of the vocabulary ({taxonomy.num_categories:,} categories, such as {taxonomy.ids[0]!r})"
    _tell(unknown, ids, expected, mistakes)
    return np.asarray(pc.fill_null(found, 0).to_numpy(zero_copy_only=False), np.int64)


def _probabilities(table: pa.Table, mistakes: list[str]) -> npt.NDArray[np.float32]:
    if "probability" not in table.column_names:
        return np.ones(table.num_rows, np.float32)
    column = table["probability"]
    values = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    _tell(~((values >= 0) & (values <= 1)), column, "a probability in [0, 1]", mistakes)
    return np.asarray(values, np.float32)


def _check_repeated(
    keys: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], taxonomy: Taxonomy, mistakes: list[str]
) -> None:
    held = sortable(keys)
    order = np.lexsort((labels, held))
    again = (held[order][1:] == held[order][:-1]) & (labels[order][1:] == labels[order][:-1])
    if again.any():
        first = int(order[1:][again][0])
        mistakes.append(
            f"expected each (image, label) once, found {again.sum():,} repeated: "
            f"{keys[first].tobytes().hex()} {taxonomy.ids[int(labels[first])]!r}"
        )


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
