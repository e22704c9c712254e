"""Draws the demo's pictures: a scene, clutter, a category's pictogram, light and noise.

In: a leaf and a generator. Out: an RGB picture of about 200 x 160 pixels; equal generators give equal pictures. Two
pictures of a category share colours and shapes, which a small network can learn, but not their layout: place, size,
turn, scene, horizon, light and clutter are drawn anew, so that they are no near-duplicates. About 3 ms a picture.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .glyphs import Shape, colours, glyph
from .hierarchy import Leaf, category_name

Colour = tuple[int, int, int]
Floats = npt.NDArray[np.float32]

SIDES_PX: Final = (160, 240)  # of the shorter and the longer side, roughly
_OVERSAMPLING: Final = 2  # Pillow's polygons have no antialiasing
_GRID: Final = (27, 36)  # rows, columns of the soft background before it is enlarged
_NOISE_TILE: Final = 320


@dataclasses.dataclass(frozen=True)
class Scene:
    """A place: colours from top to horizon and from horizon to bottom, and what lies about."""

    above: tuple[str, str]
    below: tuple[str, str]
    horizon: tuple[float, float]  # share of the height, from and to
    clutter: str  # what is strewn about: see `_strew`


SCENES: Final[Mapping[str, Scene]] = {
    "meadow": Scene(("7fb6e6", "d5e8f2"), ("8fbf5a", "4d8a34"), (0.15, 0.55), "grass"),
    "forest": Scene(("35603c", "7fa562"), ("5a6b38", "3a4a26"), (0.45, 0.8), "leaves"),
    "sky": Scene(("3f86d0", "a9d2f2"), ("b7d6ee", "e2eef6"), (0.6, 1.0), "clouds"),
    "night": Scene(("1a2148", "4a4c86"), ("343a5c", "1a1e34"), (0.7, 0.95), "stars"),
    "lake": Scene(("bcd9ea", "e9dcc6"), ("4f93b0", "2c6583"), (0.2, 0.5), "waves"),
    "underwater": Scene(("2aa0c8", "12628f"), ("0f5076", "0a2f4c"), (0.5, 0.9), "bubbles"),
    "beach": Scene(("8cd0ee", "c9ecf2"), ("ecd7a4", "d3b476"), (0.25, 0.55), "pebbles"),
    "desert": Scene(("f0c98a", "f7e2b8"), ("d99a55", "b87437"), (0.3, 0.6), "pebbles"),
    "snow": Scene(("94aecb", "c9d6e4"), ("e2e9f1", "b9c8da"), (0.25, 0.6), "flakes"),
    "room": Scene(("d9c8b4", "c4ad94"), ("9a6d48", "74502f"), (0.5, 0.75), "stripes"),
    "desk": Scene(("aab4bd", "8b98a5"), ("c9a67a", "a98355"), (0.15, 0.4), "boxes"),
    "table": Scene(("8f7a66", "b39c84"), ("e6dccb", "c7b9a3"), (0.1, 0.4), "checks"),
    "city": Scene(("b9c6d3", "dfe3e6"), ("7d8086", "56595f"), (0.5, 0.75), "blocks"),
    "stadium": Scene(("5d6f86", "93a5b8"), ("c08552", "5f9a45"), (0.2, 0.45), "crowd"),
}


def rgb(value: str) -> Colour:
    """'ff8000' -> (255, 128, 0)."""
    return int(value[:2], 16), int(value[2:4], 16), int(value[4:], 16)


@functools.cache
def _noise_tile() -> npt.NDArray[np.int16]:
    """Grain that pictures cut a piece of: drawing it anew would take half of the time of a picture."""
    grain = np.random.default_rng(5).normal(0, 1, (_NOISE_TILE, _NOISE_TILE, 3))
    return np.asarray(np.rint(grain * 6), np.int16)


def draw_picture(leaf: Leaf, rng: np.random.Generator) -> Image.Image:
    """One picture of a leaf: RGB, sides within `SIDES_PX`."""
    width, height = _size(rng)
    home = rng.random() < 0.75
    scene = SCENES[leaf.scene if home else sorted(SCENES)[int(rng.integers(len(SCENES)))]]
    big = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    canvas, horizon = _background(scene, big, rng)
    pen = ImageDraw.Draw(canvas)
    _strew(pen, scene, big, horizon, rng)
    _objects(pen, leaf, big, rng)
    _foreground(pen, scene, big, rng)
    return _light(canvas.reduce(_OVERSAMPLING), rng)


def draw_title_card(category: str, size: int = 160) -> Image.Image:
    """A plain picture of the pictogram alone, upright: for documentation and eyes."""
    from .hierarchy import leaves

    leaf = next(leaf for leaf in leaves() if leaf.id == category)
    canvas = Image.new("RGB", (size * _OVERSAMPLING, size * _OVERSAMPLING), rgb("e9edf2"))
    slots = colours(leaf.palette)
    scale = np.diag([size * _OVERSAMPLING * 0.8] * 2)
    _paint(ImageDraw.Draw(canvas), glyph(category), scale, np.full(2, size * _OVERSAMPLING / 2), slots)
    card = canvas.reduce(_OVERSAMPLING)
    ImageDraw.Draw(card).text((4, 2), category_name(category), fill=(40, 40, 40))
    return card


def _size(rng: np.random.Generator) -> tuple[int, int]:
    short = int(rng.integers(SIDES_PX[0], 181))
    long = int(rng.integers(short, SIDES_PX[1] + 1))
    return (long, short) if rng.random() < 0.65 else (short, long)


def _background(
    scene: Scene, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Image.Image, npt.NDArray[np.float64]]:
    """Two gradients that meet at a sloped, wavy horizon, with soft clouds of light; and the horizon's rows."""
    rows, columns = _GRID
    x = np.linspace(0, 1, columns)
    height = rng.uniform(*scene.horizon) + rng.normal(0, 0.08) * (x - 0.5)
    height = height + rng.uniform(0, 0.05) * np.sin(x * rng.uniform(3, 14) + rng.uniform(0, 6))
    y = np.linspace(0, 1, rows)[:, None]
    above = _gradient(scene.above, y / np.maximum(height, 0.05))
    below = _gradient(scene.below, (y - height) / np.maximum(1 - height, 0.05))
    share = np.clip((y - height) * rows + 0.5, 0, 1)[..., None]
    picture = above * (1 - share) + below * share
    picture = picture + _blobs(rng, (4, 5), 25) + _blobs(rng, (9, 12), 13) + _shafts(rng, x, y)
    picture = picture + rng.normal(0, 9, 3)  # white balance
    small = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    half = small.resize((size[0] // _OVERSAMPLING, size[1] // _OVERSAMPLING), Image.Resampling.BICUBIC)
    return half.resize(size, Image.Resampling.NEAREST), height * size[1]  # it is reduced again: no need for bicubic


def _gradient(ends: tuple[str, str], share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    first, last = np.array(rgb(ends[0]), float), np.array(rgb(ends[1]), float)
    return np.asarray(first + np.clip(share, 0, 1)[..., None] * (last - first))


def _blobs(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> npt.NDArray[np.float64]:
    """(rows, columns, 3) soft light and dark: mostly in brightness, a little in colour."""
    coarse = rng.normal(0, strength, (1, *shape)) + rng.normal(0, strength / 4, (3, *shape))
    fine = _interpolation(shape[0], _GRID[0]) @ coarse @ _interpolation(shape[1], _GRID[1]).T
    return fine.transpose(1, 2, 0)


def _shafts(
    rng: np.random.Generator, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(rows, columns, 1) light that falls in from a side: a few half-planes, lighter or darker."""
    out = np.zeros(_GRID)
    for angle, middle, strength in zip(
        rng.uniform(0, 2 * math.pi, 4).tolist(),
        rng.normal(0, 0.25, 4).tolist(),
        rng.normal(0, 23, 4).tolist(),
        strict=True,
    ):
        distance = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle) - middle
        out += strength * np.clip(distance * 12 + 0.5, 0, 1)
    return out[..., None]


@functools.cache
def _interpolation(few: int, many: int) -> npt.NDArray[np.float64]:
    """(many, few) weights that enlarge by smooth steps."""
    place = np.linspace(0, few - 1, many)
    left = np.minimum(place.astype(int), few - 2)
    share = place - left
    share = share * share * (3 - 2 * share)
    weights = np.zeros((many, few))
    weights[np.arange(many), left] = 1 - share
    weights[np.arange(many), left + 1] = share
    return weights


def _shade(colour: Colour, rng: np.random.Generator, spread: float = 16) -> Colour:
    grey, *tint = rng.normal(0, 1, 4).tolist()
    red, green, blue = (
        min(255, max(0, int(value + spread * (grey + by / 2)))) for value, by in zip(colour, tint, strict=True)
    )
    return red, green, blue


def _strew(
    pen: ImageDraw.ImageDraw,
    scene: Scene,
    size: tuple[int, int],
    horizon: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """What lies about: some dozens of small things in the scene's manner, and a few large ones behind."""
    width, height = size
    middle = float(horizon.mean())
    kind = scene.clutter
    high = kind in {"clouds", "stars", "bubbles", "flakes", "leaves", "stripes"}  # all over, not on the ground
    ground = rgb(scene.below[1])
    _large_things(pen, scene, size, middle, rng)
    count = int(rng.integers(14, 40))
    xs = rng.uniform(0, width, count)
    ys = rng.uniform(0, height, count) if high else rng.uniform(middle, height, count)
    sizes = rng.uniform(2, 7, count) * (width / 400)
    for x, y, s in zip(xs.tolist(), ys.tolist(), sizes.tolist(), strict=True):
        if kind == "grass":
            pen.line((x, y, x + s, y - 3 * s), fill=_shade(rgb("5c9a3c"), rng, 22), width=2)
        elif kind == "leaves":
            pen.ellipse((x - 2 * s, y - s, x + 2 * s, y + s), fill=_shade(rgb("4c7a3a"), rng, 24))
        elif kind in {"stars", "flakes"}:
            pen.ellipse((x, y, x + s / 2 + 1, y + s / 2 + 1), fill=_shade(rgb("fbfbf0"), rng, 8))
        elif kind == "waves":
            pen.arc((x - 5 * s, y - s, x + 5 * s, y + 2 * s), 190, 350, fill=_shade(rgb("bfe0ea"), rng), width=2)
        elif kind == "bubbles":
            pen.ellipse((x - s, y - s, x + s, y + s), outline=_shade(rgb("bfeaf5"), rng), width=2)
        else:
            pen.ellipse((x - s, y - s / 2, x + s, y + s / 2), fill=_shade(ground, rng, 26))


def _large_things(
    pen: ImageDraw.ImageDraw, scene: Scene, size: tuple[int, int], middle: float, rng: np.random.Generator
) -> None:
    """A few large shapes behind the object: they change the layout, so pictures of one category differ."""
    width, height = size
    kind = scene.clutter
    for _ in range(int(rng.integers(2, 6))):
        x, y, s = float(rng.uniform(0, width)), float(rng.uniform(0, height)), float(rng.uniform(0.08, 0.22)) * width
        if kind in {"blocks", "crowd", "boxes"}:
            top = middle - float(rng.uniform(0.3, 1.8)) * s
            pen.rectangle((x - s / 2, top, x + s / 2, middle), fill=_shade(rgb("8a93a0"), rng, 34))
        elif kind == "checks":
            step = s / 2
            for i in range(-2, 3):
                pen.line((x + i * step, middle, x + i * step * 3, height), fill=_shade(rgb("b98f7a"), rng), width=5)
        elif kind == "stripes":
            pen.rectangle((x - s / 3, 0, x + s / 3, middle), fill=_shade(rgb(scene.above[0]), rng, 26))
        elif kind in {"clouds", "waves"}:
            y = y % max(middle, 1)
            for dx in (-0.6, 0.0, 0.6):
                pen.ellipse((x + (dx - 0.6) * s, y - 0.3 * s, x + (dx + 0.6) * s, y + 0.3 * s), fill=(240, 244, 247))
        elif kind == "stars" and y < height / 3:
            pen.ellipse((x - s / 2, y - s / 2, x + s / 2, y + s / 2), fill=_shade((226, 222, 190), rng, 14))
        elif kind == "stars":
            pen.polygon((x - s, height, x, height - s * 0.9, x + s, height), fill=_shade((22, 24, 44), rng, 10))
        else:
            tone = _shade(rgb(scene.below[int(rng.integers(2))]), rng, 28)
            pen.ellipse((x - s, middle - s * 0.5, x + s, middle + s * 0.45), fill=tone)


def _objects(pen: ImageDraw.ImageDraw, leaf: Leaf, size: tuple[int, int], rng: np.random.Generator) -> None:
    """One or more pictograms, each turned, sheared, stretched, perhaps mirrored, in shades of the leaf's palette."""
    count = int(rng.integers(1, leaf.most + 1))
    most = {1: (0.42, 0.85), 2: (0.36, 0.6)}.get(count, (0.28, 0.48))
    for _ in range(count):
        side = min(size) * float(rng.uniform(*most))
        turn, shear = (float(value) for value in rng.normal(0, (0.17, 0.14)))
        mirrored = -1.0 if rng.random() < 0.5 else 1.0
        stretch = math.exp(float(rng.normal(0, 0.14)))
        matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        matrix = matrix @ np.array([[mirrored * side * stretch, shear * side], [0.0, side / stretch]])
        margin = side * 0.42
        place = np.array([rng.uniform(min(margin, s / 2), max(s - margin, s / 2)) for s in size])
        slots = {slot: _shade(value, rng, 12) for slot, value in colours(leaf.palette).items()}
        wobble = rng.normal(0, 0.008, 2)
        _paint(pen, glyph(leaf.id), matrix, place, slots, wobble)


def _paint(
    pen: ImageDraw.ImageDraw,
    shapes: tuple[Shape, ...],
    matrix: npt.NDArray[np.float64],
    place: npt.NDArray[np.float64],
    slots: Mapping[str, Colour],
    wobble: npt.NDArray[np.float64] | None = None,
) -> None:
    side = math.sqrt(abs(np.linalg.det(matrix)))
    for number, shape in enumerate(shapes):
        points = shape.points if wobble is None else shape.points + wobble * math.sin(number * 2.4)
        flat = (points @ matrix.T + place).ravel().tolist()
        if shape.width:
            pen.line(flat, fill=slots[shape.colour], width=max(1, round(shape.width * side)), joint="curve")
        else:
            pen.polygon(flat, fill=slots[shape.colour])


def _foreground(pen: ImageDraw.ImageDraw, scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Now and then something in front, out of the frame's edge."""
    if rng.random() < 0.4:
        width, height = size
        x, s = float(rng.uniform(0, width)), float(rng.uniform(0.08, 0.2)) * height
        pen.ellipse((x - 2 * s, height - s, x + 2 * s, height + 2 * s), fill=_shade(rgb(scene.below[1]), rng, 30))


def _light(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A slope of light across the picture, and grain."""
    width, height = picture.size
    slope_x, slope_y = rng.normal(0, 0.2, 2)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(slope_x)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(slope_y)
    gain = np.rint((np.float32(rng.uniform(0.82, 1.12)) + x + y[:, None]) * 256).astype(np.int32)
    top, left = (int(rng.integers(0, _NOISE_TILE - side + 1)) for side in (height, width))
    grain = _noise_tile()[top : top + height, left : left + width]
    pixels = np.asarray(picture, np.int32) * gain[..., None]
    pixels >>= 8
    pixels += grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
