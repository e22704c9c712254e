"""Label tables as people have them: another data set, a build's folder of labels, or a table of one's own.

In: a path. Out: a `LabelTable`.

- A finished data set: the labels of its indexes, with its own vocabulary and hierarchy.
- A build's `expanded/`: Parquet files by bucket (image_key, label, probability, asserted, from_label), with the
  build's `taxonomy/` beside it; `negatives/` beside it are taken along.
- CSV or Parquet of anyone, a file or a folder of Parquet files: `image_key` (32 hex digits, or 16 bytes) or `name`
  (of a sample in plain tars), `label` (an external id, or an integer label), and, as wanted, `probability` and
  `asserted`. See `own`. A build's `labels/`, asserted labels alone, is one.

Data sets, builds, and Parquet of anyone that is sorted by key are read part by part, so that memory does not grow.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from openjft.loaders.dataset import Dataset
from openjft.loaders.errors import LoaderError
from openjft.loaders.schema import EDGES_FILE, MANIFEST, VOCABULARY_FILE
from openjft.taxonomy import Taxonomy, TaxonomyError

from .expanded import EXPANDED_NAMES, ExpandedParts, negatives_of
from .own import COLUMNS, MAX_ROWS, check_columns, occurring, own_rows, read_own
from .pieces import KEY, Pieces, opened
from .rows import LabelRows, LabelTable

_INDEX_BYTES: Final = 1 << 28  # a part is a shard, read once for each shard of the images
_LARGE_PIECE: Final = 1 << 20


def open_label_table(path: str, *, taxonomy: Taxonomy | None = None, allow_rejects: bool = False) -> LabelTable:
    """A label table, whatever kind it is.

    Args:
        path: a data set's folder or URI, a folder of Parquet files, or a CSV or Parquet file.
        taxonomy: of the labels of a table that brings none along; None: the ids that occur there, in order, without a
            hierarchy. A data set, and a folder with a build's `taxonomy/` beside it, mean their own.
        allow_rejects: rows of one's own table that are wrong are left out and counted (`LabelTable.rejected`).

    Raises:
        LoaderError: there is no table, it is damaged, or its labels are not of the vocabulary.
    """
    if _is_dataset(path):
        return LabelTable(_DatasetParts(Dataset.open(path, index_cache_bytes=_INDEX_BYTES)))
    files, folder = _files_of(path), Path(path)
    expanded = folder.is_dir() and set(EXPANDED_NAMES) <= set(_columns(files[0]))
    if folder.is_dir() and (folder.parent / VOCABULARY_FILE).is_file():
        taxonomy = read_taxonomy_of(folder.parent)
    if expanded:
        return LabelTable(ExpandedParts(files, taxonomy or read_taxonomy_of(folder.parent), content_of(path)))
    if not allow_rejects and files[0].suffix == ".parquet" and _rows_of(files) > MAX_ROWS:
        taxonomy = taxonomy or occurring(_label_column(files), where=path)
        return LabelTable(_OwnParts(files, taxonomy, content_of(path)))
    rows = read_own(files)
    check_columns(rows.column_names, where=path)
    taxonomy = taxonomy or occurring([rows["label"]], where=path)
    own = own_rows(rows, taxonomy, where=path, allow_rejects=allow_rejects)
    return LabelTable(_Whole(own.rows, own.rejected, taxonomy, content_of(path)))


def content_of(path: str) -> str:
    """Sha256, as hex digits, of what a label table or a list holds, wherever it lies.

    Of a data set that of its manifest, which lists the hashes of its files. Computed once for a file that stays.

    Raises:
        LoaderError: there is nothing, or it cannot be read.
    """
    if _is_dataset(path):
        return Dataset.open(path).fingerprint
    files = _files_of(path)
    negatives = [beside for file in files if (beside := negatives_of(file)).is_file()]
    digest = hashlib.sha256()
    for file in [*files, *negatives]:
        try:
            facts = file.stat()
            content = _file_sha256(file.resolve(), facts.st_size, facts.st_mtime_ns)
        except OSError as error:
            raise LoaderError(f"{file}: could not be read: {error}") from error
        name = f"{file.parent.name}/{file.name}" if Path(path).is_dir() else ""
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def hierarchy_content_of(folder: str) -> str:
    """Sha256, as hex digits, of what the hierarchy in a folder says.

    Raises:
        LoaderError: there is none, or it is damaged.
    """
    return read_taxonomy_of(Path(folder)).fingerprint()


@functools.lru_cache(maxsize=1 << 16)
def _file_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def read_taxonomy_of(folder: Path) -> Taxonomy:
    """The hierarchy in `taxonomy/` of a build or of a data set.

    Raises:
        LoaderError: there is none, or it is damaged.
    """
    try:
        return Taxonomy.from_tables(*(pq.read_table(folder / name) for name in (VOCABULARY_FILE, EDGES_FILE)))
    except (pa.ArrowException, OSError, TaxonomyError) as error:
        raise LoaderError(
            f"{folder}: expected the hierarchy of the labels in {VOCABULARY_FILE} and {EDGES_FILE}, found none: {error}"
            ". Name a data set or a build that has it"
        ) from error


def _is_dataset(path: str) -> bool:
    return "://" in path or (Path(path) / MANIFEST).is_file()


def _files_of(path: str) -> Sequence[Path]:
    folder = Path(path)
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else [folder]
    if not files or not files[0].is_file():
        raise LoaderError(
            f"{path}: expected a data set, a folder of Parquet files with labels, or a CSV or Parquet file, found none"
        )
    return files


def _columns(path: Path) -> Sequence[str]:
    with opened(path) as source:
        return list(source.schema_arrow.names)


def _label_column(files: Sequence[Path]) -> Iterator[pa.Array]:
    for path in files:
        with opened(path) as source:
            check_columns(source.schema_arrow.names, where=str(path))
            try:
                for batch in source.iter_batches(columns=["label"]):
                    yield batch.column(0)
            except (pa.ArrowException, OSError) as error:
                raise LoaderError(f"{path}: expected a Parquet file of labels, found damage: {error}") from error


def _rows_of(files: Sequence[Path]) -> int:
    total = 0
    for path in files:
        with opened(path) as source:
            total += source.metadata.num_rows
    return total


class _DatasetParts:
    """The shards' indexes of a finished data set."""

    rejected: Mapping[str, int] = {}

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        shards = enumerate(dataset.manifest.shards)
        self._shards = [(i, bytes.fromhex(shard.first_key)) for i, shard in shards if shard.first_key is not None]
        self.taxonomy, self.fingerprint = dataset.taxonomy, dataset.fingerprint
        self.first_keys = [first for _, first in self._shards]

    def read(self, part: int) -> LabelRows:
        return LabelRows.of_shard(self._dataset.index(self._shards[part][0]))


class _Whole:
    """A table that is in memory."""

    def __init__(self, rows: LabelRows, rejected: Mapping[str, int], taxonomy: Taxonomy, fingerprint: str) -> None:
        self._rows, self.rejected = rows, rejected
        self.taxonomy, self.fingerprint = taxonomy, fingerprint
        self.first_keys = [rows.keys[0].tobytes()]

    def read(self, _part: int) -> LabelRows:
        return self._rows


class _OwnParts:
    """One's own Parquet files, sorted by key and too large for memory."""

    rejected: Mapping[str, int] = {}

    def __init__(self, files: Sequence[Path], taxonomy: Taxonomy, fingerprint: str) -> None:
        self.taxonomy, self.fingerprint = taxonomy, fingerprint
        self._pieces = Pieces(files, piece_rows=_LARGE_PIECE)
        self._columns = [KEY, *(name for name in COLUMNS if name in _columns(files[0]) and name not in (KEY, "name"))]
        self.first_keys = self._pieces.first_keys

    def read(self, part: int) -> LabelRows:
        table, _ = self._pieces.read(part, self._columns)
        return own_rows(table, self.taxonomy, where=str(self._pieces.of[part].path)).rows
