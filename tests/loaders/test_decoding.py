"""Decoding bytes of unknown origin, resizing, storing."""

import concurrent.futures
import io
import pickle
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from openjft.loaders.decoding import (
    MAX_ASPECT,
    DecodeError,
    decode_image,
    decode_stored_jpeg,
    encode_jpeg,
    resize_image,
)

CAP = 10_000_000


def picture(height=48, width=64):
    """Smooth RGB: red grows to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 90)], axis=2).astype(np.uint8)


def saved(image, kind, **options):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(value, kind="JPEG", **options):
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(picture(), kind, exif=exif, **options)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *, depth=8, colour=0, extra=b"", body=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def reason(data, **options):
    with pytest.raises(DecodeError) as caught:
        decode_image(data, **{"max_pixels": CAP, **options})
    return caught.value.reason


def close(a, b, by=6):
    return a.shape == b.shape and np.abs(a.astype(int) - b.astype(int)).mean() < by


# -- formats ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_reads_every_format_as_rgb(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = decode_image(saved(picture(), kind), max_pixels=CAP)
    assert (image.original_width, image.original_height, image.format) == (64, 48, kind)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.c_contiguous
    assert close(image.pixels, picture(), by=8)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"quality": 20}])
def test_reads_jpegs_of_all_kinds(options):
    assert close(decode_image(saved(picture(), "JPEG", **options), max_pixels=CAP).pixels, picture(), by=12)


def test_grey_becomes_rgb():
    for kind in ("JPEG", "PNG"):
        pixels = decode_image(saved(picture()[..., 0], kind), max_pixels=CAP).pixels
        assert close(pixels, np.repeat(picture()[..., :1], 3, axis=2))


def test_cmyk_jpeg_keeps_its_colours():
    """Pillow writes CMYK JPEGs as Adobe does, inverted."""
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert close(decode_image(saved(cmyk, "JPEG"), max_pixels=CAP).pixels, np.full((16, 16, 3), (255, 0, 0)))
    black = decode_image(saved(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "JPEG"), max_pixels=CAP)
    assert black.pixels.max() < 10


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    wide = np.array([[0, 128, 257, 32768, 65535]] * 8, np.uint16)
    pixels = decode_image(saved(Image.fromarray(wide), kind), max_pixels=CAP).pixels
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_16_bit_rgb_png_is_scaled():
    row = b"\0" + struct.pack(">3H", 65535, 32768, 0) * 8
    pixels = decode_image(png(8, 8, depth=16, colour=2, body=zlib.compress(row * 8)), max_pixels=CAP).pixels
    assert pixels[0, 0].tolist() == [255, 128, 0]


def test_1_bit_becomes_black_and_white():
    bits = Image.fromarray(np.eye(8, dtype=np.uint8) * 255).convert("1")
    assert set(decode_image(saved(bits, "PNG"), max_pixels=CAP).pixels.ravel().tolist()) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_white(mode):
    image = Image.new(mode, (8, 8), (0,) * len(mode))
    assert (decode_image(saved(image, "PNG"), max_pixels=CAP).pixels == 255).all()


def test_half_transparent_black_is_grey():
    pixels = decode_image(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG"), max_pixels=CAP).pixels
    assert 125 <= pixels[0, 0, 0] <= 129


def test_palette_with_alpha_is_laid_on_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    pixels = decode_image(saved(image, "PNG", transparency=b"\0\xff"), max_pixels=CAP).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [0, 255, 0]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind):
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    image = decode_image(saved(red, kind, save_all=True, append_images=[blue]), max_pixels=CAP)
    assert close(image.pixels, np.full((16, 16, 3), (255, 0, 0)))


def test_32_bit_pixels_are_refused_since_their_range_is_not_told():
    assert reason(saved(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")) == "decode_failed"


# -- EXIF ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_is_applied(kind, value):
    image = decode_image(with_orientation(value, kind), max_pixels=CAP)
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    expected = turn[value](picture())
    assert close(image.pixels, expected, by=8)
    assert (image.original_height, image.original_width) == expected.shape[:2]
    assert image.pixels.flags.c_contiguous


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_both_byte_orders(order):
    tiff = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + tiff
    plain = saved(picture(), "JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    assert decode_image(data, max_pixels=CAP).original_width == 48


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_is_ignored(value):
    assert decode_image(with_orientation(value), max_pixels=CAP).original_width == 64


@given(st.binary(max_size=80))
def test_damaged_exif_loses_no_picture(tail):
    segment = b"Exif\0\0" + tail
    plain = saved(picture(8, 8), "JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    assert decode_image(data, max_pixels=CAP).pixels.shape == (8, 8, 3)


# -- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        (b"%PDF-1.7", "not_an_image"),
        (b"BMW is a maker of cars", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (b"8BPS\0\1" + bytes(40), "not_an_image"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "truncated"),
    ],
)
def test_what_is_not_an_image(data, expected):
    assert reason(data) == expected


def test_the_message_names_html():
    with pytest.raises(DecodeError, match="an HTML page"):
        decode_image(b"  <html>", max_pixels=CAP)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(noise, kind)
    assert reason(data[: int(len(data) * share)]) in {"truncated", "decode_failed"}
    if kind in {"JPEG", "PNG", "GIF", "WEBP"}:
        assert reason(data[: int(len(data) * share)]) == "truncated"


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_truncated_jpeg_that_pretends_to_end_is_refused(options):
    data = saved(picture(200, 200), "JPEG", **options)
    assert reason(data[: len(data) // 2] + b"\xff\xd9") == "truncated"


def test_truncated_cmyk_jpeg_is_refused():
    data = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8), "CMYK"), "JPEG")
    assert reason(data[: len(data) // 2]) == "truncated"


def test_harmless_bytes_between_jpeg_segments_are_accepted():
    data = saved(picture(), "JPEG")
    odd = data[:2] + b"\xff\xfe\0\4hi" + b"xyz" + data[2:]
    assert close(decode_image(odd, max_pixels=CAP).pixels, picture())


def test_jpeg_of_endless_scans_is_refused():
    data = saved(picture(), "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff\xda", start + 2)
    assert reason(data[:start] + data[start:end] * 1000 + data[end:]) == "decode_failed"


ZEROS = zlib.compress(bytes(1 << 20))


def gif_header(width, height):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)


def tiff_of(side):
    """A small TIFF that claims to be a large one."""
    data = bytearray(saved(picture(), "TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    for entry in range(at + 2, at + 2 + 12 * data[at], 12):
        if struct.unpack_from("<H", data, entry)[0] in {256, 257}:
            struct.pack_into("<HII", data, entry + 2, 4, 1, side)
    return bytes(data)


BOMBS = {
    "png": png(50_000, 50_000, body=ZEROS),
    "png_1_bit": png(50_000, 50_000, depth=1, body=ZEROS),
    "gif": gif_header(50_000, 50_000) + b",\0\0\0\0" + struct.pack("<HH", 50_000, 50_000) + b"\0\2\2\x44\1\0;",
    "webp_vp8x": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff\x3f\0" * 2,
    "tiff": tiff_of(50_000),
    "bmp": b"BM"
    + struct.pack("<IHHI", 100, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 50_000, 50_000, 1, 24, *[0] * 6),
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_refused_by_their_header(name):
    assert reason(BOMBS[name]) == "too_many_pixels"


def test_jpeg_bomb_is_refused_by_its_header():
    data = bytearray(saved(picture(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    assert reason(bytes(data)) == "too_many_pixels"


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt"])
def test_png_with_a_huge_compressed_chunk_is_refused(kind):
    packed = zlib.compress(bytes(100_000_000), 9)
    data = png(8, 8, extra=chunk(kind, b"name\0\0" + packed), body=zlib.compress(bytes(9 * 8)))
    assert reason(data) == "decode_failed"


def test_small_originals_are_refused():
    assert reason(saved(picture(4, 64), "PNG"), min_side=8) == "too_small"
    assert reason(saved(picture(64, 4), "JPEG"), min_side=8) == "too_small"


def test_pixels_at_the_cap_are_accepted_and_one_more_is_not():
    data = saved(picture(10, 10), "JPEG")
    assert decode_image(data, max_pixels=100).pixels.shape == (10, 10, 3)
    assert reason(data, max_pixels=99) == "too_many_pixels"


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]), st.randoms(use_true_random=False))
def test_flipped_bytes_give_an_image_or_a_decode_error(kind, draw: random.Random):
    data = bytearray(saved(picture(16, 16), kind))
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    try:
        image = decode_image(bytes(data), max_pixels=100_000)
    except DecodeError:
        return
    assert image.pixels.ndim == 3
    assert image.pixels.shape[2] == 3


def test_pillows_warnings_do_not_leak():
    noisy = with_orientation(6, "TIFF")[:-10]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        image = Image.new("P", (8, 8), 0)
        decode_image(saved(image, "PNG", transparency=b"\0\xff"), max_pixels=CAP)
        with pytest.raises(DecodeError):
            decode_image(noisy, max_pixels=CAP)
        assert warnings.filters == filters
    assert caught == []


def test_threads_decode_side_by_side():
    data = [saved(picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")] * 25
    filters = list(warnings.filters)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        shapes = {image.pixels.shape for image in pool.map(lambda d: decode_image(d, max_pixels=CAP), data)}
    assert shapes == {(48, 64, 3)}
    assert warnings.filters == filters


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(DecodeError("empty", "0 bytes")))
    assert (error.reason, str(error)) == ("empty", "0 bytes")


# -- resizing and storing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(1500, 2000), (480, 640), (100, 100), (20, 3000)])
def test_scaled_decoding_keeps_both_sides_at_the_target_or_the_original(height, width):
    data = saved(picture(height, width), "JPEG")
    image = decode_image(data, max_pixels=CAP, target=340)
    assert (image.original_width, image.original_height) == (width, height)
    short = min(image.pixels.shape[:2])
    assert short >= min(340, height, width)
    assert short < 2 * 340 or short == min(height, width)


@pytest.mark.parametrize(
    ("mode", "shape", "expected"),
    [
        ("squash", (375, 500), (340, 340)),
        ("squash", (8, 9), (340, 340)),
        ("center_crop", (375, 500), (340, 340)),
        ("shorter_side", (375, 500), (340, 453)),
        ("shorter_side", (500, 375), (453, 340)),
        ("shorter_side", (10, 4000), (340, 340 * MAX_ASPECT)),
        ("shorter_side", (340, 400), (340, 400)),
    ],
)
def test_resized_shapes(mode, shape, expected):
    assert resize_image(picture(*shape), size=340, mode=mode).shape == (*expected, 3)


def test_center_crop_keeps_the_middle():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    assert (resize_image(pixels, size=10, mode="center_crop") == 200).all()


def test_shrinking_is_antialiased():
    """A one-pixel checkerboard becomes grey, not a moiré."""
    board = np.indices((512, 512)).sum(axis=0) % 2 * 255
    pixels = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    assert np.abs(resize_image(pixels, size=100, mode="squash").astype(int) - 127).max() < 20


def test_stored_jpegs_come_back():
    pixels = resize_image(picture(375, 500), size=340, mode="squash")
    data = encode_jpeg(pixels, quality=90)
    assert data == encode_jpeg(pixels.copy(), quality=90)
    assert close(decode_stored_jpeg(data), pixels, by=3)
    assert Image.open(io.BytesIO(data)).size == (340, 340)


def test_damaged_stored_jpegs_are_refused():
    data = encode_jpeg(picture(), quality=90)
    for bad in (b"", b"x", data[:100], data[:-20]):
        with pytest.raises(DecodeError):
            decode_stored_jpeg(bad)
