"""Small pictures for the overlap page, each decoded under caps and encoded anew: no byte of a stranger's gets there.

In: a build's store, or a function that gives pictures of evaluation images. Out: JPEG of at most PICTURE_PX a side,
whole, never cut: a copy is told by what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import numpy as np
import pyarrow as pa

from openjft.loaders.decoding import DecodeError, ResizeMode, decode_image, encode_jpeg, resize_image
from openjft.pipelines.keys import KEY_BYTES, buckets_of
from openjft.pipelines.storage import Store
from openjft.pipelines.stored import stored_images

PICTURE_PX: Final = 212  # as wide as the page shows them; 10,000 pairs of 8 kB pictures make 200 MB
MAX_PIXELS: Final = 100_000_000
QUALITY: Final = 75


EvalPicture = Callable[[str, str], bytes | None]


def small_jpeg(data: bytes, *, frame: ResizeMode = "shorter_side") -> bytes | None:
    """A JPEG of at most PICTURE_PX a side; None when the bytes cannot be decoded.

    Args:
        data: a picture in any format.
        frame: how training images are resized, for an evaluation image as its authors have it: two pictures are
            compared in one frame. "shorter_side" keeps the shape that the picture has.
    """
    try:
        pixels = decode_image(data, max_pixels=MAX_PIXELS, target=2 * PICTURE_PX).pixels
    except DecodeError:
        return None
    short, long = sorted(pixels.shape[:2])
    size = PICTURE_PX if frame != "shorter_side" else max(1, round(PICTURE_PX * short / long))
    return encode_jpeg(resize_image(pixels, size=size, mode=frame), quality=QUALITY)


def training_pictures(store: Store, num_buckets: int, keys: Collection[bytes]) -> dict[bytes, bytes]:
    """Small JPEG by key of those training images that are stored; one bucket's images are held at a time."""
    found: dict[bytes, bytes] = {}
    if not keys:
        return found
    wanted = sorted(keys)
    buckets = buckets_of(pa.array(wanted, pa.binary(KEY_BYTES)), num_buckets)
    for bucket in np.unique(buckets).tolist():
        mine = [key for key, b in zip(wanted, buckets.tolist(), strict=True) if b == bucket]
        for key, data in stored_images(store, num_buckets, mine).items():
            small = small_jpeg(data)
            if small is not None:
                found[key] = small
    return found


def eval_pictures(pairs: pa.Table, picture: EvalPicture) -> dict[tuple[str, str], bytes]:
    """Small JPEG by (eval set, eval id) of the evaluation images of pairs; those without a picture are left out."""
    columns = (pairs["eval_set"].to_pylist(), pairs["eval_id"].to_pylist())
    found: dict[tuple[str, str], bytes] = {}
    for each in dict.fromkeys(zip(*columns, strict=True)):
        data = picture(*each)
        small = None if data is None else small_jpeg(data)
        if small is not None:
            found[each] = small
    return found
