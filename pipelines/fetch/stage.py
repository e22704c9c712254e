"""The stage `images`: every image of a bucket's labels, fetched, checked, resized and stored, in key order.

In: `labels/BUCKET.parquet`. Out: `images/BUCKET.tar` (members HEXKEY.jpg) and `catalog/BUCKET.parquet` (one row for
every image asked for, with the reason where there is no picture). One event loop for each unit downloads; decoding
runs in a few threads, since the C libraries release the GIL. Downloads end in any order; a window over the keys
puts them back in order, so the files do not depend on timing: equal answers give equal bytes (the catalog's
`attempts` tells how often a server had to be asked).

Memory: at most `concurrency` downloads of `max_bytes`, `2 * decode_threads` images being decoded, and a window of
stored images of about `WINDOW_BYTES`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import io
import logging
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, ClassVar, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjft.loaders.tar import TarWriter, read_tar

from ..config import Config, Fetch
from ..engine import Stage, UnitResult
from ..keys import first_of_image
from ..schema import CATALOG, KEY, STATUS_OK, URI
from ..storage import Store, bucket_file
from .addresses import SCHEMES, parse_url
from .convert import Converted, convert
from .failure import FetchFailure, Payload, tidy
from .http import HttpClient, Slots
from .ordered import in_order
from .sources import SourceReader

_log = logging.getLogger(__name__)

WINDOW_BYTES: Final = 1 << 28
INLINE_BYTES: Final = 1 << 20  # larger ones are decoded in a thread: a tenth of a second would hold up the others
MAX_WINDOW: Final = 1024  # images of a bucket that may wait for one slow host: 20 s of work at 50 images/s
ALL_SCHEMES: Final = ("http", "https", "file", "s3", "gs", "hdfs", "tar")
# They decide how hard we try, not what a picture becomes: a change must not throw millions of downloads away.
_NOT_IN_FINGERPRINT: Final = frozenset(
    {"timeout_s", "retries", "backoff_s", "concurrency", "per_host", "user_agent", "max_reject_share"}
)


@dataclasses.dataclass(frozen=True)
class FetchStage(Stage):
    """Fetches the images of one bucket.

    `allowed_schemes` are those of `ingest` ('tar' for members of tars), `tar_paths` the folders or tars whose
    members may be read besides `fetch.allow_paths`, `decode_threads` the threads of one worker that decode.
    """

    name: ClassVar[str] = "images"
    section: ClassVar[str] = "fetch"
    heavy: ClassVar[bool] = True
    noun: ClassVar[str] = "images"

    fetch: Fetch
    num_buckets: int
    allowed_schemes: tuple[str, ...] = ALL_SCHEMES
    tar_paths: tuple[str, ...] = ()
    decode_threads: int = 1

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build: decoding threads fill the cores that the local runner's processes leave."""
        local = config.runner.runner == "local"
        threads = max(1, (os.cpu_count() or 1) // config.runner.workers) if local else 1
        tars = tuple(
            _fixed_part(i.path) for i in config.inputs if "://" not in i.path and _may_be_tars(i.path, i.format)
        )
        return cls(config.fetch, config.build.buckets, config.ingest.allowed_schemes, tars, threads)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """What decides on a stored picture."""
        return {
            "fetch": self.fetch.model_dump(mode="json", exclude=set(_NOT_IN_FINGERPRINT)),
            "num_buckets": self.num_buckets,
            "allowed_schemes": self.allowed_schemes,
            "tar_paths": self.tar_paths,
        }

    def outputs(self) -> Sequence[str]:
        """Pictures, and the account of every address."""
        return ("images", "catalog")

    def max_reject_share(self) -> float:
        """Of the configuration."""
        return self.fetch.max_reject_share

    def run(self, unit: int, store: Store) -> UnitResult:
        """Fetches one bucket."""
        wanted = read_wanted(store, bucket_file("labels", unit, self.num_buckets))
        with store.writing(bucket_file("images", unit, self.num_buckets, "tar")) as sink:
            catalog = asyncio.run(_fetch_all(self, wanted, sink))
        store.write_table(bucket_file("catalog", unit, self.num_buckets), catalog)
        return _account(catalog)


def read_wanted(store: Store, relative: str) -> list[tuple[bytes, str]]:
    """(key, URI) of each image of a bucket's labels, in key order."""
    table = store.read_table(relative, columns=[KEY, URI])
    chosen = table.filter(pa.array(first_of_image(table.column(KEY))))
    return list(zip(chosen.column(KEY).to_pylist(), chosen.column(URI).to_pylist(), strict=True))


def fetch_pictures(stage: FetchStage, wanted: Sequence[tuple[bytes, str]]) -> tuple[dict[bytes, bytes], pa.Table]:
    """Some hundred images, held in memory: a sample that a person looks at.

    Args:
        stage: settings of the fetch.
        wanted: (key, URI) of each, keys distinct.

    Returns:
        (JPEG by key of those that could be had, the catalog with what became of each).
    """
    sink = io.BytesIO()
    catalog = asyncio.run(_fetch_all(stage, wanted, sink))
    sink.seek(0)
    return {bytes.fromhex(m.name.partition(".")[0]): m.data for m in read_tar(sink, origin="sample")}, catalog


async def _fetch_all(stage: FetchStage, wanted: Sequence[tuple[bytes, str]], sink: IO[bytes]) -> pa.Table:
    """Streams the pictures into the tar; returns the catalog."""
    rows: list[dict[str, Any]] = []
    tar = TarWriter(sink)
    window = max(stage.fetch.concurrency, min(MAX_WINDOW, WINDOW_BYTES // stage.fetch.size**2))
    async with _Worker(stage) as worker, contextlib.aclosing(in_order(wanted, worker.one, window=window)) as results:
        async for row, stored in results:
            if stored is not None:
                tar.add(f"{row[KEY].hex()}.jpg", stored)
            rows.append(row)
    tar.close()
    return pa.Table.from_pylist(rows, schema=CATALOG)


class _Worker:
    """What the images of one unit share: connections, threads, limits."""

    def __init__(self, stage: FetchStage) -> None:
        self._stage = stage
        settings = stage.fetch
        self._slots = Slots(total=settings.concurrency, per_host=settings.per_host)
        self._client = HttpClient(settings, self._slots)
        self._reader = SourceReader(
            max_bytes=settings.max_bytes, allow_paths=settings.allow_paths, tar_paths=stage.tar_paths
        )
        self._decoders = ThreadPoolExecutor(stage.decode_threads, thread_name_prefix="decode")
        # Blocking reads and name resolution: they wait, so there is one for each request.
        self._io = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="fetch-io")
        # One image in each thread, and one ready for it; who waits here still holds a slot of `concurrency`.
        self._decoding = asyncio.Semaphore(2 * stage.decode_threads)
        self._logged: set[str] = set()

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_default_executor(self._io)
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(None, None, None)
        self._decoders.shutdown(cancel_futures=True)

    async def one(self, item: tuple[bytes, str]) -> tuple[dict[str, Any], bytes | None]:
        """The catalog's row and the stored picture of one image; never raises for what is wrong with the image."""
        key, uri = item
        row: dict[str, Any] = {KEY: key, URI: uri, "attempts": 0}
        try:
            payload, result = await self._get_and_convert(uri)
        except FetchFailure as failure:
            row |= {"status": failure.reason, "detail": str(failure) or None, "http_status": failure.http_status}
            row["attempts"] = failure.attempts
            return row, None
        except Exception as error:  # noqa: BLE001 - one odd image must not end the unit
            self._warn(uri, error)
            return row | {"status": "read_failed", "detail": tidy(f"{type(error).__name__}: {error}")}, None
        row |= {"http_status": payload.http_status, "attempts": payload.attempts}
        stored = result.stored
        row |= {
            field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.name != "stored"
        }
        row["bytes"] = None if stored is None else len(stored)
        return row, stored

    async def _get_and_convert(self, uri: str) -> tuple[Payload, Converted]:
        loop = asyncio.get_running_loop()
        scheme = uri.partition(":")[0]
        if ("tar" if scheme.startswith("tar+") else scheme) not in self._stage.allowed_schemes:
            failure = FetchFailure("forbidden_scheme", f"scheme {scheme!r} is not in ingest.allowed_schemes")
            failure.attempts = 0
            raise failure
        url = parse_url(uri, allow_private=self._stage.fetch.allow_private) if scheme in SCHEMES else None
        async with self._slots.host(url.host if url is not None else None):
            if url is not None:
                payload = await self._client.get(url)
            else:
                payload = Payload(await loop.run_in_executor(self._io, self._reader.read, uri))
            await self._decoding.acquire()
        try:
            if self._stage.decode_threads == 1 and len(payload.data) <= INLINE_BYTES:
                # A worker with one core to itself: a second thread gains nothing and fights for the interpreter's
                # lock, 1.4 ms an image instead of 0.7 on top of 4.7. Meanwhile the kernel goes on receiving.
                return payload, self._convert(uri, payload.data)
            return payload, await loop.run_in_executor(self._decoders, self._convert, uri, payload.data)
        finally:
            self._decoding.release()

    def _convert(self, uri: str, data: bytes) -> Converted:
        try:
            return convert(data, self._stage.fetch)
        except Exception as error:  # noqa: BLE001 - a decoder's bug costs one image and a line in the log
            self._warn(uri, error)
            detail = tidy(f"{type(error).__name__}: {error}")
            return Converted(
                status="decode_failed", sha256=hashlib.sha256(data).digest(), original_bytes=len(data), detail=detail
            )

    def _warn(self, uri: str, error: Exception) -> None:
        """Logs an exception that nobody foresaw, once for each kind."""
        kind = type(error).__name__
        if kind not in self._logged:
            self._logged.add(kind)
            _log.warning("%s: unexpected %s, counted as a failed image: %s", uri, kind, error, exc_info=error)


def _account(catalog: pa.Table) -> UnitResult:
    status = collections.Counter(catalog.column("status").to_pylist())
    ok = status.pop(STATUS_OK, 0)
    attempts = catalog.column("attempts").to_numpy()
    return UnitResult(
        rows_in=catalog.num_rows,
        rows_out=ok,
        rejects=dict(sorted(status.items())),
        counters={
            "bytes_downloaded": _total(catalog.column("original_bytes")),
            "bytes_stored": _total(catalog.column("bytes")),
            "retries": int(np.maximum(attempts - 1, 0).sum()),
        },
    )


def _total(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column, min_count=0).as_py())


def _may_be_tars(path: str, file_format: str) -> bool:
    return file_format == "webdataset" or (file_format == "auto" and path.endswith(".tar"))


def _fixed_part(pattern: str) -> str:
    """The folder (or file) that all paths of a glob lie below."""
    kept = []
    for part in Path(pattern).parts:
        if re.search(r"[*?\[{]", part):
            break
        kept.append(part)
    return str(Path(*kept))
