from __future__ import annotations

import struct

import numpy as np
import pytest

from openjft.loaders.decoding import DecodeError, decode_image
from openjft.pipelines.demo.formats import FORMATS, choose_format, encode, html_page, huge_png, truncated
from openjft.pipelines.demo.hierarchy import leaves
from openjft.pipelines.demo.pictures import draw_picture


@pytest.fixture(scope="module")
def picture():
    return draw_picture(leaves()[0], np.random.default_rng(1))


def decoded(data):
    return decode_image(data, max_pixels=100_000_000)


@pytest.mark.parametrize("name", ["jpeg", *FORMATS])
def test_every_format_decodes_to_the_picture(picture, name):
    image = decoded(encode(picture, name))
    assert (image.original_width, image.original_height) == picture.size
    given = np.asarray(picture.convert("L") if name == "png_grey16" else picture, float)
    found = image.pixels.astype(float)
    if name == "png_grey16":
        found = found.mean(axis=2)
    # Palettes of 64 colours and fading corners are coarse; an upside-down or mirrored picture would be far off.
    assert np.abs(given - found).mean() < (30 if "png_" in name or "gif" in name or "cmyk" in name else 6)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (html_page(), "not_an_image"),
        (b"", "empty"),
    ],
)
def test_pretended_pictures_are_refused_for_their_reason(data, reason):
    with pytest.raises(DecodeError) as found:
        decoded(data)
    assert found.value.reason == reason


def test_a_cut_jpeg_is_truncated(picture):
    with pytest.raises(DecodeError) as found:
        decoded(truncated(encode(picture, "jpeg")))
    assert found.value.reason == "truncated"


def test_the_huge_png_is_small_and_declares_its_pixels():
    data = huge_png()
    assert len(data) < 3_000_000
    assert struct.unpack(">II", data[16:24]) == (50_000, 50_000)
    with pytest.raises(DecodeError) as found:
        decoded(data)
    assert found.value.reason == "too_many_pixels"


def test_formats_come_by_their_shares():
    drawn = [choose_format(np.random.default_rng(i)) for i in range(2000)]
    assert set(drawn) == {"jpeg", *FORMATS}
    assert 0.78 < drawn.count("jpeg") / len(drawn) < 0.88
