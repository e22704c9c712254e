"""A dataset's folder, read-only, wherever it lies, with reads at an offset from many threads.

Local files are read by `os.pread`, those of a web server by ranges (`http`), others by Arrow's `read_at`. What lies
afar may go through a cache on the local disk (`cache`). Open files are kept for the next read, the least recently used
closed first.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol

from ..errors import DatasetError, ShortReadError
from ..schema import MAX_IMAGE_BYTES
from .addresses import HTTP_SCHEMES, without_secrets
from .arrow import ArrowFiles
from .cache import ChunkCache, ChunkRef, file_hash
from .cached import CachedFile
from .files import RandomAccess, SeekableFile, VersionedFile
from .http import SMALL_BYTES, HttpFiles

MAX_OPEN_FILES: Final = 256
MAX_READ_BYTES: Final = 1 << 30  # of a file that is read whole


class ListedFile(Protocol):
    """What a manifest says of a file."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


class _Files(Protocol):
    """The files of one kind of storage. All but `DatasetError` and `OSError` are mistakes of ours."""

    @property
    def local_path(self) -> Path | None:
        """The folder, where it lies on this machine's disks."""
        ...

    @property
    def origin(self) -> str:
        """Tells one storage from another, for the cache; without secrets."""
        ...

    def random_access(self, relative: str, size: int | None) -> VersionedFile: ...
    def open(self, relative: str, size: int | None) -> IO[bytes]: ...
    def read(self, relative: str, max_bytes: int) -> bytes: ...
    def sizes(self, expected: Iterable[str]) -> dict[str, int]: ...


class _Listed(NamedTuple):
    bytes: int
    sha256: str


