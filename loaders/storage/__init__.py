"""Where a dataset's bytes lie: local folders, web servers and object stores, read at an offset from many threads.

What lies afar may go through a bounded cache on the local disk, and is fetched into it in the order of its use.
"""

from .cache import CacheStats, ChunkCache
from .options import CacheOptions

__all__ = ["CacheOptions", "CacheStats", "ChunkCache"]
