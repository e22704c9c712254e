"""The nearest unrelated class: against a loop over all classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.pipelines.visual.distances import Competitors, margin, nearest_unrelated, relatives
from openjft.pipelines.visual.means import LeftOut, fit_means
from openjft.pipelines.visual.moments import Moments
from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy

# animal 0, car 1, cat 2, coffee 3, coffee cup 4, dog 5, poodle 6
TREE = build_taxonomy(
    [Category(i) for i in ("animal", "car", "cat", "coffee", "coffee cup", "dog", "poodle")],
    [Edge("cat", "animal"), Edge("dog", "animal"), Edge("poodle", "dog")],
    origin="test",
)
CLOSURE = ancestor_closure(TREE)
ANIMAL, CAR, CAT, COFFEE, CUP, DOG, POODLE = range(7)
NONE = np.zeros(0, np.int64)


def related_sets(pairs=()):
    left, right = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    lists = relatives(CLOSURE, left, right)
    return [lists.of(c).tolist() for c in range(7)]


def test_relatives_are_those_above_and_below_and_those_of_the_list_both_ways():
    found = related_sets([(COFFEE, CUP), (COFFEE, CUP)])
    assert found[DOG] == [ANIMAL, DOG, POODLE]
    assert found[ANIMAL] == [ANIMAL, CAT, DOG, POODLE]
    assert found[CAT] == [ANIMAL, CAT]  # a sibling competes
    assert found[COFFEE] == found[CUP] == [COFFEE, CUP]
    assert found[CAR] == [CAR]


def competitors(vectors, label, pairs=(), kappa=1.0):
    label = np.asarray(label, np.int32)
    sums = Moments.of(vectors, np.arange(len(label)), label, np.ones(len(label)))
    means = fit_means(sums.labels, sums.images, sums.weight, sums.sums, CLOSURE, kappa=kappa)
    left, right = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    return means, Competitors.of(means, relatives(CLOSURE, left, right))


@st.composite
def asked(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fitted = rng.choice(7, draw(st.integers(1, 7)), replace=False)
    row = np.sort(rng.integers(0, 5, draw(st.integers(0, 9))))
    label = rng.integers(0, 7, len(row)).astype(np.int32)
    pairs = sorted({(int(i), int(c)) for i, c in zip(rng.integers(0, 5, 4), rng.integers(0, 7, 4), strict=True)})
    out = LeftOut(
        np.array([p[0] for p in pairs]),
        np.array([p[1] for p in pairs], np.int32),
        rng.normal(size=(len(pairs), 3)).astype(np.float32),
    )
    return fitted, rng.normal(size=(5, 3)).astype(np.float32), row, label, out, draw(st.sampled_from([1, 8, 1 << 20]))


@settings(max_examples=100)
@given(asked())
def test_the_nearest_unrelated_class_is_that_of_a_loop(given_):
    fitted, vectors, row, label, left_out, block = given_
    rng = np.random.default_rng(1)
    means, found = competitors(rng.normal(size=(len(fitted), 3)), fitted, [(COFFEE, CUP)])
    kin = related_sets([(COFFEE, CUP)])
    instead = {(int(r), int(c)): m for r, c, m in zip(*left_out, strict=True)}

    def expected(image, own):
        others = [c for c in fitted.tolist() if c not in kin[own]]
        away = [np.sum((vectors[image] - instead.get((image, c), means.mean[c])) ** 2) for c in others]
        return min(away, default=np.inf)

    got = nearest_unrelated(found, vectors, row, label, left_out, block_values=block)
    np.testing.assert_allclose(
        got, [expected(int(i), int(c)) for i, c in zip(row, label, strict=True)], rtol=1e-3, atol=1e-4
    )


def test_classes_without_images_do_not_compete():
    _, found = competitors(np.array([[0.0], [1.0]]), [DOG, CAT])
    assert found.labels.tolist() == [CAT, DOG]
    # for car all that has images competes; for animal nothing does
    far = nearest_unrelated(
        found, np.zeros((1, 1), np.float32), np.zeros(2, np.int64), np.array([CAR, ANIMAL], np.int32)
    )
    assert np.isfinite(far).tolist() == [True, False]


def test_the_margin_is_above_zero_where_the_own_class_is_nearer():
    assert margin(np.array([1.0, 4.0]), np.array([4.0, 1.0]), 9).tolist() == [1.5, -1.5]


def test_without_a_competitor_the_dimensions_stand_for_its_distance():
    assert margin(np.array([9.0, 30.0]), np.array([np.inf, np.inf]), 9).tolist() == [0.0, -10.5]


@pytest.mark.parametrize("label", [DOG, ANIMAL, POODLE])
def test_relatives_are_no_competitors_however_near(label):
    _, found = competitors(np.array([[0.0], [0.1], [5.0]]), [DOG, POODLE, CAR], kappa=0.01)
    [away] = nearest_unrelated(found, np.zeros((1, 1), np.float32), np.zeros(1, np.int64), np.array([label], np.int32))
    [alone] = nearest_unrelated(found, np.zeros((1, 1), np.float32), np.zeros(1, np.int64), np.array([CAT], np.int32))
    assert away > 1 > alone
