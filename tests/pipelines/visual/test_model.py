"""Both scores: against a loop that fits again for every image, and what they are there for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from openjft.pipelines.visual import fit_model
from openjft.pipelines.visual.distances import relatives
from openjft.pipelines.visual.means import KAPPA, fit_means
from openjft.pipelines.visual.modes import ModeSample
from openjft.pipelines.visual.moments import MIN_WEIGHT, Moments
from openjft.taxonomy import Category, ancestor_closure, build_taxonomy

NONE = np.zeros(0, np.int64)


def fitted(world, related=None):
    weight = np.maximum(world.probability, MIN_WEIGHT)
    vectors = world.vectors.astype(np.float64)
    moments = Moments.of(vectors, world.row, world.label, weight)
    order = np.argsort(world.label, kind="stable")
    sample = ModeSample(world.label[order], weight[order], world.vectors[world.row[order]])
    related = relatives(world.closure, NONE, NONE) if related is None else related
    return fit_model(moments, sample, world.closure, related, seed=1), weight


def test_the_margin_is_that_of_fitting_again_without_each_image(world):
    model, weight = fitted(world)
    got = model.score(world.vectors, world.row, world.label, weight)
    z = model.whitening.apply(world.vectors)
    kin = relatives(world.closure, NONE, NONE)
    for image in range(0, len(z), 7):
        left = world.row != image
        moments = Moments.of(z, world.row[left], world.label[left], weight[left])
        again = fit_means(moments.labels, moments.images, moments.weight, moments.sums, world.closure, kappa=KAPPA).mean
        mine = np.flatnonzero(~left)
        part_of = {int(x) for c in world.label[mine] for x in (c, *world.closure.of(int(c)))}
        for place in mine.tolist():
            c = int(world.label[place])
            near = min(
                ((z[image] - (again if x in part_of else model.means.mean)[x]) ** 2).sum()
                for x in model.competitors.labels.tolist()
                if x not in kin.of(c)
            )
            expected = (near - ((z[image] - again[c]) ** 2).sum()) / 2
            assert got.margin[place] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_batches_do_not_change_the_scores(world):
    model, weight = fitted(world)
    whole = model.score(world.vectors, world.row, world.label, weight)
    parts = model.score(world.vectors, world.row, world.label, weight, batch=17)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def auc(score, right):
    better = score[right][:, None] - score[~right]
    return ((better > 0) + (better == 0) / 2).mean()


def test_right_labels_score_higher_than_wrong_ones(world):
    model, weight = fitted(world)
    scores = model.score(world.vectors, world.row, world.label, weight)
    assert auc(scores.margin, world.right) > 0.9
    assert auc(scores.margin + scores.mode, world.right) > 0.85
    assert not scores.alone.any()


def test_a_label_is_not_doubted_for_a_class_that_the_list_puts_beside_it(world):
    car, bus = world.label_of("car"), world.label_of("bus")
    beside = relatives(world.closure, np.array([car]), np.array([bus]))
    model, weight = fitted(world, beside)
    plain, _ = fitted(world)
    at = world.label == car
    mine, before = (m.score(world.vectors, world.row, world.label, weight).margin[at] for m in (model, plain))
    assert (mine >= before - 1e-3).all()
    assert (mine > before + 1).any()


def test_an_image_does_not_vouch_for_its_own_label(world):
    # the only image of a class shows another class
    poodle, car = world.label_of("poodle"), world.label_of("car")
    keep = world.label != poodle
    image = int(world.row[(world.label == car) & world.right][0])
    row, label = np.append(world.row[keep], image), np.append(world.label[keep], poodle).astype(np.int32)
    order = np.lexsort((label, row))
    lonely = dataclasses.replace(
        world,
        row=row[order],
        label=label[order],
        probability=np.append(world.probability[keep], 0.9)[order],
    )
    model, weight = fitted(lonely)
    scores = model.score(lonely.vectors, lonely.row, lonely.label, weight)
    [at] = np.flatnonzero(lonely.label == poodle)
    assert scores.margin[at] < 0
    assert scores.mode[at] < 0


def test_a_hierarchy_of_one_class_tells_outliers_and_says_so():
    taxonomy = build_taxonomy([Category("cat")], [], origin="test")
    closure = ancestor_closure(taxonomy)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 4)).astype(np.float16)
    vectors[0] = 30
    label, weight, row = np.zeros(200, np.int32), np.ones(200), np.arange(200)
    moments = Moments.of(vectors, row, label, weight)
    model = fit_model(moments, ModeSample(label, weight, vectors), closure, relatives(closure, NONE, NONE), seed=1)
    scores = model.score(vectors, row, label, weight)
    assert scores.alone.all()
    assert np.isfinite(scores.margin).all()
    assert np.isfinite(scores.mode).all()
    assert scores.margin.argmin() == scores.mode.argmin() == 0


def test_no_images_no_scores(world):
    model, _ = fitted(world)
    scores = model.score(world.vectors[:0], NONE, NONE.astype(np.int32), np.zeros(0))
    assert [len(column) for column in scores] == [0, 0, 0]
