from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.dedup.descriptors import dct
from openjft.dedup.resample import area_resize

EMBEDDER = dct.DctEmbedder()


def jpeg(image, quality=30):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(buffer).convert("RGB"))


def small(image):
    return np.asarray(PIL.Image.fromarray(image).resize((50, 50), PIL.Image.Resampling.BICUBIC))


def darker(image):
    return (image * 0.7).astype(np.uint8)


def colourless(image):
    return np.asarray(PIL.Image.fromarray(image).convert("L").convert("RGB"))


def stickered(image):
    out = image.copy()
    out[10:24, 10:30] = (200, 60, 60)
    return out


@pytest.mark.parametrize("change", [jpeg, small, darker, colourless, stickered])
def test_a_changed_copy_stays_above_the_removal_threshold(photo, change):
    for seed in range(10):
        image = photo(seed)
        a, b = EMBEDDER.embed([image, change(image)])
        assert a @ b >= EMBEDDER.default_remove_similarity


def test_different_pictures_stay_below_the_removal_threshold(photo):
    vectors = EMBEDDER.embed([photo(seed) for seed in range(60)])
    similar = vectors @ vectors.T - 2 * np.eye(60)
    assert similar.max() < EMBEDDER.default_remove_similarity


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_any_image_gives_a_finite_unit_vector(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (vector,) = EMBEDDER.embed([image])
    assert vector.dtype == np.float32
    assert vector.shape == (EMBEDDER.dim,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_plain_images_share_one_vector_that_no_photo_is_near(photo):
    plain = EMBEDDER.embed([np.full((20, 30, 3), level, np.uint8) for level in (0, 90, 255)])
    np.testing.assert_allclose(plain @ plain.T, 1, atol=1e-5)
    assert (EMBEDDER.embed([photo(1)]) @ plain.T).max() < 0.5


def test_noise_on_a_plain_image_is_not_blown_up():
    rng = np.random.default_rng(0)
    a, b = EMBEDDER.embed([rng.integers(127, 130, (64, 64, 3), dtype=np.uint8) for _ in range(2)])
    assert a @ b > 0.7


def test_a_vector_does_not_depend_on_its_batch(photo):
    images = [photo(seed, 40 + seed, 50) for seed in range(5)]
    together = EMBEDDER.embed(images)
    for image, vector in zip(images, together, strict=True):
        np.testing.assert_array_equal(EMBEDDER.embed([image])[0].astype(np.float16), vector.astype(np.float16))


def test_coefficients_are_those_of_the_plain_definition(photo):
    scipy_fft = pytest.importorskip("scipy.fft")
    image = photo(3, 70, 90)
    plane = area_resize(image, 64) @ [0.299, 0.587, 0.114]
    block = scipy_fft.dctn(plane, norm="ortho")[:10, :10].ravel()[1:]
    expected = np.sign(block) * np.sqrt(np.abs(block))
    (vector,) = EMBEDDER.embed([image])
    got = vector[:99] / np.linalg.norm(vector[:99])
    np.testing.assert_allclose(got, expected / np.linalg.norm(expected), atol=1e-4)


def test_no_images_give_no_vectors():
    assert EMBEDDER.embed([]).shape == (0, EMBEDDER.dim)
