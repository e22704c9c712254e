"""Indexes plain tars, one file a tar: where each image lies, its hash, and what its labels are called.

In: tars. Out: `.openjft/` beside them, or a folder of its own where that cannot be written. Samples in = samples kept +
rejects by reason. Files appear by rename, the list of them last: a killed run goes on with the tars that are missing, a
tar that has changed is indexed anew, and two runs give the same bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from openjft.loaders.errors import LoaderError
from openjft.loaders.schema import KEY_BYTES, MAX_IMAGE_BYTES
from openjft.loaders.storage.folder import Folder

from .names import TarNames
from .samples import Rejected, TarSample, group_samples, image_of, labels_of
from .scan import ReadAt, Sequential, scan_tar
from .schema import COLLECTION, FOLDER, FORMAT, FORMAT_VERSION, TAR_INDEX, index_name

KeyRule = Literal["name", "path"]
EXAMPLES: Final = 20  # rejects of a tar that are kept with their text

Progress = Callable[[int, int], None]  # bytes done, bytes


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
    """A tar in the list: what it was when it was indexed, and what became of its samples."""

    name: str
    bytes: int
    modified: str  # of the storage; "" where it tells none
    samples: int
    digest: str  # of keys, hashes of images, and labels
    rejects: dict[str, int]
    examples: list[str]
    labels: dict[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexSummary:
    """What was indexed: samples kept, rejects by reason, and where the index lies."""

    tars: int
    indexed: int  # in this run; the others were as before
    samples: int
    rejects: dict[str, int]
    examples: list[str]
    labels: int
    index: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def index_folder(tars: TarNames, given: Path | None = None) -> Path:
    """Where the index of some tars lies: where it is told, or beside them, or in the user's cache."""
    if given is not None:
        return given
    folder = tars.folder
    if folder.local_path is not None:
        beside = folder.local_path / FOLDER
        if beside.is_dir() or os.access(folder.local_path, os.W_OK):
            return beside
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "openjft" / "index" / hashlib.blake2b(folder.shown_root.encode(), digest_size=12).hexdigest()


def index_tars(
    tars: TarNames,
    options: IndexOptions | None = None,
    *,
    output: Path | None = None,
    num_threads: int | None = None,
    on_progress: Progress | None = None,
) -> IndexSummary:
    """Indexes tars, those that are not indexed yet or have changed.

    Args:
        tars: which.
        options: what decides the index; None: as the index there has it, or the defaults.
        output: folder of the index; None: see `index_folder`.
        num_threads: tars at a time; None: as many as there are cores.
        on_progress: called with bytes done and bytes in all.

    Raises:
        LoaderError: a tar cannot be read, the index cannot be written, or two samples have one key.
    """
    folder = index_folder(tars, output)
    former = read_collection(folder)
    options = options or (former[0] if former else IndexOptions())
    known = {entry.name: entry for entry in former[1]} if former and former[0] == options else {}
    stats = [tars.folder.stat(name) for name in tars.names]
    done = _Done(sum(size for size, _ in stats), on_progress)

    def one(name: str, size: int, modified: str) -> tuple[TarEntry, bool]:
        entry = known.get(name)
        if entry and (entry.bytes, entry.modified) == (size, modified) and (folder / index_name(name)).is_file():
            done(size)
            return entry, False
        return _index_tar(tars.folder, name, size, modified, folder, options, done), True

    with ThreadPoolExecutor(num_threads or len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(lambda args: one(*args), [(n, *stat) for n, stat in zip(tars.names, stats, strict=True)]))
    entries = [entry for entry, _ in found]
    _check_keys(folder, entries, options)
    _write_collection(folder, options, entries)
    rejects: collections.Counter[str] = collections.Counter()
    for entry in entries:
        rejects.update(entry.rejects)
    return IndexSummary(
        tars=len(entries),
        indexed=sum(new for _, new in found),
        samples=sum(entry.samples for entry in entries),
        rejects=dict(sorted(rejects.items())),
        examples=[f"{entry.name}: {text}" for entry in entries for text in entry.examples][:EXAMPLES],
        labels=len({label for entry in entries for label in entry.labels}),
        index=str(folder),
    )


class _Done:
    """Adds up the bytes of many threads."""

    def __init__(self, total: int, tell: Progress | None) -> None:
        self._total, self._tell, self._done, self._lock = total, tell, 0, threading.Lock()

    def __call__(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._tell is not None:
                self._tell(self._done, self._total)


def sample_key(name: str, tar: str, rule: KeyRule) -> bytes:
    """The 16 bytes that name a sample."""
    if rule == "path":
        name = f"{tar.removesuffix('.tar')}/{name}"
    elif len(name) == 2 * KEY_BYTES and not set(name) - set("0123456789abcdef"):
        return bytes.fromhex(name)
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=KEY_BYTES).digest()


