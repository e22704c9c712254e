"""Reader of existing WebDataset tars: every sample with a picture is a row, or one for each of its labels.

The pictures stay where they are: the tar is walked by its headers, and a row's URI tells the member's place
(`tar+file:///a/b.tar?member=NAME#OFFSET-SIZE`). Members share a sample when they are neighbours and have the
same name up to the first dot of the file name, as webdataset has it. Nothing is extracted; links, devices and
names that climb out of the folder are no pictures. A header that is damaged in the middle is an error: Python's
tarfile takes it for the end of the tar and drops the rest.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Generator, Iterator, Mapping
from typing import IO, Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from openjft.loaders.tar import safe_name

from ..config import Input
from ..errors import InputError
from .raw import BadRow, RawBatch
from .splits import Piece
from .uris import tar_member_uri

IMAGE_ENDINGS: Final = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm"})
MAX_TEXT_BYTES: Final = 4 << 20  # of a sample's JSON or label
BATCH_ROWS: Final = 16_384


class _SampleError(ValueError):
    """A sample that does not parse."""


class _Sample:
    """Members of one sample, as they are met."""

    def __init__(self, key: str, number: int) -> None:
        self.key, self.number = key, number
        self.image: tarfile.TarInfo | None = None
        self.texts: dict[str, bytes] = {}
        self.problem = "no member of the sample is a picture"


def read_webdataset(
    filesystem: pafs.FileSystem, piece: Piece, tar_address: str, item: Input, wanted: Mapping[str, str]
) -> Generator[RawBatch]:
    """The samples of a tar; row numbers count samples.

    Args:
        filesystem: where the tar is.
        piece: the tar.
        tar_address: how the tar stands in URIs, an absolute path or a URI.
        item: tells where the label stands.
        wanted: further fields of `RAW` -> fields of the sample's JSON.

    Raises:
        InputError: the tar is damaged or truncated.
    """
    values: dict[str, list[str | None]] = {field: [] for field in ("uri", "label", *_json_fields(wanted))}
    rows: list[int] = []
    bad: list[BadRow] = []
    for sample in _samples(filesystem, piece, _endings(item, wanted)):
        try:
            for row in _rows(sample, tar_address, item, wanted):
                rows.append(sample.number)
                for field, value in row.items():
                    values[field].append(value)
        except ValueError as error:
            bad.append(BadRow(sample.number, str(error), sample.key))
        if len(rows) + len(bad) >= BATCH_ROWS:
            yield _batch(values, rows, bad)
    yield _batch(values, rows, bad)


def _batch(values: dict[str, list[str | None]], rows: list[int], bad: list[BadRow]) -> RawBatch:
    """The rows so far; empties the lists."""
    columns = {field: pa.array(column, pa.string()) for field, column in values.items()}
    batch = RawBatch(columns, np.array(rows, np.int64), tuple(bad))
    for held in (*values.values(), rows, bad):
        held.clear()  # type: ignore[attr-defined]
    return batch


def _json_fields(wanted: Mapping[str, str]) -> list[str]:
    return [field for field in wanted if field not in {"uri", "label"}]


def _endings(item: Input, wanted: Mapping[str, str]) -> frozenset[str]:
    """Endings of the members that are read besides the picture."""
    kind = item.webdataset_label.partition(":")[0]
    return frozenset({kind, "json"} if _json_fields(wanted) else {kind})


def _samples(filesystem: pafs.FileSystem, piece: Piece, read: frozenset[str]) -> Iterator[_Sample]:
    try:
        with filesystem.open_input_file(piece.path) as stream:
            with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:") as archive:
                yield from _group(archive, read)
                end = archive.offset
            stream.seek(end)
            if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise InputError(f"{piece.path}: expected a tar header at byte {end:,}, found damage; fetch it again")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{piece.path}: expected an uncompressed, whole tar, found: {error}") from error


def _group(archive: tarfile.TarFile, read: frozenset[str]) -> Iterator[_Sample]:
    sample: _Sample | None = None
    number = 0
    for info in archive:
        if info.isdir():
            continue
        folder, slash, file_name = info.name.rpartition("/")
        stem, _, ending = file_name.partition(".")
        key = folder + slash + stem
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample, number = _Sample(key, number), number + 1
        _add_member(sample, archive, info, ending.lower(), read)
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all
    if sample is not None:
        yield sample


def _add_member(
    sample: _Sample, archive: tarfile.TarFile, info: tarfile.TarInfo, ending: str, read: frozenset[str]
) -> None:
    if not info.isreg() or info.issparse() or not safe_name(info.name):
        sample.problem = f"member {info.name[:200]!r} is no regular file with a safe name"
    elif ending.rpartition(".")[2] in IMAGE_ENDINGS and sample.image is None:
        sample.image = info
    elif ending in read and info.size <= MAX_TEXT_BYTES:
        source = archive.extractfile(info)
        sample.texts[ending] = source.read() if source is not None else b""


def _rows(sample: _Sample, tar_address: str, item: Input, wanted: Mapping[str, str]) -> Iterator[dict[str, str | None]]:
    """The rows of a sample.

    Raises:
        ValueError: what does not parse.
    """
    if sample.image is None:
        raise _SampleError(sample.problem)
    uri = tar_member_uri(tar_address, sample.image.name, sample.image.offset_data, sample.image.size)
    document = _document(sample)
    others = {field: _text(document.get(wanted[field])) for field in _json_fields(wanted)}
    for label in _labels(sample, item.webdataset_label, document):
        yield {"uri": uri, "label": label, **others}


def _document(sample: _Sample) -> dict[str, Any]:
    if "json" not in sample.texts:
        return {}
    try:
        value = json.loads(sample.texts["json"])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _SampleError("expected a JSON object in the sample's .json")
    return value


def _labels(sample: _Sample, where: str, document: Mapping[str, Any]) -> list[str | None]:
    kind, _, field = where.partition(":")
    if kind != "json":
        data = sample.texts.get(kind)
        return [None if data is None else data.decode()]  # a UnicodeDecodeError is a ValueError
    value = document.get(field)
    return [_text(one) for one in value] or [None] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        text = value
    elif isinstance(value, (bool, dict, list)):
        raise _SampleError(f"expected text or a number in the sample's .json, found {type(value).__name__}")
    else:
        text = json.dumps(value)
    if text is not None:
        text.encode()  # half of a surrogate pair is a ValueError here, and a crash in Arrow
    return text
