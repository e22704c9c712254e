"""Studies from end to end on a toy: what they train, what they score, how they go on, what they write."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
from fractions import Fraction

import numpy as np
import pytest

from openjft.loaders import Dataset
from openjft.loaders.errors import LoaderError
from openjft.loaders.evaluation import EvaluateOptions, evaluate
from openjft.loaders.studies import (
    StudyStopped,
    depth_study,
    epoch_study,
    init_study,
    others,
    plan_runs,
    seconds_left,
    size_study,
    study,
)
from openjft.loaders.studies.extras import require
from openjft.loaders.studies.options import JOINED
from openjft.loaders.training import export, train
from openjft.loaders.training.label_options import JoinOptions
from openjft.loaders.training.split import training_loader

pytestmark = pytest.mark.usefixtures("tiny_networks")

SHARES = (Fraction(1, 6), Fraction(1, 3), Fraction(1))
FILES = ("study.json", "table.csv", "table.md", "study.svg", "study.png")


def silent(_event):
    pass


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def keys_of(plan, run):
    loader = training_loader(Dataset.open(plan.options.data), plan.train_options(run, plan.options.output / "x"))
    return {bytes(key).hex() for epoch in range(40) for batch in loader.epoch(epoch) for key in batch.keys}


def test_subsets_are_nested_and_no_run_sees_a_held_out_image(study_options):
    plan = size_study(study_options(seeds=(3,)), shares=SHARES)
    small, middle, large = (keys_of(plan, run) for run in plan.runs)
    assert small < middle < large
    assert [len(small), len(middle), len(large)] == [run.images for run in plan.runs]
    assert max(int(key, 16) for key in large) < 0.75 * 2**128


def test_by_updates_all_sizes_see_as_many_images_and_by_epochs_each_makes_its_own_passes(study_options):
    options = study_options(epochs=3)
    updates = size_study(options, shares=SHARES)
    assert {run.steps for run in updates.runs} == {3 * (updates.runs[-1].images // 8)}
    epochs = size_study(options, shares=SHARES, budget="epochs")
    assert [run.steps for run in epochs.runs] == [3 * (run.images // 8) for run in epochs.runs]
    assert epochs.runs[0].steps < epochs.runs[-1].steps
    assert "as in the paper" in epochs.notes[0]


def test_a_size_study_writes_its_scores_its_fits_and_the_same_bytes_again(study_options, count_steps):
    plan = size_study(study_options(), shares=SHARES)
    results = study(plan, silent)
    assert len(results.rows) == 6
    assert len(count_steps) == sum(run.steps for run in plan.runs)
    first = bytes_of(plan.options.output)
    study(plan, silent)
    assert bytes_of(plan.options.output) == first
    assert len(count_steps) == sum(run.steps for run in plan.runs)

    rows = list(csv.DictReader(first["table.csv"].decode().splitlines()))
    assert [row["level"] for row in rows] == ["1/6", "1/6", "1/3", "1/3", "1", "1"]
    value = json.loads(first["study.json"])
    assert [run["scores"][0]["map_at_k"] for run in value["runs"]] == [float(row["map_at_k"]) for row in rows]
    assert value["data"]["fingerprint"] == Dataset.open(plan.options.data).fingerprint
    assert len({row["class_weights_sha256"] for row in rows}) == 1
    assert len(rows[0]["class_weights_sha256"]) == 64
    text = first["table.md"].decode()
    assert "Student's t over 2 seeds" in text
    assert ("log-linear" in text) == (results.comparison is not None)
    assert str(plan.options.output) not in "".join(first[name].decode() for name in FILES[:4])


def test_another_folder_gets_the_same_bytes(study_options, tmp_path):
    for name in ("a", "b"):
        study(size_study(study_options(output=tmp_path / name), shares=SHARES), silent)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_a_score_is_that_of_evaluate_on_the_held_out_images(study_options):
    plan = depth_study(study_options(seeds=(5,)), archs=("resnet18", "resnet50"))
    results = study(plan, silent)
    folder = results.runs[1].folder
    summary = evaluate(
        EvaluateOptions(data=plan.options.data, checkpoint=folder, split="holdout", device="cpu", num_threads=1)
    )
    assert summary.map_at_k == results.rows[1].score.map_at_k
    assert summary.num_images == results.rows[1].score.num_images
    assert summary.arch == "resnet50"


def test_every_option_of_the_labels_but_the_classes_is_taken_over_by_a_score():
    fields = {field.name for field in dataclasses.fields(JoinOptions)}
    assert fields - {"classes", "classes_below"} == JOINED


def test_labels_of_another_table_are_trained_on_and_scored_but_other_images_have_their_own(
    study_options, other_dataset, dataset_folder, tmp_path
):
    dataset = Dataset.open(dataset_folder)
    keys = [key.tobytes().hex() for shard in range(dataset.num_shards) for key in dataset.index(shard).keys]
    labels = tmp_path / "labels.csv"
    labels.write_text("image_key,label\n" + "".join(f"{key},c{i % 2}\n" for i, key in enumerate(keys)))
    told = {"seeds": (5,), "settings": (f"labels={labels}",)}
    held = study(depth_study(study_options(**told), archs=("resnet18", "resnet50")), silent)
    assert {row.score.classes_with_positives for row in held.rows} == {2}
    away = {"output": tmp_path / "away", "eval": str(other_dataset), "holdout": 0.0}
    other = study(depth_study(study_options(**told, **away), archs=("resnet18", "resnet50")), silent)
    assert {row.score.classes_with_positives for row in other.rows} == {4}


def test_another_dataset_can_be_scored(study_options, other_dataset):
    plan = depth_study(study_options(seeds=(5,), eval=str(other_dataset), holdout=0.0), archs=("resnet18", "resnet50"))
    results = study(plan, silent)
    assert {row.score.num_images for row in results.rows} == {24}
    assert str(other_dataset) in (plan.options.output / "table.md").read_text()


def test_each_epoch_is_scored_as_a_run_that_ends_there(study_options, tmp_path, count_steps):
    plan = epoch_study(study_options(epochs=3, seeds=(4,)))
    results = study(plan, silent)
    assert [row.level for row in results.rows] == ["1", "2", "3"]
    assert len(count_steps) == plan.runs[0].steps
    for epochs, row in zip((1, 2), results.rows, strict=False):
        options = plan.train_options(plan.runs[0], tmp_path / f"alone-{epochs}")
        train(dataclasses.replace(options, steps=None, epochs=epochs))
        alone = EvaluateOptions(
            data=plan.options.data, checkpoint=tmp_path / f"alone-{epochs}", device="cpu", num_threads=1
        )
        assert evaluate(alone).map_at_k == row.score.map_at_k


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("phase", ["train", "score"])
def test_a_killed_study_goes_on_and_ends_with_the_same_bytes(study_options, tmp_path, count_steps, phase):
    def plan_in(folder):
        return epoch_study(study_options(output=folder, epochs=2, checkpoint_every_steps=3))

    study(plan_in(tmp_path / "whole"), silent)
    needed = len(count_steps)
    count_steps.clear()

    def kill(event):
        if event.number == 2 and event.phase == phase and event.steps >= event.all_steps * 0.8:
            raise KilledError

    with pytest.raises(KilledError):
        study(plan_in(tmp_path / "killed"), kill)
    assert [item.state for item in plan_runs(plan_in(tmp_path / "killed"))] == ["finished", "begun"]
    study(plan_in(tmp_path / "killed"), silent)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    assert len(count_steps) < needed + 3  # at most what came after the last checkpoint was done twice


def test_a_signal_while_training_stops_the_study_and_says_how_to_go_on(study_options):
    plan = epoch_study(study_options(epochs=2, seeds=(0,)))
    with pytest.raises(
        StudyStopped, match="stopped in run epochs-seed-0, after step 2 of 18; what is finished is kept"
    ):
        study(plan, lambda event: os.kill(os.getpid(), signal.SIGTERM) if event.done == 2 else None)
    assert len(study(plan, silent).rows) == 2


def test_a_changed_option_makes_new_runs_and_the_old_ones_are_told(study_options, count_steps):
    study(depth_study(study_options(seeds=(0,)), archs=("resnet18", "resnet50")), silent)
    before = len(count_steps)
    changed = depth_study(study_options(seeds=(0,), lr=0.02), archs=("resnet18", "resnet50"))
    planned = plan_runs(changed)
    assert [item.state for item in planned] == ["new", "new"]
    assert len(others(changed, planned)) == 2
    study(changed, silent)
    assert len(count_steps) == 2 * before


def test_a_further_seed_adds_its_runs_alone(study_options, count_steps):
    study(depth_study(study_options(seeds=(0, 1)), archs=("resnet18", "resnet50")), silent)
    before = len(count_steps)
    results = study(depth_study(study_options(seeds=(0, 1, 2)), archs=("resnet18", "resnet50")), silent)
    assert len(count_steps) == before * 3 // 2
    assert [len(level.values) for level in results.levels] == [3, 3]


def test_a_changed_scoring_scores_the_same_networks_anew(study_options, count_steps):
    options = study_options(seeds=(0,), epochs=2)
    study(epoch_study(options), silent)
    before = len(count_steps)
    results = study(epoch_study(study_options(seeds=(0,), epochs=2, k=1)), silent)
    assert len(count_steps) == before
    assert {row.score.k for row in results.rows} == {1}


def test_another_study_in_the_same_folder_is_refused(study_options):
    study(epoch_study(study_options(seeds=(0,))), silent)
    with pytest.raises(LoaderError, match="expected runs of a study of depth, found those of epochs"):
        study(depth_study(study_options(seeds=(0,)), archs=("resnet18", "resnet50")), silent)


def test_a_shorter_study_in_the_folder_of_a_longer_one_is_refused(study_options):
    archs = ("resnet18", "resnet50")
    study(depth_study(study_options(seeds=(0,), epochs=2), archs=archs), silent)
    with pytest.raises(LoaderError, match=r"at step 9 to score, found only that of step 18 in .*another output folder"):
        study(depth_study(study_options(seeds=(0,), epochs=1), archs=archs), silent)


@pytest.mark.parametrize("damage", ["half", "other", "score", "list"])
def test_a_damaged_result_is_named(study_options, damage):
    plan = epoch_study(study_options(seeds=(0,)))
    study(plan, silent)
    (path,) = plan.options.output.glob("runs/*/results/*.json")
    content = json.loads(path.read_text())
    text = {
        "half": path.read_text()[:50],
        "other": json.dumps(content | {"train_key": "0" * 64}),
        "score": json.dumps(content | {"score": content["score"] | {"map_at_k": 7.0}}),
        "list": "[]",
    }[damage]
    path.write_text(text)
    with pytest.raises(LoaderError, match=r"results/step-.*\.json: expected .*; remove it"):
        study(plan, silent)


def test_means_have_t_intervals_over_seeds_and_differences_are_paired(study_options):
    results = study(depth_study(study_options(seeds=(0, 1, 2)), archs=("resnet18", "resnet50")), silent)
    values = np.array([list(level.values.values()) for level in results.levels])
    first, second = results.levels
    reach = 4.302652729911275 * values[1].std(ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom, 97.5 %
    assert second.mean.value == pytest.approx(values[1].mean())
    assert (second.mean.low, second.mean.high) == pytest.approx((values[1].mean() - reach, values[1].mean() + reach))
    assert first.difference is None
    assert second.difference.value == pytest.approx((values[1] - values[0]).mean())


def test_with_one_seed_no_interval_is_made_up(study_options):
    results = study(depth_study(study_options(seeds=(0,)), archs=("resnet18", "resnet50")), silent)
    assert all(level.mean.low is None and level.mean.high is None for level in results.levels)
    assert "one seed: no interval" in (results.study.options.output / "table.md").read_text()


def test_two_sizes_have_a_table_and_no_fit_and_it_is_said_why(study_options):
    plan = size_study(study_options(seeds=(0,)), shares=SHARES[1:])
    results = study(plan, silent)
    assert results.comparison is None
    assert (
        "No curve was fitted. fit: expected at least 3 different sizes"
        in (plan.options.output / "table.md").read_text()
    )


def test_mistakes_come_all_at_once_and_before_any_training(study_options, count_steps):
    with pytest.raises(LoaderError, match="4 mistakes") as error:
        study_options(seeds=(1, 1), epochs=0, holdout=0.0, settings=("lr=3",))
    for part in ("seeds: expected at least one, each another", "epochs", "holdout", "no option for, found 'lr'"):
        assert part in str(error.value)
    with pytest.raises(LoaderError, match="arch: expected one of"):
        depth_study(study_options(), archs=("resnet18", "vgg"))
    with pytest.raises(LoaderError, match="settings: expected fields of TrainOptions, found no_such"):
        epoch_study(study_options(settings=("no_such=1",)))
    with pytest.raises(LoaderError, match=r"at least one batch of 64 training images, found fewer .* subset 0\.1666"):
        size_study(study_options(batch_size=64), shares=SHARES)
    with pytest.raises(LoaderError, match=r"shares: expected at least one, all in \(0, 1\]"):
        size_study(study_options(), shares=(Fraction(3, 2),))
    with pytest.raises(LoaderError, match="at least two networks to compare"):
        depth_study(study_options(), archs=("resnet18", "resnet18"))
    with pytest.raises(LoaderError, match="expected an export or a checkpoint"):
        init_study(study_options(), init=study_options().output / "none.safetensors")
    assert not count_steps


def test_a_further_setting_reaches_the_training(study_options):
    plan = epoch_study(study_options(settings=("momentum=0.5", "rho = 0.8")))
    options = plan.train_options(plan.runs[0], plan.options.output)
    assert (options.momentum, options.rho) == (0.5, 0.8)


def test_a_run_that_fails_is_named(study_options):
    plan = epoch_study(study_options(seeds=(0,), lr=1e30, epochs=2))
    with pytest.raises(LoaderError, match="run epochs-seed-0: "):
        study(plan, silent)


def test_a_missing_library_is_said_before_any_training(study_options, count_steps, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LoaderError, match=r"a study needs matplotlib and scipy.*pip install 'openjft\[study\]'"):
        study(epoch_study(study_options()), silent)
    assert not count_steps
    with pytest.raises(LoaderError, match="needs scipy"):
        require(["scipy"])


def test_a_folder_in_which_a_study_runs_is_refused_and_one_that_cannot_be_made_is_named(study_options, tmp_path):
    plan = epoch_study(study_options(seeds=(0,)))
    errors = []

    def second(event):
        if not errors:
            with pytest.raises(LoaderError) as error:
                study(epoch_study(study_options(seeds=(0,))), silent)
            errors.append(str(error.value))

    study(plan, second)
    assert "another study runs in this folder" in errors[0]
    (tmp_path / "file").write_text("")
    with pytest.raises(LoaderError, match="file: could not be written"):
        study(epoch_study(study_options(output=tmp_path / "file")), silent)


def test_a_study_under_torchrun_is_refused(study_options, count_steps, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LoaderError, match="a study runs in one process, found 2"):
        study(epoch_study(study_options()), silent)
    assert not count_steps


def test_a_rate_that_depends_on_the_length_is_refused_where_a_run_is_scored_on_its_way(study_options):
    settings = ("schedule=cosine",)
    with pytest.raises(LoaderError, match="found schedule 'cosine'; say --set schedule=steps or constant"):
        epoch_study(study_options(epochs=2, settings=settings))
    assert depth_study(study_options(settings=settings), archs=("resnet18", "resnet50")).runs


def test_initial_weights_are_compared_with_random_ones_and_known_by_their_content(study_options, tmp_path):
    trained = epoch_study(study_options(epochs=4, seeds=(9,), lr=0.01, output=tmp_path / "first"))
    (run,) = study(trained, silent).runs
    export(run.folder, tmp_path / "weights.safetensors", head=True)
    plan = init_study(study_options(lr=1e-5), init=tmp_path / "weights.safetensors")
    results = study(plan, silent)
    assert [level.level for level in results.levels] == ["random", "weights.safetensors"]
    assert results.levels[1].mean.value > results.levels[0].mean.value + 0.1
    (tmp_path / "copy.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes())
    again = plan_runs(init_study(study_options(lr=1e-5), init=tmp_path / "copy.safetensors"))
    assert [item.state for item in again] == ["finished"] * 4
    export(run.folder / "kept" / "step-000000000009", tmp_path / "copy.safetensors", head=True)
    other = plan_runs(init_study(study_options(lr=1e-5), init=tmp_path / "copy.safetensors"))
    assert [item.state for item in other] == ["finished"] * 2 + ["new"] * 2


def test_progress_covers_all_runs_and_the_one_that_runs(study_options):
    events = []
    study(depth_study(study_options(seeds=(0,)), archs=("resnet18", "resnet50")), events.append)
    assert [(e.number, e.phase) for e in events if e.done == e.total] == [
        (1, "train"), (1, "score"), (2, "train"), (2, "score"),
    ]  # fmt: skip
    steps = [event.steps for event in events]
    assert steps == sorted(steps)
    assert steps[-1] == events[-1].all_steps == 18


def test_a_probe_estimates_from_real_steps_and_leaves_nothing(study_options, count_steps):
    plan = depth_study(study_options(seeds=(0,)), archs=("resnet18", "resnet50"))
    assert 0 < seconds_left(plan, plan_runs(plan)) < 600
    assert len(count_steps) == 12  # six for each network
    assert not plan.options.output.exists()
    study(plan, silent)
    assert seconds_left(plan, plan_runs(plan)) == 0
