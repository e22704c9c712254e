"""The two options of a local cache, as a command line offers them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from ..checks import check, raise_all
from .cache import CHUNK_BYTES, ChunkCache

DEFAULT_CACHE_GB: Final = 50.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """A cache of what is read from afar.

    Args:
        cache: folder on a local disk; None: nothing is kept.
        cache_gb: the most that it may hold, in 10^9 bytes.

    Raises:
        LoaderError: with every mistake.
    """

    cache: str | Path | None = dataclasses.field(
        default=None, metadata={"help": "folder on a local disk that keeps what is read from http, s3 or gs"}
    )
    cache_gb: float = dataclasses.field(
        default=DEFAULT_CACHE_GB, metadata={"help": "the most that the cache may hold, in GB; 5 and more serve well"}
    )

    def __post_init__(self) -> None:
        raise_all("cache options", cache_mistakes(self.cache, self.cache_gb))

    def open(self) -> ChunkCache | None:
        """The cache, or None where nothing is to be kept."""
        return None if self.cache is None else ChunkCache(self.cache, max_bytes=int(self.cache_gb * 1e9))


def cache_mistakes(cache: str | Path | None, cache_gb: float) -> list[str]:
    """What is wrong with the two options."""
    least = 2 * CHUNK_BYTES / 1e9
    mistakes = check("cache_gb", cache_gb, f"{least:.3f} or more, two chunks", least <= cache_gb < float("inf"))
    if cache is not None and Path(cache).exists() and not Path(cache).is_dir():
        mistakes.append(f"cache: expected a folder, or a name that is free, found a file: {cache}")
    return mistakes
