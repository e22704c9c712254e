"""What an index of plain tars holds: the list of them, how often each label occurs, a vocabulary that was given.

In: the folder of an index. Out: its `Collection`, or the files, each by rename. Where the folder lies is decided here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openjft.loaders.atomic import whole_file
from openjft.loaders.errors import DatasetError, LoaderError
from openjft.loaders.schema import EDGES_FILE, KEY, KEY_BYTES, VOCABULARY_FILE
from openjft.loaders.shard_index import fixed_bytes, key_heads, read_parquet
from openjft.taxonomy import Taxonomy, TaxonomyError

from .names import TarNames
from .schema import COLLECTION, ENTRY, FOLDER, FORMAT, FORMAT_VERSION, LABEL_COUNTS, TAR_INDEX, index_name, labels_name

KeyRule = Literal["name", "path"]
Unknown = Literal["error", "drop"]
MAX_SHOWN: Final = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """What decides the index.

    `label_field`: of a sample's JSON; None: `.cls`, or the labels as this project writes them. `key`: a sample's key is
    the hash of its name, or, where names repeat from tar to tar, of tar and name (`path`). A name of 32 hex digits is
    the key itself.
    """

    label_field: str | None = None
    key: KeyRule = "name"

    def __post_init__(self) -> None:
        if self.key not in ("name", "path"):
            raise LoaderError(f"key: expected 'name' or 'path', found {self.key!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TarEntry:
    """A tar in the list: what it was when it was indexed, and what became of it.

    Samples found = `samples` + the sum of `rejects`. `lost` counts stretches of bytes that belong to no sample, by
    reason; `examples` are the first of both, each with its text.
    """

    name: str
    bytes: int
    version: str  # as the storage tells it; "" where it tells none
    samples: int
    digest: str  # of keys, hashes of images, and labels
    rejects: dict[str, int]
    lost: dict[str, int]
    lost_bytes: int
    examples: list[str]


@dataclasses.dataclass(frozen=True)
class Collection:
    """The list of an index. `vocabulary`: one was given and lies in the folder; `unknown`: labels outside of it."""

    options: IndexOptions
    entries: Mapping[str, TarEntry]
    vocabulary: bool = False
    unknown: Unknown = "error"


def index_folder(tars: TarNames, given: Path | None = None) -> Path:
    """Where the index of some tars lies: where it is told, or beside them, or in the user's cache."""
    if given is not None:
        return given
    folder = tars.folder
    if folder.local_path is not None:
        beside = folder.local_path / FOLDER
        if (beside / COLLECTION).is_file() or os.access(beside if beside.exists() else folder.local_path, os.W_OK):
            return beside
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "openjft" / "index" / hashlib.blake2b(folder.shown_root.encode(), digest_size=12).hexdigest()


def read_collection(folder: Path) -> Collection | None:
    """The list of an index; None where there is none.

    Raises:
        LoaderError: it is damaged.
    """
    path = folder / COLLECTION
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if (value["format"], value["version"]) != (FORMAT, FORMAT_VERSION):
            raise LoaderError(
                f"{path}: expected {FORMAT} version {FORMAT_VERSION}, found {value['format']!r:.40} "
                f"{value['version']!r:.20}; remove it, and index again"
            )
        entries = [TarEntry(**entry) for entry in value["tars"]]
        options = IndexOptions(**value["options"])
        return Collection(options, {e.name: e for e in entries}, value["vocabulary"], value["unknown_labels"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LoaderError(
            f"{path}: expected the list of an index, found damage: {error}; remove it, and index again"
        ) from error


def write_collection(folder: Path, collection: Collection) -> None:
    """The list, which is written last.

    Raises:
        LoaderError: it cannot be written.
    """
    value = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "options": dataclasses.asdict(collection.options),
        "vocabulary": collection.vocabulary,
        "unknown_labels": collection.unknown,
        "tars": [dataclasses.asdict(entry) for _, entry in sorted(collection.entries.items())],
    }
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    replace(folder / COLLECTION, lambda path: path.write_text(text, encoding="utf-8"))


def write_table(folder: Path, entry: TarEntry, options: IndexOptions, table: pa.Table) -> None:
    """The file of a tar, with its entry: a killed run finds it again.

    Raises:
        LoaderError: it cannot be written.
    """
    told = {"entry": dataclasses.asdict(entry), "options": dataclasses.asdict(options)}
    table = table.replace_schema_metadata({ENTRY: json.dumps(told, sort_keys=True).encode()})
    replace(folder / index_name(entry.name), lambda path: pq.write_table(table, path, compression="zstd"))


def read_entry(folder: Path, name: str) -> tuple[TarEntry, IndexOptions] | None:
    """What a tar's file says of it; None where there is no such file, or a damaged one."""
    try:
        told = json.loads((pq.read_schema(folder / index_name(name)).metadata or {})[ENTRY])
        return TarEntry(**told["entry"]), IndexOptions(**told["options"])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, LoaderError):
        return None


