"""Writes a dataset: samples into tars with an index beside each, then the files that explain them.

In: samples in key order. Out: `ShardWriter` streams a tar, so a shard of any size passes through a few MB of memory,
and collects its index; `finish_dataset` adds the files that explain the shards, the manifest last. Small files go
through `write(path, data)`, which puts them where the caller wants. Equal samples give equal bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openjft.taxonomy import EDGES, VOCABULARY

from .card import data_card
from .errors import DatasetError
from .manifest import FileEntry, ImageInfo, Manifest, ShardEntry, StageAccount, file_entry
from .schema import (
    CLASS_COUNTS,
    CLASS_COUNTS_FILE,
    CONFIG,
    EDGES_FILE,
    GROUPS,
    GROUPS_FILE,
    INDEX,
    KEY,
    KEY_BYTES,
    MANIFEST,
    PROBABILITY_DIGITS,
    README,
    SIZES,
    VOCABULARY_FILE,
    index_file,
    tar_file,
)
from .tar import TarWriter

INDEX_ROW_GROUP = 16_384
Write = Callable[[str, bytes], None]  # (path inside the dataset, bytes)


class NewSample(NamedTuple):
    """An image with its labels, to be written.

    `labels` rise; `probabilities`, `asserted` (False: inferred through the hierarchy) and `from_labels` (the asserted
    label that each comes from, itself where asserted) belong to them one by one. `negatives` rise: labels that a
    person denied. `source_sha256` is of the bytes as received; sizes are in pixels. `group` is the key of the
    representative of the images that show the same picture, itself where it is one; None: it is alone.
    """

    key: bytes
    jpeg: bytes
    width: int
    height: int
    labels: Sequence[int]
    probabilities: Sequence[float]
    asserted: Sequence[bool]
    from_labels: Sequence[int]
    uri: str
    source_sha256: bytes
    original_width: int
    original_height: int
    negatives: Sequence[int] = ()
    group: bytes | None = None


class HashingSink:
    """Passes bytes on and keeps their number and sha256: a tar of gigabytes is hashed while it is written."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Passes `data` on."""
        self._sink.write(data)
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    def entry(self, path: str) -> FileEntry:
        """The manifest's entry of what was written so far."""
        return FileEntry(path, self.bytes, self._hash.hexdigest())


def sample_json(sample: NewSample, ids: Sequence[str]) -> bytes:
    """A sample's JSON member: sorted keys, no spaces.

    Args:
        sample: the sample.
        ids: external id of each label.
    """
    labels: dict[str, list[dict[str, Any]]] = {"asserted": [], "inferred": []}
    for label, probability, asserted, from_label in zip(
        sample.labels, sample.probabilities, sample.asserted, sample.from_labels, strict=True
    ):
        item = {"id": ids[label], "label": label, "probability": round(float(probability), PROBABILITY_DIGITS)}
        if not asserted:
            item["from"] = ids[from_label]
        labels["asserted" if asserted else "inferred"].append(item)
    value: dict[str, Any] = {
        "height": sample.height,
        "key": sample.key.hex(),
        "labels": labels,
        "original_height": sample.original_height,
        "original_width": sample.original_width,
        "sha256": sample.source_sha256.hex(),
        "uri": sample.uri,
        "width": sample.width,
    }
    if sample.negatives:
        value["negatives"] = [{"id": ids[label], "label": label} for label in sample.negatives]
    if sample.group is not None:
        value["group"] = sample.group.hex()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")


