"""Which images of a folder a text means: a path below the folder, a key, or a file's name.

Lists of images come from many places: `openjft decontaminate` writes paths below the evaluation set's root
(NAME.clean.txt), ImageNet's lists have file names without ending. Each line is tried as a path, as a path that begins
with the folder's own name, as a key (32 hex digits), and as a name that only one image has, with or without its ending.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError, LoaderError
from .image_folder import ImageFolder
from .walk import some

MAX_LIST_BYTES: Final = 1 << 30
_KEY: Final = re.compile(r"[0-9a-fA-F]{32}")
_SEVERAL: Final = -1


class Ids:
    """Looks texts up among a folder's images."""

    def __init__(self, folder: ImageFolder) -> None:
        self._folder = folder
        paths = folder.files.paths
        self._paths = {path: row for row, path in enumerate(paths)}
        self._own = f"{Path(folder.root).name}/"
        self._keys: dict[bytes, int] | None = None
        self._names: dict[str, int] | None = None

    def row(self, text: str) -> int | None:
        """The image's number; None where no image, or more than one, is meant."""
        found = self._paths.get(text)
        if found is None and text.startswith(self._own):
            found = self._paths.get(text.removeprefix(self._own))
        if found is None and _KEY.fullmatch(text):
            found = self._by_key().get(bytes.fromhex(text))
        if found is None and "/" not in text:
            found = self._by_name().get(text)
        return None if found == _SEVERAL else found

    def _by_key(self) -> dict[bytes, int]:
        if self._keys is None:
            self._keys = {key.tobytes(): row for row, key in enumerate(self._folder.keys)}
        return self._keys

    def _by_name(self) -> dict[str, int]:
        """Names with and without their ending; those of several images are none's."""
        if self._names is None:
            names: dict[str, int] = {}
            for path, row in self._paths.items():
                name = path.rpartition("/")[2]
                for text in {name, name.rpartition(".")[0]}:
                    names[text] = row if names.get(text, row) == row else _SEVERAL
            self._names = names
        return self._names


@dataclasses.dataclass(frozen=True, eq=False)
class IdList:
    """The images that a list names: `rows` (m,) rising int64 numbers, and how many ids were no image's."""

    path: Path
    rows: npt.NDArray[np.int64]
    unknown: int

    def mask(self, num_samples: int) -> npt.NDArray[np.bool_]:
        """(n,) which of all images are listed."""
        mask = np.zeros(num_samples, np.bool_)
        mask[self.rows] = True
        return mask


def read_id_list(path: Path, ids: Ids, *, allow_unknown: bool, where: str) -> IdList:
    """Reads a list, an id a line; blank lines and lines that begin with '#' are passed over.

    Args:
        path: of the list.
        ids: of the folder.
        allow_unknown: count ids that are no image's.
        where: what the list is of, for messages.

    Raises:
        LoaderError: the list cannot be read, names nothing, or names what is not there.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise LoaderError(f"{path}: expected a list of at most {MAX_LIST_BYTES:,} bytes, found more")
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise LoaderError(f"{path}: expected a text file, one image a line: {error}") from error
    texts = [text for line in lines if (text := line.strip()) and not text.startswith("#")]
    found = {text: ids.row(text) for text in texts}
    unknown = [text for text, row in found.items() if row is None]
    rows = np.array(sorted({row for row in found.values() if row is not None}), np.int64)
    if unknown and not allow_unknown:
        raise LoaderError(
            f"{path}: expected images of {where}, found {len(unknown):,} of {len(found):,} ids that name none, or "
            f"several: {some(unknown)}; name the list of these images, or allow them with --allow-unknown-ids"
        )
    if not len(rows):
        raise DatasetError(f"{path}: expected images of {where}, one a line, found none")
    return IdList(path, rows, len(unknown))