class Folder:
    """The folder of a dataset. Pickles as its address and its cache.

    Args:
        root: a local path, an address (`http://`, `https://`), or a URI that pyarrow knows (`s3://`, `gs://`, `hdfs://`).
        cache: keeps what is read from afar; a local folder needs none and uses none.

    Attributes:
        root: the address with all that it takes to read there; may hold secrets.
        shown_root: the same for messages, without them.
        cache: the cache, if there is one and the folder is not local.

    Raises:
        DatasetError: it is no such address.
    """

    def __init__(self, root: str, cache: ChunkCache | None = None) -> None:
        self.root, self.shown_root = root, without_secrets(root)
        scheme = root.partition("://")[0].lower()
        self._files: _Files = HttpFiles(root) if scheme in HTTP_SCHEMES else ArrowFiles(root)
        self.given_cache = cache
        self.cache = None if self._files.local_path else cache
        self._listed: dict[str, _Listed] = {}
        self._lock = threading.Lock()
        self._open: OrderedDict[str, RandomAccess] = OrderedDict()

    def __reduce__(self) -> tuple[type[Folder], tuple[str, ChunkCache | None]]:
        return Folder, (self.root, self.given_cache)

    def expect(self, files: Iterable[ListedFile]) -> None:
        """Takes notice of what a manifest says, which names the versions that the cache keeps."""
        if self._files.local_path is None:
            self._listed = {file.path: _Listed(file.bytes, file.sha256) for file in files}

    def where(self, relative: str) -> str:
        """The path as a message shows it."""
        return f"{self.shown_root.rstrip('/')}/{relative}"

    def sizes(self, expected: Iterable[str] = ()) -> dict[str, int]:
        """Bytes of every file below the folder, by relative path.

        Args:
            expected: a web server does not list its files: there, these are the ones that are looked for.
        """
        return self._files.sizes(expected)

    def open(self, relative: str) -> Any:
        """A seekable binary file; use it in a `with`.

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        if self.cache is not None and isinstance(found := self.random_access(relative), CachedFile):
            if found.size() <= SMALL_BYTES:
                return io.BytesIO(found.read_at(found.size(), 0))
            return io.BufferedReader(SeekableFile(found, found.size()), SMALL_BYTES)
        try:
            return self._files.open(relative, self._size(relative))
        except OSError as error:
            raise self._unreadable(relative, error) from error

    def read(self, relative: str, max_bytes: int = MAX_READ_BYTES) -> bytes:
        """All of a file, from where it lies and not from the cache.

        Raises:
            DatasetError: there is no such file, it is larger than `max_bytes`, or it cannot be read.
        """
        try:
            return self._files.read(relative, max_bytes)
        except OSError as error:
            raise self._unreadable(relative, error) from error

    def read_image(self, relative: str, offset: int, size: int, *, cure: str) -> bytes:
        """`size` bytes of a tar from `offset` on, where an index says that an image lies.

        Args:
            relative: of the tar.
            offset: bytes.
            size: bytes.
            cure: ends the message where the tar is shorter than that.

        Raises:
            DatasetError: no image can lie there, or the tar is missing.
            ShortReadError: it is shorter.
        """
        if not (offset >= 0 and 0 < size <= MAX_IMAGE_BYTES):
            raise DatasetError(f"{self.where(relative)}: index: expected a sane place, found {size} at {offset}")
        try:
            data = self.random_access(relative).read_at(size, offset)
        except OSError as error:
            raise DatasetError(f"{self.where(relative)}: {size} bytes at {offset}: {error}") from error
        if len(data) != size:
            where = self.where(relative)
            raise ShortReadError(f"{where}: expected {size} bytes at {offset}, found {len(data)}: {cure}")
        return data

    def random_access(self, relative: str) -> RandomAccess:
        """The file for reads at an offset, opened when it is not open yet; safe from many threads.

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        with self._lock:
            found = self._open.get(relative)
            if found is not None:
                self._open.move_to_end(relative)
                return found
        opened = self._opened(relative)  # may ask a server: not under the lock
        with self._lock:
            found = self._open.setdefault(relative, opened)
            if len(self._open) > MAX_OPEN_FILES:
                self._open.popitem(last=False)
            return found

    def stat(self, relative: str) -> tuple[int, str]:
        """Bytes of a file, and what tells a later version from it ("" where the storage tells nothing).

        Raises:
            DatasetError: there is no such file, or it cannot be read.
        """
        file = self._opened_there(relative)
        try:
            return file.size(), file.version() or ""
        except OSError as error:
            raise self._unreadable(relative, error) from error

    @property
    def local_path(self) -> Path | None:
        """The folder, where it is a local one."""
        return self._files.local_path

    # -- reading ahead -----------------------------------------------------------------------------------------

    @property
    def ahead_bytes(self) -> int:
        """The most that is to be fetched before it is used; 0: there is no cache to fetch to."""
        return 0 if self.cache is None else self.cache.max_bytes // 2

    def chunks(self, relative: str, offset: int, size: int) -> list[ChunkRef]:
        """The chunks of the cache that some bytes of a file lie in; none where there is no cache."""
        file = self.random_access(relative)
        return file.chunks(offset, size) if isinstance(file, CachedFile) else []

    def fetch(self, relative: str, ref: ChunkRef) -> None:
        """Sees to it that a chunk is in the cache.

        Raises:
            DatasetError: the file cannot be read.
        """
        file = self.random_access(relative)
        if isinstance(file, CachedFile):
            try:
                file.fetch(ref)
            except OSError as error:
                raise self._unreadable(relative, error) from error

    def _opened(self, relative: str) -> RandomAccess:
        if self.cache is None:
            return self._opened_there(relative)
        listed = self._listed.get(relative)
        if listed is not None:  # no need to ask
            name = file_hash(self._files.origin, relative, str(listed.bytes), f"sha256 {listed.sha256}")
            return CachedFile(self.cache, name, listed.bytes, lambda: self._opened_there(relative))
        file = self._opened_there(relative)
        version = file.version()
        if version is None:  # a changed file would go unnoticed
            return file
        name = file_hash(self._files.origin, relative, str(file.size()), f"version {version}")
        return CachedFile(self.cache, name, file.size(), lambda: file)

    def _opened_there(self, relative: str) -> VersionedFile:
        try:
            return self._files.random_access(relative, self._size(relative))
        except OSError as error:
            raise self._unreadable(relative, error) from error

    def _size(self, relative: str) -> int | None:
        listed = self._listed.get(relative)
        return None if listed is None else listed.bytes

    def _unreadable(self, relative: str, error: OSError) -> DatasetError:
        if isinstance(error, FileNotFoundError):
            return DatasetError(f"{self.where(relative)}: expected a file of the dataset, found none")
        return DatasetError(f"{self.where(relative)}: could not be read: {error}")