class ShardWriter:
    """Appends samples to a tar and collects its index.

    Args:
        stream: takes the tar; need not seek.
        ids: external id of each label.
    """

    def __init__(self, stream: IO[bytes] | HashingSink, ids: Sequence[str]) -> None:
        self._tar = TarWriter(cast("IO[bytes]", stream))
        self._ids = ids
        self._last = b""
        self._rows: list[tuple[Any, ...]] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, sample: NewSample) -> None:
        """Appends one sample.

        Raises:
            DatasetError: its key is not of 16 bytes or does not follow the last one.
        """
        if len(sample.key) != KEY_BYTES or sample.key <= self._last:
            raise DatasetError(
                f"sample {sample.key.hex()}: expected a key of {KEY_BYTES} bytes after {self._last.hex() or 'none'}; "
                "samples are written in key order, each key once"
            )
        self._last = sample.key
        name, text = sample.key.hex(), sample_json(sample, self._ids)
        offset = self._tar.add(f"{name}.jpg", sample.jpeg)
        json_offset = self._tar.add(f"{name}.json", text)
        row = (
            sample.key, offset, len(sample.jpeg), json_offset, len(text), hashlib.sha256(sample.jpeg).digest(),
            sample.width, sample.height, sample.labels, sample.probabilities, sample.asserted, sample.from_labels,
            sample.negatives, sample.group,
        )  # fmt: skip
        self._rows.append(row)
        if len(self._rows) >= INDEX_ROW_GROUP:
            self._flush()

    def close(self) -> pa.Table:
        """Ends the tar (the stream stays open) and returns its `INDEX`."""
        self._tar.close()
        self._flush()
        return pa.Table.from_batches(self._batches, schema=INDEX)

    def _flush(self) -> None:
        """Rows as Python objects take ten times the memory of Arrow's."""
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, INDEX, strict=True)]
            self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=INDEX))
            self._rows.clear()


@dataclasses.dataclass(frozen=True)
class ShardSummary:
    """What `finish_dataset` must know of a shard, so that no tar is read again."""

    name: str
    samples: int
    asserted: int
    inferred: int
    negatives: int
    first_key: str | None
    last_key: str | None
    min_width: int  # 0 in an empty shard, as the next three
    max_width: int
    min_height: int
    max_height: int
    tar: FileEntry
    index: FileEntry

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ShardSummary:
        """What `to_json` gave."""
        return cls(**{**value, "tar": FileEntry(**value["tar"]), "index": FileEntry(**value["index"])})


