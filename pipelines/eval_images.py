"""The evaluation images in the frame of the training images, and what the build keeps of them under `evalsets/`.

In: the configured sets. Out: their index (`openjft.dedup.EvalIndex`), a grey thumbnail of each image for verification
on workers that do not see the sets, and an account of images that could not be decoded. Eval images are resized as
`fetch` resizes training images. Decoding runs in threads, embedding in the driver, once for each change of the
sets, the model or the views.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.dedup import EVAL_IMAGES, Embedder, EvalIndex, EvalSet, EvalSetError, View, grey
from openjft.dedup.index import HEADER_FILE
from openjft.dedup.resample import Float32
from openjft.loaders.decoding import DecodeError, decode_image, decode_stored_jpeg, encode_jpeg, resize_image

from .config import Fetch
from .storage import Store

Pixels = npt.NDArray[np.uint8]

FOLDER: Final = "evalsets"
INDEX_FOLDER: Final = f"{FOLDER}/index"
THUMBS_FILE: Final = f"{FOLDER}/thumbs.bin"  # THUMB_SIZE^2 bytes for each eval image, in the order of the index
IMAGES_FILE: Final = f"{FOLDER}/images.json"  # written last: what lies beside it is whole
THUMB_SIZE: Final = 128  # a view of 0.8 of it still has more pixels than the 64 that are compared
_DECODE_AHEAD: Final = 64  # images decoded at a time, in threads


@dataclasses.dataclass
class EvalImages:
    """The images of all sets in one row order, and which of them could not be decoded so far."""

    sets: Sequence[EvalSet]
    fetch: Fetch
    undecodable: list[dict[str, str]] = dataclasses.field(default_factory=list)

    def table(self) -> pa.Table:
        """EVAL_IMAGES: sets in the order of the configuration."""
        names = [s.name for s in self.sets for _ in s.ids]
        ids = [id_ for s in self.sets for id_ in s.ids]
        return pa.table([names, ids, [p for s in self.sets for p in s.paths]], schema=EVAL_IMAGES)

    def originals(self, rows: Sequence[int] | None = None) -> Iterator[tuple[int, Pixels]]:
        """(row, pixels) of all images, or of those rows, in order; the undecodable are noted and left out."""
        files = [(s.name, id_, path) for s in self.sets for id_, path in zip(s.ids, s.paths, strict=True)]
        wanted = range(len(files)) if rows is None else rows
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for start in range(0, len(wanted), _DECODE_AHEAD):
                chunk = wanted[start : start + _DECODE_AHEAD]
                decoded = pool.map(lambda row: _decode(files[row][2], self.fetch), chunk)
                for row, result in zip(chunk, decoded, strict=True):
                    if isinstance(result, str):
                        name, id_, path = files[row]
                        self.undecodable.append({"eval_set": name, "eval_id": id_, "path": path, "reason": result})
                    else:
                        yield row, result

    def framed(self) -> Iterator[tuple[int, Pixels]]:
        """(row, pixels) of all images as `fetch` would resize them."""
        for row, pixels in self.originals():
            yield row, resize_image(pixels, size=self.fetch.size, mode=self.fetch.resize)

    def check(self) -> None:
        """Refuses a set of which nothing could be decoded.

        Raises:
            EvalSetError: with the set's name and the first reason.
        """
        for set_ in self.sets:
            failed = [u for u in self.undecodable if u["eval_set"] == set_.name]
            if len(failed) == len(set_):
                raise EvalSetError(
                    f"eval_sets {set_.name!r}: expected images, but none of {len(set_):,} could be decoded; the first: "
                    f"{failed[0]['path']}: {failed[0]['reason']}"
                )


def _decode(path: str, fetch: Fetch) -> Pixels | str:
    """Pixels of a file, or the reason why there are none."""
    try:
        with Path(path).open("rb") as source:
            data = source.read(fetch.max_bytes + 1)
    except OSError as error:
        return f"read_failed: {error}"
    if len(data) > fetch.max_bytes:
        return "too_many_bytes"
    try:
        # As `fetch` decodes, but for the smallest size: a small eval image counts too.
        return decode_image(data, max_pixels=fetch.max_pixels, target=2 * fetch.size).pixels
    except DecodeError as error:
        return f"{error.reason}: {error}"


def stored_copy(pixels: Pixels, fetch: Fetch) -> Pixels:
    """What `fetch` makes of an image: resized, stored as JPEG, decoded."""
    framed = resize_image(pixels, size=fetch.size, mode=fetch.resize)
    return decode_stored_jpeg(encode_jpeg(framed, quality=fetch.jpeg_quality))


def prepare_index(
    store: Store, images: EvalImages, load: Callable[[], Embedder], views: Sequence[View], fingerprint: str
) -> None:
    """Builds index and thumbnails unless those of this fingerprint are there.

    Raises:
        EvalSetError: nothing of a set could be decoded.
    """
    if store.exists(IMAGES_FILE) and store.read_json(IMAGES_FILE)["fingerprint"] == fingerprint:
        return
    store.delete(FOLDER)
    with store.writing(THUMBS_FILE) as sink:
        thumbs = _Thumbs(sink)
        index = EvalIndex.build(thumbs.writing(images.framed()), images.table(), load(), views)
        images.check()
        thumbs.fill(sum(len(s) for s in images.sets))
    index.save(lambda name: store.writing(f"{INDEX_FOLDER}/{name}"))
    value: dict[str, Any] = {
        "fingerprint": fingerprint,
        "embedder": load().name,
        "views": [view.name for view in views],
        "counts": {**index.counts, "rows": len(index.rows)},
        "sets": {s.name: len(s) for s in images.sets},
        "undecodable": images.undecodable,
    }
    store.write_json(IMAGES_FILE, value)


class _Thumbs:
    """Writes thumbnails of fixed size as a stream of images goes by; rows left out become zeros."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink, self._rows = sink, 0

    def writing(self, images: Iterator[tuple[int, Pixels]]) -> Iterator[tuple[int, Pixels]]:
        for row, pixels in images:
            self.fill(row)
            self._sink.write(np.rint(grey(pixels, THUMB_SIZE)).astype(np.uint8).tobytes())
            self._rows += 1
            yield row, pixels

    def fill(self, row: int) -> None:
        self._sink.write(bytes((row - self._rows) * THUMB_SIZE**2))
        self._rows = row


def read_thumb(source: IO[bytes], row: int, view: View) -> Float32:
    """(64, 64) float32 grey of a view of an eval image, read from its place in THUMBS_FILE."""
    source.seek(row * THUMB_SIZE**2)
    plane = np.frombuffer(source.read(THUMB_SIZE**2), np.uint8).reshape(THUMB_SIZE, THUMB_SIZE)
    return grey(view.apply(np.repeat(plane[:, :, None], 3, axis=2)))


@functools.lru_cache(maxsize=1)
def load_index(store_root: str, embedder: str, fingerprint: str) -> EvalIndex:
    """The build's index, loaded once in a process; `fingerprint` keeps a changed one from being taken for it."""
    store = Store(store_root)
    found = store.read_json(IMAGES_FILE)["fingerprint"]
    if found != fingerprint:
        raise EvalSetError(
            f"{store.path(INDEX_FOLDER)}: expected the index of this configuration, found one of another; run "
            "`openjft decontaminate CONFIG` again"
        )
    origin = store.path(f"{INDEX_FOLDER}/{HEADER_FILE}")
    return EvalIndex.load(lambda name: store.reading(f"{INDEX_FOLDER}/{name}"), embedder=embedder, origin=origin)
