from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.dedup import bands
from openjft.dedup.bands import band_blocks, close_values, perceptual_hash

HASHES = st.integers(0, 2**64 - 1)


def photo(seed, height=90, width=120):
    rng = np.random.default_rng(seed)
    out = np.full((height, width, 3), 128.0)
    for cells, strength in ((3, 60), (6, 40), (12, 25)):
        noise = PIL.Image.fromarray(rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8))
        layer = np.asarray(noise.resize((width, height), PIL.Image.Resampling.BICUBIC))
        out += (layer.astype(float) - 127.5) / 127.5 * strength
    return np.clip(out, 0, 255).astype(np.uint8)


def jpeg(pixels, quality):
    sink = io.BytesIO()
    PIL.Image.fromarray(pixels).save(sink, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(sink).convert("RGB"))


def distance(a, b):
    return (a ^ b).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_a_recompressed_or_resized_copy_has_nearly_the_same_hash_and_another_picture_has_not(seed):
    of = perceptual_hash(photo(seed))
    assert distance(of, perceptual_hash(jpeg(photo(seed), 60))) <= 3
    assert distance(of, perceptual_hash(photo(seed)[::2, ::2])) <= 4
    assert distance(of, perceptual_hash(photo(seed + 100))) > 10


def test_half_of_the_bits_are_set():
    assert perceptual_hash(photo(3)).bit_count() == 32


@pytest.mark.parametrize("noise", [0, 1, 3])
def test_a_plain_image_has_no_hash(noise):
    pixels = 120 + np.random.default_rng(0).integers(0, noise + 1, (64, 64, 3))
    assert perceptual_hash(pixels.astype(np.uint8)) is None


def test_the_hash_of_a_picture_stays_what_it_is():
    assert f"{perceptual_hash(photo(1)):016x}" == "f83a1ca6170dd9e4"


@given(HASHES, st.sets(st.integers(0, 63), max_size=3))
def test_hashes_that_differ_in_three_bits_share_a_block(value, flipped):
    other = value
    for bit in flipped:
        other ^= 1 << bit
    mine, theirs = band_blocks(np.array([value, other], np.uint64))
    assert set(mine.tolist()) & set(theirs.tolist())


def test_bands_never_share_blocks_with_each_other():
    assert len(set(band_blocks(np.zeros(1, np.uint64)).ravel().tolist())) == 4


@given(st.lists(st.one_of(HASHES, st.integers(0, 255)), unique=True, max_size=40), st.integers(0, 5))
def test_close_values_are_those_of_all_pairs(values, most):
    a, b = close_values(np.array(values, np.uint64), max_distance=most)
    expected = [
        (i, j) for i in range(len(values)) for j in range(i + 1, len(values)) if distance(values[i], values[j]) <= most
    ]
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == expected


def test_a_crowded_block_is_not_compared(monkeypatch):
    monkeypatch.setattr(bands, "MAX_VALUES", 2)
    assert [len(x) for x in close_values(np.array([1, 2, 3], np.uint64))] == [0, 0]
    assert [len(x) for x in close_values(np.array([1, 2], np.uint64))] == [1, 1]
