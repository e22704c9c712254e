"""An evaluation set that has been read: ids, and the bytes of each image, from files or from inside tars.

Reading never unpacks to disk. A plain tar is read at an offset; a compressed one from its start up to the member, so
`iter_bytes` keeps it open from one image to the next and walks it once when rows come in storage order.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Self, cast

from ..errors import EvalSetError
from .spec import Span


class _OpenTar:
    """The tar that was read last, still open; not for several threads."""

    def __init__(self) -> None:
        self._path = ""
        self._stream: IO[bytes] | None = None
        self._raw: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._raw is not None:  # GzipFile leaves it open
            self._raw.close()
            self._raw = None

    def read(self, span: Span) -> bytes:
        """The bytes of a member.

        Raises:
            OSError: the tar is damaged, or no longer as it was when the set was read.
        """
        try:
            stream = self._open(span)
            stream.seek(span.offset)
            data = stream.read(span.size)
        except (EOFError, zlib.error) as error:
            raise OSError(f"{span.tar}: damaged: {error}") from error
        if len(data) != span.size:
            raise OSError(f"{span.tar}: expected {span.size:,} bytes at {span.offset:,}, found {len(data):,}")
        return data

    def _open(self, span: Span) -> IO[bytes]:
        if self._stream is None or self._path != span.tar:
            self.__exit__()
            raw = Path(span.tar).open("rb")  # noqa: SIM115  # stays open for the next member
            self._stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if span.packed else raw
            self._path, self._raw = span.tar, raw
        return self._stream


@dataclasses.dataclass(frozen=True)
class EvalSet:
    """An evaluation set's images: `ids[i]` lies at `paths[i]`, or inside a tar at `spans[i]`.

    `paths` are for people where there are spans: `x.tar!key.jpg`.
    """

    name: str
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    spans: tuple[Span | None, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def span(self, index: int) -> Span | None:
        """Where in a tar an image lies; None: it is a file."""
        return self.spans[index] if self.spans else None

    def fingerprint(self) -> str:
        """Hash of name, ids, and the images' names and sizes; their bytes are not read."""
        digest = hashlib.sha256(f"{self.name}\0".encode())
        for index, (id_, path) in enumerate(zip(self.ids, self.paths, strict=True)):
            span = self.span(index)
            size = Path(path).stat().st_size if span is None else span.size
            digest.update(f"{id_}\0{Path(path).name}\0{size}\0".encode())
        return digest.hexdigest()

    def read_bytes(self, index: int, max_bytes: int) -> bytes:
        """The bytes of one image; may be called from several threads. Slow in a compressed tar: see `iter_bytes`.

        Raises:
            OSError: they cannot be read.
            EvalSetError: there are more than `max_bytes`.
        """
        with _OpenTar() as tar:
            return self._read(index, max_bytes, tar)

    def _read(self, index: int, max_bytes: int, tar: _OpenTar) -> bytes:
        span = self.span(index)
        if span is None:
            with Path(self.paths[index]).open("rb") as source:
                data = source.read(max_bytes + 1)
            if len(data) <= max_bytes:
                return data
        elif span.size <= max_bytes:
            return tar.read(span)
        raise EvalSetError(
            f"eval_sets {self.name!r}: {self.paths[index]}: too_many_bytes: expected at most {max_bytes:,}, found more"
        )

    def storage_order(self) -> list[int]:
        """All rows, so that each tar is read from front to back; files keep their place in the order of ids."""
        places = [("", index) if (s := self.span(index)) is None else (s.tar, s.offset) for index in range(len(self))]
        return sorted(range(len(self)), key=places.__getitem__)

    def iter_bytes(
        self, rows: Iterable[int] | None = None, *, max_bytes: int
    ) -> Iterator[tuple[int, bytes | EvalSetError]]:
        """(row, bytes) of all images or of those rows, in the given order; or the error why there are no bytes.

        Sets are read in storage order unless `ids` of the configuration told another; `storage_order` restores it.
        """
        with _OpenTar() as tar:
            for row in range(len(self)) if rows is None else rows:
                try:
                    yield row, self._read(row, max_bytes, tar)
                except EvalSetError as error:
                    yield row, error
                except OSError as error:
                    yield row, EvalSetError(f"eval_sets {self.name!r}: {self.paths[row]}: read_failed: {error}")
