"""Plain tars as a source of the loader."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import shutil

import numpy as np
import pytest
import webdataset

from openjft.loaders import Dataset, DatasetError, Loader, ShortReadError
from openjft.loaders.folders import ImageFolder
from openjft.loaders.open import open_source
from openjft.loaders.source import Source
from openjft.loaders.tars import TarCollection

from .conftest import LEAVES_TARS_OPEN, image_bytes, pairs, tar_bytes

# webdataset leaves the closing of its tars to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def test_the_loader_gives_every_sample_once_with_its_label(web):
    source: Source = TarCollection.open(web)
    seen = {}
    for batch in Loader(source, batch_size=6, seed=3, image_size=16, num_threads=2, drop_last=False).epoch(0):
        for i in range(len(batch.keys)):
            at = slice(*batch.label_offsets[i : i + 2])
            seen[batch.keys[i].tobytes()] = [source.category_ids[v] for v in batch.label_values[at]]
    expected = {f"s{n:04d}": [str(n % 3)] for n in range(20)}
    assert seen == {hashlib.blake2b(k.encode(), digest_size=16).digest(): v for k, v in expected.items()}
    assert source.class_counts.tolist() == [7, 7, 6]


def test_hashes_and_places_are_those_of_the_images(web):
    source = TarCollection.open(web)
    index = source.index(1)
    data = source.read_bytes(1, int(index.offsets[2]), int(index.sizes[2]))
    assert data == image_bytes(10)
    assert index.sha256[2].tobytes() == hashlib.sha256(data).digest()
    assert (index.widths[2], index.heights[2]) == (32, 24)


@LEAVES_TARS_OPEN
def test_webdataset_reads_the_same_keys(web):
    theirs = webdataset.WebDataset(f"{web}/web-{{000..002}}.tar", shardshuffle=False)
    names = [sample["__key__"] for sample in theirs]
    gc.collect()
    source = TarCollection.open(web)
    ours = [k.tobytes() for shard in range(3) for k in source.index(shard).keys]
    assert ours == [hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names]


def test_subsets_are_nested_and_halves_make_the_whole(web):
    source = TarCollection.open(web)

    def chosen(low, high):
        part = source.subset(low, high)
        return set(part.numbers(np.arange(part.num_samples)).tolist())

    assert chosen(0, 1) == set(range(20))
    assert chosen(0, 0.3) <= chosen(0, 0.6)
    assert chosen(0, 0.5) | chosen(0.5, 1) == set(range(20))
    assert not chosen(0, 0.5) & chosen(0.5, 1)
    assert chosen(1, 1) == set()


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(web, tmp_path):
    first = TarCollection.open(web).fingerprint
    shutil.copytree(web, tmp_path / "copy", ignore=shutil.ignore_patterns(".openjft"))
    assert TarCollection.open(tmp_path / "copy").fingerprint == first
    (tmp_path / "copy/web-002.tar").write_bytes(tar_bytes(pairs(range(16, 19))))
    shutil.rmtree(tmp_path / "copy/.openjft")
    assert TarCollection.open(tmp_path / "copy").fingerprint != first


@pytest.mark.parametrize("change", ["bytes", "time"])
def test_a_tar_that_has_changed_is_refused_with_what_to_do(web, change):
    TarCollection.open(web)
    tar = web / "web-001.tar"
    if change == "bytes":
        tar.write_bytes(tar.read_bytes() + bytes(512))
    else:
        os.utime(tar, (1, 1))
    with pytest.raises(DatasetError, match=r"web-001\.tar: expected the tar as it was indexed.*`openjft index` again"):
        TarCollection.open(web)


def test_a_tar_that_becomes_shorter_while_it_is_read_is_told(web):
    source = TarCollection.open(web)
    os.truncate(web / "web-000.tar", 600)
    index = source.index(0)
    with pytest.raises(ShortReadError, match=r"web-000\.tar"):
        source.read_bytes(0, int(index.offsets[3]), int(index.sizes[3]))


def test_a_missing_index_of_one_tar_is_told(web):
    source = TarCollection.open(web)
    (web / ".openjft/tars/web-000.parquet").unlink()
    with pytest.raises(DatasetError, match="index again"):
        source.index(0)


def test_it_pickles_as_its_place(web):
    source = TarCollection.open(web)
    again = pickle.loads(pickle.dumps(source))
    assert (again.fingerprint, again.num_samples) == (source.fingerprint, 20)
    assert np.array_equal(again.index(2).keys, source.index(2).keys)


def test_tars_without_labels_have_one_category_that_no_image_carries(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes([("a.jpg", image_bytes(1)), ("b.jpg", image_bytes(2))]))
    source = TarCollection.open(tmp_path)
    assert (source.num_samples, source.num_categories, source.class_counts.tolist()) == (2, 1, [0])


def test_whatever_lies_at_a_place_is_opened(web, dataset_folder, tmp_path):
    assert isinstance(open_source(dataset_folder), Dataset)
    assert isinstance(open_source(web), TarCollection)
    assert isinstance(open_source(f"{web}/web-000.tar"), TarCollection)
    (tmp_path / "images/dog").mkdir(parents=True)
    (tmp_path / "images/dog/a.jpg").write_bytes(image_bytes(1))
    assert isinstance(open_source(tmp_path / "images"), ImageFolder)


@pytest.mark.parametrize("place", ["nothing", "empty"])
def test_where_nothing_lies_the_error_says_what_was_expected(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"expected a (folder with a )?data set \(manifest\.json\)"):
        open_source(tmp_path / place)


def test_a_damaged_manifest_is_not_taken_for_a_missing_one(dataset_folder, tmp_path):
    shutil.copytree(dataset_folder, tmp_path / "copy")
    (tmp_path / "copy/manifest.json").write_text("{")
    with pytest.raises(DatasetError, match="expected JSON"):
        open_source(tmp_path / "copy")
