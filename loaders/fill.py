"""Reading and decoding a part of a batch: what a worker's thread does, and what it says of samples that are no good.

In: a plan and the places of it to fill. Out: pixels at their places, or encoded bytes, and the samples that cannot be
used, each with a reason, where the loader leaves such out; else the first of them as an error.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, NamedTuple

from .decoding import DecodeError
from .errors import DatasetError, ShortReadError
from .images import Pixels, decode_any_into, decode_into
from .plan import BatchPlan
from .times import StageClock

if TYPE_CHECKING:
    from .loader import Loader


class Bad(NamedTuple):
    """A sample that cannot be used: its place in the batch, the reason in a word, what was found."""

    at: int
    reason: str
    detail: str


class Filled(NamedTuple):
    """A part that is done: its encoded bytes where the loader does not decode, and the samples that are no good."""

    encoded: list[bytes]
    bad: list[Bad]


def fill(loader: Loader, plan: BatchPlan, images: Pixels, part: range, clock: StageClock) -> Filled:
    """Reads a part of a batch, and decodes it.

    Args:
        loader: how.
        plan: of the whole batch.
        images: (n, h, w, 3) uint8 of the whole batch, written at the part's places; untouched without decoding.
        part: places in the batch.
        clock: told once, when the part is done.

    Raises:
        DatasetError: a file is missing; or a sample is no good, and the loader leaves none out.
    """
    begin = time.perf_counter()
    bad: list[Bad] = []
    read = _read(loader, plan, part, bad)
    middle = time.perf_counter()
    if loader.decode or loader.check_sha256:
        for i, data in zip(part, read, strict=True):
            if data is not None:
                _use(loader, plan, i, data, images, bad)
    end = time.perf_counter()
    encoded = [data or b"" for data in read]
    clock.add(read_s=middle - begin, decode_s=end - middle, read_bytes=sum(map(len, encoded)), samples=len(part))
    return Filled([] if loader.decode else encoded, sorted(bad))


def _read(loader: Loader, plan: BatchPlan, part: range, bad: list[Bad]) -> list[bytes | None]:
    """The samples' bytes; None, and an entry in `bad`, for one that its shard ends before."""
    read_bytes, found = loader.dataset.read_bytes, list[bytes | None]()
    places = slice(part.start, part.stop)
    # Lists: an int of an array costs as much as the rest of the loop.
    shards, offsets, sizes = (column[places].tolist() for column in (plan.shards, plan.offsets, plan.sizes))
    for i, shard, offset, size in zip(part, shards, offsets, sizes, strict=True):
        try:
            found.append(read_bytes(shard, offset, size))
        except ShortReadError as error:
            if loader.on_error == "raise":
                raise
            bad.append(Bad(i, "short_read", str(error)))
            found.append(None)
        except Exception as error:
            error.add_note(_where(loader, plan, i))
            raise
    return found


def _use(loader: Loader, plan: BatchPlan, i: int, data: bytes, images: Pixels, bad: list[Bad]) -> None:
    """Checks and decodes a sample's bytes into its place."""
    try:
        if loader.check_sha256:
            _check_sha256(data, plan.sha256[i].tobytes())
        if loader.decode:
            _decode(loader, plan, i, data, images[i])
    except _BadSample as error:
        if loader.on_error == "raise":
            raise DatasetError(
                f"{_where(loader, plan, i)}: {error}; fetch the file again, or go on without such samples with "
                "on_error='skip'"
            ) from error
        bad.append(Bad(i, error.reason, str(error)))
    except Exception as error:  # one of ours: say where, so that it can be found
        error.add_note(_where(loader, plan, i))
        raise


def _where(loader: Loader, plan: BatchPlan, i: int) -> str:
    return f"{loader.dataset.place(int(plan.shards[i]))}: sample {plan.keys[i].tobytes().hex()}"


class _BadSample(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _check_sha256(data: bytes, expected: bytes) -> None:
    # All zeros: a source that does not know, such as a folder of files that nobody hashed.
    if any(expected) and hashlib.sha256(data).digest() != expected:
        raise _BadSample("sha256", "the image's sha256 is not the index's")


def _decode(loader: Loader, plan: BatchPlan, i: int, data: bytes, out: Pixels) -> None:
    try:
        if loader.dataset.stored:
            decode_into(data, out, size=(int(plan.shapes[i, 0]), int(plan.shapes[i, 1])))
        else:
            decode_any_into(data, out, max_pixels=loader.max_pixels)
    except DecodeError as error:
        raise _BadSample(error.reason, str(error)) from error
    except ValueError as error:
        raise _BadSample("size", str(error)) from error
