"""Label tables as people have them: another data set, a build's folder of labels, or a table of one's own.

In: a path. Out: a `LabelTable`.

- A finished data set: the labels of its indexes, with its own vocabulary and hierarchy.
- A build's `expanded/`: Parquet files by bucket (image_key, label, probability, asserted, from_label), with the
  build's `taxonomy/` beside it; `negatives/` beside it are taken along.
- A CSV or Parquet file (or a folder of Parquet files) of anyone: `image_key` (32 hex digits, or 16 bytes) or `name`
  (of a sample in plain tars), `label` (an external id), and, as wanted, `probability` and `asserted`. See `own`.

Data sets and builds are read part by part, so that memory does not grow with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.loaders.dataset import Dataset
from openjft.loaders.errors import LoaderError
from openjft.loaders.schema import EDGES_FILE, MANIFEST, VOCABULARY_FILE
from openjft.loaders.shard_index import read_parquet
from openjft.taxonomy import Csr, Taxonomy, TaxonomyError
from openjft.taxonomy.csr import offsets_of, run_starts

from .own import own_rows, read_own
from .rows import LabelRows, LabelTable, sortable

# Of a build's `expanded/` (openjft.pipelines.schema, which this package may not import: a test holds the two together).
EXPANDED_NAMES = ("image_key", "label", "probability", "asserted", "from_label")
NEGATIVE_NAMES = ("image_key", "label")
_CHUNK = 1 << 22


def open_label_table(path: str, *, taxonomy: Taxonomy | None = None) -> LabelTable:
    """A label table, whatever kind it is.

    Args:
        path: a data set's folder or URI, a build's `expanded/` folder, or a CSV or Parquet file.
        taxonomy: of the labels; None: the one that the table brings along.

    Raises:
        LoaderError: there is no table, it is damaged, or its labels are not of the vocabulary.
    """
    folder = Path(path)
    if "://" in path or (folder / MANIFEST).is_file():
        return LabelTable(_DatasetParts(Dataset.open(path)))
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else [folder]
    if not files or not files[0].is_file():
        raise LoaderError(
            f"{path}: expected a data set, a folder of Parquet files with labels, or a CSV or Parquet file, found none"
        )
    if folder.is_dir() and set(EXPANDED_NAMES) <= set(_columns(files[0])):
        return LabelTable(_BuildParts(files, taxonomy or _taxonomy_of(folder.parent)))
    if taxonomy is None:
        raise LoaderError(f"{path}: expected the vocabulary of these labels, found none; name a data set that has it")
    return LabelTable(_Whole(own_rows(read_own(files), taxonomy, where=path), taxonomy, _digest(files)))


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise LoaderError(f"{path}: expected a Parquet file, found damage: {error}") from error


def _taxonomy_of(build: Path) -> Taxonomy:
    try:
        tables = [pq.read_table(build / name) for name in (VOCABULARY_FILE, EDGES_FILE)]
        return Taxonomy.from_tables(*tables)
    except (pa.ArrowException, OSError, TaxonomyError) as error:
        raise LoaderError(
            f"{build}: expected the hierarchy of the labels in taxonomy/ beside them, found none: {error}. Name a data "
            "set that has it"
        ) from error


def _digest(files: Sequence[Path]) -> str:
    """Of the files' names and content."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0")
        try:
            with path.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise LoaderError(f"{path}: could not be read: {error}") from error
    return digest.hexdigest()


class _DatasetParts:
    """The shards' indexes of a finished data set."""

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

    def __init__(self, rows: LabelRows, taxonomy: Taxonomy, fingerprint: str) -> None:
        self._rows, self.taxonomy, self.fingerprint = rows, taxonomy, fingerprint
        self.first_keys = [rows.keys[0].tobytes()]

    def read(self, _part: int) -> LabelRows:
        return self._rows


