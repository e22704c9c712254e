"""The checks of one shard: its tar, its index, its samples' JSON, labels and pixels agree with each other.

In: a dataset and the number of a shard. Out: `Checked`, or a `DatasetError` that names the first thing wrong in it. The
tar is read once, in a pass that hashes and checks it. `openjft.loaders.verify` runs these side by side.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa

from openjft.taxonomy import Csr, Taxonomy, TaxonomyError, ancestor_closure

from .dataset import Dataset
from .decoding import DecodeError, decode_stored_jpeg
from .errors import DatasetError, LoaderError
from .manifest import FileEntry
from .schema import PROBABILITY_DIGITS
from .shard_index import Int64s, ShardIndex, parse_index, read_parquet
from .storage.folder import Folder
from .tar import Member, read_tar
from .writer import moved_samples

_CHUNK: Final = 1 << 22
_PROBABILITY_ERROR: Final = 10.0**-PROBABILITY_DIGITS


class Counts(NamedTuple):
    """Images of each category, (c,) int64: as asserted label, and at all."""

    asserted: Int64s
    expanded: Int64s


class Checked(NamedTuple):
    """What was found right: bytes, and of a shard its class counts and the samples of other keys' groups (GROUPS)."""

    bytes: int
    counts: Counts | None = None
    groups: pa.Table | None = None


def check_file(folder: Folder, entry: FileEntry) -> Checked:
    """A file's sha256 is the manifest's.

    Raises:
        DatasetError: it is not.
    """
    with folder.open(entry.path) as source:
        _compare(_digest(source), entry, folder.where(entry.path))
    return Checked(entry.bytes)


def _digest(source: Any) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _compare(found: str, entry: FileEntry, where: str) -> None:
    if found != entry.sha256:
        raise DatasetError(f"{where}: expected sha256 {entry.sha256}, found {found}; fetch the file again")


class Vocabulary(NamedTuple):
    """What a label may be: external ids, and the ancestors of each."""

    ids: tuple[str, ...]
    ancestors: Csr

    @classmethod
    def of(cls, dataset: Dataset) -> Vocabulary:
        """That of a dataset.

        Raises:
            DatasetError: its tables are damaged or do not fit each other.
        """
        try:
            taxonomy: Taxonomy = dataset.taxonomy
        except TaxonomyError as error:
            raise DatasetError(f"{dataset.folder.where('taxonomy')}: {error}") from error
        return cls(taxonomy.ids, ancestor_closure(taxonomy).csr)


def check_shard(dataset: Dataset, number: int, tar: FileEntry, index: FileEntry, labels: Vocabulary) -> Checked:
    """A shard's tar and index are the manifest's, and agree with each other, sample by sample.

    Args:
        dataset: the dataset.
        number: of the shard.
        tar: the manifest's entry of its tar.
        index: the manifest's entry of its index.
        labels: what a label may be.

    Raises:
        DatasetError: the first thing wrong.
    """
    shard, folder = dataset.manifest.shards[number], dataset.folder
    data, where = folder.read(index.path), folder.where(index.path)
    _compare(hashlib.sha256(data).hexdigest(), index, where)
    table = read_parquet(pa.BufferReader(data), where=where)
    if table.num_rows != shard.samples:
        raise DatasetError(f"{where}: expected {shard.samples:,} rows, as in the manifest, found {table.num_rows:,}")
    rows = parse_index(table, where=where)
    _check_labels(rows, labels, where)
    _check_keys(dataset, number, rows, where)
    with folder.open(tar.path) as source:
        hashing = _HashingSource(source)
        _check_samples(hashing, rows, _json_places(table), labels, folder.where(tar.path))
        hashing.read_rest()
        _compare(hashing.hexdigest(), tar, folder.where(tar.path))
    n, values = len(labels.ids), rows.labels.values
    counts = Counts(np.bincount(values[rows.asserted], minlength=n), np.bincount(values, minlength=n))
    groups = None
    if "group" in table.column_names:
        groups = moved_samples(table, sum(s.samples for s in dataset.manifest.shards[:number]))
    return Checked(tar.bytes + index.bytes, counts, groups)


