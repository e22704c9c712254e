"""Labels by options: what a training reads and is taught, and when a checkpoint is of other labels."""

from __future__ import annotations

import dataclasses
import io
import tarfile

import numpy as np
import pytest
import torch

from openjft.loaders import Dataset
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.errors import CheckpointError, LoaderError
from openjft.loaders.labels import all_labels
from openjft.loaders.training import load_checkpoint, train, training_source, training_targets

tiny = pytest.mark.usefixtures("tiny_network")


@pytest.fixture
def keys(dataset_folder):
    """Keys of the images, hex."""
    dataset = Dataset.open(dataset_folder)
    return [key.tobytes().hex() for shard in range(2) for key in dataset.index(shard).keys]


@pytest.fixture
def table(tmp_path, keys):
    """Every second image has label c1 with probability 0.25, the others c2 with 0.75; the last four have none."""
    rows = [f"{key},c{1 + i % 2},{0.25 + 0.5 * (i % 2)}" for i, key in enumerate(keys[:-4])]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["image_key,label,probability", *rows]) + "\n")
    return path


def listed(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_without_options_the_source_and_its_labels_are_as_they_lie(train_options, dataset_folder):
    options = train_options()
    source = training_source(options)
    assert source.fingerprint == Dataset.open(dataset_folder).fingerprint
    assert training_targets(options, source) is all_labels


def test_tars_without_labels_are_refused_and_train_on_the_ids_of_a_table(train_options, tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    with tarfile.open(folder / "web-000.tar", "w") as tar:
        for i in range(16):
            data = encode_jpeg(np.full((40, 40, 3), 10 * i, np.uint8), quality=90)
            info = tarfile.TarInfo(f"s{i:02d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    told = {"data": str(folder), "image_size": 36}
    with pytest.raises(LoaderError, match=r"web: expected images with labels, found none among 16; give a table"):
        training_source(train_options(**told))
    rows = "".join(f"s{i:02d},{'dark' if i < 8 else 'light'}\n" for i in range(16))
    source = training_source(train_options(**told, labels=str(listed(tmp_path, "own.csv", "name,label\n" + rows))))
    assert list(source.category_ids) == ["dark", "light"]
    assert source.class_counts.tolist() == [8, 8]


def test_labels_then_classes_are_joined_and_what_was_found_is_told(train_options, table, tmp_path):
    told = []
    options = train_options(labels=str(table), classes=listed(tmp_path, "classes.txt", "c2\n"))
    source = training_source(options, told.append)
    assert list(source.category_ids) == ["c2"]
    assert source.class_counts.tolist() == [46]
    accounts = [event.account for event in told if event.account]
    assert accounts == [
        "92 of 96 images have a label; 4 have none and are left out",
        "46 of 92 images have a label; 46 have none and are left out",
    ]


def test_unlabelled_images_may_be_kept(train_options, table):
    assert training_source(train_options(labels=str(table), unlabelled="keep")).num_samples == 96


def test_targets_are_those_of_the_options(train_options, table, tmp_path):
    weights = listed(tmp_path, "weights.csv", "id,weight\nc2,3\n")
    options = train_options(labels=str(table), label_weights="probability", class_weights=weights, ignore_below=0.5)
    source = training_source(options)
    (batch,) = _batches(source, 92)
    targets = training_targets(options, source)(batch)
    assert np.unique(targets.labels.values).tolist() == [2]
    assert set(targets.values.tolist()) == {0.75}
    assert set(targets.weights.tolist()) == {3}
    assert np.unique(targets.ignored.values).tolist() == [1]


def _batches(source, size):
    from openjft.loaders import Loader

    return list(Loader(source, batch_size=size, seed=0, num_threads=0).epoch(0))


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("classes", "c1\nc2\n", "c1\n"),
        ("class_weights", "id,weight\nc1,2\n", "id,weight\nc1,3\n"),
        ("labels", "image_key,label\n{0},c1\n", "image_key,label\n{0},c2\n"),
    ],
)
def test_a_file_that_changes_is_another_recipe_and_one_that_moves_is_not(
    train_options, tmp_path, keys, name, before, after
):
    path, moved = (listed(tmp_path, file, before.format(keys[0])) for file in ("a.csv", "b.csv"))
    recipe = train_options(**{name: str(path)}).recipe()
    assert train_options(**{name: str(moved)}).recipe() == recipe
    path.write_text(after.format(keys[0]))
    changed = train_options(**{name: str(path)}).recipe()
    assert {field for field in recipe if recipe[field] != changed[field]} == {name}


def test_the_order_of_a_list_of_classes_is_no_part_of_the_recipe(train_options, tmp_path):
    one, other = listed(tmp_path, "a", "c1\nc2\n"), listed(tmp_path, "b", "# again\nc2\nc1\nc1\n")
    assert train_options(classes=one).recipe() == train_options(classes=other).recipe()


def test_mistakes_of_label_options_are_told_at_once(train_options, tmp_path):
    with pytest.raises(LoaderError) as caught:
        train_options(
            taxonomy="t",
            unlabelled="keep",
            classes=tmp_path / "none",
            ignore_below=2.0,
            label_weights="two",
            class_weights=tmp_path / "none",
        )
    lines = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert lines == ["taxonomy", "unlabelled", "classes", "ignore_below", "label_weights", "class_weights"]


@tiny
def test_a_run_with_other_labels_goes_on_and_is_refused_when_the_table_has_changed(train_options, table, keys):
    options = train_options(labels=str(table), ignore_below=0.5, label_weights="probability")
    train(options)
    longer = dataclasses.replace(options, steps=8)
    assert train(longer).resumed_from == 6
    table.write_text(table.read_text().replace("0.75", "0.8"))
    with pytest.raises(CheckpointError, match=r"labels: checkpoint '[0-9a-f]{64}', now '[0-9a-f]{64}'"):
        train(dataclasses.replace(options, steps=10))


@tiny
def test_a_run_that_is_interrupted_ends_with_the_weights_of_one_that_is_not(train_options, table, tmp_path):
    changes = {"labels": str(table), "ignore_descendants": True, "label_cache": tmp_path / "cache"}
    whole = train(train_options(**changes, output=tmp_path / "whole"))
    parts = train_options(**changes, output=tmp_path / "parts", steps=3)
    train(parts)
    last = train(dataclasses.replace(parts, steps=6))
    assert (last.resumed_from, last.step) == (3, whole.step)
    ours, theirs = (load_checkpoint(run.checkpoint).model for run in (last, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@tiny
def test_masks_and_weights_change_what_is_learned(train_options, table, tmp_path):
    plain = train(train_options(labels=str(table), output=tmp_path / "plain"))
    masked = train(train_options(labels=str(table), ignore_below=0.5, output=tmp_path / "masked"))
    ours, theirs = (load_checkpoint(run.checkpoint).model["fc.bias"] for run in (plain, masked))
    assert not torch.equal(ours, theirs)
    assert masked.loss < plain.loss  # half of the labels are left out
