"""Modes of a class and their attachment D: against fitting again without the mode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.pipelines.visual.distances import Competitors, relatives
from openjft.pipelines.visual.means import fit_means
from openjft.pipelines.visual.modes import NUM_MODES, Modes, ModeSample, attachment, fit_modes, kmeans, split
from openjft.pipelines.visual.moments import Moments, fit_whitening
from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy

# big cat 0, car 1, jaguar 2, lion 3
TREE = build_taxonomy(
    [Category(i) for i in ("big cat", "car", "jaguar", "lion")],
    [Edge("jaguar", "big cat"), Edge("lion", "big cat")],
    origin="test",
)
CLOSURE = ancestor_closure(TREE)
BIG_CAT, CAR, JAGUAR, LION = range(4)
NONE = np.zeros(0, np.int64)


def modes_of(vectors, label, seed=0):
    label = np.asarray(label, np.int32)
    order = np.argsort(label, kind="stable")
    vectors, label, weight = vectors[order], label[order], np.ones(len(label))
    moments = Moments.of(vectors, np.arange(len(label)), label, weight)
    whitening = fit_whitening(moments)
    sums = whitening.apply_sums(moments.sums, moments.weight)
    means = fit_means(moments.labels, moments.images, moments.weight, sums, CLOSURE)
    competitors = Competitors.of(means, relatives(CLOSURE, NONE, NONE))
    sample = ModeSample(label, weight, vectors.astype(np.float16))
    modes = fit_modes(sample, whitening, means, competitors, seed=seed)
    return modes, whitening, means, competitors


@st.composite
def clouds(draw):
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    distinct = draw(st.integers(1, n))  # some vectors are copies
    vectors = rng.normal(size=(distinct, 3))[rng.integers(0, distinct, n)].astype(np.float32)
    return vectors, rng.uniform(0.1, 1, n), draw(st.integers(1, n))


@given(clouds())
def test_every_image_is_in_the_cluster_of_the_nearest_centre(cloud):
    vectors, weight, k = cloud
    mode = kmeans(vectors, weight, k, seed=3)
    count = mode.max() + 1
    assert count <= k
    assert np.bincount(mode).min() > 0
    centres = np.stack([np.average(vectors[mode == m], axis=0, weights=weight[mode == m]) for m in range(count)])
    away = ((vectors[:, None] - centres) ** 2).sum(axis=2)
    assert (away[np.arange(len(mode)), mode] <= away.min(axis=1) + 1e-4).all()


def test_clusters_far_apart_are_found_whatever_the_seed():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [50, 0], [0, 50], [50, 50]])
    truth = rng.integers(0, 4, 60)
    vectors = (centres[truth] + rng.normal(size=(60, 2))).astype(np.float32)
    for seed in range(20):
        mode = kmeans(vectors, np.ones(60), 4, seed=seed)
        assert len({*zip(mode.tolist(), truth.tolist(), strict=True)}) == 4


def test_equal_seeds_split_alike_and_weights_pull_the_means():
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    weight = np.linspace(0.1, 1, 40)
    first, second = (split(vectors, weight, seed=[1, 2]) for _ in range(2))
    np.testing.assert_array_equal(first.mean, second.mean)
    assert first.images.sum() == 40
    assert first.weight.sum() == pytest.approx(weight.sum())
    np.testing.assert_allclose(
        first.weight @ first.mean / weight.sum(), np.average(vectors, axis=0, weights=weight), atol=1e-5
    )


def test_a_class_of_few_images_has_no_more_modes_than_these():
    rng = np.random.default_rng(0)
    modes, *_ = modes_of(rng.normal(size=(10, 3)), [CAR, *[LION] * 9])
    assert np.bincount(modes.label).tolist() == [0, 1, 0, NUM_MODES]
    assert modes.images.tolist()[0] == 1
    assert modes.images[modes.label == LION].sum() == 9
    assert np.isfinite(modes.score).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([BIG_CAT, CAR, JAGUAR, LION]), min_size=3, max_size=25))
def test_attachment_is_the_margin_of_a_mode_to_the_class_fitted_without_it(seed, label):
    vectors = np.random.default_rng(seed).normal(size=(len(label), 3))
    modes, _, means, competitors = modes_of(vectors, label)
    # all images are in the sample, each with weight 1
    sums = modes.weight[:, None] * modes.mean.astype(np.float64)
    kin = relatives(CLOSURE, NONE, NONE)
    for m, c in enumerate(modes.label.tolist()):
        others = np.arange(len(modes.label)) != m
        left = Moments.of(modes.mean[others], np.arange(others.sum()), modes.label[others], modes.weight[others])
        near = [((modes.mean[m] - means.mean[x]) ** 2).sum() for x in competitors.labels.tolist() if x not in kin.of(c)]
        if others.any():
            rest = fit_means(left.labels, left.images, left.weight, left.sums, CLOSURE).mean[c]
        else:
            rest = sums.sum(axis=0) / modes.weight.sum()  # nothing else is known than the mean of all
        own = ((modes.mean[m] - rest) ** 2).sum()
        assert modes.score[m] == pytest.approx((min(near, default=3) - own) / 2, rel=1e-3, abs=1e-3)


def test_weights_of_a_sample_do_not_count_but_their_shares_do():
    rng = np.random.default_rng(2)
    label = np.repeat([CAR, JAGUAR, LION], 12).astype(np.int32)
    modes, _, means, competitors = modes_of(rng.normal(size=(36, 3)) + 3 * label[:, None], label)
    again = attachment(modes.label, modes.mean, modes.weight, means, competitors)
    np.testing.assert_allclose(again, modes.score, rtol=1e-5)


def test_the_mode_of_a_second_sense_does_not_belong_to_its_class():
    rng = np.random.default_rng(0)
    centre = {CAR: [9.0, 0, 0], JAGUAR: [0.0, 9, 0], LION: [0.0, 8, 4]}
    label = np.repeat([CAR, JAGUAR, LION], 60).astype(np.int32)
    shown = label.copy()
    shown[np.flatnonzero(label == JAGUAR)[:20]] = CAR  # the British make
    vectors = rng.normal(size=(180, 3)) + np.array([centre[c] for c in shown.tolist()])
    modes, whitening, *_ = modes_of(vectors, label)
    place = modes.nearest(whitening.apply(vectors), np.arange(180), label)
    score = modes.score[place]
    wrong = shown != label
    assert score[wrong].max() < 0 < score[~wrong & (label == CAR)].min()
    assert score[wrong].max() < score[(label == JAGUAR) & ~wrong].min()


def test_an_image_belongs_to_the_nearest_mode_of_its_own_class():
    modes = Modes(
        np.array([CAR, CAR, LION], np.int32),
        np.array([[0.0], [10], [5]], np.float32),
        np.ones(3),
        np.ones(3, np.int64),
        np.zeros(3, np.float32),
    )
    vectors = np.array([[6.0], [4.9]], np.float32)
    place = modes.nearest(vectors, np.array([0, 0, 1]), np.array([CAR, LION, CAR], np.int32))
    assert place.tolist() == [1, 2, 0]
