"""The two options of a local cache, as a command line offers them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from ..checks import check, option, raise_all
from .cache import CHUNK_BYTES, ChunkCache

DEFAULT_CACHE_GB: Final = 50.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheFields:
    """The two options, for whoever reads data: what inherits them checks them with its own."""

    cache: str | Path | None = dataclasses.field(
        default=None, metadata=option("folder on a local disk that keeps what is read from http, s3 or gs")
    )
    cache_gb: float = dataclasses.field(
        default=DEFAULT_CACHE_GB, metadata=option("the most that the cache may hold, in GB; 5 and more serve well")
    )

    def open_cache(self) -> ChunkCache | None:
        """The cache, or None where nothing is to be kept."""
        return None if self.cache is None else ChunkCache(self.cache, max_bytes=int(self.cache_gb * 1e9))

    def _cache_mistakes(self) -> list[str]:
        least, folder = 2 * CHUNK_BYTES / 1e9, None if self.cache is None else Path(self.cache)
        enough = least <= self.cache_gb < float("inf")
        mistakes = check("cache_gb", self.cache_gb, f"{least:.3f} or more, two chunks", enough)
        if folder is not None and folder.exists() and not folder.is_dir():
            mistakes.append(f"cache: expected a folder, or a name that is free, found a file: {folder}")
        return mistakes


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheOptions(CacheFields):
    """A cache of what is read from afar.

    Args:
        cache: folder on a local disk; None: nothing is kept.
        cache_gb: the most that it may hold, in 10^9 bytes.

    Raises:
        LoaderError: with every mistake.
    """

    def __post_init__(self) -> None:
        raise_all("cache options", self._cache_mistakes())

    def open(self) -> ChunkCache | None:
        """The cache, or None where nothing is to be kept."""
        return self.open_cache()
