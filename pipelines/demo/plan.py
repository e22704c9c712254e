"""What lies behind each address of the demo's web: a picture, a copy, a duplicate, or a failure of a known kind.

In: a number of addresses. Out: `Fate`s in the order of the signals' pictures: first the planted copies of evaluation
pictures and the failures, which get strong evidence so that most of them are asked for, then the ordinary ones. The
share of each kind is fixed; every kind occurs, however small the web.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..keys import buckets_of, image_keys
from .copies import TRANSFORMS
from .server import HOST

BUCKETS: Final = 16  # of the demo's build
CLOSED_PORT: Final = 1  # nobody listens there: every system reserves it
COPIES_SHARE: Final = 0.007  # of the addresses, for each transform
MOST_SLOW: Final = 3  # each holds a build for its time-outs
SMALLEST_WEB: Final = 50


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of address.

    `share` of the addresses; `path` is the first part of their paths; `status` and `http_status` are what `fetch`
    must find; `strong` gets strong evidence.
    """

    share: float
    path: str
    status: str = "ok"
    http_status: int | None = None
    strong: bool = True


KINDS: Final[Mapping[str, Kind]] = {
    "gone": Kind(0.012, "gone", "http_error", 404),
    "broken": Kind(0.003, "broken", "http_error", 500),
    "closed": Kind(0.002, "pictures", "connect_failed"),
    "slow": Kind(0.001, "slow", "timeout"),
    "loop": Kind(0.001, "loop", "redirect_loop"),
    "html": Kind(0.003, "pictures", "not_an_image"),
    "truncated": Kind(0.003, "pictures", "truncated"),
    "empty": Kind(0.002, "pictures", "empty"),
    "huge": Kind(0.0, "pictures", "too_many_pixels"),
    "noai": Kind(0.002, "noai", "disallowed"),
    "copy": Kind(0.0, "pictures"),
    "moved": Kind(0.01, "moved", strong=False),
    "duplicate": Kind(0.01, "pictures", strong=False),  # the same bytes at a second address
    "recompressed": Kind(0.01, "pictures", strong=False),  # the same picture, stored anew
    "plain": Kind(0.0, "pictures", strong=False),
}

FATES: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("leaf", pa.string(), nullable=False),  # what the picture shows
        pa.field("status", pa.string(), nullable=False),  # that `fetch` must find
        pa.field("http_status", pa.int16()),
        pa.field("same_as", pa.string()),  # the address of the other one of a pair of duplicates
    ]
)


@dataclasses.dataclass(frozen=True)
class Fate:
    """One address: its kind and, of a copy, the transform."""

    kind: str
    transform: str | None = None


def plan_fates(images: int) -> list[Fate]:
    """(images,) fates, those with strong evidence first."""

    def number(name: str) -> int:
        count = max(1, round(KINDS[name].share * images))
        return min(count, MOST_SLOW) if name == "slow" else count

    copies = max(1, round(COPIES_SHARE * images))
    fates = [Fate("copy", transform) for transform in TRANSFORMS for _ in range(copies)]
    fates += [Fate(name) for name, kind in KINDS.items() if kind.strong and name != "copy" for _ in range(number(name))]
    fates += [Fate(name) for name in ("moved", "duplicate", "recompressed") for _ in range(number(name))]
    return fates + [Fate("plain")] * (images - len(fates))


def is_strong(fate: Fate) -> bool:
    """Whether the address's correct label gets strong evidence."""
    return KINDS[fate.kind].strong


def make_uris(fates: Sequence[Fate], endings: Sequence[str], port: int, rng: np.random.Generator) -> list[str]:
    """(m,) canonical addresses; their numbers tell nothing of their kinds."""
    numbers = rng.permutation(len(fates)).tolist()
    uris = []
    slow_bucket: int | None = None
    for fate, ending, number in zip(fates, endings, numbers, strict=True):
        kind = KINDS[fate.kind]
        base = f"http://{HOST}:{CLOSED_PORT if fate.kind == 'closed' else port}/{kind.path}/{number:06d}"
        uri = f"{base}.{ending}"
        if fate.kind == "slow":
            # All in one bucket, so that a build waits for them at once.
            if slow_bucket is not None:
                uri = next(u for u in (f"{base}-{k}.{ending}" for k in range(100_000)) if _bucket(u) == slow_bucket)
            slow_bucket = _bucket(uri)
        uris.append(uri)
    return uris


def _bucket(uri: str) -> int:
    return int(buckets_of(image_keys([uri]), BUCKETS)[0])


def find_originals(fates: Sequence[Fate], leaf: npt.NDArray[np.int64], rng: np.random.Generator) -> dict[int, int]:
    """Address -> the address whose picture it repeats: a plain one of the same leaf, each used once.

    A duplicate without such a partner is left out; it becomes a plain picture.
    """
    free: dict[int, list[int]] = {}
    for i in rng.permutation(len(fates)).tolist():
        if fates[i].kind == "plain":
            free.setdefault(int(leaf[i]), []).append(i)
    found = {}
    for i, fate in enumerate(fates):
        if fate.kind in {"duplicate", "recompressed"} and free.get(int(leaf[i])):
            found[i] = free[int(leaf[i])].pop()
    return found
