from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 220, 40), "blue": (40, 40, 220)}


def draw_image(path: Path, colour, *, size=(48, 40), seed=0, **save) -> Path:
    """A noisy picture (width, height) of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).normal(colour, 25, (size[1], size[0], 3))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, **save)
    return path


@pytest.fixture
def draw():
    return draw_image


@pytest.fixture
def class_folder(tmp_path) -> Path:
    """Three images of each colour, in class folders."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        for i in range(3):
            draw_image(tmp_path / "photos" / name / f"{name}_{i}.jpg", colour, seed=10 * number + i)
    return tmp_path / "photos"
