from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.dedup.errors import DedupError
from openjft.dedup.views import CROP_VIEWS, MIRROR, View, make_views

IMAGE = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)


def test_mirror_exchanges_left_and_right():
    np.testing.assert_array_equal(MIRROR.apply(IMAGE), IMAGE[:, ::-1])


def test_a_crop_keeps_its_part_of_each_side():
    by_name = {view.name: view for view in CROP_VIEWS}
    np.testing.assert_array_equal(by_name["crop80-top-left"].apply(IMAGE), IMAGE[:8, :16])
    np.testing.assert_array_equal(by_name["crop80-bottom-right"].apply(IMAGE), IMAGE[2:, 4:])
    np.testing.assert_array_equal(by_name["crop80-center"].apply(IMAGE), IMAGE[1:9, 2:18])
    np.testing.assert_array_equal(by_name["crop80-center-left"].apply(IMAGE), IMAGE[1:9, :16])


def test_a_mirrored_crop_is_cut_first():
    view = View("x", 0, 0, 0.5, 1, mirrored=True)
    np.testing.assert_array_equal(view.apply(IMAGE), IMAGE[:, :10][:, ::-1])


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_view_of_the_tiniest_image_has_a_pixel(height, width):
    for view in make_views(("identity", "mirror", "rotate", "crop")):
        assert view.apply(np.zeros((height, width, 3), np.uint8)).size


def test_the_order_of_views_does_not_depend_on_how_they_were_asked_for():
    assert make_views(("crop", "mirror", "identity")) == make_views(("identity", "mirror", "crop"))
    assert [view.name for view in make_views(("mirror", "identity"))] == ["identity", "mirror"]


def test_names_are_unique():
    views = make_views(("identity", "mirror", "rotate", "crop"))
    assert len({view.name for view in views}) == len(views) == 17


def test_identity_mirror_and_rotate_are_the_eight_forms_of_a_picture():
    views = make_views(("identity", "mirror", "rotate"))
    forms = {view.name: view.apply(IMAGE) for view in views}
    np.testing.assert_array_equal(forms["rotate90"], np.transpose(IMAGE, (1, 0, 2))[::-1])
    np.testing.assert_array_equal(forms["rotate180"], IMAGE[::-1, ::-1])
    np.testing.assert_array_equal(forms["mirror-rotate180"], IMAGE[::-1])
    np.testing.assert_array_equal(forms["mirror-rotate90"], np.transpose(IMAGE, (1, 0, 2)))
    assert len({(form.shape, form.tobytes()) for form in forms.values()}) == 8
    assert all(view.is_whole for view in views)


def test_a_part_is_cut_then_mirrored_then_turned():
    view = View("x", 0, 0, 0.5, 1, mirrored=True, quarter_turns=1)
    np.testing.assert_array_equal(view.apply(IMAGE), np.rot90(IMAGE[:, :10][:, ::-1]))


def test_a_view_survives_json_also_one_stored_before_views_turned():
    for view in make_views(("identity", "mirror", "rotate", "crop")):
        assert View(**json.loads(json.dumps(dataclasses.asdict(view)))) == view
    stored = {"name": "mirror", "left": 0, "top": 0, "right": 1, "bottom": 1, "mirrored": True}
    assert View(**stored) == MIRROR


def test_no_view_and_a_box_outside_the_image_are_refused():
    with pytest.raises(DedupError, match="at least one"):
        make_views(())
    with pytest.raises(DedupError, match="unit square"):
        View("bad", 0.5, 0, 0.5, 1)
    with pytest.raises(DedupError, match="0 to 3 quarter_turns"):
        View("bad", quarter_turns=4)
