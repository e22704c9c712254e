"""`openjft order` tells what a loader and a training see, and refuses what is not theirs."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from openjft.loaders import Dataset, Loader, LoaderError
from openjft.loaders.training import TrainOptions
from openjft.loaders.training.data import training_source
from openjft.loaders.training.split import training_loader
from openjft.pipelines import cli


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 53, 3, 8, 0, shards=3)


def order(folder, *arguments):
    done = CliRunner().invoke(cli.app, ["order", str(folder), *map(str, arguments), "--json"])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.output)


def test_it_tells_the_samples_that_each_rank_reads(folder):
    rows = order(folder, "--batch-size", 11, "--seed", 3, "--epoch", 1, "--step", 2, "--steps", 2, "--world-size", 3,
                 "--unit", 2)  # fmt: skip
    dataset, told = Dataset.open(folder), iter(rows)
    for step in (2, 3):
        for rank in range(3):
            loader = Loader(dataset, batch_size=11, seed=3, unit=2, rank=rank, world_size=3, num_threads=0)
            with loader.epoch(1, step) as epoch:
                batch = next(epoch)
            for slot, key in zip(batch.slots.tolist(), batch.keys, strict=True):
                row = next(told)
                assert (row["epoch"], row["step"], row["rank"], row["slot"]) == (1, step, rank, slot)
                assert row["key"] == key.tobytes().hex() == dataset[row["number"]].key.hex()
                shard = [entry.name for entry in dataset.manifest.shards].index(row["shard"].removesuffix(".tar"))
                assert dataset.index(shard).keys[row["row"]].tobytes() == key.tobytes()
    assert next(told, None) is None


def test_one_rank_alone_is_its_part_of_all(folder):
    arguments = ["--batch-size", 10, "--step", 1, "--world-size", 3]
    whole = order(folder, *arguments)
    assert [row["slot"] for row in whole] == list(range(10))
    assert order(folder, *arguments, "--rank", 1) == [row for row in whole if row["rank"] == 1]


def test_without_an_epoch_steps_are_counted_over_the_whole_training(folder):
    assert order(folder, "--batch-size", 10, "--step", 7) == order(
        folder, "--batch-size", 10, "--epoch", 1, "--step", 2
    )
    last = order(folder, "--batch-size", 10, "--keep-last", "--step", 5)
    assert [(row["epoch"], row["step"]) for row in last] == [(0, 5)] * 3


def test_it_knows_what_a_training_saw_by_its_checkpoint(folder, tmp_path):
    options = TrainOptions(
        data=folder, output=tmp_path / "run", batch_size=12, bn_images=4, holdout=0.3, seed=5, crop_size=32
    )
    loader = training_loader(Dataset.open(folder), options)
    where = tmp_path / "run/checkpoints/step-000000000003"
    where.mkdir(parents=True)
    content = {"loader": loader.state(1, 0).to_json(), "recipe": options.recipe()}
    (where / "checkpoint.json").write_text(json.dumps(content))
    by_run = order(folder, "--run", options.output, "--step", 1, "--world-size", 2)
    by_hand = order(
        folder, "--batch-size", 12, "--unit", 4, "--holdout", 0.3, "--seed", 5, "--step", 1, "--world-size", 2
    )
    assert by_run == by_hand
    assert [row["number"] for row in by_run] == loader.sample_numbers(loader.order(0), 1).tolist()
    assert [row["rank"] for row in by_run] == [0] * 4 + [1] * 8  # whole groups


def test_it_knows_the_images_of_a_training_on_some_classes(folder, tmp_path):
    classes = tmp_path / "classes.txt"
    classes.write_text(f"{Dataset.open(folder).category_ids[1]}\n")
    options = TrainOptions(data=folder, output=tmp_path / "run", batch_size=4, classes=classes, crop_size=32)
    source = training_source(options)
    loader = training_loader(source, options)
    assert 0 < source.num_samples < 53
    where = tmp_path / "run/checkpoints/step-000000000001"
    where.mkdir(parents=True)
    content = {"loader": loader.state(0, 1).to_json(), "recipe": options.recipe()}
    (where / "checkpoint.json").write_text(json.dumps(content))
    rows = order(folder, "--run", options.output, "--classes", classes, "--step", 1)
    with loader.epoch(0, 1) as epoch:
        assert [row["key"] for row in rows] == [key.tobytes().hex() for key in next(epoch).keys]
    with pytest.raises(LoaderError, match="fingerprint: state"):
        order(folder, "--run", options.output, "--step", 1)


def test_a_run_on_other_images_is_refused(folder, make_dataset, tmp_path):
    where = tmp_path / "run/checkpoints/step-000000000003"
    where.mkdir(parents=True)
    state = Loader(Dataset.open(folder), batch_size=8, seed=3).state(1, 2).to_json()
    (where / "checkpoint.json").write_text(json.dumps({"loader": state, "recipe": {"bn_images": 8}}))
    other = make_dataset(tmp_path / "other", 53, 3, 8, 1, shards=3)
    with pytest.raises(LoaderError, match="fingerprint: state"):
        order(other, "--run", tmp_path / "run", "--step", 1)
    (where / "checkpoint.json").write_text("[1]")
    with pytest.raises(LoaderError, match=r"expected a checkpoint of `openjft train`"):
        order(folder, "--run", tmp_path / "run", "--step", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step", 1], "expected --run, or --batch-size .* found neither"),
        (["--step", 1, "--run", "x", "--seed", 1], "found --seed, --run"),
        (["--step", 1, "--batch-size", 8, "--world-size", 2, "--rank", 2], r"a rank in \[0, world_size 2\)"),
        (["--step", 1, "--batch-size", 8, "--steps", 0], "1 or more steps"),
        (["--step", 6, "--epoch", 0, "--batch-size", 8], r"a step in \[0, 6\)"),
        (["--step", 0, "--batch-size", 99], r"a step in \[0, 0\)"),
    ],
)
def test_what_cannot_be_is_refused(folder, arguments, message):
    with pytest.raises(LoaderError, match=message):
        order(folder, *arguments)


def test_it_prints_a_table_for_people(folder):
    done = CliRunner().invoke(
        cli.app, ["order", str(folder), "--batch-size", "8", "--step", "0"], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 0
    assert "number" in done.output
    assert ".tar" in done.output
