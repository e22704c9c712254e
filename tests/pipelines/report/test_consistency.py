"""Visual consistency in the report: bins by distance to the centroids, of the categories with the most labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup import embeddings_table
from openjft.pipelines.keys import buckets_of, image_keys
from openjft.pipelines.report import consistency
from openjft.pipelines.report.consistency import BINS, bins_by_distance, consistency_section
from openjft.pipelines.schema import LABELS
from openjft.pipelines.storage import Store, bucket_file

NAMES = ["cat", "dog", "bird"]
BUCKETS = 2


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path))


def labels_table(keys: pa.Array, label: np.ndarray) -> pa.Table:
    n = len(keys)
    columns = [keys, pa.array(label, pa.int32()), [f"http://h/{i}" for i in range(n)], [0.9] * n, [1] * n]
    return pa.table(columns, schema=LABELS)


def build(store, n=60, lost=()):
    """Labels: of three images one dog, else cat; vectors lie farther out the later the image."""
    keys = image_keys([f"http://h/{i}" for i in range(n)]).take
    order = np.argsort(np.array(image_keys([f"http://h/{i}" for i in range(n)]).to_pylist(), object))
    keys = keys(pa.array(order))
    rng = np.random.default_rng(0)
    vectors = np.tile([1.0, 0, 0, 0], (n, 1)) + rng.normal(size=(n, 4)) * np.linspace(0.01, 0.2, n)[:, None]
    buckets = buckets_of(keys, BUCKETS)
    there = ~np.isin(np.arange(n), list(lost))
    for bucket in range(BUCKETS):
        at = np.flatnonzero((buckets == bucket) & there)
        table = embeddings_table(keys.take(pa.array(at)), vectors[at].astype(np.float16))
        store.write_table(bucket_file("embeddings", bucket, BUCKETS), table)
    label = np.where(np.arange(n) % 3 == 0, 1, 0)
    return keys, label, vectors.astype(np.float16), labels_table(keys, label)


def thumbnails(keys):
    return {key: key.hex() for key in keys}


def section(store, labels, n=12, pictures=thumbnails):
    return consistency_section(labels, NAMES, store, BUCKETS, pictures, n)


def test_bins_are_equal_in_number_and_rise_in_distance():
    vectors = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    distance, bins = bins_by_distance(vectors)
    assert [len(part) for part in bins] == [9, 9, 8, 8, 8, 8]
    assert sorted(np.concatenate(bins).tolist()) == list(range(50))
    assert (np.diff(distance[np.concatenate(bins)]) >= 0).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_images_make_few_bins(n):
    vectors = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    distance, bins = bins_by_distance(vectors)
    assert [len(part) for part in bins] == [1] * n
    assert (distance[np.concatenate(bins)] >= 0).all()


def test_the_categories_with_the_most_labels_come_first(store):
    *_, labels = build(store)
    shown = section(store, labels)
    assert [g.title for g in shown.galleries] == ["cat", "dog"]
    assert [g.title for g in section(store, labels, n=1).galleries] == ["cat"]
    for gallery in shown.galleries:
        assert [p.title for p in gallery.pictures] == [f"bin {i} of {BINS}" for i in range(1, BINS + 1)]
        assert all(len(p.images) == 3 for p in gallery.pictures)
    assert "nothing is dropped by it" in shown.text


def test_pictures_of_a_bin_are_of_its_images_nearest_first(store):
    keys, label, vectors, labels = build(store)
    [cats, _] = section(store, labels).galleries
    of_cats = np.flatnonzero(label == 0)
    distance, bins = bins_by_distance(vectors[of_cats].astype(np.float32))
    by_key = dict(zip([key.hex() for key in keys.take(pa.array(of_cats)).to_pylist()], distance, strict=True))
    for picture, part in zip(cats.pictures, bins, strict=True):
        far = [by_key[name] for name in picture.images]
        assert far == sorted(far)
        assert distance[part[0]] <= far[0] <= far[-1] <= distance[part[-1]]
        assert picture.lines == [f"distance {distance[part[0]]:.3f} to {distance[part[-1]]:.3f}", f"{len(part)} images"]


def test_images_without_an_embedding_or_a_picture_are_passed_over(store):
    *_, labels = build(store, lost=range(0, 60, 2))
    [cats, dogs] = section(store, labels).galleries
    assert (cats.text, dogs.text) == ("20 images of the sample", "10 images of the sample")
    gone = {cats.pictures[0].images[0]}
    without = section(store, labels, pictures=lambda ks: {k: k.hex() for k in ks if k.hex() not in gone})
    assert not gone & {name for p in without.galleries[0].pictures for name in p.images}


def test_no_embeddings_no_section(store):
    keys = image_keys(["http://h/1"])
    assert section(store, labels_table(keys, np.array([0]))) is None
    *_, labels = build(store)
    assert section(store, labels, n=0) is None
    assert section(store, labels.slice(0, 0)) is None
    assert section(store, labels, pictures=lambda _: {}) is None


def test_reading_is_bounded_by_the_images_of_a_category(store, monkeypatch):
    monkeypatch.setattr(consistency, "IMAGES", 5)
    *_, labels = build(store)
    assert [g.text for g in section(store, labels).galleries] == ["5 images of the sample"] * 2
