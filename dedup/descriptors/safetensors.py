"""Reads safetensors, the format in which weights of torchvision's architectures are also passed on.

In: a file of 8 bytes (length of the header, little-endian), a JSON header `{name: {dtype, shape, data_offsets}}`, and
the tensors' bytes. Out: tensors by name. Data only: nothing in the format runs. The file is a stranger's, so every
length is checked against the file's own before anything is made of it.

Source: github.com/huggingface/safetensors, "Format". Its package is not needed for 60 lines.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import EmbedderError

if TYPE_CHECKING:
    import torch

ENDING: Final = ".safetensors"
MAX_HEADER_BYTES: Final = 100 << 20  # the format's own limit
_LENGTH_BYTES: Final = 8
# Of torch; what weights come in.
_DTYPES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name, in host memory.

    Raises:
        EmbedderError: the file is damaged, or of another format.
    """
    data = path.read_bytes()
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if len(data) < _LENGTH_BYTES or not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - _LENGTH_BYTES):
        raise _error(path, f"{len(data):,} bytes that begin with a header of {length:,}")
    start = _LENGTH_BYTES + length
    try:
        header = json.loads(data[_LENGTH_BYTES:start])
    except (ValueError, RecursionError) as error:
        raise _error(path, f"a header that is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise _error(path, f"a header that is a {type(header).__name__}")
    body = memoryview(data)[start:]
    return {name: _tensor(path, name, entry, body) for name, entry in header.items() if name != "__metadata__"}


def _tensor(path: Path, name: str, entry: Any, body: memoryview) -> torch.Tensor:
    import torch

    try:
        dtype: torch.dtype = getattr(torch, _DTYPES[entry["dtype"]])
        shape = [_count(size) for size in entry["shape"]]
        first, last = (_count(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise _error(path, f"the entry {entry!r} of {name!r} ({type(error).__name__}: {error})") from error
    if not 0 <= first <= last <= len(body) or last - first != math.prod(shape) * dtype.itemsize:
        raise _error(path, f"the entry {entry!r} of {name!r}, whose sizes do not add up in {len(body):,} bytes")
    if first == last:
        return torch.empty(shape, dtype=dtype)
    # A copy of its own: torch wants memory that it may write to, and an address that fits the type.
    return torch.frombuffer(bytearray(body[first:last]), dtype=dtype).reshape(shape)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"expected a whole number, found {value!r}")
    return value


def _error(path: Path, found: str) -> EmbedderError:
    return EmbedderError(f"embed.weights: {path}: expected a safetensors file, found {found[:300]}")
