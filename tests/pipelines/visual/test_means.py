"""Class means through the hierarchy, and without an image: against fitting again without it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.pipelines.visual.means import fit_means, leave_out
from openjft.pipelines.visual.moments import Moments
from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy

# Labels: a 0 .. g 6; d has two parents, c has images of its own and below it, g stands alone.
TREE = build_taxonomy(
    [Category(i) for i in "abcdefg"],
    [Edge("b", "a"), Edge("c", "a"), Edge("d", "b"), Edge("d", "c"), Edge("e", "c"), Edge("f", "d")],
    origin="test",
)
CLOSURE = ancestor_closure(TREE)
NAMES = {name: i for i, name in enumerate("abcdefg")}


def fit(vectors, row, label, weight, kappa=2.0):
    sums = Moments.of(vectors, row, label, weight)
    return fit_means(sums.labels, sums.images, sums.weight, sums.sums, CLOSURE, kappa=kappa)


def test_a_class_is_drawn_to_the_mean_of_its_parents_and_these_to_theirs():
    # one image at e (under c, under a) and three at g
    vectors = np.array([[4.0], [0], [0], [0]])
    means = fit(vectors, np.arange(4), np.array([NAMES["e"], *[NAMES["g"]] * 3], np.int32), np.ones(4), kappa=1.0)
    overall = 1.0  # of all images
    a = (4 + 1 * overall) / 2
    c = (4 + 1 * a) / 2
    assert means.branch[NAMES["a"], 0] == a
    assert means.branch[NAMES["c"], 0] == c
    assert means.mean[NAMES["e"], 0] == (4 + c) / 2
    # d has no images: the mean of its parents b, which has none below it either, and c
    assert means.mean[NAMES["d"], 0] == (a + c) / 2


def test_own_images_of_an_inner_category_are_drawn_to_its_branch():
    vectors = np.array([[0.0], [6]])
    label = np.array([NAMES["c"], NAMES["e"]], np.int32)
    means = fit(vectors, np.arange(2), label, np.ones(2), kappa=1.0)
    a = (6 + 3) / 3  # two images, and the mean of all as a third
    c = (6 + a) / 3
    assert means.branch[NAMES["c"], 0] == c
    assert means.mean[NAMES["c"], 0] == (0 + c) / 2


@st.composite
def worlds(draw):
    images = draw(st.integers(2, 7))
    labels = st.sets(st.integers(0, 6), min_size=1, max_size=3)
    pairs = [(i, c) for i in range(images) for c in sorted(draw(labels))]
    row, label = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], np.int32)
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    return rng.normal(size=(images, 3)).astype(np.float32), row, label, rng.uniform(0.01, 1, len(row))


@settings(max_examples=60)
@given(worlds())
def test_leaving_an_image_out_is_fitting_without_it(world):
    vectors, row, label, weight = world
    left = leave_out(fit(*world), vectors, row, label, weight)
    for image in range(len(vectors)):
        others = row != image
        again = fit(vectors, row[others], label[others], weight[others])
        mine = left.row == image
        above = {int(c) for own in label[row == image] for c in (own, *CLOSURE.of(own))}
        assert left.label[mine].tolist() == sorted(above)
        np.testing.assert_allclose(left.mean[mine], again.mean[left.label[mine]], atol=2e-5)


def test_a_pair_is_found_at_its_place():
    vectors = np.array([[1.0], [2]], np.float32)
    row, label = np.arange(2), np.array([NAMES["f"], NAMES["g"]], np.int32)
    left = leave_out(fit(vectors, row, label, np.ones(2)), vectors, row, label, np.ones(2))
    place = left.find(row, label, 7)
    assert (left.row[place].tolist(), left.label[place].tolist()) == ([0, 1], label.tolist())


def test_the_only_image_of_all_leaves_means_that_are_numbers():
    vectors = np.array([[3.0]], np.float32)
    row, label = np.zeros(1, np.int64), np.array([NAMES["f"]], np.int32)
    means = fit(vectors, row, label, np.ones(1))
    left = leave_out(means, vectors, row, label, np.ones(1))
    assert means.mean[NAMES["f"], 0] == pytest.approx(3.0)
    np.testing.assert_allclose(left.mean, 3.0)  # nothing else is known than the mean of all
