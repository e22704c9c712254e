"""Scores on whatever a training reads: joined labels, some classes, plain tars, class folders."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pyarrow.csv
import pytest
from PIL import Image
from typer.testing import CliRunner

from openjft.loaders import Dataset
from openjft.loaders.errors import CheckpointError, DatasetError, LoaderError
from openjft.loaders.evaluation import evaluate
from openjft.loaders.training import train
from openjft.pipelines import cli

tiny = pytest.mark.usefixtures("tiny_network")
COLOURS = {"blue": (40, 40, 220), "green": (40, 220, 40), "red": (220, 40, 40)}


def labelled(folder, change, *, skip=0):
    """A table of a data set's asserted labels, each changed by a function; the first `skip` images are left out."""
    dataset = Dataset.open(folder)
    path = folder.parent / f"labels-{change.__name__}-{skip}.csv"
    with path.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["image_key", "label"])
        seen = 0
        for shard in range(dataset.num_shards):
            index = dataset.index(shard)
            for row, key in enumerate(index.keys):
                seen += 1
                if seen > skip:
                    labels = index.labels.values[slice(*index.labels.offsets[row : row + 2].tolist())]
                    writer.writerows([key.tobytes().hex(), f"c{change(int(label))}"] for label in labels)
    return str(path)


def same(label):
    return label


def turned(label):
    """Red becomes green, green blue, blue red."""
    return label and label % 3 + 1


@pytest.fixture
def dataset_folder(dataset_folder, tmp_path):
    """A folder of the test's own."""
    return shutil.copytree(dataset_folder, tmp_path / "data" / "toy")


def test_a_network_is_scored_by_the_labels_that_are_joined(train_options, evaluate_options, dataset_folder):
    table = labelled(dataset_folder, turned)
    train(train_options(steps=25, batch_size=16, lr=3e-3, labels=table, holdout=0.25))
    joined = evaluate(evaluate_options(labels=table, split="holdout"))
    own = evaluate(evaluate_options(split="holdout"))
    assert joined.unweighted_map_at_k > 0.8 > own.unweighted_map_at_k
    assert joined.num_images == own.num_images
    assert joined.fingerprint != own.fingerprint
    assert joined.counts == {"images_without_a_label_in_the_table": 0, "images_of_the_table_that_are_not_here": 0}
    assert own.counts == {}


@tiny
def test_a_table_of_the_same_labels_gives_the_same_score(train_options, evaluate_options, dataset_folder):
    train(train_options(steps=3))
    own, joined = evaluate(evaluate_options()), evaluate(evaluate_options(labels=labelled(dataset_folder, same)))
    assert joined.map_at_k == own.map_at_k
    assert joined.class_weights_sha256 == own.class_weights_sha256


@tiny
def test_images_that_the_table_has_not_are_left_out_and_counted_or_kept(
    train_options, evaluate_options, dataset_folder, tmp_path
):
    train(train_options(steps=1))
    table = labelled(dataset_folder, same, skip=10)
    events = []
    dropped = evaluate(evaluate_options(labels=table, label_cache=tmp_path / "cache"), events.append)
    assert dropped.num_images == 86
    assert dropped.counts["images_without_a_label_in_the_table"] == 10
    assert [event.unit for event in events][:1] == ["labels"]
    assert list((tmp_path / "cache").glob("labels-*.npy"))
    assert evaluate(evaluate_options(labels=table, unlabelled="keep")).num_images == 96


@tiny
def test_a_network_of_another_vocabulary_needs_the_labels_that_it_was_trained_with(
    train_options, evaluate_options, dataset_folder, tmp_path, renamed
):
    train(train_options(steps=1, labels=str(renamed), holdout=0.25))
    with pytest.raises(CheckpointError, match=r"found one for another .* with the same --labels"):
        evaluate(evaluate_options(split="holdout"))
    evaluate(evaluate_options(split="holdout", labels=str(renamed), per_class=tmp_path / "c.csv"))
    assert pyarrow.csv.read_csv(tmp_path / "c.csv")["id"].to_pylist() == ["a", "b", "c", "d"]


@pytest.fixture
def renamed(dataset_folder, tmp_path):
    """The same images and labels, whose classes are a to d."""
    from ..conftest import draw_dataset

    return draw_dataset(tmp_path / "same-images", ids=("a", "b", "c", "d"))


