"""Scores on a folder of images with a table of judgements."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.csv
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from openjft.loaders import Dataset
from openjft.loaders.decoding import decode_image, resize_image
from openjft.loaders.errors import CheckpointError, DatasetError, LoaderError
from openjft.loaders.evaluation import EvaluateOptions, evaluate, mean_average_precision_at_k
from openjft.loaders.evaluation.metric import frequency_weights
from openjft.loaders.training import load_checkpoint, train
from openjft.pipelines import cli
from openjft.taxonomy import Csr

COLOURS = {"c1": (220, 40, 40), "c2": (40, 220, 40), "c3": (40, 40, 220)}
NUM = 18


@pytest.fixture
def photos(tmp_path):
    """18 photos of several sizes, in two folders, and a wide table: c0 for all, c1 to c3 by colour, gaps in c2."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(NUM):
        name = list(COLOURS)[i % 3]
        path = tmp_path / "photos" / ("a" if i % 2 else "b") / f"p{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.normal(COLOURS[name], 60, (40 + i, 70, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        known = "" if i % 4 == 3 and name != "c2" else str(int(name == "c2"))
        rows.append(f"{path.parent.name}/{path.name},1,{int(name == 'c1')},{known},{int(name == 'c3')}")
    (tmp_path / "judged.csv").write_text("\n".join(["file,c0,c1,c2,c3", *rows]) + "\n")
    return tmp_path / "photos"


@pytest.fixture
def options(photos, tmp_path, dataset_folder):
    def make(**changes):
        plain = {
            "data": photos,
            "checkpoint": tmp_path / "run",
            "judgements": tmp_path / "judged.csv",
            "frequencies": str(dataset_folder),
            "batch_size": 5,
            "device": "cpu",
            "num_threads": 1,
        }
        return EvaluateOptions(**(plain | changes))

    return make


def slow_scores(photos, table, checkpoint, build, *, size, crop):
    """One image at a time, as the file lies there."""
    model = build("resnet18", 4, seed=0)
    model.load_state_dict(checkpoint.weights("raw"))
    model.eval()
    scores = []
    for name in table["file"].to_pylist():
        pixels = decode_image((photos / name).read_bytes(), max_pixels=10**6).pixels
        square = resize_image(pixels, size=size, mode="center_crop").astype(np.float32) / 127.5 - 1
        edge = (size - crop) // 2
        cut = square[edge : edge + crop, edge : edge + crop]
        with torch.no_grad():
            scores.append(model(torch.from_numpy(cut.transpose(2, 0, 1).copy())[None])[0].numpy())
    return np.stack(scores)


@pytest.mark.usefixtures("tiny_network")
def test_the_score_is_that_of_each_photo_cut_by_itself_and_of_the_judged_cells(
    train_options, options, photos, tmp_path, dataset_folder
):
    from openjft.loaders.evaluation.evaluate import build_model

    checkpoint = load_checkpoint(train(train_options(steps=6)).checkpoint)
    summary = evaluate(options(k=3, class_weight_gamma=0.5, per_class=tmp_path / "c.csv"))
    table = pyarrow.csv.read_csv(tmp_path / "judged.csv")
    scores = slow_scores(photos, table, checkpoint, build_model, size=36, crop=32)
    cells = [[row[f"c{j}"] for j in range(4)] for row in table.to_pylist()]
    rows = [[j for j, cell in enumerate(row) if cell] for row in cells]
    judged = np.array([[cell is not None for cell in row] for row in cells])
    assert (~judged).sum() > 0
    dataset = Dataset.open(dataset_folder)
    weights = frequency_weights(dataset.class_counts, dataset.num_samples, alpha=0.0, gamma=0.5)
    labels = Csr(np.array([j for row in rows for j in row], np.int32), np.cumsum([0, *map(len, rows)]))
    expected = mean_average_precision_at_k(scores, labels, k=3, class_weights=weights, judged=judged)
    assert summary.map_at_k == pytest.approx(expected, abs=1e-6)
    assert summary.num_images == NUM
    assert summary.split == "all"
    assert summary.counts["cells_not_judged"] == (~judged).sum()
    assert summary.counts["images_without_judgements"] == summary.counts["classes_that_the_network_does_not_know"] == 0
    assert len(summary.class_weights_sha256) == 64
    assert pyarrow.csv.read_csv(tmp_path / "c.csv")["id"].to_pylist() == ["c0", "c1", "c2", "c3"]


