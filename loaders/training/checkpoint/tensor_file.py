"""Writes and reads one safetensors file, hashing it on the way.

The writer is ours, 30 lines: the library's holds Python's lock while it writes, which would stop the training for
that long, and its files would have to be read again to be hashed and synced. The reader is the library's.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from typing_extensions import Buffer

from openjft.loaders.errors import CheckpointError

_DTYPES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGN: Final = 8


class Written(NamedTuple):
    """A file that is on the disk."""

    name: str
    size: int
    sha256: str


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Written:
    """Writes host tensors in the order of the mapping, each contiguous, and syncs the file.

    Raises:
        OSError: there is no space, or no right.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    at = 0
    for name, tensor in tensors.items():
        place = [at, at + tensor.nbytes]
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        at += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGN)
    digest = hashlib.sha256()
    with path.open("wb") as sink:
        for part in (len(text).to_bytes(8, "little"), text, *map(_bytes, tensors.values())):
            digest.update(part)  # both let go of Python's lock, so the training goes on meanwhile
            sink.write(part)
        sink.flush()
        os.fsync(sink.fileno())
        size = sink.tell()
    return Written(path.name, size, digest.hexdigest())


def _bytes(tensor: Tensor) -> Buffer:
    # Not by `.view(dtype)` of the whole: a tensor of no dimension has no last one to take apart.
    data: Buffer = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return data


def read_tensors(path: Path, *, size: int, sha256: str) -> dict[str, Tensor]:
    """Reads a file into host memory after comparing it with its size and hash.

    Raises:
        CheckpointError: it is missing or was changed.
    """
    try:
        found_size = path.stat().st_size
        if found_size != size:
            raise CheckpointError(_changed(path, f"{size:,} bytes", f"{found_size:,}"))
        with path.open("rb") as source:
            found = hashlib.file_digest(source, "sha256").hexdigest()
        if found != sha256:
            raise CheckpointError(_changed(path, f"sha256 {sha256}", found))
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise CheckpointError(_changed(path, "a file", "none")) from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(_changed(path, "a safetensors file", str(error))) from error


def _changed(path: Path, expected: str, found: str) -> str:
    return (
        f"{path}: expected {expected}, found {found}. The checkpoint was damaged or changed after it was written; "
        f"remove {path.parent} to go on from the one before it"
    )


def sync_folder(path: Path) -> None:
    """Puts a folder's entries on the disk: a file's name is not there until its folder is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
