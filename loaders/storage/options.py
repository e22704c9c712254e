"""The two options of a local cache, as a command line offers them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from ..errors import LoaderError
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
        mistakes = []
        least = 2 * CHUNK_BYTES / 1e9
        if not (least <= self.cache_gb < float("inf")):
            mistakes.append(f"cache_gb: expected {least:.3f} or more, two chunks, found {self.cache_gb!r}")
        if self.cache is not None and Path(self.cache).exists() and not Path(self.cache).is_dir():
            mistakes.append(f"cache: expected a folder, or a name that is free, found a file: {self.cache}")
        if mistakes:
            noun = "mistake" if len(mistakes) == 1 else "mistakes"
            lines = "\n".join(f"  {line}" for line in mistakes)
            raise LoaderError(f"cache options: {len(mistakes)} {noun}\n{lines}")

    def open(self) -> ChunkCache | None:
        """The cache, or None where nothing is to be kept."""
        return None if self.cache is None else ChunkCache(self.cache, max_bytes=int(self.cache_gb * 1e9))
