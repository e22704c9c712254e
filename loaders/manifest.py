"""`manifest.json`: what a dataset is, and size and sha256 of every file of it. Writer and reader side by side.

It holds no time, no host and no absolute path: equal input gives equal bytes. Its own sha256 so names a dataset.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import DatasetError
from .schema import FORMAT, FORMAT_VERSION, KEY_BYTES, MANIFEST, MAX_MANIFEST_BYTES, READABLE_VERSIONS, SHARD_NAME
from .tar import safe_name


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A file of the dataset: path inside it, bytes, sha256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """A shard: its name without ending, how many samples, its first and last key in hex (None: it is empty)."""

    name: str
    samples: int
    first_key: str | None
    last_key: str | None


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """How the images were stored: the resizing's `mode` and `size`, and the sides that came out of it, in pixels."""

    mode: str
    size: int
    min_width: int
    max_width: int
    min_height: int
    max_height: int

    @property
    def square(self) -> int | None:
        """The side, when all images are squares of one size."""
        sides = {self.min_width, self.max_width, self.min_height, self.max_height}
        return sides.pop() if len(sides) == 1 and 0 not in sides else None


@dataclasses.dataclass(frozen=True)
class StageAccount:
    """A stage of the build: rows in = rows out + rejects by reason."""

    stage: str
    rows: str  # what its rows are: "labels", "images"
    rows_in: int
    rows_out: int
    rejects: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The whole file. `files` are sorted by path and hold everything but the manifest itself."""

    name: str
    num_samples: int
    num_shards: int
    num_categories: int
    asserted_labels: int
    inferred_labels: int
    verified_negatives: int
    image: ImageInfo
    shards: Sequence[ShardEntry]
    stages: Sequence[StageAccount]
    files: Sequence[FileEntry]

    def to_bytes(self) -> bytes:
        """The file's bytes: sorted keys, one value a line."""
        value = {"format": FORMAT, "version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def parse_manifest(data: bytes, *, where: str = MANIFEST) -> Manifest:
    """Reads and checks `manifest.json`.

    Args:
        data: the file's bytes.
        where: its place, for messages.

    Raises:
        DatasetError: it is not a manifest of a version that is known here, or a field is missing, of a wrong type,
            or unsafe (a path that leads out of the dataset).
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise DatasetError(f"{where}: expected at most {MAX_MANIFEST_BYTES:,} bytes, found {len(data):,}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: expected JSON, found {error}; fetch the file again") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise DatasetError(f"{where}: expected format {FORMAT!r}, found {found!r}; this is no OpenJFT dataset")
    version = value.get("version")
    if isinstance(version, bool) or version not in READABLE_VERSIONS:
        older = isinstance(version, int) and version < FORMAT_VERSION
        cure = (
            "it was written by an older OpenJFT: build it again (`openjft build CONFIG` writes the shards anew and "
            "fetches no image twice), or read it with that release"
            if older
            else "read it with the OpenJFT release that wrote it, or a newer one"
        )
        raise DatasetError(f"{where}: expected format version {FORMAT_VERSION}, found {version!r}; {cure}")
    del value["format"], value["version"]
    manifest: Manifest = _record(Manifest, value, where)
    _check(manifest, where)
    return manifest


_PARTS: Mapping[str, type] = {"shards": ShardEntry, "stages": StageAccount, "files": FileEntry}


@functools.cache
def _fields(kind: type) -> Mapping[str, str]:
    return {field.name: str(field.type) for field in dataclasses.fields(kind)}


def _record(kind: type, value: Any, where: str) -> Any:
    """A dataclass of `kind` from a JSON object, each field of its type."""
    fields = _fields(kind)
    if not isinstance(value, dict) or value.keys() != fields.keys():
        found = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise DatasetError(f"{where}: {kind.__name__}: expected the fields {sorted(fields)}, found {found}")
    made: dict[str, Any] = {}
    for name, annotation in fields.items():
        item = value[name]
        if name in _PARTS and kind is Manifest:
            item = tuple(_record(_PARTS[name], part, where) for part in _expect(item, list, kind, name, where))
        elif annotation == "ImageInfo":
            item = _record(ImageInfo, item, where)
        elif annotation.startswith("Mapping"):
            item = {
                k: _expect(v, int, kind, f"{name}.{k}", where)
                for k, v in _expect(item, dict, kind, name, where).items()
            }
        elif annotation == "int":
            if _expect(item, int, kind, name, where) < 0:
                raise DatasetError(f"{where}: {kind.__name__}.{name}: expected 0 or more, found {item}")
        elif not (annotation == "str | None" and item is None):
            _expect(item, str, kind, name, where)
        made[name] = item
    return kind(**made)


def _expect(item: Any, kind: type, owner: type, name: str, where: str) -> Any:
    if not isinstance(item, kind) or isinstance(item, bool):
        raise DatasetError(f"{where}: {owner.__name__}.{name}: expected {kind.__name__}, found {item!r:.80}")
    return item


def _check(manifest: Manifest, where: str) -> None:
    """Names that are safe to open, and sums that agree."""
    for entry in manifest.files:
        if not safe_name(entry.path):
            raise DatasetError(f"{where}: files: expected a path inside the dataset, found {entry.path!r}")
    paths = [entry.path for entry in manifest.files]
    if any(a >= b for a, b in itertools.pairwise(paths)):
        raise DatasetError(f"{where}: files: expected paths sorted and unique")
    for shard in manifest.shards:
        if not SHARD_NAME.fullmatch(shard.name):
            raise DatasetError(f"{where}: shards: expected a name of letters, digits, '_', '-', found {shard.name!r}")
        for key in (shard.first_key, shard.last_key):
            if (key is None) != (shard.samples == 0) or (key is not None and not _is_hex_key(key)):
                raise DatasetError(
                    f"{where}: shard {shard.name}: expected keys of {2 * KEY_BYTES} hex digits, found {key!r}"
                )
    total = sum(shard.samples for shard in manifest.shards)
    if total != manifest.num_samples:
        raise DatasetError(
            f"{where}: num_samples: expected {total:,}, the sum of its shards, found {manifest.num_samples:,}"
        )
    if len(manifest.shards) != manifest.num_shards:
        raise DatasetError(f"{where}: num_shards: expected {len(manifest.shards)}, found {manifest.num_shards}")


def _is_hex_key(text: str) -> bool:
    return len(text) == 2 * KEY_BYTES and not set(text) - set("0123456789abcdef")


def file_entry(path: str, data: bytes) -> FileEntry:
    """The entry of a file with these bytes."""
    return FileEntry(path, len(data), hashlib.sha256(data).hexdigest())
