"""Whatever lies at a place, as a source of the loader: a finished data set, plain tars, or image files of anyone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .dataset import Dataset
from .errors import DatasetError, LoaderError
from .folders import ImageFolder
from .schema import MANIFEST
from .source import Source
from .storage.cache import ChunkCache
from .storage.folder import Folder
from .storage.http import MissingError
from .tars import TarCollection, tar_names


def open_source(
    path: str | os.PathLike[str],
    *,
    cache: ChunkCache | None = None,
    index: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Opens what lies at a place.

    Args:
        path: a folder, address or URI with `manifest.json`; a folder of tars, a tar, or tars' names in brace notation,
            which are indexed when they are seen for the first time; a local folder with a folder of images for each
            class.
        cache: on local disk, for what lies elsewhere.
        index: folder for the index of tars; None: beside them, or in the user's cache.
        on_progress: called with bytes done and bytes in all while tars are indexed.

    Raises:
        LoaderError: there is none of these, or it is damaged.
    """
    place = os.fspath(path)
    if place.endswith(".tar"):
        return TarCollection.open(place, index=index, cache=cache, on_progress=on_progress)
    if "://" not in place and not Path(place).is_dir():
        raise DatasetError(
            f"{place}: expected a folder with a data set ({MANIFEST}), with tars, or with class folders of images, "
            "found no folder"
        )
    if is_dataset(place):
        return Dataset.open(place, cache=cache)
    try:
        tar_names(place)
    except LoaderError as no_tars:
        return _images(place, no_tars)
    return TarCollection.open(place, index=index, cache=cache, on_progress=on_progress)


def is_dataset(place: str) -> bool:
    """Whether a finished data set lies there; another error than its absence is for the reader to tell."""
    if place.endswith(".tar"):
        return False
    if "://" not in place:
        return (Path(place) / MANIFEST).is_file()
    try:
        Folder(place).stat(MANIFEST)
    except MissingError:
        return False
    except DatasetError as error:
        return not isinstance(error.__cause__, FileNotFoundError)
    return True


def _images(place: str, no_tars: LoaderError) -> Source:
    """Class folders, where there are no tars; these are local."""
    if "://" not in place:
        try:
            return ImageFolder.open(place)
        except LoaderError as no_images:
            raise DatasetError(
                f"{place}: expected a data set ({MANIFEST}), tars or class folders of images, found none of them: "
                f"{no_images}"
            ) from no_images
    raise DatasetError(f"{place}: expected a data set ({MANIFEST}) or tars, found none: {no_tars}") from no_tars
