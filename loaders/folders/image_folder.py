"""A folder of image files as a source: each file is a shard of one sample.

In: a folder. Out: what a `Loader` asks of a `Source`. A sample's key is the hash of its path below the folder, so that
a subset is a uniform sample whatever the names, and adding files moves none of the others. Width and height are 0, not
known: the files are anyone's, and the loader looks at each when it decodes it (upright, middle square, resized).
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from openjft.taxonomy import Csr

from ..errors import DatasetError, ShortReadError
from ..schema import KEY_BYTES
from ..shard_index import ShardIndex, key_heads
from ..source import Int64s
from ..subset import NumberSet, heads_between
from .labels import class_labels, table_labels
from .walk import FileList, list_images

_HASH_THREADS: Final = 8


class ImageFolder:
    """Image files with their labels; make it with `open`, `with_table` or `unlabelled`.

    Args:
        files: the files.
        labels: of each file; values in [0, len(category_ids)), rising.
        category_ids: the classes.
        sha256: read every file and hash it, for the loader's `check_sha256`; the fingerprint then is of the content.
    """

    stored: Final = False
    uniform: Final = False

    def __init__(self, files: FileList, labels: Csr, category_ids: Sequence[str], *, sha256: bool = False) -> None:
        if not files.paths:
            raise DatasetError(f"{files.root}: expected image files, found none ({_told(files.ignored)})")
        self.files, self.labels, self._ids = files, labels, tuple(category_ids)
        self._base = str(files.root)
        digests = [hashlib.blake2b(os.fsencode(path), digest_size=KEY_BYTES).digest() for path in files.paths]
        self.keys = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, KEY_BYTES)
        self._sha256 = self._hash_files() if sha256 else np.zeros((len(files.paths), 32), np.uint8)

    # -- making one ------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], classes: Sequence[str] | None = None, *, sha256: bool = False
    ) -> ImageFolder:
        """Class folders: `path/CLASS/**.jpg`, one class an image.

        Args:
            path: the folder.
            classes: the classes, in the order of their numbers; None: the folders with images, by name. Give those of
                the training images to the validation images: a class without images is no mistake then.
            sha256: see `ImageFolder`.

        Raises:
            DatasetError: it is no such folder, or holds a class that is not in `classes`.
        """
        found = class_labels(list_images(Path(path)), classes)
        return cls(found.files, found.labels, found.classes, sha256=sha256)

    @classmethod
    def with_table(
        cls,
        path: str | os.PathLike[str],
        table: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        *,
        sha256: bool = False,
    ) -> ImageFolder:
        """Files with a table of their labels; files that it does not name are left out.

        Args:
            path: the folder.
            table: a CSV with a header: in its first column the file below `path`, in each other one a class or nothing.
            classes: the classes, in the order of their numbers; None: those of the table, by name.
            sha256: see `ImageFolder`.

        Raises:
            DatasetError: folder or table cannot be read, the table names a file that is not there or twice, or a class
                that is not in `classes`.
        """
        found = table_labels(list_images(Path(path)), Path(table), classes)
        return cls(found.files, found.labels, found.classes, sha256=sha256)

    @classmethod
    def unlabelled(cls, path: str | os.PathLike[str], category_ids: Sequence[str]) -> ImageFolder:
        """All images below a folder, without labels."""
        files = list_images(Path(path))
        return cls(files, Csr(np.empty(0, np.int32), np.zeros(len(files.paths) + 1, np.int64)), category_ids)

    def only(self, rows: npt.NDArray[np.int64]) -> ImageFolder:
        """The folder with some of its images, by rising numbers (m,); keys and classes stay."""
        return ImageFolder(self.files.taken(rows), self.labels.take(rows), self._ids, sha256=bool(self._sha256.any()))

    # -- facts -----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"ImageFolder({self._base!r}, {self.num_samples:,} images, {self.num_categories:,} classes)"

    @property
    def root(self) -> str:
        """The folder."""
        return self._base

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the files' names, sizes, labels and classes, and of their content where it was hashed."""
        digest = hashlib.sha256()
        for names in (map(os.fsencode, self.files.paths), (name.encode() for name in self._ids)):
            digest.update(hashlib.sha256(b"\0".join(names)).digest())
        for array in (self.files.sizes, self.labels.values, self.labels.offsets, self._sha256):
            digest.update(hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).digest())
        return digest.hexdigest()

    @property
    def num_samples(self) -> int:
        """Images."""
        return len(self.files.paths)

    @property
    def num_categories(self) -> int:
        """Classes."""
        return len(self._ids)

    @property
    def image_size(self) -> None:
        """Not known, and rarely one for all."""
        return

    @property
    def category_ids(self) -> Sequence[str]:
        """The classes."""
        return self._ids

    @property
    def category_names(self) -> Sequence[str]:
        """The classes' ids: a folder tells no other names."""
        return self._ids

    @functools.cached_property
    def class_counts(self) -> Int64s:
        """(c,) int64 images of each class."""
        return np.bincount(self.labels.values, minlength=self.num_categories).astype(np.int64)

    # -- samples ---------------------------------------------------------------------------------------------

    def place(self, shard: int) -> str:
        """The file."""
        return f"{self._base}/{self.files.paths[shard]}"

    def locate(self, numbers: Int64s) -> tuple[Int64s, Int64s]:
        """Each sample is row 0 of its own shard."""
        return numbers, np.zeros(len(numbers), np.int64)

    def index(self, shard: int) -> ShardIndex:
        """One sample: its key, size and labels; width and height are 0."""
        one = slice(shard, shard + 1)
        values = self.labels.of(shard)
        return ShardIndex.plain(
            keys=self.keys[one],
            offsets=np.zeros(1, np.int64),
            sizes=self.files.sizes[one].astype(np.int32),
            sha256=self._sha256[one],
            widths=np.zeros(1, np.int32),
            heights=np.zeros(1, np.int32),
            labels=Csr(values, np.array([0, len(values)], np.int64)),
        )

    def read_bytes(self, shard: int, offset: int, size: int) -> bytes:
        """A file's bytes.

        Raises:
            DatasetError: it is gone, or not of the size that it had when the folder was listed.
        """
        path = self.place(shard)
        try:
            with open(path, "rb") as source:  # noqa: PTH123 - a Path for each image costs as much as the read
                data = source.read(offset + size + 1)
        except OSError as error:
            raise DatasetError(f"{path}: expected the image that was listed: {error}") from error
        if len(data) != offset + size:
            kind = ShortReadError if len(data) < offset + size else DatasetError
            raise kind(
                f"{path}: expected {offset + size:,} bytes as when the folder was listed, found "
                f"{'more' if len(data) > offset + size else f'{len(data):,}'}: it was changed; start again"
            )
        return data[offset:]

    def subset(self, low: float, high: float) -> NumberSet:
        """The images whose key lies between two shares of the hash space, by number."""
        return NumberSet(np.flatnonzero(heads_between(key_heads(self.keys), low, high)))

    def _hash_files(self) -> npt.NDArray[np.uint8]:
        def one(row: int) -> bytes:
            return hashlib.sha256(self.read_bytes(row, 0, int(self.files.sizes[row]))).digest()

        with ThreadPoolExecutor(_HASH_THREADS) as pool:
            digests = b"".join(pool.map(one, range(self.num_samples)))
        return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def _told(ignored: dict[str, int]) -> str:
    """'3 not_an_image, 1 empty'; nothing else is there otherwise."""
    return ", ".join(f"{count:,} {reason}" for reason, count in ignored.items()) or "nothing else either"
