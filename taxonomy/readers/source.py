"""A hierarchy's file, and what lies beside it: read whole, unpacked, capped.

In: a path or URI that pyarrow opens. Out: its bytes, text or JSON. Every file may be gzipped; what stands in it is
never run, and no more than `MAX_BYTES` of it is read.
"""

from __future__ import annotations

import functools
import gzip
import io
import zlib
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pafs

from ..errors import TaxonomyError
from .json_text import parse_json

MAX_BYTES: Final = 1 << 30  # after decompression; the WordNet nouns are 10 MB
HEAD_BYTES: Final = 1 << 16  # what a format is recognised by


class Source:
    """One file, or one folder; nothing is read before it is asked for."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._filesystem, self._inner = _filesystem(path)

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """The file's own name, without `.gz`."""
        return self._inner.rstrip("/").rpartition("/")[2].removesuffix(".gz")

    @functools.cached_property
    def _type(self) -> pafs.FileType:
        return self._filesystem.get_file_info(self._inner).type

    @property
    def exists(self) -> bool:
        """Whether there is anything."""
        return bool(self._type != pafs.FileType.NotFound)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return bool(self._type == pafs.FileType.Directory)

    def files(self) -> list[str]:
        """Names of the files of a folder, or of those beside a file (itself too), sorted."""
        folder = self._inner if self.is_folder else self._inner.rpartition("/")[0]
        entries = self._filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        return sorted(entry.base_name for entry in entries if entry.is_file)

    def file(self, name: str) -> Source:
        """A file by its name, within a folder or beside a file."""
        folder = self.path.rstrip("/") if self.is_folder else self.path.rpartition("/")[0] or "."
        return Source(f"{folder}/{name}")

    @functools.cached_property
    def data(self) -> bytes:
        """All of it, unpacked.

        Raises:
            TaxonomyError: it cannot be read, is damaged, or longer than `MAX_BYTES`.
        """
        try:
            with self._filesystem.open_input_file(self._inner) as source:
                data: bytes = source.read(MAX_BYTES + 1)
            if data[:2] == b"\x1f\x8b" and len(data) <= MAX_BYTES:
                with gzip.open(io.BytesIO(data)) as unpacked:
                    data = unpacked.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise TaxonomyError(f"{self}: the file cannot be read to its end: {error}. Is it whole?") from None
        if len(data) > MAX_BYTES:
            raise TaxonomyError(f"{self}: expected at most {MAX_BYTES:,} bytes, found more. Is it a hierarchy?")
        return data

    @functools.cached_property
    def text(self) -> str:
        """All of it as UTF-8 text.

        Raises:
            TaxonomyError: as `data`, or it is no UTF-8, or nothing but space.
        """
        try:
            text = self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TaxonomyError(
                f"{self}: expected text in UTF-8, found {error}. Convert it, or check the path"
            ) from None
        if not text.strip():
            raise TaxonomyError(f"{self}: expected a hierarchy, found an empty file")
        return text

    @functools.cached_property
    def document(self) -> Any:
        """The JSON that it holds.

        Raises:
            TaxonomyError: as `text`, or it is no JSON (`parse_json`).
        """
        return parse_json(self.text, str(self))

    @functools.cached_property
    def head(self) -> str:
        """The first `HEAD_BYTES` of its text; '' for a folder, for what cannot be read, and for what is no UTF-8."""
        try:
            piece = b"" if self.is_folder else self.data[:HEAD_BYTES]
            return piece.decode("utf-8-sig")
        except TaxonomyError:
            return ""
        except UnicodeDecodeError as error:
            cut = error.start >= HEAD_BYTES - 4  # a character cut in two at the end of the piece
            return piece[: error.start].decode("utf-8-sig") if cut else ""

    @property
    def is_text(self) -> bool:
        """Whether it begins as UTF-8 text, which Parquet does not; False for a folder and for an empty file."""
        return bool(self.head)

    @property
    def is_json(self) -> bool:
        """Whether its text begins like a JSON object or list."""
        return self.head.lstrip()[:1] in {"{", "["}

    @functools.cached_property
    def first_line(self) -> str:
        """The first line of `head` that holds anything, without its end."""
        return next((line.rstrip("\r") for line in self.head.split("\n") if line.strip()), "")


def _filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    try:
        if "://" in path:
            filesystem, inner = pafs.FileSystem.from_uri(path)
            return filesystem, inner
        return pafs.LocalFileSystem(), str(Path(path).absolute())
    except (pa.ArrowInvalid, OSError, ImportError) as error:
        raise TaxonomyError(f"{path}: expected a local path or a URI that pyarrow knows, found {error}") from None
