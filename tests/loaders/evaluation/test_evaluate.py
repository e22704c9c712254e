from __future__ import annotations

import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from openjft.loaders import Dataset, Loader
from openjft.loaders.errors import CheckpointError, LoaderError
from openjft.loaders.evaluation import evaluate
from openjft.loaders.evaluation.split import evaluation_loader
from openjft.loaders.training import load_checkpoint, train
from openjft.loaders.training.checkpoint import save_checkpoint
from openjft.loaders.training.split import training_loader

tiny = pytest.mark.usefixtures("tiny_network")


def keys_of(loader: Loader, epoch: int = 0) -> list[str]:
    return [bytes(key).hex() for batch in loader.epoch(epoch) for key in batch.keys]


@pytest.mark.parametrize("holdout", [0.1, 0.25, 0.5])
def test_no_held_out_image_is_ever_trained_on_and_none_is_lost(
    dataset_folder, train_options, evaluate_options, holdout
):
    dataset = Dataset.open(dataset_folder)
    options = train_options(holdout=holdout, batch_size=2)
    trained = keys_of(training_loader(dataset, options))
    held_out = keys_of(evaluation_loader(dataset, evaluate_options(split="holdout"), recipe=options.recipe()))
    everything = keys_of(evaluation_loader(dataset, evaluate_options(), recipe=options.recipe()))
    assert not set(trained) & set(held_out)
    assert held_out == [key for key in everything if int(key, 16) >= (1 - holdout) * 2**128]
    assert len(trained) + len(held_out) >= 95  # one may be left of the last batch of two
    assert set(trained) | set(held_out) <= set(everything)
    assert len(set(everything)) == len(everything) == 96


def test_a_subset_keeps_the_held_out_images_and_is_nested(dataset_folder, train_options):
    dataset = Dataset.open(dataset_folder)
    small, large = (
        set(keys_of(training_loader(dataset, train_options(holdout=0.25, subset=s, batch_size=2)))) for s in (0.25, 1.0)
    )
    assert small < large
    assert max(int(key, 16) for key in small) < 0.25 * 0.75 * 2**128
    assert max(int(key, 16) for key in large) < 0.75 * 2**128


def test_training_lowers_the_loss_and_lifts_the_score_above_chance(train_options, evaluate_options):
    options = train_options(steps=20, batch_size=16, lr=3e-3, log_every=1, holdout=0.25)
    losses = []
    train(options, lambda event: losses.append(event.loss))
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    summary = evaluate(evaluate_options(split="holdout", class_weight_gamma=0.0))
    # Four classes, one of them on every image: random scores give about (1 + 3 * 1/3) / 4.
    assert summary.unweighted_map_at_k > 0.8
    assert 10 < summary.num_images < 40


@tiny
def test_the_summary_says_what_the_score_depends_on(train_options, evaluate_options, tmp_path):
    train(train_options(steps=1))
    events = []
    summary = evaluate(evaluate_options(per_class=tmp_path / "classes.csv"), events.append)
    assert events[-1].images == events[-1].num_images == summary.num_images == 96
    assert summary.classes_with_positives == summary.num_classes == 4
    assert summary.k == 100
    value = json.loads(json.dumps(summary.to_json()))
    assert len(value["class_weights_sha256"]) == 64
    assert value["step"] == 1
    table = pyarrow.csv.read_csv(tmp_path / "classes.csv")
    assert table["name"].to_pylist() == ["colour", "red", "green", "blue"]
    assert table["positives"].to_pylist()[0] == 96
    precision, weight = table["average_precision"].to_numpy(), table["weight"].to_numpy()
    assert summary.unweighted_map_at_k == pytest.approx(precision.mean())
    assert summary.map_at_k == pytest.approx(np.average(precision, weights=weight))
    np.testing.assert_allclose(weight, table["positives"].to_numpy() / 96)


@tiny
def test_the_score_does_not_depend_on_the_batch_size(train_options, evaluate_options, tmp_path):
    train(train_options(steps=3))
    a = evaluate(evaluate_options(batch_size=7, per_class=tmp_path / "a.parquet"))
    b = evaluate(evaluate_options(batch_size=96))
    assert a.map_at_k == pytest.approx(b.map_at_k, abs=1e-6)
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 4


@tiny
def test_a_split_that_was_not_held_out_is_refused(train_options, evaluate_options):
    train(train_options(steps=1))
    with pytest.raises(CheckpointError, match=r"holdout 0\.0: it saw them all"):
        evaluate(evaluate_options(split="holdout"))


@tiny
def test_the_held_out_images_of_another_dataset_are_refused(train_options, evaluate_options, other_dataset):
    train(train_options(steps=1, holdout=0.25))
    with pytest.raises(CheckpointError, match="of the images that it was trained on"):
        evaluate(evaluate_options(split="holdout", data=other_dataset))
    assert evaluate(evaluate_options(data=other_dataset)).num_images == 24


@tiny
def test_a_dataset_with_another_vocabulary_is_refused(train_options, evaluate_options, renamed_dataset):
    train(train_options(steps=1))
    with pytest.raises(CheckpointError, match="found one for another"):
        evaluate(evaluate_options(data=renamed_dataset))


@tiny
def test_a_network_whose_weights_are_damaged_is_refused(train_options, evaluate_options):
    checkpoint = load_checkpoint(train(train_options(steps=1)).checkpoint)
    checkpoint.model["fc.bias"].fill_(float("nan"))
    save_checkpoint(train_options().output, checkpoint)
    with pytest.raises(LoaderError, match="found NaN"):
        evaluate(evaluate_options())
