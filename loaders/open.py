"""Whatever lies at a place, as a source of the loader: a finished data set, or plain tars of anyone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .dataset import Dataset
from .errors import DatasetError, LoaderError
from .schema import MANIFEST
from .source import Source
from .storage.cache import ChunkCache
from .tars import TarCollection


def open_source(
    path: str,
    *,
    cache: ChunkCache | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Opens what lies at a place.

    Args:
        path: a folder or URI with `manifest.json`; a folder of tars, a tar, or tars' names in brace notation, which are
            indexed when they are seen for the first time.
        cache: on local disk, for what lies elsewhere.
        on_progress: called with bytes done and bytes in all while tars are indexed.

    Raises:
        LoaderError: there is neither.
    """
    if path.endswith(".tar"):
        return TarCollection.open(path, cache=cache, on_progress=on_progress)
    if "://" not in path and not Path(path).is_dir():
        raise DatasetError(f"{path}: expected a folder with a data set ({MANIFEST}) or with tars, found none")
    try:
        return Dataset.open(path, cache=cache)
    except DatasetError as error:
        if "found none" not in str(error):
            raise
        try:
            return TarCollection.open(path, cache=cache, on_progress=on_progress)
        except LoaderError as no_tars:
            if "found none" in str(no_tars):
                raise DatasetError(f"{error}; nor are there tars (*.tar)") from error
            raise
