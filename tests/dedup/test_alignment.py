from __future__ import annotations

import dataclasses

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from openjft.dedup import View, make_views
from openjft.dedup.alignment import Features, align
from openjft.dedup.transforms import TRANSFORMS

VIEWS = {view.name: view for view in make_views(("identity", "mirror", "crop"))}
IDENTITY = VIEWS["identity"]


def picture(seed, width=360, height=270):
    """Shapes on a shaded ground: corners for points, and structure."""
    rng = np.random.default_rng(seed)
    ground = rng.uniform(0, 255, (4, 5, 3)).astype(np.uint8)
    image = PIL.Image.fromarray(ground).resize((width, height), PIL.Image.Resampling.BICUBIC)
    draw = PIL.ImageDraw.Draw(image)
    for _ in range(40):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        size = rng.uniform(8, 50)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        shape = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape((x, y, x + size, y + size * rng.uniform(0.4, 1.6)), fill=colour)
    return np.asarray(image)


def squashed(image, side=340):
    return np.asarray(PIL.Image.fromarray(image).resize((side, side), PIL.Image.Resampling.BOX))


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_a_copy_verifies_whatever_was_done_to_it(name):
    for seed in range(4):
        copy = TRANSFORMS[name](picture(seed), np.random.default_rng(seed))
        found = align(Features(squashed(copy)), Features(picture(seed)), IDENTITY)
        assert found.is_alike(0.5), (name, seed, found)
        assert found.mirrored == (name == "mirror")


def test_different_pictures_do_not_verify_in_any_view():
    for seed in range(6):
        for view in VIEWS.values():
            found = align(Features(squashed(picture(seed))), Features(picture(seed + 100)), view)
            assert not found.is_alike(0.5), (seed, view.name, found)


def test_the_part_the_turn_and_the_mirror_are_told():
    image = picture(1)
    part = align(Features(squashed(image[:190, :254])), Features(image), IDENTITY)
    assert part.of_reference == pytest.approx(0.5, abs=0.05)
    assert part.of_query > 0.95
    assert "50 % of it" in part.describe().replace("49", "50").replace("51", "50")
    turned = np.asarray(PIL.Image.fromarray(image).rotate(5, PIL.Image.Resampling.BICUBIC))
    found = align(Features(turned), Features(image), IDENTITY)
    assert found.turned == pytest.approx(5, abs=0.5)
    assert "turned by 5 degrees" in found.describe()
    assert align(Features(squashed(image[:, ::-1])), Features(image), IDENTITY).describe() == "mirrored"
    assert align(Features(squashed(image)), Features(image), IDENTITY).describe() == "as it is"


def test_a_larger_scene_that_holds_the_eval_image_verifies():
    scene = picture(2, 700, 500)
    found = align(Features(squashed(scene)), Features(scene[60:400, 100:560]), IDENTITY)
    assert found.is_verified(0.75)
    assert found.of_reference > 0.95
    assert "of the training image" in found.describe()


def test_thumbnails_without_points_are_aligned_by_the_view():
    small = np.asarray(PIL.Image.fromarray(picture(3)).resize((32, 32), PIL.Image.Resampling.BOX))
    shifted = small[2:, 3:]
    found = align(Features(squashed(shifted)), Features(small), IDENTITY)
    assert found.is_alike(0.5)


def test_a_shared_logo_is_no_copy():
    a, b, logo = picture(10).copy(), picture(11).copy(), picture(12, 120, 90)
    a[20:110, 20:140] = logo
    b[150:240, 200:320] = logo
    assert not align(Features(squashed(a)), Features(b), IDENTITY).is_alike(0.5)


def test_plain_pictures_tell_nothing():
    grey = np.full((200, 200, 3), 128, np.uint8)
    found = align(Features(grey), Features(grey.copy()), IDENTITY)
    assert found.ssim == 0
    assert not found.is_alike(0.5)


def test_structure_alone_needs_more_than_agreeing_points():
    found = align(Features(squashed(picture(4))), Features(picture(4)), IDENTITY)
    assert found.inliers > 0
    alone = dataclasses.replace(found, ssim=0.55, ssim_low=0.78, inliers=0)
    agreeing = dataclasses.replace(alone, inliers=20)
    assert agreeing.is_alike(0.5)
    assert agreeing.is_verified(0.75)
    assert not alone.is_alike(0.5)
    assert not alone.is_verified(0.75)


def test_a_stamp_is_let_pass_and_a_scene_that_moved_is_not():
    image = picture(6)
    stamped = image.copy()
    stamped[200:240, 250:340] = 255
    assert align(Features(squashed(stamped)), Features(image), IDENTITY).is_verified(0.75)
    moved = image.copy()
    moved[:, 180:] = np.roll(image, 40, axis=0)[:, 180:]  # half of it is where it was, half is not
    assert not align(Features(squashed(moved)), Features(image), IDENTITY).is_verified(0.75)


def test_two_runs_agree_and_extreme_shapes_do_no_harm():
    thin = picture(5)[:3]
    first, second = (align(Features(squashed(thin)), Features(thin), View("whole")) for _ in range(2))
    assert first == second
