from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from openjft.loaders import Dataset
from openjft.loaders.errors import LoaderError
from openjft.loaders.training import load_checkpoint, train
from openjft.loaders.training.checkpoint import checkpoint_folders
from openjft.loaders.training.parallel import World, environment_ranks
from openjft.loaders.training.split import training_loader

sys.path.insert(0, str(Path(__file__).parent))  # the processes import it by name
import ranks

SETTINGS = {"steps": 6, "batch_size": 12, "bn_images": 4, "log_every": 1, "ema": 0.9, "checkpoint_every_steps": 3}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("openjft.loaders.training.run.build_model", ranks.build)


def losses(output):
    return {line["step"]: line["loss"] for line in map(json.loads, (output / "metrics.jsonl").read_text().splitlines())}


def assert_same_run(a, b):
    """The same curve, weights, optimizer and running means, but for the order of sums."""
    assert losses(a).keys() == losses(b).keys()
    for step, loss in losses(a).items():
        assert losses(b)[step] == (loss if loss is None else pytest.approx(loss, rel=1e-5)), step
    a, b = load_checkpoint(a), load_checkpoint(b)
    assert a.step == b.step
    for ours, theirs in ((a.model, b.model), (a.optimizer, b.optimizer), (a.ema or {}, b.ema or {})):
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(theirs[name], tensor, rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


def damaged(folder, tmp_path, options, slots):
    """A copy of the dataset in which the samples at some slots of the first global batch are no JPEGs."""
    copy = Path(shutil.copytree(folder, tmp_path / "damaged"))
    dataset = Dataset.open(copy)
    loader = training_loader(dataset, options)
    shards, rows = dataset.locate(loader.sample_numbers(loader.order(0), 0)[slots])
    for shard, row in zip(shards.tolist(), rows.tolist(), strict=True):
        index = dataset.index(shard)
        with Path(dataset.place(shard)).open("r+b") as tar:
            tar.seek(int(index.offsets[row]))
            tar.write(bytes(int(index.sizes[row])))
    return copy


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        (2, {"steps": 10}),  # 3 groups on 2 ranks; into the second epoch
        (3, {"bn_images": 5}),  # groups of 5, 5 and 2
        (2, {"split_head": True}),
        (3, {"split_head": True}),  # 4 classes on 3 ranks
    ],
    ids=str,
)
def test_several_processes_train_as_one_does(train_options, tmp_path, size, changes):
    settings = SETTINGS | changes
    train(train_options(output=tmp_path / "one", **settings))
    outcomes = ranks.train_together(size, train_options(output=tmp_path / "several", **settings), tmp_path)
    assert [outcome.error for outcome in outcomes] == [None] * size
    assert [outcome.summary["world_size"] for outcome in outcomes] == [size] * size
    assert_same_run(tmp_path / "one", tmp_path / "several")


@pytest.mark.parametrize("slots", [[1], [8, 9, 10, 11], list(range(12))], ids=["one", "a rank's", "all"])
@pytest.mark.parametrize("split_head", [False, True])
def test_skipped_images_leave_the_mean_over_the_others(train_options, dataset_folder, tmp_path, slots, split_head):
    settings = SETTINGS | {"steps": 3, "split_head": split_head, "max_skipped": 0.9}
    data = damaged(dataset_folder, tmp_path, train_options(**settings), np.array(slots))
    train(train_options(data=data, output=tmp_path / "one", **settings))
    outcomes = ranks.train_together(3, train_options(data=data, output=tmp_path / "several", **settings), tmp_path)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert_same_run(tmp_path / "one", tmp_path / "several")
    assert all(torch.isfinite(t).all() for t in load_checkpoint(tmp_path / "several").model.values())
    lines = (tmp_path / "several").glob("skipped-rank*.jsonl")
    assert sum(len(path.read_text().splitlines()) for path in lines) == len(slots)
    last = json.loads((tmp_path / "several/metrics.jsonl").read_text().splitlines()[-1])
    assert sum(last["skipped"].values()) == len(slots)


