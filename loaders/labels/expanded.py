"""A build's folder of expanded labels: Parquet by bucket, sorted by (image_key, label), with verified negatives beside.

In: `expanded/*.parquet` of `openjft.pipelines.schema.EXPANDED`. Out: `LabelRows`, a piece at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.loaders.errors import LoaderError
from openjft.loaders.shard_index import read_parquet
from openjft.taxonomy import Csr, Taxonomy
from openjft.taxonomy.csr import offsets_of

from .pieces import KEY, Pieces, key_array
from .rows import LabelRows, sortable

# Of a build's `expanded/` (openjft.pipelines.schema, which this package may not import: a test holds the two together).
EXPANDED_NAMES: Final = (KEY, "label", "probability", "asserted", "from_label")
NEGATIVE_NAMES: Final = (KEY, "label")


class ExpandedParts:
    """A build's expanded labels.

    Args:
        files: of `expanded/`.
        taxonomy: of the labels.
        fingerprint: of what the files hold.
    """

    rejected: Mapping[str, int] = {}

    def __init__(self, files: Sequence[Path], taxonomy: Taxonomy, fingerprint: str) -> None:
        self.taxonomy, self.fingerprint = taxonomy, fingerprint
        self._pieces = Pieces(files)
        self.first_keys = self._pieces.first_keys

    def read(self, part: int) -> LabelRows:
        """A piece's labels.

        Raises:
            LoaderError: the file is damaged, or not of a build with this hierarchy.
        """
        path, n = self._pieces.of[part].path, self.taxonomy.num_categories
        table, keys = self._pieces.read(part, EXPANDED_NAMES)
        return expanded_rows(table, keys, path=path, num_categories=n)


def negatives_of(path: Path) -> Path:
    """The file of verified negatives that goes with a bucket's labels."""
    return path.parent.parent / "negatives" / path.name


def expanded_rows(table: pa.Table, keys: npt.NDArray[np.uint8], *, path: Path, num_categories: int) -> LabelRows:
    """A table of a build, and its keys, as lists.

    Raises:
        LoaderError: nulls, labels outside the vocabulary, probabilities outside [0, 1], or rows not sorted.
    """
    if any(column.null_count for column in table.columns):
        raise LoaderError(f"{path}: expected no nulls")
    try:
        labels, origins = (_array(table, name, pa.int32()) for name in ("label", "from_label"))
        probabilities, asserted = _array(table, "probability", pa.float32()), _array(table, "asserted", pa.bool_())
    except pa.ArrowException as error:
        raise LoaderError(f"{path}: expected the columns of a build's expanded/, found others: {error}") from error
    check_labels(labels, num_categories, path)
    check_labels(origins, num_categories, path)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise LoaderError(f"{path}: expected probabilities in [0, 1], found others")
    held = sortable(keys)
    new = np.append(True, held[1:] != held[:-1])
    again = ~new[1:] & (labels[1:] <= labels[:-1])
    if again.any():
        row = int(again.argmax()) + 1
        raise LoaderError(
            f"{path}: expected rows by rising key and label, found {keys[row].tobytes().hex()} with label "
            f"{labels[row]} after {labels[row - 1]}"
        )
    starts = np.flatnonzero(new)
    lengths = np.diff(np.append(starts, len(keys)))
    return LabelRows(
        keys[starts],
        Csr(labels, offsets_of(lengths)),
        probabilities,
        asserted,
        origins,
        _negative_lists(keys[starts], negatives_of(path), num_categories),
    )


def check_labels(labels: npt.NDArray[np.int32], num_categories: int, path: Path) -> None:
    """Raises `LoaderError` for a label outside [0, num_categories)."""
    if len(labels) and (labels.min() < 0 or labels.max() >= num_categories):
        raise LoaderError(
            f"{path}: expected labels in [0, {num_categories}), found {labels.min()} to {labels.max()}; the labels and "
            "the hierarchy are not of one build"
        )


def _array(table: pa.Table, name: str, kind: pa.DataType) -> npt.NDArray[Any]:
    column = table[name].cast(kind).combine_chunks()
    array = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _negative_lists(keys: npt.NDArray[np.uint8], path: Path, num_categories: int) -> Csr:
    """The verified negatives of images with labels; those of others say nothing to a training."""
    if not path.is_file():
        return Csr(np.empty(0, np.int32), np.zeros(len(keys) + 1, np.int64))
    with path.open("rb") as source:
        table = read_parquet(source, where=str(path)).select(NEGATIVE_NAMES)
    labels, wanted = _array(table, "label", pa.int32()).astype(np.int32), sortable(keys)
    held = sortable(key_array(table[KEY], where=str(path)))
    check_labels(labels, num_categories, path)
    place = np.minimum(np.searchsorted(wanted, held), len(wanted) - 1)
    known = wanted[place] == held
    order = np.lexsort((labels[known], place[known]))
    return Csr(labels[known][order], offsets_of(np.bincount(place[known], minlength=len(keys))))
