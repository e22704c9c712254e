from __future__ import annotations

import numpy as np
import PIL.Image
import pytest


def _photo(seed: int, height: int = 96, width: int = 128):
    """Smooth coloured noise at several scales: what a photo is to a low-frequency descriptor."""
    rng = np.random.default_rng(seed)
    out = np.full((height, width, 3), 128.0)
    for cells, strength in ((3, 60), (6, 40), (12, 25), (24, 10)):
        noise = rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
        layer = np.asarray(PIL.Image.fromarray(noise).resize((width, height), PIL.Image.Resampling.BICUBIC))
        out += (layer.astype(float) - 127.5) / 127.5 * strength
    return np.clip(out, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photo():
    return _photo