def test_a_trained_network_knows_the_photos_and_the_clean_ones_among_them(
    train_options, options, photos, tmp_path, dataset_folder
):
    train(train_options(steps=25, batch_size=16, lr=3e-3))
    clean = tmp_path / "photos.clean.txt"
    clean.write_text("".join(f"{'a' if i % 2 else 'b'}/p{i:02d}.jpg\n" for i in range(12)))
    summary = evaluate(options(clean=[clean], resamples=100))
    assert summary.unweighted_map_at_k > 0.8
    assert summary.comparisons[0].num_clean == 12
    arguments = ["evaluate", str(photos), str(tmp_path / "run"), "--judgements", str(tmp_path / "judged.csv")]
    done = CliRunner().invoke(cli.app, [*arguments, "--frequencies", str(dataset_folder), "--device", "cpu", "--json"])
    assert json.loads(done.output)["map_at_k"] == pytest.approx(summary.map_at_k, abs=1e-6)
    told = CliRunner().invoke(cli.app, [*arguments, "--frequencies", str(dataset_folder), "--device", "cpu"])
    assert "cells not judged" in told.output
    assert "4 classes of the network that are judged" in told.output


@pytest.mark.usefixtures("tiny_network")
def test_images_without_a_row_are_not_scored_and_rows_without_an_image_are_refused_or_counted(
    train_options, options, photos, tmp_path
):
    train(train_options(steps=1))
    lines = (tmp_path / "judged.csv").read_text().splitlines()
    (tmp_path / "judged.csv").write_text("\n".join([*lines[:11], "nowhere.jpg,1,0,0,0"]) + "\n")
    with pytest.raises(DatasetError, match=r"found 1 of 11 that name none, or several: 'nowhere\.jpg'"):
        evaluate(options())
    summary = evaluate(options(allow_unknown_ids=True))
    assert summary.num_images == 10
    assert summary.counts["images_without_judgements"] == NUM - 10
    assert summary.counts["judgements_without_image"] == 1


@pytest.mark.usefixtures("tiny_network")
def test_classes_that_the_network_does_not_know_are_refused_or_left_out(train_options, options, tmp_path):
    train(train_options(steps=1))
    before = evaluate(options())
    text = (tmp_path / "judged.csv").read_text().splitlines()
    rows = [f"{line},{1 if i % 2 else 0}" for i, line in enumerate(text[1:])]
    (tmp_path / "judged.csv").write_text("\n".join([text[0] + ",/m/cat", *rows]) + "\n")
    with pytest.raises(DatasetError, match="found 1 of 5 that are none: '/m/cat'"):
        evaluate(options())
    after = evaluate(options(allow_unknown_classes=True))
    assert after.counts["classes_that_the_network_does_not_know"] == 1
    assert after.map_at_k == before.map_at_k


@pytest.mark.usefixtures("tiny_network")
def test_the_order_of_rows_and_columns_does_not_matter(train_options, options, tmp_path):
    train(train_options(steps=2))
    before = evaluate(options())
    header, *rows = (tmp_path / "judged.csv").read_text().splitlines()
    cells = [line.split(",") for line in (header, *reversed(rows))]
    (tmp_path / "judged.csv").write_text("\n".join(",".join(c[i] for i in (0, 3, 1, 4, 2)) for c in cells) + "\n")
    assert evaluate(options()).map_at_k == before.map_at_k


@pytest.mark.usefixtures("tiny_network")
def test_the_frequencies_of_another_vocabulary_are_refused(train_options, options, renamed_dataset):
    train(train_options(steps=1))
    with pytest.raises(CheckpointError, match="found one for another"):
        evaluate(options(frequencies=str(renamed_dataset)))


@pytest.mark.usefixtures("tiny_network")
def test_images_smaller_than_the_networks_crop_are_refused(train_options, options):
    train(train_options(steps=1))
    with pytest.raises(LoaderError, match="image_size: expected at least the network's crop, 32"):
        evaluate(options(image_size=30))


@pytest.mark.usefixtures("tiny_network")
def test_the_running_mean_of_the_weights_is_scored_where_there_is_one(train_options, options):
    train(train_options(steps=6, ema=0.9))
    raw, mean, auto = (evaluate(options(weights=which)) for which in ("raw", "ema", "auto"))
    assert (raw.weights, mean.weights, auto.weights) == ("raw", "ema", "ema")
    assert auto.map_at_k == mean.map_at_k


@pytest.mark.usefixtures("tiny_network")
def test_a_running_mean_that_the_training_did_not_keep_is_refused(train_options, options):
    train(train_options(steps=1))
    with pytest.raises(CheckpointError, match="running mean"):
        evaluate(options(weights="ema"))


def test_a_folder_needs_the_networks_classes_and_has_no_holdout(options):
    with pytest.raises(LoaderError) as caught:
        options(frequencies=None, split="holdout")
    assert "2 mistakes" in str(caught.value)
    for part in ("frequencies: expected what was trained on", "split: expected all"):
        assert part in str(caught.value)
