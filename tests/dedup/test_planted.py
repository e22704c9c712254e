from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup import (
    EVAL_IMAGES,
    EvalIndex,
    clopper_pearson,
    make_embedder,
    make_views,
    planted_recall,
    sample_rows,
)
from openjft.dedup.embedder import EmbedderSpec
from openjft.dedup.transforms import TRANSFORMS

DCT = make_embedder(EmbedderSpec())


def table(n, name="set"):
    return pa.table([[name] * n, [str(i) for i in range(n)], ["p"] * n], schema=EVAL_IMAGES)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_a_transform_is_a_pure_function_of_image_and_seed(photo, name):
    image = photo(0)
    before = image.copy()
    a, b = (TRANSFORMS[name](image, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(image, before)
    assert a.dtype == np.uint8
    assert a.ndim == 3
    assert a.shape[2] == 3
    assert a.shape != image.shape or (a != image).any()


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_a_transform_takes_the_smallest_image(name):
    assert TRANSFORMS[name](np.zeros((1, 1, 3), np.uint8), np.random.default_rng(0)).size


@pytest.mark.parametrize(
    ("found", "total", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (0, 0, 0.0, 1.0)],
)
def test_the_interval_is_clopper_and_pearsons(found, total, low, high):
    assert clopper_pearson(found, total) == pytest.approx((low, high), abs=1e-4)


def test_planted_copies_are_found_and_counted(photo):
    n = 8
    index = EvalIndex.build(
        ((i, photo(i)) for i in range(n)), table(n), DCT, make_views(("identity", "mirror", "crop"))
    )
    images = [(i, photo(i)) for i in (1, 4, 6)]
    recalls = planted_recall(images, index, DCT, seed=3, remove=0.7, listed=0.6, neighbours=2)
    assert [r.transform for r in recalls] == ["none", *TRANSFORMS]
    assert all(r.total == 3 for r in recalls)
    by_name = {r.transform: r.found for r in recalls}
    assert by_name["none"] == by_name["mirror"] == by_name["jpeg"] == by_name["grey"] == 3
    assert recalls == planted_recall(images, index, DCT, seed=3, remove=0.7, listed=0.6, neighbours=2)


def test_nothing_is_found_where_the_right_image_is_not_in_the_index(photo):
    index = EvalIndex.build([(0, photo(0))], table(2), DCT, make_views(("identity",)))
    (none, *_) = planted_recall(
        [(1, photo(1))], index, DCT, seed=0, remove=0.7, listed=0.6, neighbours=1, transforms={}
    )
    assert (none.found, none.total) == (0, 1)


def test_a_copy_below_the_removal_score_counts_if_it_is_verified(photo):
    index = EvalIndex.build([(i, photo(i)) for i in range(3)], table(3), DCT, make_views(("identity",)))
    asked = []

    def verify(copy, row, view):
        asked.append((copy.shape, row, view))
        return row == 1

    marks = {"remove": 1.1, "listed": 0.6, "neighbours": 2, "seed": 0}
    (none, grey) = planted_recall(
        [(i, photo(i)) for i in range(3)], index, DCT, verify=verify, transforms={"grey": TRANSFORMS["grey"]}, **marks
    )
    assert (none.found, none.verified, none.total) == (1, 1, 3)
    assert (grey.found, grey.total) == (1, 3)
    assert {(row, view) for _, row, view in asked} == {(0, 0), (1, 0), (2, 0)}


def test_no_images_give_recalls_of_nothing(photo):
    index = EvalIndex.build([(0, photo(0))], table(1), DCT, make_views(("identity",)))
    recalls = planted_recall([], index, DCT, seed=0, remove=0.7, listed=0.6, neighbours=1)
    assert {(r.found, r.total, r.low, r.high) for r in recalls} == {(0, 0, 0.0, 1.0)}
    assert recalls[0].as_json()["recall"] is None


def test_the_sample_does_not_depend_on_other_sets():
    alone = table(50, "b")
    both = pa.concat_tables([table(50, "a"), alone])
    assert sample_rows(alone, 10, 1) == sample_rows(alone, 10, 1)
    assert sample_rows(alone, 10, 1) != sample_rows(alone, 10, 2)
    assert len(sample_rows(alone, 99, 1)) == 50
    chosen = {row - 50 for row in sample_rows(both, 20, 1) if row >= 50}
    assert chosen & set(sample_rows(alone, 10, 1))
