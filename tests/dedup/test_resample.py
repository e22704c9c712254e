from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.dedup.errors import DedupError
from openjft.dedup.resample import area_resize, grey


@given(st.integers(1, 5), st.integers(1, 5), st.integers(2, 9), st.integers(0, 99))
def test_a_whole_factor_averages_blocks(down, right, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (size * down, size * right, 3), dtype=np.uint8)
    blocks = image.reshape(size, down, size, right, 3).mean(axis=(1, 3))
    assert np.abs(area_resize(image, size) - blocks).max() <= 1  # Pillow rounds after each pass


def test_grey_is_the_luma_of_the_whole_image():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = (255, 0, 0)
    plane = grey(image, 2)
    np.testing.assert_allclose(plane, [[0.299 * 255, 0], [0.299 * 255, 0]], atol=0.01)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(DedupError, match="uint8"):
        grey(image)
