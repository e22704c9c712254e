from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.dedup.errors import DedupError
from openjft.dedup.resample import area_matrix, grey


@given(st.integers(1, 300), st.integers(1, 100))
def test_every_output_cell_is_a_weighted_mean(source, target):
    matrix = area_matrix(source, target)
    assert matrix.shape == (target, source)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)


def test_a_whole_factor_averages_blocks():
    np.testing.assert_allclose(area_matrix(4, 2) @ np.array([1, 3, 10, 20.0]), [2, 15])


def test_grey_is_the_luma_of_the_whole_image():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = (255, 0, 0)
    plane = grey(image, 2)
    np.testing.assert_allclose(plane, [[0.299 * 255, 0], [0.299 * 255, 0]], atol=1e-3)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(DedupError, match="uint8"):
        grey(image)