class _HashingSource:
    """A stream that is hashed while it is read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._source.read(size) if size >= 0 else self._source.read()
        self._hash.update(data)
        return data

    def read_rest(self) -> None:
        while self.read(_CHUNK):
            pass

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _hex(index: ShardIndex, row: int) -> str:
    return bytes(index.keys[row]).hex()


def _row_of(index: ShardIndex, position: int) -> int:
    """The sample that a position among the labels belongs to."""
    return int(np.searchsorted(index.labels.offsets, position, side="right")) - 1


def _check_labels(index: ShardIndex, labels: Vocabulary, where: str) -> None:
    """Labels are in the vocabulary, rise within a sample, and are asserted or ancestors of asserted ones."""
    values, n = index.labels.values, len(labels.ids)
    outside = np.flatnonzero((values < 0) | (values >= n))
    if outside.size:
        raise DatasetError(
            f"{where}: sample {_hex(index, _row_of(index, int(outside[0])))}: expected labels in the vocabulary, "
            f"[0, {n}), found {values[outside[0]]}"
        )
    probable = (index.probabilities >= 0) & (index.probabilities <= 1)
    if not probable.all():
        at = int(np.flatnonzero(~probable)[0])
        raise DatasetError(
            f"{where}: sample {_hex(index, _row_of(index, at))}: expected probabilities in [0, 1], "
            f"found {index.probabilities[at]}"
        )
    sample = np.repeat(np.arange(index.num_samples), index.labels.lengths)
    falling = np.flatnonzero((np.diff(values) <= 0) & (np.diff(sample) == 0))
    if falling.size:
        raise DatasetError(
            f"{where}: sample {_hex(index, int(sample[falling[0]]))}: expected rising labels, each once, "
            f"found {values[falling[0]]} before {values[falling[0] + 1]}"
        )
    _check_origins(index, labels, sample, where)
    _check_negatives(index, labels, sample, where)


def _check_origins(index: ShardIndex, labels: Vocabulary, sample: Int64s, where: str) -> None:
    """Asserted labels come from themselves, inferred ones from an asserted label of their image below them."""
    values, n = index.labels.values, len(labels.ids)
    implied = labels.ancestors.take(values[index.asserted])
    pairs = np.repeat(sample[index.asserted], implied.lengths) * n + implied.values
    inferred = np.flatnonzero(~index.asserted)
    alone = inferred[~np.isin(sample[inferred] * n + values[inferred], pairs)]
    if alone.size:
        raise DatasetError(
            f"{where}: sample {_hex(index, int(sample[alone[0]]))}: label {values[alone[0]]} "
            f"({labels.ids[values[alone[0]]]}): expected an inferred label to be an ancestor of an asserted one, "
            "found none below it"
        )
    origin = index.from_labels
    below = np.repeat(values[index.asserted], implied.lengths)
    ways = np.repeat(sample[index.asserted], implied.lengths), implied.values, below
    known = np.flatnonzero((origin >= 0) & (origin < n))
    right = index.asserted & (origin == values)
    mine = known[~index.asserted[known]]
    # (sample, label, origin) in one number may not fit: the place of (sample, label), then the origin.
    place = np.unique(ways[0] * n + ways[1])
    told = np.searchsorted(place, sample[mine] * n + values[mine]) * n + origin[mine]
    right[mine] = np.isin(told, np.searchsorted(place, ways[0] * n + ways[1]) * n + ways[2])
    wrong = np.flatnonzero(~right)
    if wrong.size:
        at = int(wrong[0])
        expected = "itself" if index.asserted[at] else "an asserted label of the sample, below it"
        raise DatasetError(
            f"{where}: sample {_hex(index, int(sample[at]))}: label {values[at]} ({labels.ids[values[at]]}): "
            f"from_labels: expected {expected}, found {origin[at]}"
        )


def _check_negatives(index: ShardIndex, labels: Vocabulary, sample: Int64s, where: str) -> None:
    """Verified negatives are in the vocabulary, rise within a sample, and are none of its labels."""
    values, n = index.negatives.values, len(labels.ids)
    owner = np.repeat(np.arange(index.num_samples), index.negatives.lengths)
    falling = np.zeros(len(values), np.bool_)
    falling[1:] = (np.diff(values) <= 0) & (np.diff(owner) == 0)
    denied = np.isin(owner * n + values, sample * n + index.labels.values)
    for bad, expected in (
        ((values < 0) | (values >= n), f"labels in the vocabulary, [0, {n})"),
        (falling, "rising labels, each once"),
        (denied, "none of the sample's labels"),
    ):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise DatasetError(
                f"{where}: sample {_hex(index, int(owner[at]))}: negatives: expected {expected}, found {values[at]}"
            )


def _check_keys(dataset: Dataset, number: int, index: ShardIndex, where: str) -> None:
    """Keys rise, and are those that the manifest says the shard begins and ends with."""
    shard = dataset.manifest.shards[number]
    keys = [key.tobytes() for key in index.keys]
    for row, (a, b) in enumerate(itertools.pairwise(keys)):
        if a == b:
            raise DatasetError(f"{where}: rows {row} and {row + 1}: duplicate key {a.hex()}; expected each once")
        if a > b:
            raise DatasetError(f"{where}: row {row + 1}: key {b.hex()} out of order: expected one after {a.hex()}")
    if keys and (keys[0].hex(), keys[-1].hex()) != (shard.first_key, shard.last_key):
        raise DatasetError(
            f"{where}: expected the keys {shard.first_key} to {shard.last_key}, as in the manifest, "
            f"found {keys[0].hex()} to {keys[-1].hex()}"
        )
    before = next((s for s in reversed(dataset.manifest.shards[:number]) if s.samples), None)
    if keys and before is not None and str(before.last_key) >= keys[0].hex():
        what = "duplicate key" if before.last_key == keys[0].hex() else "keys out of order:"
        raise DatasetError(
            f"{where}: {what} {keys[0].hex()}: expected one after {before.last_key}, the last of {before.name}"
        )


def _json_places(table: pa.Table) -> list[tuple[int, int]]:
    """Offset and size of each row's JSON: a reader of images needs neither, so `ShardIndex` does not hold them."""
    return list(zip(table["json_offset"].to_pylist(), table["json_size"].to_pylist(), strict=True))


