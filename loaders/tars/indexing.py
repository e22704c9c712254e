"""Indexes plain tars, one file a tar: where each image lies, its hash and size, and what its labels are called.

In: tars. Out: `.openjft/` beside them, or a folder of its own where that cannot be written. Samples found = samples
kept + rejects by reason. Files appear by rename, the list of them last: a killed run goes on with the tars that are
missing, a tar that has changed is indexed anew, and two runs give the same bytes.

Threads share one interpreter: hashing runs beside it, walking headers does not. Memory: a few pieces of 8 MiB for each
thread and one member, and 16 bytes a sample at the end, where every key must stand once.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from openjft.loaders.decoding import DecodeError, image_size
from openjft.loaders.errors import LoaderError
from openjft.loaders.schema import KEY, KEY_BYTES, MAX_IMAGE_BYTES
from openjft.loaders.storage.folder import Folder
from openjft.taxonomy import Taxonomy

from .listing import (
    Collection,
    IndexOptions,
    KeyRule,
    TarEntry,
    Unknown,
    check_known,
    index_folder,
    label_counts,
    read_collection,
    read_entry,
    read_heads,
    read_table,
    unknown_labels,
    write_collection,
    write_table,
    write_vocabulary,
)
from .names import TarNames
from .samples import Rejected, TarSample, damaged, group_samples, image_of, labels_of
from .scan import Lost, ReadAt, Sequential, scan_tar
from .schema import TAR_INDEX

EXAMPLES: Final = 20  # rejects of a tar that are kept with their text
MAX_PIXELS: Final = 178_956_970  # of an image: what Pillow takes
_TELL_BYTES: Final = 1 << 24
_STAT_THREADS: Final = 16  # they wait for a server

Progress = Callable[[int, int], None]  # bytes done, bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexSummary:
    """What was indexed: samples kept, rejects by reason, bytes of no sample, and where the index lies."""

    tars: int
    indexed: int  # in this run; the others were as before
    samples: int
    rejects: dict[str, int]
    lost: dict[str, int]
    lost_bytes: int
    examples: list[str]
    categories: int
    unknown_labels: int  # different ones, which are left out
    index: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def index_tars(
    tars: TarNames,
    options: IndexOptions | None = None,
    *,
    output: Path | None = None,
    taxonomy: Taxonomy | None = None,
    unknown: Unknown | None = None,
    num_threads: int | None = None,
    on_progress: Progress | None = None,
) -> IndexSummary:
    """Indexes tars, those that are not indexed yet or have changed.

    Args:
        tars: which.
        options: what decides the index; None: as the index there has it, or the defaults.
        output: folder of the index; None: see `index_folder`.
        taxonomy: vocabulary for the labels, kept in the index; None: the one that it has, else the labels that occur.
        unknown: what to do where labels are not of the vocabulary; None: as the index there has it, or an error.
        num_threads: tars at a time; None: as many as there are cores.
        on_progress: called with bytes done and bytes in all.

    Raises:
        LoaderError: a tar cannot be read, the index cannot be written, two samples have one key, no sample has an
            image, or a label is not of the vocabulary.
    """
    folder = index_folder(tars, output)
    former = read_collection(folder)
    options = options or (former.options if former else IndexOptions())
    unknown = unknown or (former.unknown if former else "error")
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        stats = list(pool.map(tars.folder.stat, tars.names))
    one = functools.partial(_current, tars.folder, folder, options, _Done(sum(s for s, _ in stats), on_progress))
    with ThreadPoolExecutor(num_threads or len(os.sched_getaffinity(0))) as pool:
        futures = [pool.submit(one, name, *stat) for name, stat in zip(tars.names, stats, strict=True)]
        try:
            found = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    entries = [entry for entry, _ in found]
    _check_some(entries, tars)
    _check_keys(folder, entries, options)
    counts = label_counts(folder, entries)
    if taxonomy is not None:
        if unknown == "error":
            check_known(counts, taxonomy, tars.folder.shown_root)
        write_vocabulary(folder, taxonomy)
    has_vocabulary = taxonomy is not None or bool(former and former.vocabulary)
    others = former.entries if former and former.options == options else {}
    listed = {**others, **{entry.name: entry for entry in entries}}
    write_collection(folder, Collection(options, listed, has_vocabulary, unknown))
    left_out = unknown_labels(counts, taxonomy) if taxonomy is not None else []
    categories = counts.num_rows if taxonomy is None else taxonomy.num_categories
    return _summary(entries, sum(new for _, new in found), folder, categories, len(left_out))


def _summary(entries: Sequence[TarEntry], indexed: int, folder: Path, categories: int, unknown: int) -> IndexSummary:
    return IndexSummary(
        tars=len(entries),
        indexed=indexed,
        samples=sum(entry.samples for entry in entries),
        rejects=_added(entry.rejects for entry in entries),
        lost=_added(entry.lost for entry in entries),
        lost_bytes=sum(entry.lost_bytes for entry in entries),
        examples=[f"{entry.name}: {text}" for entry in entries for text in entry.examples][:EXAMPLES],
        categories=categories,
        unknown_labels=unknown,
        index=str(folder),
    )


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for part in counts:
        total.update(part)
    return dict(sorted(total.items()))


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
    return hashlib.blake2b(name.encode(), digest_size=KEY_BYTES).digest()


def _current(
    source: Folder, folder: Path, options: IndexOptions, done: _Done, name: str, size: int, version: str
) -> tuple[TarEntry, bool]:
    """The entry of a tar, and whether it was indexed now: its file is taken where it is of the tar as it is."""
    told = read_entry(folder, name)
    if told is not None:
        entry, former = told
        if (entry.bytes, entry.version, former.label_field) == (size, version, options.label_field):
            done(size)
            return (entry if former == options else _rekeyed(folder, entry, options)), False
    return _index_tar(source, folder, options, done, name, size, version), True


def _rekeyed(folder: Path, entry: TarEntry, options: IndexOptions) -> TarEntry:
    """Another rule for keys needs the names only."""
    table = read_table(folder, entry)
    keys = [sample_key(name, entry.name, options.key) for name in table["name"].to_pylist()]
    table = table.set_column(0, TAR_INDEX.field(KEY), pa.array(keys, TAR_INDEX.field(KEY).type))
    entry = dataclasses.replace(entry, digest=_digest(table))
    write_table(folder, entry, options, table)
    return entry


class _Row(NamedTuple):
    """The columns of TAR_INDEX."""

    key: bytes
    name: str
    offset: int
    size: int
    sha256: bytes
    width: int
    height: int
    labels: list[str]


def _index_tar(
    source: Folder, folder: Path, options: IndexOptions, done: _Done, name: str, size: int, version: str
) -> TarEntry:
    read_at: ReadAt = Sequential(source.random_access(name).read_at).read_at
    found: list[tuple[TarSample, _Row | Rejected]] = []
    lost: list[Lost] = []
    seen: set[str] = set()
    told = 0
    for item in group_samples(scan_tar(read_at, size)):
        if isinstance(item, Lost):
            lost.append(item)
            continue
        repeated = Rejected(item.name, "repeated", "its name occurs before in this tar")
        found.append((item, repeated if item.name in seen else _row(item, name, read_at, options)))
        seen.add(item.name)
        if item.parts[-1].member.offset - told > _TELL_BYTES:
            done(item.parts[-1].member.offset - told)
            told = item.parts[-1].member.offset
    rows, rejects = _judged(found)
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in TAR_INDEX]
    table = pa.table(columns, schema=TAR_INDEX)
    examples = [f"{reject.name!r}: {reject.reason}: {reject.detail}" for reject in rejects[:EXAMPLES]]
    examples += [f"bytes {at.start} to {at.stop}: {at.reason}: {at.detail}" for at in lost[:EXAMPLES]]
    entry = TarEntry(
        name=name,
        bytes=size,
        version=version,
        samples=len(rows),
        digest=_digest(table),
        rejects=_added({reject.reason: 1} for reject in rejects),
        lost=_added({at.reason: 1} for at in lost),
        lost_bytes=sum(at.stop - at.start for at in lost),
        examples=examples,
    )
    write_table(folder, entry, options, table)
    done(size - told)
    return entry


def _judged(found: Sequence[tuple[TarSample, _Row | Rejected]]) -> tuple[list[_Row], list[Rejected]]:
    """Rows and rejects; what lies beside lost bytes is held against what most samples have."""
    whole = collections.Counter(sample.endings for sample, _ in found if not sample.beside_loss)
    usual = max(whole, key=lambda endings: (whole[endings], sorted(endings)), default=frozenset[str]())
    rows, rejects = list[_Row](), list[Rejected]()
    for sample, row in found:
        judged = damaged(sample, usual) or row
        if isinstance(judged, Rejected):
            rejects.append(judged)
        else:
            rows.append(judged)
    return rows, rejects


def _row(sample: TarSample, tar: str, read_at: ReadAt, options: IndexOptions) -> _Row | Rejected:
    image = image_of(sample)
    if isinstance(image, Rejected):
        return image
    if not 0 < image.size <= MAX_IMAGE_BYTES:
        return Rejected(sample.name, "image_bytes", f"{image.size:,} bytes, expected 1 to {MAX_IMAGE_BYTES:,}")
    data = read_at(image.size, image.offset)
    try:
        width, height = image_size(data, max_pixels=MAX_PIXELS)
    except DecodeError as error:
        return Rejected(sample.name, error.reason, str(error))
    labels = labels_of(sample, read_at, options.label_field)
    if isinstance(labels, Rejected):
        return labels
    key, digest = sample_key(sample.name, tar, options.key), hashlib.sha256(data).digest()
    return _Row(key, sample.name, image.offset, image.size, digest, width, height, labels)


def _digest(table: pa.Table) -> str:
    digest = hashlib.sha256()
    columns = (table[name].to_pylist() for name in (KEY, "sha256", "labels"))
    for key, sha256, labels in zip(*columns, strict=True):
        digest.update(key + sha256 + "\0".join(labels).encode() + b"\n")
    return digest.hexdigest()


def _check_some(entries: Sequence[TarEntry], tars: TarNames) -> None:
    if not any(entry.samples for entry in entries):
        told = _added(part for entry in entries for part in (entry.rejects, entry.lost))
        found = ", ".join(f"{reason} {count:,}" for reason, count in told.items()) or "nothing"
        example = next((f", such as {text}" for entry in entries for text in entry.examples), "")
        raise LoaderError(
            f"{tars.folder.shown_root}: expected samples with an image in {len(entries):,} tars, found {found}{example}"
        )


def _check_keys(folder: Path, entries: Sequence[TarEntry], options: IndexOptions) -> None:
    """Every key once, over all tars."""
    parts = [read_heads(folder, entry) for entry in entries]
    heads = np.sort(np.concatenate(parts))
    again = np.unique(heads[1:][heads[1:] == heads[:-1]])
    del heads
    owner: dict[bytes, str] = {}
    for entry, part in zip(entries, parts, strict=True):
        if not len(again) or not np.isin(part, again).any():
            continue
        table = read_table(folder, entry, [KEY, "name"])
        for key, name in zip(*(table[column].to_pylist() for column in (KEY, "name")), strict=True):
            if owner.setdefault(key, entry.name) != entry.name:
                cure = "" if options.key == "path" else "; index with --key path, which takes tar and name together"
                raise LoaderError(
                    f"expected each sample's name once, found {name!r:.80} in {owner[key]} and in {entry.name}{cure}"
                )
