"""Sums of classes and the whitening: against loops, and at the edges where there is little to go by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from openjft.pipelines.visual.moments import (
    MIN_SHRINKAGE,
    Accumulator,
    Moments,
    fit_whitening,
    shrinkage_for,
)


def moments(vectors, labels, weights=None) -> Moments:
    vectors = np.asarray(vectors, np.float64)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    return Moments.of(vectors, np.arange(len(labels)), np.asarray(labels, np.int32), weights)


@st.composite
def labelled(draw):
    images, n = draw(st.integers(1, 6)), draw(st.integers(0, 12))
    vectors = draw(arrays(np.float64, (images, 3), elements=st.floats(-2, 2, width=16)))
    row = np.array(draw(st.lists(st.integers(0, images - 1), min_size=n, max_size=n)), np.int64)
    label = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), np.int32)
    weight = np.array(draw(st.lists(st.floats(0.01, 1), min_size=n, max_size=n)))
    return vectors, row, label, weight


@given(labelled())
def test_sums_are_those_of_a_loop(data):
    vectors, row, label, weight = data
    found = Moments.of(vectors, row, label, weight)
    assert found.labels.tolist() == sorted(set(label.tolist()))
    for i, each in enumerate(found.labels.tolist()):
        mine = label == each
        assert found.images[i] == mine.sum()
        assert found.weight[i] == pytest.approx(weight[mine].sum())
        assert found.weight_squares[i] == pytest.approx((weight[mine] ** 2).sum())
        np.testing.assert_allclose(found.sums[i], (weight[mine, None] * vectors[row[mine]]).sum(axis=0), atol=1e-12)
    second = sum((w * np.outer(vectors[r], vectors[r]) for r, w in zip(row, weight, strict=True)), np.zeros((3, 3)))
    np.testing.assert_allclose(found.second, second, atol=1e-12)


@given(labelled(), st.integers(0, 6))
def test_parts_add_up_to_the_whole(data, cut):
    vectors, row, label, weight = data
    total = Accumulator(5, 3)
    for part in (row < cut, row >= cut):
        total.add(Moments.of(vectors, row[part], label[part], weight[part]))
    whole, added = Moments.of(vectors, row, label, weight), total.total()
    assert added.labels.tolist() == whole.labels.tolist()
    for name in ("images", "weight", "weight_squares", "sums", "second"):
        np.testing.assert_allclose(getattr(added, name), getattr(whole, name), atol=1e-12)


def test_whitened_classes_scatter_alike_in_all_directions():
    rng = np.random.default_rng(0)
    stretch = np.array([5.0, 1.0, 0.2])
    label = np.repeat([0, 1, 2], 4000)
    vectors = rng.normal(size=(12000, 3)) * stretch + 10 * label[:, None]
    whitening = fit_whitening(moments(vectors, label))
    assert whitening.shrinkage == MIN_SHRINKAGE
    z = whitening.apply(vectors)
    scatter = np.cov(np.concatenate([z[label == c] - z[label == c].mean(axis=0) for c in range(3)]).T)
    # With a tenth of the identity the small direction stays small; the order and the decorrelation are what counts.
    values = (stretch**2) / (0.9 * stretch**2 + 0.1 * (stretch**2).mean())
    np.testing.assert_allclose(scatter, np.diag(values), atol=0.06)


def test_sums_of_whitened_vectors_follow_from_the_sums():
    rng = np.random.default_rng(1)
    vectors, label, weight = rng.normal(size=(50, 4)), rng.integers(0, 3, 50), rng.random(50) + 0.1
    found = moments(vectors, label, weight)
    whitening = fit_whitening(found)
    z = whitening.apply(vectors)
    expected = np.stack([(weight[label == c, None] * z[label == c]).sum(axis=0) for c in range(3)])
    np.testing.assert_allclose(whitening.apply_sums(found.sums, found.weight), expected, atol=1e-4)


def test_few_images_draw_the_covariance_to_the_identity_and_many_leave_a_tenth():
    assert shrinkage_for(512, 1) > 0.99
    assert shrinkage_for(768, 3072) == pytest.approx(0.5)
    assert shrinkage_for(512, 1e9) == MIN_SHRINKAGE


def test_classes_of_one_image_are_whitened_by_the_scatter_of_all_images():
    vectors = np.array([[10.0, 0, 0], [-10, 0, 0], [0, 1, 0], [0, -1, 0]])
    whitening = fit_whitening(moments(vectors, [0, 1, 2, 3]))
    z = whitening.apply(vectors)
    assert np.isfinite(z).all()
    assert 1 < abs(z[0, 0] / z[2, 1]) < 10  # less apart than before, though not yet alike


@pytest.mark.parametrize("count", [1, 3])
def test_copies_of_one_image_leave_the_space_as_it_is(count):
    whitening = fit_whitening(moments(np.tile([0.6, 0.8], (count, 1)), [0] * count))
    np.testing.assert_array_equal(whitening.matrix, np.eye(2))
    np.testing.assert_allclose(whitening.apply(np.array([[0.6, 0.8]])), 0, atol=1e-6)