@pytest.mark.parametrize("split_head", [False, True])
def test_a_killed_run_goes_on_with_another_number_of_processes(train_options, tmp_path, split_head):
    settings = SETTINGS | {"split_head": split_head, "steps": 24}
    train(train_options(output=tmp_path / "whole", **settings))
    changed = tmp_path / "changed"
    outcomes = ranks.train_together(2, train_options(output=changed, **settings), tmp_path, "killed_once_saved")
    assert outcomes[1].exit_code == -signal.SIGKILL
    assert len(list(checkpoint_folders(changed)[-1].glob("model-*.safetensors"))) == 2
    assert load_checkpoint(changed).step < 20
    for size, steps in ((3, 22), (1, 24)):
        outcomes = ranks.train_together(size, train_options(output=changed, **settings | {"steps": steps}), tmp_path)
        assert [outcome.summary["step"] for outcome in outcomes] == [steps] * size
    assert_same_run(tmp_path / "whole", changed)


def test_an_error_of_one_rank_ends_all_with_its_message(train_options, tmp_path):
    outcomes = ranks.train_together(3, train_options(**SETTINGS), tmp_path, "fail")
    assert [outcome.error[0] for outcome in outcomes] == ["PeerError", "DatasetError", "PeerError"]
    assert {outcome.error[1] for outcome in outcomes} == {"rank 1 of 3: shard 7 is missing"}


def test_a_rank_that_is_killed_ends_the_others(train_options, tmp_path):
    outcomes = ranks.train_together(2, train_options(**SETTINGS), tmp_path, "SIGKILL")
    assert outcomes[1].exit_code == -signal.SIGKILL
    assert outcomes[0].error[0] == "LoaderError"
    assert "rank 0 of 2: lost the others" in outcomes[0].error[1]


def test_a_signal_to_one_rank_stops_all_after_the_same_step(train_options, tmp_path):
    outcomes = ranks.train_together(2, train_options(**SETTINGS | {"steps": 50}), tmp_path, "SIGTERM")
    assert [outcome.summary["step"] for outcome in outcomes] == [3, 3]
    assert ["Stopped by SIGTERM after step 3 of 50" in o.summary["message"] for o in outcomes] == [True, True]
    assert load_checkpoint(train_options().output).step == 3


def test_a_rank_without_space_for_its_part_of_a_checkpoint_ends_all(train_options, tmp_path):
    options = train_options(**SETTINGS)
    outcomes = ranks.train_together(2, options, tmp_path, "no_space")
    assert {outcome.error[0] for outcome in outcomes} <= {"CheckpointError", "PeerError"}
    assert all("No space left on device on rank 1" in outcome.error[1] for outcome in outcomes)
    assert not list((options.output / "checkpoints").glob("step-*"))


def test_a_loss_that_is_no_number_on_one_rank_ends_all_at_the_same_step(train_options, tmp_path):
    outcomes = ranks.train_together(2, train_options(**SETTINGS), tmp_path, "nan_loss")
    assert all("at step 1: expected a finite loss, found nan" in outcome.error[1] for outcome in outcomes)


def test_more_processes_than_groups_are_refused(train_options, tmp_path):
    outcomes = ranks.train_together(2, train_options(**SETTINGS | {"bn_images": 12}), tmp_path)
    assert all("at least one batch-norm group for each of 2 processes, found 1" in o.error[1] for o in outcomes)


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "0", "WORLD_SIZE": "-1"}],
)
def test_wrong_variables_of_the_launcher_are_told(environment):
    with pytest.raises(LoaderError, match="RANK below WORLD_SIZE"):
        environment_ranks(environment)
    assert environment_ranks({}) == (0, 1, 0)


def test_one_process_has_nobody_to_ask():
    world = World.alone(torch.device("cpu"))
    assert world.gather([1, 2]) == [[1, 2]]
    assert world.gather_text("ä") == ["ä"]
    rows = torch.ones(3, 2)
    assert world.gather_rows(rows, [3])[0] is rows
    assert world.sum_(rows) is rows


def test_torchrun_starts_the_command_and_one_process_tells_the_result(train_options, tmp_path):
    options = train_options()
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "openjft.pipelines", "train", options.data, "--output", str(options.output), "--arch", "resnet18"),
        *("--steps", "1", "--batch-size", "4", "--bn-images", "2", "--crop-size", "32", "--device", "cpu", "--json"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    assert (summary["step"], summary["world_size"], summary["rank"]) == (1, 2, 0)
    assert load_checkpoint(options.output).step == 1
