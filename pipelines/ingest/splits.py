"""Splits of the input: which files there are, and how they are cut into units of work.

In: the configuration's inputs and the listings of their files; no file is opened, so that the driver and every
later command plan in a blink. Out: a tuple of `Split`, the same for the same listing. A split is a run of pieces
of files of one input: small files are packed together, large ones cut into ranges of bytes where a reader can
start in the middle (Parquet: the row groups that start in the range; JSON lines, TSV and Tencent's lists: the lines
that start in it). CSV is never cut: a line break inside quotes cannot be told from the end of a row without reading
from the start. Compressed text and tars are not cut either.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal, cast

import pyarrow.fs as pafs

from ..config import Config, Input
from ..errors import ConfigError, InputError
from ..storage import resolve

Format = Literal["parquet", "csv", "tsv", "jsonl", "open_images", "tencent_ml_images", "webdataset"]

# About a million rows of Parquet, or one run: fewer rows in a split make more and smaller reads in `evidence`.
SPLIT_BYTES: Final = 32 << 20
# What a file weighs when splits are packed: a compressed line takes about a quarter of its plain bytes.
_COMPRESSED_WEIGHT: Final = 4
COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
_ENDINGS: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tar": "webdataset",
}
_CUTTABLE: Final = ("parquet", "tsv", "jsonl", "tencent_ml_images")
_WILDCARD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class Piece:
    """Bytes [start, stop) of a file. `modified_ns` is in the fingerprint, so a changed file is read again."""

    path: str  # as the file system of its input takes it
    size: int
    modified_ns: int
    start: int
    stop: int

    @property
    def is_whole(self) -> bool:
        """Whether the piece is all of its file."""
        return self.start == 0 and self.stop == self.size

    @property
    def name(self) -> str:
        """How rejects name it: rows are counted from the start of the piece where the file's lines are cut."""
        return self.path if self.is_whole else f"{self.path}#bytes={self.start}-{self.stop}"


@dataclasses.dataclass(frozen=True)
class Split:
    """A unit of `spill`: pieces of files of one input, in order."""

    input: int  # index into config.inputs
    pieces: tuple[Piece, ...]


def compression_of(path: str) -> str | None:
    """Arrow's name of the compression that a file's ending tells, or None."""
    return next((codec for ending, codec in COMPRESSIONS.items() if path.lower().endswith(ending)), None)


def format_of(path: str, declared: str) -> Format:
    """The format of a file: as declared, or by its ending.

    Raises:
        InputError: 'auto' does not know the ending, or the format cannot be read compressed.
    """
    inner = path.lower()
    for ending in COMPRESSIONS:
        inner = inner.removesuffix(ending)
    found: Format | None
    if declared == "auto":
        found = next((kind for ending, kind in _ENDINGS.items() if inner.endswith(ending)), None)
        if found is None:
            raise InputError(
                f"{path}: expected a file ending in {', '.join(_ENDINGS)} (text also with .gz or .zst), found another. "
                "Set the input's `format`, or name the files by a glob"
            )
    else:
        found = cast("Format", declared)
    if found in {"parquet", "webdataset"} and compression_of(path):
        raise InputError(f"{path}: expected {found} as it is, found it inside another compression; decompress it first")
    return found


def list_input(path: str) -> list[pafs.FileInfo]:
    """The files of a path, folder, glob or URI, by path; hidden ones ('.' or '_' first) left out of folders.

    Raises:
        InputError: there are none.
    """
    filesystem, full = _resolve_glob(path)
    info = filesystem.get_file_info(full)
    if info.type == pafs.FileType.File:
        return [info]
    if info.type == pafs.FileType.Directory:
        found = _below(filesystem, full)
    elif _WILDCARD.search(full):
        folder = full[: _WILDCARD.search(full).start()].rpartition("/")[0]  # type: ignore[union-attr]
        matches = re.compile(_glob_regex(full)).fullmatch
        found = [item for item in _below(filesystem, folder or "/") if matches(item.path)]
    else:
        found = []
    if not found:
        raise InputError(f"{path}: expected a file, a folder with files, or a glob that matches some, found none")
    return sorted(found, key=lambda item: item.path)