def _check_samples(
    source: _HashingSource, index: ShardIndex, json_places: list[tuple[int, int]], labels: Vocabulary, where: str
) -> None:
    """The tar's members are the index's samples, one by one."""
    members = _members(source, where)
    for row in range(index.num_samples):
        jpeg, text = next(members, None), next(members, None)
        key = _hex(index, row)
        if jpeg is None or text is None:
            raise DatasetError(f"{where}: sample {key}: expected {index.num_samples} samples, found {row}")
        _check_place(jpeg, f"{key}.jpg", int(index.offsets[row]), int(index.sizes[row]), where)
        _check_place(text, f"{key}.json", *json_places[row], where)
        if hashlib.sha256(jpeg.data).digest() != index.sha256[row].tobytes():
            raise DatasetError(f"{where}: sample {key}: the JPEG's sha256 is not the index's; fetch the tar again")
        _check_pixels(jpeg.data, int(index.widths[row]), int(index.heights[row]), f"{where}: sample {key}")
        _check_json(text.data, index, row, labels, f"{where}: sample {key}")
    if (extra := next(members, None)) is not None:
        raise DatasetError(
            f"{where}: member {extra.name!r}: expected the end after {index.num_samples} samples, as in the index"
        )


def _members(source: _HashingSource, where: str) -> Iterator[Member]:
    try:
        yield from read_tar(cast("IO[bytes]", source), origin=where)
    except DatasetError:
        raise
    except LoaderError as error:
        raise DatasetError(str(error)) from error


def _check_place(member: Member, name: str, offset: int, size: int, where: str) -> None:
    found = (member.name, member.offset, len(member.data))
    if found != (name, offset, size):
        raise DatasetError(
            f"{where}: expected member {name!r} of {size} bytes at {offset}, as in the index, "
            f"found {found[0]!r} of {found[2]} bytes at {found[1]}"
        )


def _check_pixels(data: bytes, width: int, height: int, what: str) -> None:
    try:
        shape = decode_stored_jpeg(data).shape
    except DecodeError as error:
        raise DatasetError(f"{what}: the JPEG does not decode: {error}") from error
    if shape[:2] != (height, width):
        raise DatasetError(f"{what}: expected {width} x {height} pixels, found {shape[1]} x {shape[0]}")


def _check_json(data: bytes, index: ShardIndex, row: int, labels: Vocabulary, what: str) -> None:
    """The JSON says what the index says."""
    try:
        value = json.loads(data)
        found = [
            (item["label"], item["id"], asserted, float(item["probability"]), item["id"] if asserted else item["from"])
            for name, asserted in (("asserted", True), ("inferred", False))
            for item in value["labels"][name]
        ]
        found.sort()
        negatives = [(item["label"], item["id"]) for item in value.get("negatives", [])]
        facts = (value["key"], value["width"], value["height"], value.get("group", value["key"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{what}: JSON: expected the fields of a sample, found {error!r}") from error
    if facts != (_hex(index, row), index.widths[row], index.heights[row], index.groups[row].tobytes().hex()):
        raise DatasetError(f"{what}: JSON: expected the index's key, width, height and group, found {facts}")
    part = slice(*index.labels.offsets[row : row + 2].tolist())
    expected = list(
        zip(
            index.labels.values[part].tolist(),
            index.asserted[part].tolist(),
            index.probabilities[part].tolist(),
            [labels.ids[label] for label in index.from_labels[part].tolist()],
            strict=True,
        )
    )
    same = len(found) == len(expected) and all(
        (label, labels.ids[label], asserted, origin) == (f_label, f_id, f_asserted, f_origin)
        and _near(probability, f_probability)
        for (label, asserted, probability, origin), (f_label, f_id, f_asserted, f_probability, f_origin) in zip(
            expected, found, strict=True
        )
    )
    if not same:
        raise DatasetError(f"{what}: labels: expected {expected} as in the index, found {found} in the JSON")
    denied = [(label, labels.ids[label]) for label in index.negatives.of(row).tolist()]
    if negatives != denied:
        raise DatasetError(f"{what}: negatives: expected {denied} as in the index, found {negatives} in the JSON")


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= _PROBABILITY_ERROR