def _index_tar(
    source: Folder, name: str, size: int, modified: str, folder: Path, options: IndexOptions, done: _Done
) -> TarEntry:
    read_at: ReadAt = Sequential(source.random_access(name).read_at).read_at
    rows: list[tuple[bytes, str, int, int, bytes, list[str]]] = []
    rejects: list[Rejected] = []
    seen: set[bytes] = set()
    told = 0
    for sample in group_samples(scan_tar(read_at, size)):
        row = sample if isinstance(sample, Rejected) else _row(sample, name, read_at, options)
        if not isinstance(row, Rejected) and row[0] in seen:
            row = Rejected(row[1], "repeated", "its name occurs before in this tar")
        if isinstance(row, Rejected):
            rejects.append(row)
            continue
        seen.add(row[0])
        rows.append(row)
        if row[2] + row[3] - told > 1 << 24:
            done(row[2] + row[3] - told)
            told = row[2] + row[3]
    table = pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * len(TAR_INDEX), schema=TAR_INDEX)
    _replace(folder / index_name(name), lambda path: pq.write_table(table, path, compression="zstd"))
    done(size - told)
    counts = collections.Counter(label for *_, labels in rows for label in labels)
    return TarEntry(
        name=name,
        bytes=size,
        modified=modified,
        samples=len(rows),
        digest=_digest(rows),
        rejects=dict(sorted(collections.Counter(reject.reason for reject in rejects).items())),
        examples=[f"{reject.name}: {reject.reason}: {reject.detail}" for reject in rejects[:EXAMPLES]],
        labels=dict(sorted(counts.items())),
    )


def _row(
    sample: TarSample, tar: str, read_at: ReadAt, options: IndexOptions
) -> tuple[bytes, str, int, int, bytes, list[str]] | Rejected:
    image = image_of(sample)
    if isinstance(image, Rejected):
        return image
    if not 0 < image.size <= MAX_IMAGE_BYTES:
        return Rejected(sample.name, "image_size", f"{image.size:,} bytes, expected 1 to {MAX_IMAGE_BYTES:,}")
    data = read_at(image.size, image.offset)
    labels = labels_of(sample, read_at, options.label_field)
    if isinstance(labels, Rejected):
        return labels
    key, digest = sample_key(sample.name, tar, options.key), hashlib.sha256(data).digest()
    return key, sample.name, image.offset, image.size, digest, labels


def _digest(rows: Iterable[tuple[bytes, str, int, int, bytes, list[str]]]) -> str:
    digest = hashlib.sha256()
    for key, _, _, _, sha256, labels in rows:
        digest.update(key + sha256 + "\0".join(labels).encode() + b"\n")
    return digest.hexdigest()


def _check_keys(folder: Path, entries: list[TarEntry], options: IndexOptions) -> None:
    """Every key once, over all tars."""
    owner: dict[bytes, str] = {}
    for entry in entries:
        for key in pq.read_table(folder / index_name(entry.name), columns=["image_key"])["image_key"].to_pylist():
            if owner.setdefault(key, entry.name) != entry.name:
                rows = pq.read_table(folder / index_name(entry.name), columns=["image_key", "name"]).to_pylist()
                name = next(row["name"] for row in rows if row["image_key"] == key)
                cure = "" if options.key == "path" else "; index with --key path, which takes tar and name together"
                raise LoaderError(
                    f"expected each sample's name once, found {name!r:.80} in {owner[key]} and in {entry.name}{cure}"
                )


# -- the list of tars ----------------------------------------------------------------------------------------------


def read_collection(folder: Path) -> tuple[IndexOptions, list[TarEntry]] | None:
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
        return IndexOptions(**value["options"]), [TarEntry(**entry) for entry in value["tars"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoaderError(
            f"{path}: expected the list of an index, found damage: {error}; remove it, and index again"
        ) from error


def _write_collection(folder: Path, options: IndexOptions, entries: list[TarEntry]) -> None:
    value = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "options": dataclasses.asdict(options),
        "tars": [dataclasses.asdict(entry) for entry in entries],
    }
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    _replace(folder / COLLECTION, lambda path: path.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise LoaderError(f"{path}: the index could not be written: {error}; give another folder for it") from error
