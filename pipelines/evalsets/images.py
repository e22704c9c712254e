"""The images of an evaluation set, decoded, and in the frame of the training images.

In: a set as `openjft.dedup.read_eval_set` lists it. Out: pixels in the order of the set, and an account of the images
that could not be decoded. Decoding runs in threads, ahead of whoever embeds. Eval images are resized as `fetch`
resizes training images.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.dedup import EVAL_IMAGES, EvalSet, EvalSetError
from openjft.loaders.decoding import DecodeError, decode_image, decode_stored_jpeg, encode_jpeg, resize_image
from openjft.pipelines.config import Fetch

Pixels = npt.NDArray[np.uint8]

_DECODE_AHEAD = 64  # images decoded at a time, in threads


@dataclasses.dataclass
class EvalImages:
    """The images of a set, and which of them could not be decoded so far."""

    eval_set: EvalSet
    fetch: Fetch
    undecodable: list[dict[str, str]] = dataclasses.field(default_factory=list)

    def table(self) -> pa.Table:
        """EVAL_IMAGES of the set."""
        ids, paths = list(self.eval_set.ids), list(self.eval_set.paths)
        return pa.table([[self.eval_set.name] * len(ids), ids, paths], schema=EVAL_IMAGES)

    def originals(self) -> Iterator[tuple[int, Pixels]]:
        """(row, pixels) of all images, in order; the undecodable are noted and left out."""
        images = self.eval_set.iter_bytes(max_bytes=self.fetch.max_bytes)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            while chunk := list(itertools.islice(images, _DECODE_AHEAD)):
                for (row, _), result in zip(chunk, pool.map(self._decode, chunk), strict=True):
                    if isinstance(result, str):
                        id_, path = self.eval_set.ids[row], self.eval_set.paths[row]
                        self.undecodable.append({"eval_id": id_, "path": path, "reason": result})
                    else:
                        yield row, result

    def framed(self, pixels: Pixels) -> Pixels:
        """An image as `fetch` would resize it."""
        return resize_image(pixels, size=self.fetch.size, mode=self.fetch.resize)

    def check(self) -> None:
        """Refuses a set of which nothing could be decoded.

        Raises:
            EvalSetError: with the set's name and the first reason.
        """
        if len(self.undecodable) == len(self.eval_set):
            first = self.undecodable[0]
            raise EvalSetError(
                f"eval_sets {self.eval_set.name!r}: expected images, but none of {len(self.eval_set):,} could be "
                f"decoded; the first: {first['path']}: {first['reason']}"
            )

    def _decode(self, item: tuple[int, bytes | EvalSetError]) -> Pixels | str:
        """Pixels of an image, or the reason why there are none."""
        data = item[1]
        if isinstance(data, EvalSetError):
            return str(data)
        try:
            # As `fetch` decodes, but for the smallest size: a small eval image counts too.
            return decode_image(data, max_pixels=self.fetch.max_pixels, target=2 * self.fetch.size).pixels
        except DecodeError as error:
            return f"{error.reason}: {error}"


def stored_copy(pixels: Pixels, fetch: Fetch) -> Pixels:
    """What `fetch` makes of an image: resized, stored as JPEG, decoded."""
    framed = resize_image(pixels, size=fetch.size, mode=fetch.resize)
    return decode_stored_jpeg(encode_jpeg(framed, quality=fetch.jpeg_quality))