@tiny
def test_classes_of_a_joined_table_are_scored_alone_and_clean_lists_may_name_the_others(
    train_options, evaluate_options, dataset_folder, tmp_path, renamed
):
    (tmp_path / "classes.txt").write_text("b\nd\n")
    told = {"labels": str(renamed), "classes": tmp_path / "classes.txt"}
    train(train_options(steps=1, **told))
    keys = [key.tobytes().hex() for shard in range(2) for key in Dataset.open(dataset_folder).index(shard).keys]
    (tmp_path / "clean.txt").write_text("\n".join(keys))
    summary = evaluate(evaluate_options(**told, clean=[tmp_path / "clean.txt"], resamples=100))
    assert summary.num_classes == 2
    assert summary.counts["images_without_a_label_of_the_classes"] == 96 - summary.num_images > 0
    assert summary.comparisons[0].num_clean == summary.num_images
    # Frequencies of other images count for the same classes.
    weighed = evaluate(evaluate_options(**told, frequencies=str(renamed)))
    assert weighed.class_weights_sha256 == summary.class_weights_sha256


@tiny
def test_a_table_of_none_of_the_images_is_refused(train_options, evaluate_options, other_dataset):
    train(train_options(steps=1))
    with pytest.raises(LoaderError, match="found one with a label for none of them"):
        evaluate(evaluate_options(labels=str(other_dataset)))


@tiny
def test_plain_tars_are_scored_as_they_are_trained_on(train_options, evaluate_options, dataset_folder, tmp_path):
    tars = tmp_path / "tars"
    tars.mkdir()
    for tar in (dataset_folder / "shards").glob("*.tar"):
        shutil.copy(tar, tars)
    train(train_options(steps=1, data=str(tars), image_size=36, holdout=0.25))
    summary = evaluate(evaluate_options(data=str(tars), split="holdout"))
    assert 10 < summary.num_images < 40
    assert summary.classes_with_positives == summary.num_classes == 4
    (tmp_path / "clean.txt").write_text("00" * 16)
    with pytest.raises(LoaderError, match="found 1 of 1 that are not in it: 0000"):
        evaluate(evaluate_options(data=str(tars), clean=[tmp_path / "clean.txt"]))


def test_class_folders_are_scored_with_the_paths_of_a_clean_list(train_options, evaluate_options, tmp_path):
    rng = np.random.default_rng(3)
    for i in range(48):
        name = list(COLOURS)[i % 3]
        path = tmp_path / "photos" / name / f"p{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(rng.normal(COLOURS[name], 30, (40, 50, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    told = {"data": str(tmp_path / "photos")}
    train(train_options(**told, steps=25, batch_size=16, lr=3e-3, image_size=36))
    (tmp_path / "clean.txt").write_text("\n".join(f"{list(COLOURS)[i % 3]}/p{i:02d}.jpg" for i in range(30)))
    summary = evaluate(evaluate_options(**told, clean=[tmp_path / "clean.txt"], resamples=100))
    assert summary.unweighted_map_at_k > 0.8
    assert summary.comparisons[0].num_clean == 30


def test_judged_images_are_scored_with_the_classes_of_the_labels_that_were_trained_on(
    train_options, evaluate_options, dataset_folder, renamed, tmp_path
):
    rng = np.random.default_rng(3)
    (tmp_path / "photos").mkdir()
    rows = ["file,b,c,d"]  # red, green, blue
    for i in range(18):
        pixels = np.clip(rng.normal(COLOURS[["red", "green", "blue"][i % 3]], 30, (50, 60, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"photos/{i}.jpg")
        rows.append(f"{i}.jpg,{','.join(str(int(i % 3 == c)) for c in range(3))}")
    (tmp_path / "judged.csv").write_text("\n".join(rows))
    train(train_options(steps=25, batch_size=16, lr=3e-3, labels=str(renamed)))
    folder = {
        "data": tmp_path / "photos",
        "split": None,
        "judgements": tmp_path / "judged.csv",
        "frequencies": str(dataset_folder),
    }
    with pytest.raises(CheckpointError, match="found one for another"):
        evaluate(evaluate_options(**folder))
    summary = evaluate(evaluate_options(**folder, labels=str(renamed)))
    assert summary.unweighted_map_at_k > 0.8
    arguments = ["evaluate", tmp_path / "photos", tmp_path / "run", "--judgements", tmp_path / "judged.csv"]
    more = ["--frequencies", dataset_folder, "--labels", renamed, "--device", "cpu", "--json"]
    told = CliRunner().invoke(cli.app, [*map(str, arguments), *map(str, more)])
    assert json.loads(told.stdout)["map_at_k"] == pytest.approx(summary.map_at_k, abs=1e-6)


@tiny
def test_judgements_that_are_named_as_labels_end_with_what_was_expected(train_options, evaluate_options, tmp_path):
    train(train_options(steps=1))
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "photos/a.jpg")
    with pytest.raises(DatasetError, match=r"expected a data set .* or class folders of images, found none of them"):
        evaluate(evaluate_options(data=tmp_path / "photos", labels=str(tmp_path / "judged.csv")))