def read_table(folder: Path, entry: TarEntry, columns: Sequence[str] = tuple(TAR_INDEX.names)) -> pa.Table:
    """The rows of a tar.

    Raises:
        DatasetError: its file is missing, damaged, or of another version of the tar.
    """
    path = folder / index_name(entry.name)
    try:
        table = pq.read_table(path, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: expected the index of {entry.name}, found {error}; index again") from error
    if table.schema != pa.schema([TAR_INDEX.field(name) for name in columns]) or table.num_rows != entry.samples:
        raise DatasetError(
            f"{path}: expected {entry.samples:,} rows of {', '.join(columns)}, found {table.num_rows:,} of "
            f"{', '.join(table.column_names)}; remove it, and index again"
        )
    return table.combine_chunks()


def read_heads(folder: Path, entry: TarEntry) -> npt.NDArray[np.uint64]:
    """(n,) uint64 places of a tar's keys in the hash space, in the order of the tar; errors as of `read_table`."""
    return key_heads(fixed_bytes(read_table(folder, entry, [KEY])[KEY].combine_chunks(), KEY_BYTES))


def label_counts(folder: Path, entries: Sequence[TarEntry]) -> pa.Table:
    """How many images carry each label, LABEL_COUNTS; from a file, or, the first time, from the rows of all tars.

    Raises:
        DatasetError: a tar's file is missing or damaged.
    """
    digest = hashlib.sha256("\0".join(entry.digest for entry in entries).encode()).hexdigest()
    path = folder / labels_name(digest)
    if path.is_file():
        table = read_parquet(path, where=str(path))
        if table.schema == LABEL_COUNTS:
            return table
    counts: dict[str, int] = {}
    for entry in entries:
        for item in pc.value_counts(read_table(folder, entry, ["labels"])["labels"].combine_chunks().flatten()):
            label, count = item["values"].as_py(), item["counts"].as_py()
            counts[label] = counts.get(label, 0) + count
    rows = sorted(counts.items())
    table = pa.table([[label for label, _ in rows], [count for _, count in rows]], schema=LABEL_COUNTS)
    if os.access(folder, os.W_OK):
        replace(path, lambda target: pq.write_table(table, target, compression="zstd"))
    return table


def write_vocabulary(folder: Path, taxonomy: Taxonomy) -> None:
    """The vocabulary that was given."""
    for name, table in zip((VOCABULARY_FILE, EDGES_FILE), taxonomy.to_tables(), strict=True):
        replace(folder / name, lambda path, table=table: pq.write_table(table, path, compression="zstd"))  # type: ignore[misc]


def read_vocabulary(folder: Path) -> Taxonomy:
    """The vocabulary that was given.

    Raises:
        DatasetError: it is missing or damaged.
    """
    try:
        tables = [read_parquet(folder / name, where=str(folder / name)) for name in (VOCABULARY_FILE, EDGES_FILE)]
        return Taxonomy.from_tables(*tables)
    except TaxonomyError as error:
        raise DatasetError(f"{folder}: the vocabulary of the index: {error}") from error


def unknown_labels(counts: pa.Table, taxonomy: Taxonomy) -> list[str]:
    """Labels that a vocabulary does not have."""
    return list(counts["label"].filter(taxonomy.lookup_ids(counts["label"]).is_null()).to_pylist())


def check_known(counts: pa.Table, taxonomy: Taxonomy, where: str) -> None:
    """Raises `LoaderError`, with some of them, where labels are not of the vocabulary."""
    unknown = unknown_labels(counts, taxonomy)
    if unknown:
        shown = ", ".join(f"{label!r:.60}" for label in unknown[:MAX_SHOWN])
        raise LoaderError(
            f"{where}: expected labels of the vocabulary ({taxonomy.num_categories:,} categories, such as "
            f"{taxonomy.ids[0]!r}), found {len(unknown):,} others: {shown}; index with --unknown-labels drop to go "
            "without these"
        )


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under a temporary name and renames it.

    Raises:
        LoaderError: it cannot be written.
    """
    try:
        with whole_file(path) as temporary:
            write(temporary)
    except OSError as error:
        raise LoaderError(f"{path}: could not be written: {error}; give another folder for the index") from error
