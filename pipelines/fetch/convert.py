"""Received bytes to a stored image: hashed, decoded, checked, resized, encoded; runs in a thread, mostly in C."""

from __future__ import annotations

import dataclasses
import hashlib

from openjft.loaders.decoding import DecodeError, decode_image, encode_jpeg, resize_image

from ..config import Fetch
from ..schema import STATUS_OK
from .failure import tidy


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What became of an image's bytes; `stored` is None unless `status` is ok. Sizes in pixels and bytes."""

    status: str
    sha256: bytes
    original_bytes: int
    detail: str | None = None
    stored: bytes | None = None
    original_width: int | None = None
    original_height: int | None = None
    width: int | None = None
    height: int | None = None


def convert(data: bytes, settings: Fetch) -> Converted:
    """The stored JPEG of one image, or the reason why there is none; equal bytes in give equal bytes out."""
    sha256 = hashlib.sha256(data).digest()
    try:
        image = decode_image(
            data,
            max_pixels=settings.max_pixels,
            min_side=settings.min_side,
            target=2 * settings.size,  # twice: see decode_image on quality
        )
        pixels = resize_image(image.pixels, size=settings.size, mode=settings.resize)
        stored = encode_jpeg(pixels, quality=settings.jpeg_quality)
    except DecodeError as error:
        return Converted(status=error.reason, sha256=sha256, original_bytes=len(data), detail=tidy(error))
    height, width = pixels.shape[:2]
    return Converted(
        status=STATUS_OK,
        sha256=sha256,
        original_bytes=len(data),
        stored=stored,
        original_width=image.original_width,
        original_height=image.original_height,
        width=width,
        height=height,
    )