class _BuildParts:
    """A build's folder of expanded labels, a file a bucket."""

    def __init__(self, files: Sequence[Path], taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        firsts = [(first, path) for path in files if (first := _first_key(path)) is not None]
        if not firsts:
            raise LoaderError(f"{files[0].parent}: expected labels, found none in {len(files):,} files")
        firsts.sort()
        self.first_keys, self._files = [first for first, _ in firsts], [path for _, path in firsts]
        negatives = [path for file in self._files if (path := _negatives_of(file)).is_file()]
        self.fingerprint = _digest([*self._files, *negatives])

    def read(self, part: int) -> LabelRows:
        path = self._files[part]
        rows = _expanded_rows(path, _negatives_of(path), self.taxonomy.num_categories)
        if part + 1 < len(self._files) and rows.keys[-1].tobytes() >= self.first_keys[part + 1]:
            raise LoaderError(
                f"{path}: expected keys before {self.first_keys[part + 1].hex()}, where {self._files[part + 1].name} "
                f"begins, found {rows.keys[-1].tobytes().hex()}; the files are not those of one build"
            )
        return rows


def _negatives_of(path: Path) -> Path:
    return path.parent.parent / "negatives" / path.name


def _first_key(path: Path) -> bytes | None:
    """The first key of a file; None where it has no rows."""
    try:
        with pq.ParquetFile(path) as source:
            batch = next(source.iter_batches(batch_size=1, columns=["image_key"]), None)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise LoaderError(f"{path}: expected a Parquet file with image_key, found damage: {error}") from error
    return None if batch is None or batch.num_rows == 0 else bytes(batch.column(0)[0].as_py())


def _expanded_rows(path: Path, negatives: Path, num_categories: int) -> LabelRows:
    with path.open("rb") as source:
        table = read_parquet(source, where=str(path)).select(EXPANDED_NAMES).combine_chunks()
    keys, labels = _keys(table), table["label"].to_numpy()
    _check_labels(labels, num_categories, path)
    held = sortable(keys)
    falling = (held[1:] < held[:-1]) | ((held[1:] == held[:-1]) & (labels[1:] <= labels[:-1]))
    if falling.any():
        raise LoaderError(f"{path}: expected rows by rising key and label, found others from row {falling.argmax():,}")
    starts = run_starts(held)  # type: ignore[arg-type]
    unique = keys[starts]
    lengths = np.diff(np.append(starts, len(keys)))
    return LabelRows(
        unique,
        Csr(labels, offsets_of(lengths)),
        table["probability"].to_numpy(),
        table["asserted"].to_numpy(zero_copy_only=False),
        table["from_label"].to_numpy(),
        _negative_lists(unique, negatives, num_categories),
    )


def _negative_lists(keys: np.ndarray, path: Path, num_categories: int) -> Csr:
    """The verified negatives of images with labels; those of others say nothing to a training."""
    if not path.is_file():
        return Csr(np.empty(0, np.int32), np.zeros(len(keys) + 1, np.int64))
    with path.open("rb") as source:
        table = read_parquet(source, where=str(path)).select(NEGATIVE_NAMES).combine_chunks()
    labels, held, wanted = table["label"].to_numpy(), sortable(_keys(table)), sortable(keys)
    _check_labels(labels, num_categories, path)
    place = np.minimum(np.searchsorted(wanted, held), len(wanted) - 1)
    known = wanted[place] == held
    order = np.lexsort((labels[known], place[known]))
    return Csr(labels[known][order], offsets_of(np.bincount(place[known], minlength=len(keys))))


def _keys(table: pa.Table) -> np.ndarray:
    column = table["image_key"].combine_chunks().cast(pa.binary(16))
    return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, 16)


def _check_labels(labels: np.ndarray, num_categories: int, path: Path) -> None:
    if len(labels) and (labels.min() < 0 or labels.max() >= num_categories):
        raise LoaderError(
            f"{path}: expected labels in [0, {num_categories}), found {labels.min()} to {labels.max()}; the labels and "
            "the hierarchy are not of one build"
        )
