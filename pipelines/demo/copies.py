"""Copies of evaluation pictures as the web makes them: what the demo plants, and the truth about it.

In: an RGB picture and a generator. Out: the transformed copy. Written apart from the transforms by which `dedup`
measures itself, so that the demo checks it from outside. All are moderate: a person sees at once that it is the
same picture.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

Transform = Callable[[Image.Image, np.random.Generator], Image.Image]
_WORDS: Final = ("HOLIDAY SALE", "photo by me", "best of 2016", "click here!", "sample", "wallpaper HD")


def _crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Keeps 60 to 85 % of the area."""
    side = math.sqrt(rng.uniform(0.6, 0.85))
    width, height = round(picture.width * side), round(picture.height * side)
    left = int(rng.integers(0, picture.width - width + 1))
    top = int(rng.integers(0, picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def _mirror(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    del rng
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _jpeg(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Through quality 12 to 35."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(12, 36)))
    with Image.open(buffer) as stored:
        return stored.convert("RGB")


def _resize(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """To 45 to 75 % of the sides."""
    scale = float(rng.uniform(0.45, 0.75))
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _text(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    copy = picture.copy()
    words = _WORDS[int(rng.integers(len(_WORDS)))]
    place = (float(rng.uniform(4, 20)), float(rng.uniform(0.1, 0.8)) * picture.height)
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(copy).text(place, words, fill="white", stroke_width=2, stroke_fill="black", font=font)
    return copy


def _logo(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A badge of a fifth to a quarter of the shorter side in one of the corners."""
    copy = picture.copy()
    side = float(rng.uniform(0.2, 0.26)) * min(picture.size)
    left = 6.0 if rng.random() < 0.5 else picture.width - side - 6
    top = 6.0 if rng.random() < 0.5 else picture.height - side - 6
    colour = ["crimson", "navy", "gold", "teal"][int(rng.integers(4))]
    pen = ImageDraw.Draw(copy)
    pen.rounded_rectangle((left, top, left + side, top + side), side / 5, fill=colour, outline="white", width=2)
    pen.ellipse((left + side * 0.3, top + side * 0.3, left + side * 0.7, top + side * 0.7), fill="white")
    return copy


def _rotation(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By 2 to 5 degrees, with a frame in the mean colour."""
    angle = float(rng.uniform(2, 5)) * (1 if rng.random() < 0.5 else -1)
    mean = tuple(int(value) for value in np.asarray(picture).reshape(-1, 3).mean(axis=0))
    return picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=mean)


def _colour(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Saturation, brightness and contrast changed."""
    copy = ImageEnhance.Color(picture).enhance(float(rng.uniform(0.3, 1.7)))
    copy = ImageEnhance.Brightness(copy).enhance(float(rng.uniform(0.75, 1.25)))
    return ImageEnhance.Contrast(copy).enhance(float(rng.uniform(0.75, 1.25)))


TRANSFORMS: Final[Mapping[str, Transform]] = {
    "crop": _crop,
    "mirror": _mirror,
    "jpeg": _jpeg,
    "resize": _resize,
    "text": _text,
    "logo": _logo,
    "rotation": _rotation,
    "colour": _colour,
}
