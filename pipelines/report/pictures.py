"""Pictures of a build as small data: URIs, so that the page needs nothing beside itself.

Every picture is decoded under caps and encoded anew: no byte of a stranger's file reaches the page.
"""

from __future__ import annotations

import base64
from collections.abc import Collection

from openjft.loaders.decoding import DecodeError, decode_image, encode_jpeg, resize_image
from openjft.pipelines.storage import Store
from openjft.pipelines.stored import stored_images

THUMBNAIL_PX = 144
MAX_PIXELS = 50_000_000


def thumbnail(data: bytes) -> str | None:
    """A small square JPEG as a data: URI; None when the bytes cannot be decoded."""
    try:
        image = decode_image(data, max_pixels=MAX_PIXELS, target=THUMBNAIL_PX)
    except DecodeError:
        return None
    small = resize_image(image.pixels, size=THUMBNAIL_PX, mode="center_crop")
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(small, quality=80)).decode()


def stored_thumbnails(store: Store, num_buckets: int, keys: Collection[bytes]) -> dict[bytes, str]:
    """Thumbnails of stored images, by key; those that are not there are left out."""
    found = {key: thumbnail(data) for key, data in stored_images(store, num_buckets, keys).items()}
    return {key: uri for key, uri in found.items() if uri}
