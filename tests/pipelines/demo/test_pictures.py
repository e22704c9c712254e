from __future__ import annotations

import numpy as np
import pytest

from openjft.dedup.descriptors.dct import REMOVE_SIMILARITY, DctEmbedder
from openjft.pipelines.demo.copies import TRANSFORMS
from openjft.pipelines.demo.hierarchy import leaves
from openjft.pipelines.demo.pictures import draw_picture


def pictures(stream, count=112):
    every = leaves()
    return [draw_picture(every[i % len(every)], np.random.default_rng([stream, i])) for i in range(count)]


@pytest.fixture(scope="module")
def drawn():
    return pictures(1)


def vectors(images):
    return DctEmbedder().embed([np.asarray(image) for image in images])


def test_equal_generators_give_equal_pictures(drawn):
    assert [p.tobytes() for p in drawn] == [p.tobytes() for p in pictures(1)]


def test_sizes_are_those_of_small_web_pictures(drawn):
    assert all(p.mode == "RGB" and min(p.size) >= 160 and max(p.size) <= 240 for p in drawn)
    assert len({p.size for p in drawn}) > 50


def test_two_pictures_of_one_category_are_no_near_duplicates(drawn):
    similarity = vectors(drawn) @ vectors(pictures(2)).T
    assert similarity.max() < REMOVE_SIMILARITY
    same = np.arange(len(drawn)) % len(leaves())
    assert similarity[same[:, None] == same].mean() < 0.35


@pytest.mark.parametrize("transform", [name for name in TRANSFORMS if name not in {"crop", "mirror"}])
def test_a_copy_is_a_near_duplicate(drawn, transform):
    copies = [TRANSFORMS[transform](p, np.random.default_rng(i)) for i, p in enumerate(drawn)]
    similarity = (vectors(drawn) * vectors(copies)).sum(axis=1)
    assert np.mean(similarity >= REMOVE_SIMILARITY) > 0.75


def test_crops_and_mirror_images_are_what_they_say(drawn):
    picture = drawn[0]
    assert np.array_equal(
        np.asarray(TRANSFORMS["mirror"](picture, np.random.default_rng(0))), np.asarray(picture)[:, ::-1]
    )
    for i in range(20):
        cropped = TRANSFORMS["crop"](picture, np.random.default_rng(i))
        assert 0.57 < cropped.width * cropped.height / (picture.width * picture.height) < 0.88
