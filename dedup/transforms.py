"""Transformed copies, as the web makes them: what planted recall is measured with.

Each transform is a pure function of (image, generator): equal seeds give equal copies. In: uint8 (h, w, 3) RGB.
Out: the same, of any size. The strengths are meant to be hard but still plainly the same photo to a person; they
are part of what is measured, so a change of them changes `TRANSFORMS_VERSION` and with it stored results.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageEnhance, ImageFont

from .resample import Image

TRANSFORMS_VERSION: Final = 1
Transform = Callable[[Image, np.random.Generator], Image]
_Colour = tuple[int, int, int]


def crop(image: Image, rng: np.random.Generator) -> Image:
    """Keeps 50 to 90 % of the area, same shape, anywhere."""
    height, width, _ = image.shape
    side = float(np.sqrt(rng.uniform(0.5, 0.9)))
    rows, columns = max(1, round(height * side)), max(1, round(width * side))
    top = int(rng.integers(0, height - rows + 1))
    left = int(rng.integers(0, width - columns + 1))
    return np.ascontiguousarray(image[top : top + rows, left : left + columns])


def mirror(image: Image, _: np.random.Generator) -> Image:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


def jpeg(image: Image, rng: np.random.Generator) -> Image:
    """Stored again at quality 10 to 40."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=int(rng.integers(10, 41)))
    with PIL.Image.open(io.BytesIO(buffer.getvalue())) as copy:
        return np.asarray(copy.convert("RGB"))


def resize(image: Image, rng: np.random.Generator) -> Image:
    """Longer side 80 to 240 pixels, and the shape changed by up to a tenth."""
    height, width, _ = image.shape
    scale = rng.uniform(80, 240) / max(height, width)
    stretch = rng.uniform(0.9, 1.1)
    size = (max(1, round(width * scale * stretch)), max(1, round(height * scale)))
    return np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC))


def _rectangle(shape: tuple[int, ...], rng: np.random.Generator, share: float) -> tuple[int, int, int, int]:
    height, width = shape[:2]
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    top = int(rng.integers(0, height - rows + 1))
    left = int(rng.integers(0, width - columns + 1))
    return left, top, left + columns, top + rows


def _colour(rng: np.random.Generator) -> _Colour:
    red, green, blue = (int(c) for c in rng.integers(0, 256, 3))
    return red, green, blue


def overlay(image: Image, rng: np.random.Generator) -> Image:
    """A plain rectangle (logo, sticker) of 20 to 35 % of each side."""
    picture = PIL.Image.fromarray(image)
    ImageDraw.Draw(picture).rectangle(_rectangle(image.shape, rng, float(rng.uniform(0.2, 0.35))), fill=_colour(rng))
    return np.asarray(picture)


def text(image: Image, rng: np.random.Generator) -> Image:
    """A line of large text across, white on black outlines (meme, watermark)."""
    height, width, _ = image.shape
    picture = PIL.Image.fromarray(image)
    words = "".join(chr(int(c)) for c in rng.integers(65, 91, 12))
    font = ImageFont.load_default(max(8.0, width / 9))
    place = (width * 0.03, height * float(rng.uniform(0.05, 0.8)))
    ImageDraw.Draw(picture).text(place, words, fill="white", font=font, stroke_width=2, stroke_fill="black")
    return np.asarray(picture)


def rotation(image: Image, rng: np.random.Generator) -> Image:
    """Turned by 2 to 6 degrees either way, corners black."""
    angle = float(rng.uniform(2, 6)) * float(rng.choice([-1.0, 1.0]))
    return np.asarray(PIL.Image.fromarray(image).rotate(angle, PIL.Image.Resampling.BILINEAR))


def colour(image: Image, rng: np.random.Generator) -> Image:
    """Brightness, contrast and saturation each changed by up to 40 %."""
    picture = PIL.Image.fromarray(image)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(float(rng.uniform(0.6, 1.4)))
    return np.asarray(picture)


def greyscale(image: Image, _: np.random.Generator) -> Image:
    """Luma only."""
    return np.asarray(PIL.Image.fromarray(image).convert("L").convert("RGB"))


TRANSFORMS: Final[Mapping[str, Transform]] = {
    "colour": colour,
    "crop": crop,
    "grey": greyscale,
    "jpeg": jpeg,
    "mirror": mirror,
    "overlay": overlay,
    "resize": resize,
    "rotation": rotation,
    "text": text,
}
