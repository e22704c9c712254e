"""The image files below a folder, in one walk: names and sizes, nothing opened.

In: a local folder. Out: `FileList`, sorted by name, and how many other files there were, by reason. What a link leads
to outside the folder is refused: a list of files names what lies in the folder, whoever made it.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError
from ..schema import MAX_IMAGE_BYTES

ENDINGS: Final = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif"})
MAX_FILES: Final = 50_000_000  # 100 bytes of memory each
MAX_DEPTH: Final = 32
SHOWN: Final = 5


@dataclasses.dataclass(frozen=True, eq=False)
class FileList:
    """Image files below a folder.

    Attributes:
        root: the folder, as it was given.
        paths: n relative paths with '/', rising byte by byte.
        sizes: (n,) int64, bytes.
        ignored: how many other files, by reason: not_an_image, hidden, empty, too_large, linked_folder.
    """

    root: Path
    paths: list[str]
    sizes: npt.NDArray[np.int64]
    ignored: dict[str, int]

    def taken(self, rows: npt.NDArray[np.int64]) -> FileList:
        """Some of the files, by rising rows (m,)."""
        return dataclasses.replace(self, paths=[self.paths[row] for row in rows.tolist()], sizes=self.sizes[rows])


def list_images(root: Path) -> FileList:
    """Lists the images below a folder, at any depth.

    Raises:
        DatasetError: it is no folder, cannot be read, a link leads out of it, or it holds too many files.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: expected a folder of images, found {'a file' if root.exists() else 'nothing'}")
    walk = _Walk(root)
    try:
        found = list(walk.files(str(root), "", 0))
    except OSError as error:
        raise DatasetError(f"{root}: expected a folder that can be read: {error}") from error
    if walk.outside:
        raise DatasetError(
            f"{root}: expected links that stay in the folder, found {len(walk.outside):,} that lead out of it: "
            f"{some(walk.outside)}; copy what they lead to, or name the folder that holds it"
        )
    found.sort(key=lambda item: os.fsencode(item[0]))
    sizes = np.array([size for _, size in found], np.int64)
    return FileList(root, [path for path, _ in found], sizes, dict(sorted(walk.ignored.items())))


def some(names: list[str]) -> str:
    """The first few names, and how many more."""
    shown = ", ".join(repr(name) for name in sorted(names)[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


class _Walk:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = os.path.realpath(root)
        self.ignored: collections.Counter[str] = collections.Counter()
        self.outside: list[str] = []
        self._count = 0

    def files(self, folder: str, relative: str, depth: int) -> Iterator[tuple[str, int]]:
        """Relative path and size of each image below a folder."""
        if depth > MAX_DEPTH:
            raise DatasetError(f"{self._root}: expected at most {MAX_DEPTH} folders in each other, found {relative!r}")
        with os.scandir(folder) as entries:
            for entry in entries:
                path = f"{relative}{entry.name}"
                if entry.name.startswith("."):
                    self.ignored["hidden"] += 1
                elif entry.is_symlink() and not self._stays(entry.path):
                    self.outside.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    yield from self.files(entry.path, f"{path}/", depth + 1)
                else:
                    yield from self._file(entry, path)

    def _file(self, entry: os.DirEntry[str], path: str) -> Iterator[tuple[str, int]]:
        reason = self._reason(entry)
        if reason is not None:
            self.ignored[reason] += 1
            return
        self._count += 1
        if self._count > MAX_FILES:
            raise DatasetError(f"{self._root}: expected at most {MAX_FILES:,} images, found more; build a data set")
        yield path, entry.stat().st_size

    def _reason(self, entry: os.DirEntry[str]) -> str | None:
        """Why a file is none of the images."""
        if entry.is_dir():
            return "linked_folder"  # inside the root, so its files are listed where they lie
        if os.path.splitext(entry.name)[1].lower() not in ENDINGS or not entry.is_file():  # noqa: PTH122 - a million
            return "not_an_image"
        size = entry.stat().st_size
        if not size:
            return "empty"
        return "too_large" if size > MAX_IMAGE_BYTES else None

    def _stays(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip("/") + "/")
