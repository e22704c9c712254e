"""An encoded image into its place in a batch: decoded straight there when it has the right size, else cut and resized.

In: bytes of a shard: a JPEG that this project stored, or an image of anyone. Out: pixels, of a stored one the same as
`decode_stored_jpeg` gives, without a copy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from .decoding import decode_image, decode_stored_jpeg, resize_image

Pixels = npt.NDArray[np.uint8]


def decode_into(data: bytes, out: Pixels, *, size: tuple[int, int]) -> None:
    """Decodes one stored image into `out`.

    Args:
        data: the JPEG.
        out: (h, w, 3) uint8, contiguous; written whole.
        size: (height, width) that the index says the JPEG has. Where it is not `out`'s, the middle square is
            cut out and resized, for which `out` must be square.

    Raises:
        DecodeError: the bytes are damaged.
        ValueError: the JPEG is not of the size that the index says.
    """
    if size == out.shape[:2]:
        try:
            # A JPEG larger than the buffer is refused by simplejpeg before it writes.
            pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, strict=True, buffer=out)
        except (ValueError, KeyError):
            decode_stored_jpeg(data)  # says what is wrong with the bytes; if nothing is, the size was
            raise
        if pixels.shape != out.shape:
            raise ValueError(f"expected {size[1]} x {size[0]} pixels, found {pixels.shape[1]} x {pixels.shape[0]}")
        return
    pixels = decode_stored_jpeg(data)
    if pixels.shape[:2] != size:
        raise ValueError(f"expected {size[1]} x {size[0]} pixels, found {pixels.shape[1]} x {pixels.shape[0]}")
    out[...] = resize_image(pixels, size=out.shape[0], mode="center_crop")


def decode_any_into(data: bytes, out: Pixels, *, max_pixels: int) -> None:
    """Decodes an image of anyone into `out`: turned upright, its middle square cut out and resized.

    JPEGs by libjpeg-turbo, at half or a quarter where that is still twice the size; all else, and JPEGs that it does
    not know, by Pillow.

    Args:
        data: the file; JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF.
        out: (s, s, 3) uint8, contiguous; written whole.
        max_pixels: width x height above which nothing is decoded.

    Raises:
        DecodeError: with the reason.
    """
    side = out.shape[0]
    pixels = decode_image(data, max_pixels=max_pixels, target=2 * side).pixels
    out[...] = resize_image(pixels, size=side, mode="center_crop")
