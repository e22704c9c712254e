"""Verifies the pairs of a bucket: training images from its tar, eval images from the build's pictures.

In: pairs (training image, eval image, view). Out: an `Alignment` each, or none where the training image cannot be
had: a new eval set can be searched when the images are long gone, and its pairs are then listed without a verdict.
Features are made once for each picture; alignment runs in threads, since OpenCV works outside the interpreter's lock.
"""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Final

from openjft.dedup import View, default_threads
from openjft.dedup.alignment import Alignment, Features, align
from openjft.loaders.decoding import DecodeError, decode_stored_jpeg
from openjft.loaders.tar import read_tar
from openjft.pipelines.embed import Pixels, decode_member, key_of
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.evalsets.sets import BuildPictures
from openjft.pipelines.storage import Store

CHUNK_IMAGES: Final = 128  # training images held at a time
_KEPT_REFERENCES: Final = 512  # eval images whose features are kept: 0.3 MB each

Asked = Mapping[bytes, Sequence[tuple[int, int]]]  # training image -> (row of the index's images, number of the view)
Verdict = tuple[bytes, int, Alignment | None]  # training image, which of its pairs, how it aligns


class Verifier:
    """Aligns pairs of a build."""

    def __init__(self, pictures: BuildPictures, views: tuple[View, ...]) -> None:
        self._pictures, self._views = pictures, views
        self._reference = functools.lru_cache(maxsize=_KEPT_REFERENCES)(self._load)

    def _load(self, row: int) -> Features | None:
        pixels = self._pictures.pixels(row)
        return None if pixels is None else Features(pixels)

    def align(self, query: Features, row: int, view: int) -> Alignment | None:
        """How an eval image lies in a training image; None where the eval image has no picture."""
        reference = self._reference(row)
        return None if reference is None else align(query, reference, self._views[view])

    def align_jpeg(self, jpeg: bytes, row: int, view: int) -> Alignment | None:
        """The same for a training image as it is stored; None where it cannot be decoded, too."""
        try:
            query = Features(decode_stored_jpeg(jpeg))
        except DecodeError:
            return None
        return self.align(query, row, view)

    def bucket(self, store: Store, tar: str, asked: Asked) -> Iterator[Verdict]:
        """All pairs of a bucket, in the order of the tar.

        Raises:
            PipelineError: the tar is there, but images that have an embedding are missing from it.
        """
        if not asked:
            return
        if not store.exists(tar):
            yield from ((key, i, None) for key, pairs in asked.items() for i in range(len(pairs)))
            return
        with store.reading(tar) as stream, concurrent.futures.ThreadPoolExecutor(default_threads()) as pool:
            for chunk in _wanted_images(stream, tar, asked):
                for verdicts in pool.map(lambda item: self._image(item[0], item[1], asked[item[0]]), chunk):
                    yield from verdicts

    def _image(self, key: bytes, pixels: Pixels | None, pairs: Sequence[tuple[int, int]]) -> list[Verdict]:
        if pixels is None:
            return [(key, i, None) for i in range(len(pairs))]
        query = Features(pixels)
        return [(key, i, self.align(query, row, view)) for i, (row, view) in enumerate(pairs)]


def _wanted_images(stream: IO[bytes], tar: str, wanted: Asked) -> Iterator[list[tuple[bytes, Pixels | None]]]:
    """(key, pixels) of the wanted images of a tar, CHUNK_IMAGES at a time; no other is decoded."""
    chunk: list[tuple[bytes, Pixels | None]] = []
    seen = 0
    for member in read_tar(stream, origin=tar):
        key = key_of(member.name, origin=tar)
        if key not in wanted:
            continue
        seen += 1
        chunk.append((key, decode_member(member)))
        if len(chunk) == CHUNK_IMAGES or seen == len(wanted):
            yield chunk
            chunk = []
        if seen == len(wanted):
            return
    raise PipelineError(
        f"{tar}: expected {len(wanted)} images that have embeddings, found {seen}: images/ and embeddings/ are of two "
        "builds; run `openjft embed CONFIG` again"
    )
