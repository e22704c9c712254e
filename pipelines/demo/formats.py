"""Pictures as the web stores them, and files that only pretend to be pictures.

In: an RGB picture. Out: bytes: mostly JPEG, now and then PNG with transparency or a palette, 16-bit grey PNG, GIF (some
animated), CMYK JPEG, JPEG that is turned by its EXIF tag, WebP; or broken ones: HTML, a cut JPEG, nothing at all, and
a PNG that declares 50,000 x 50,000 pixels in 2.5 MB. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import ExifTags, Image

from .layouts import jpeg_bytes

HUGE_SIDE_PX: Final = 50_000
_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>Not here</title></head><body><h1>This picture has moved</h1></body></html>\n"
)


def _saved(picture: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def _rgba(picture: Image.Image) -> bytes:
    """Corners fade out."""
    width, height = picture.size
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    alpha = np.clip((1.9 - x**2 - y**2) * 255, 0, 255).astype(np.uint8)
    copy = picture.copy()
    copy.putalpha(Image.fromarray(alpha))
    return _saved(copy, "PNG", compress_level=1)


def _palette(picture: Image.Image) -> bytes:
    """64 colours, one of which is transparent."""
    return _saved(picture.quantize(64, Image.Quantize.FASTOCTREE), "PNG", transparency=0, compress_level=1)


def _grey16(picture: Image.Image) -> bytes:
    grey = np.asarray(picture.convert("L"), np.uint16) * np.uint16(257)
    return _saved(Image.fromarray(grey), "PNG", compress_level=1)


def _gif(picture: Image.Image) -> bytes:
    return _saved(picture.quantize(64, Image.Quantize.FASTOCTREE), "GIF")


def _animation(picture: Image.Image) -> bytes:
    frame = picture.quantize(64, Image.Quantize.FASTOCTREE)
    return _saved(frame, "GIF", save_all=True, append_images=[frame.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])


def _cmyk(picture: Image.Image) -> bytes:
    return _saved(picture.convert("CMYK"), "JPEG", quality=88)


def _exif(picture: Image.Image) -> bytes:
    """Stored lying on its side; a viewer turns it upright by the tag."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return _saved(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=88, exif=exif.tobytes())


def _webp(picture: Image.Image) -> bytes:
    return _saved(picture, "WEBP", quality=85, method=0)


# format: (share of the pictures, ending, encoder). JPEG has the rest.
FORMATS: Final[Mapping[str, tuple[float, str, Callable[[Image.Image], bytes]]]] = {
    "png_rgba": (0.03, "png", _rgba),
    "png_palette": (0.03, "png", _palette),
    "png_grey16": (0.01, "png", _grey16),
    "gif": (0.02, "gif", _gif),
    "gif_animated": (0.01, "gif", _animation),
    "jpeg_cmyk": (0.02, "jpg", _cmyk),
    "jpeg_exif": (0.03, "jpg", _exif),
    "webp": (0.02, "webp", _webp),
}


def choose_format(rng: np.random.Generator) -> str:
    """A format's name by its share."""
    place = float(rng.random())
    for name, (share, _, _) in FORMATS.items():
        place -= share
        if place < 0:
            return name
    return "jpeg"


def ending(name: str) -> str:
    """The ending of files of a format."""
    return FORMATS[name][1] if name in FORMATS else "jpg"


def encode(picture: Image.Image, name: str) -> bytes:
    """The picture in a format."""
    return FORMATS[name][2](picture) if name in FORMATS else jpeg_bytes(picture)


def html_page() -> bytes:
    """What a server sends under the name of a picture that it no longer has."""
    return _HTML


def truncated(jpeg: bytes) -> bytes:
    """The first three fifths of a JPEG."""
    return jpeg[: len(jpeg) * 3 // 5]


def huge_png() -> bytes:
    """A valid grey PNG of 50,000 x 50,000 black pixels; one block of rows is packed and repeated."""
    row = HUGE_SIDE_PX + 1  # a filter byte before each
    rows = 500
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(row * rows)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = start[2:]  # without the stream's header: after a full flush it can be said again
    total = row * HUGE_SIDE_PX
    checksum = struct.pack(">I", (total % 65_521) << 16 | 1)  # Adler-32 of zeros
    data = start + block * (HUGE_SIDE_PX // rows - 1) + b"\x03\x00" + checksum
    header = struct.pack(">IIBBBBB", HUGE_SIDE_PX, HUGE_SIDE_PX, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