def summarize(name: str, table: pa.Table, tar: FileEntry, index: FileEntry) -> ShardSummary:
    """The summary of a shard.

    Args:
        name: without ending.
        table: its `INDEX`.
        tar: entry of the tar.
        index: entry of the index's file.
    """
    asserted = table["asserted"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    keys = table["image_key"]
    sides = {side: table[side].to_numpy() for side in ("width", "height")}
    has = table.num_rows > 0
    return ShardSummary(
        name=name,
        samples=table.num_rows,
        asserted=int(np.count_nonzero(asserted)),
        inferred=int(len(asserted) - np.count_nonzero(asserted)),
        negatives=len(table["negatives"].combine_chunks().flatten()),
        first_key=keys[0].as_py().hex() if has else None,
        last_key=keys[-1].as_py().hex() if has else None,
        min_width=int(sides["width"].min()) if has else 0,
        max_width=int(sides["width"].max()) if has else 0,
        min_height=int(sides["height"].min()) if has else 0,
        max_height=int(sides["height"].max()) if has else 0,
        tar=tar,
        index=index,
    )


def class_counts(table: pa.Table, num_categories: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images of each category in an `INDEX`: (asserted, asserted or inferred), both (c,) int64."""
    labels = table["labels"].combine_chunks().flatten().to_numpy()
    asserted = table["asserted"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    expanded = np.bincount(labels, minlength=num_categories).astype(np.int64)
    return np.bincount(labels[asserted], minlength=num_categories).astype(np.int64), expanded


def moved_samples(table: pa.Table, first: int = 0) -> pa.Table:
    """Rows of `GROUPS`: the samples of an `INDEX` whose place in subsets is that of another key.

    Args:
        table: of one shard.
        first: number of its first sample in the dataset.
    """
    moved = pc.fill_null(pc.not_equal(table["group"], table[KEY]), fill_value=False)
    rows = np.flatnonzero(moved.to_numpy(zero_copy_only=False))
    chosen = table.select([KEY, "group"]).take(pa.array(rows))
    return pa.table([rows + first, chosen[KEY], chosen["group"]], schema=GROUPS)


def parquet_bytes(table: pa.Table, *, row_group_rows: int = INDEX_ROW_GROUP) -> bytes:
    """A Parquet file, zstd; equal tables give equal bytes, however they are chunked."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=row_group_rows, store_schema=True)
    return sink.getvalue()


def write_index(name: str, table: pa.Table, write: Write) -> FileEntry:
    """Writes a shard's index and returns its entry."""
    data = parquet_bytes(table)
    write(index_file(name), data)
    return file_entry(index_file(name), data)


def write_shard(
    name: str, samples: Iterable[NewSample], ids: Sequence[str], write: Write
) -> tuple[ShardSummary, pa.Table]:
    """A small shard through memory: for tests and conversions; a build streams with `ShardWriter`."""
    buffer = io.BytesIO()
    sink = HashingSink(buffer)
    writer = ShardWriter(sink, ids)
    for sample in samples:
        writer.add(sample)
    table = writer.close()
    write(tar_file(name), buffer.getvalue())
    return summarize(name, table, sink.entry(tar_file(name)), write_index(name, table, write)), table


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What a dataset is made of, besides its shards.

    `counts` is (asserted, expanded), each (c,) int64; `config` holds JSON values; `groups` are rows of GROUPS, of all
    shards (`moved_samples`).
    """

    name: str
    image_mode: str
    image_size: int
    vocabulary: pa.Table
    edges: pa.Table
    counts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stages: Sequence[StageAccount] = ()
    groups: pa.Table | None = None


def finish_dataset(shards: Sequence[ShardSummary], facts: DatasetFacts, write: Write) -> Manifest:
    """Writes everything but the shards, the manifest last, and returns it.

    Args:
        shards: summaries of all shards, in their order.
        facts: the rest.
        write: takes each file.
    """
    entries = [entry for shard in shards for entry in (shard.tar, shard.index)]

    def ship(path: str, data: bytes) -> None:
        write(path, data)
        entries.append(file_entry(path, data))

    ship(VOCABULARY_FILE, parquet_bytes(facts.vocabulary.cast(VOCABULARY)))
    ship(EDGES_FILE, parquet_bytes(facts.edges.cast(EDGES)))
    labels = np.arange(facts.vocabulary.num_rows, dtype=np.int32)
    ship(CLASS_COUNTS_FILE, parquet_bytes(pa.table([labels, *facts.counts], schema=CLASS_COUNTS)))
    if facts.groups is not None and facts.groups.num_rows:
        ship(GROUPS_FILE, parquet_bytes(facts.groups.cast(GROUPS)))
    ship(CONFIG, json_bytes(facts.config))
    ship(SIZES, json_bytes({f"{shard.name}.tar": shard.samples for shard in shards}))
    manifest = Manifest(
        name=facts.name,
        num_samples=sum(shard.samples for shard in shards),
        num_shards=len(shards),
        num_categories=facts.vocabulary.num_rows,
        asserted_labels=sum(shard.asserted for shard in shards),
        inferred_labels=sum(shard.inferred for shard in shards),
        verified_negatives=sum(shard.negatives for shard in shards),
        image=_image_info(shards, facts),
        shards=tuple(ShardEntry(s.name, s.samples, s.first_key, s.last_key) for s in shards),
        stages=tuple(facts.stages),
        files=(),
    )
    ship(README, data_card(manifest).encode())
    manifest = dataclasses.replace(manifest, files=tuple(sorted(entries, key=lambda entry: entry.path)))
    write(MANIFEST, manifest.to_bytes())
    return manifest


def _image_info(shards: Sequence[ShardSummary], facts: DatasetFacts) -> ImageInfo:
    full = [shard for shard in shards if shard.samples]
    return ImageInfo(
        mode=facts.image_mode,
        size=facts.image_size,
        min_width=min((s.min_width for s in full), default=0),
        max_width=max((s.max_width for s in full), default=0),
        min_height=min((s.min_height for s in full), default=0),
        max_height=max((s.max_height for s in full), default=0),
    )


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys: equal values give equal bytes."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