def _resolve_glob(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path, also where its wildcards are no legal URI."""
    wildcard = _WILDCARD.search(path)
    if wildcard is None or "://" not in path:
        return resolve(path)
    folder = path[: wildcard.start()].rpartition("/")[0]
    filesystem, base = resolve(folder)
    return filesystem, base + path[len(folder) :]


def input_filesystem(path: str) -> pafs.FileSystem:
    """The file system of an input's path, which may hold wildcards."""
    return _resolve_glob(path)[0]


def input_uri(path: str, file: str) -> str:
    """How a file of an input stands in a URI: its absolute path, or the input's scheme and its path."""
    scheme, colon, _ = path.partition("://")
    return f"{scheme}://{file}" if colon else file


def _below(filesystem: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    selector = pafs.FileSelector(folder, recursive=True, allow_not_found=True)
    skip = len(folder.rstrip("/")) + 1
    return [
        info
        for info in filesystem.get_file_info(selector)
        if info.type == pafs.FileType.File
        and not any(part.startswith((".", "_")) for part in info.path[skip:].split("/"))
    ]


def _glob_regex(pattern: str) -> str:
    """A glob as a regular expression: '*' and '?' stay inside a folder, '**/' goes through any number of them."""
    tokens = re.compile(r"\*\*/|\*|\?|\[!?[^\]]+\]|.", re.DOTALL)
    special = {"**/": r"(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}

    def one(token: str) -> str:
        if token in special:
            return special[token]
        if len(token) > 1:  # a class of characters
            return "[" + token[1:-1].replace("\\", r"\\").replace("!", "^", token[1] == "!") + "]"
        return re.escape(token)

    return "".join(one(token) for token in tokens.findall(pattern))


def pieces_of(info: pafs.FileInfo, kind: Format, split_bytes: int) -> list[Piece]:
    """A file's pieces: one, or equal ranges of about `split_bytes` where the format can be cut."""
    size, modified = int(info.size), int(info.mtime_ns or 0)
    cuts = max(1, round(size / split_bytes)) if kind in _CUTTABLE and compression_of(info.path) is None else 1
    edges = [size * i // cuts for i in range(cuts + 1)]
    return [Piece(info.path, size, modified, a, b) for a, b in itertools.pairwise(edges)]


def plan_splits(config: Config, *, split_bytes: int = SPLIT_BYTES) -> tuple[Split, ...]:
    """All splits of a build's inputs, in the order of the inputs and of the files' paths.

    Raises:
        InputError: an input has no files, or one of unknown format.
        ConfigError: an input needs a setting that is not there.
    """
    splits: list[Split] = []
    for index, item in enumerate(config.inputs):
        pieces: list[Piece] = []
        for info in list_input(item.path):
            kind = format_of(info.path, item.format)
            _check_settings(config, index, kind)
            pieces += pieces_of(info, kind, split_bytes)
        splits += [Split(index, group) for group in _packed(pieces, split_bytes)]
    return tuple(splits)


def _packed(pieces: Iterable[Piece], split_bytes: int) -> Iterator[tuple[Piece, ...]]:
    """Neighbours together until they weigh `split_bytes`."""
    group: list[Piece] = []
    weight = 0
    for piece in pieces:
        own = (piece.stop - piece.start) * (_COMPRESSED_WEIGHT if compression_of(piece.path) else 1)
        if group and weight + own > split_bytes * 3 // 2:
            yield tuple(group)
            group, weight = [], 0
        group.append(piece)
        weight += own
    if group:
        yield tuple(group)


def _check_settings(config: Config, index: int, kind: Format) -> None:
    item: Input = config.inputs[index]
    if kind == "open_images" and item.uri_template is None:
        raise ConfigError(
            f"inputs.{index}.uri_template: expected one for format 'open_images', whose rows have an ImageID and no "
            "address, found none. Example: 'https://example.org/images/{}.jpg'"
        )
    if item.header is not None and kind not in {"csv", "tsv"}:
        raise ConfigError(
            f"inputs.{index}.header: expected it for CSV and TSV alone, found files of format {kind!r}. Leave it out"
        )
    if kind == "webdataset" and "tar" not in config.ingest.allowed_schemes:
        raise ConfigError(
            f"ingest.allowed_schemes: expected 'tar' among them, since inputs.{index} reads images from tars, found "
            f"{', '.join(config.ingest.allowed_schemes)}"
        )
