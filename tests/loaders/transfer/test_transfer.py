from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from openjft.loaders.errors import CheckpointError, DatasetError, LoaderError
from openjft.loaders.training import load_checkpoint
from openjft.loaders.transfer import finetune as finetune_module
from openjft.loaders.transfer import transfer
from openjft.pipelines import cli

small = pytest.mark.usefixtures("small_network")


def weights_of(summary):
    return load_checkpoint(summary.checkpoint).model


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@small
@pytest.mark.parametrize(("mode", "lr"), [("finetune", 0.1), ("freeze", 0.3)])
def test_a_transfer_learns_to_tell_colours_and_says_how_surely(options, mode, lr):
    events = []
    summary = transfer(options(mode=mode, epochs=12, lr=lr), events.append)
    assert summary.top1.value > 0.8
    assert summary.top5.value == 1.0
    assert summary.top1.low < summary.top1.value <= summary.top1.high
    assert (summary.top1.total, summary.train_images, summary.num_classes) == (12, 24, 3)
    assert {event.phase for event in events} == {"train", "score", *(["features"] if mode == "freeze" else [])}
    assert all(event.done <= event.total for event in events)


@small
def test_result_and_predictions_agree(options, photos):
    summary = transfer(options())
    result = json.loads((options().output / "result.json").read_text())
    assert result == json.loads(json.dumps(summary.to_json()))
    rows = pq.read_table(options().output / "predictions.parquet").to_pylist()
    assert [row["file"].split("/")[0] for row in rows] == [row["label"] for row in rows]
    assert len(rows) == 12
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert right == sum(row["rank"] == 0 for row in rows) == summary.top1.correct
    assert all((photos / "val" / row["file"]).is_file() for row in rows)


@small
def test_freezing_changes_the_classifier_and_nothing_else(options):
    from openjft.loaders.transfer import start

    before = start.build_model("resnet18", 3, seed=17).state_dict()
    after = weights_of(transfer(options(mode="freeze")))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc.weight", "fc.bias"}


@small
def test_the_frozen_classifier_is_the_linear_one_on_the_features_as_they_come(options, photos):
    """What is stored scores as the classifier on scaled features did: its last loss is that of the stored network."""
    from openjft.loaders.folders import ImageFolder
    from openjft.loaders.transfer import start
    from openjft.loaders.transfer.probe import features_of

    summary = transfer(options(mode="freeze", epochs=60, lr=0.5))
    model = start.build_model("resnet18", 3, seed=17)
    folder = ImageFolder.open(photos / "train")
    features = features_of(model, folder, options(), torch.device("cpu"), lambda _: None)
    assert features.shape == (24, 8)
    stored = weights_of(summary)
    logits = features @ stored["fc.weight"].T + stored["fc.bias"]
    labels = torch.from_numpy(folder.labels.values.astype(np.int64))
    # The rate ends at 0, so the loss over the last epoch is nearly that of its end.
    assert float(torch.nn.functional.cross_entropy(logits, labels)) == pytest.approx(summary.loss, rel=0.05)


@small
@pytest.mark.parametrize("stopped_at", [1, 3, 5, 8])
def test_a_transfer_that_was_stopped_goes_on_to_the_same_weights(options, monkeypatch, tmp_path, stopped_at):
    whole = transfer(options(output=tmp_path / "whole", warmup_images=24))
    real = finetune_module.FineTune._train_step

    def stop_after(run, batch):
        real(run, batch)
        if run.step == stopped_at:
            raise KeyboardInterrupt

    make = options(output=tmp_path / "cut", checkpoint_every_steps=1, warmup_images=24)
    with monkeypatch.context() as patch:
        patch.setattr(finetune_module.FineTune, "_train_step", stop_after)
        with pytest.raises(KeyboardInterrupt):
            transfer(make)
    again = transfer(make)
    assert again.resumed_from == stopped_at
    assert same(weights_of(again), weights_of(whole))
    assert again.top1 == whole.top1
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    reference = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"], line["lr"]) for line in lines] == [
        (line["step"], line["loss"], line["lr"]) for line in reference
    ]


@small
def test_a_signal_leaves_a_checkpoint_and_no_score(options, monkeypatch):
    real = finetune_module.FineTune._train_step

    def signalled(run, batch):
        real(run, batch)
        if run.step == 4:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(finetune_module.FineTune, "_train_step", signalled)
        summary = transfer(options())
    assert (summary.completed, summary.step, summary.top1) == (False, 4, None)
    assert "run the same command again" in summary.message
    assert load_checkpoint(summary.checkpoint).step == 4
    assert transfer(options()).resumed_from == 4


@small
@pytest.mark.parametrize("mode", ["finetune", "freeze"])
def test_a_finished_transfer_is_scored_again_without_training(options, mode):
    first = transfer(options(mode=mode))
    again = transfer(options(mode=mode))
    assert again.resumed_from == first.step == again.step
    assert (again.top1, again.top5) == (first.top1, first.top5)


@small
@pytest.mark.parametrize("change", [{"seed": 3}, {"mode": "freeze"}, {"label_smoothing": 0.1}, {"epochs": 4}])
def test_the_output_of_another_transfer_is_refused(options, change):
    transfer(options())
    with pytest.raises(CheckpointError, match="of another run"):
        transfer(options(**change))


@small
def test_no_resume_is_held_to(options):
    transfer(options())
    with pytest.raises(LoaderError, match="since resume is off"):
        transfer(options(resume=False))


@small
def test_the_seed_decides_the_weights_and_nothing_else_does(options, tmp_path):
    one, same_seed, other = (
        transfer(options(output=tmp_path / name, seed=seed, num_threads=threads, log_every=every))
        for name, seed, threads, every in (("a", 1, 1, 2), ("b", 1, 3, 5), ("c", 2, 1, 2))
    )
    assert same(weights_of(one), weights_of(same_seed))
    assert not same(weights_of(one), weights_of(other))


@small
def test_lists_choose_the_images_and_clean_lists_compare_top_1(options, tmp_path, photos):
    names = sorted(path.relative_to(photos / "val").as_posix() for path in (photos / "val").rglob("*.jpg"))
    (tmp_path / "val.txt").write_text("\n".join(names[:9]))
    (tmp_path / "train.txt").write_text("\n".join(f"train_{c}_{i}" for c in ("red", "green", "blue") for i in range(5)))
    (tmp_path / "photos.clean.txt").write_text("\n".join(names[6:]))
    summary = transfer(
        options(
            train_list=tmp_path / "train.txt",
            val_list=tmp_path / "val.txt",
            clean=[tmp_path / "photos.clean.txt"],
            table=tmp_path / "t.md",
        )
    )
    assert (summary.train_images, summary.val_images) == (15, 9)
    compared = summary.comparisons[0]
    assert (compared.num_images, compared.num_clean, compared.num_removed) == (9, 3, 6)
    rows = {row["file"]: row["rank"] for row in pq.read_table(options().output / "predictions.parquet").to_pylist()}
    assert sorted(rows) == names[:9]
    assert compared.top1.before == pytest.approx(np.mean([rows[name] == 0 for name in names[:9]]))
    assert compared.top1.after == pytest.approx(np.mean([rows[name] == 0 for name in names[6:9]]))
    assert "top-5" in (tmp_path / "t.md").read_text()


@small
def test_a_list_of_other_images_is_refused(options, tmp_path):
    (tmp_path / "x.clean.txt").write_text("ILSVRC2012_val_00000293\n")
    with pytest.raises(LoaderError, match="found 1 of 1 ids that name none"):
        transfer(options(clean=[tmp_path / "x.clean.txt"]))


def test_a_class_that_is_only_in_val_is_refused(options, photos):
    (photos / "val" / "red").rename(photos / "val" / "pink")
    with pytest.raises(DatasetError, match="found 1 others: 'pink'"):
        transfer(options())


@small
def test_a_class_that_val_lacks_is_no_mistake(options, photos):
    for path in (photos / "val" / "red").iterdir():
        path.unlink()
    summary = transfer(options())
    assert (summary.num_classes, summary.val_images) == (3, 8)


def test_fewer_images_than_a_batch_are_refused(options):
    with pytest.raises(LoaderError, match="at least one batch of 25 images, found 24"):
        transfer(options(batch_size=25))


def test_a_backbone_is_taken_over_and_its_head_is_not(options, tmp_path, exported):
    path = exported(tmp_path / "b.safetensors", "resnet18", head=True)
    from openjft.loaders.transfer.start import arch_of, starting_model

    chosen = options(weights=path, arch=None)
    assert arch_of(chosen) == "resnet18"
    model = starting_model(chosen, "resnet18", 3)
    from openjft.loaders.training.models import build_model

    given = build_model("resnet18", 7, seed=3).state_dict()
    state = model.state_dict()
    assert all(torch.equal(state[name], given[name]) for name in given if not name.startswith("fc."))
    assert not state["fc.weight"].any()
    assert state["fc.weight"].shape == (3, 512)


def test_a_real_resnet_is_fine_tuned_from_an_export_and_from_a_checkpoint(options, tmp_path, exported):
    path = exported(tmp_path / "b.safetensors", "resnet18")
    first = transfer(options(weights=path, arch=None, epochs=1, output=tmp_path / "first"))
    assert first.arch == "resnet18"
    second = transfer(options(weights=tmp_path / "first", arch=None, epochs=1, mode="freeze", output=tmp_path / "two"))
    taken, given = weights_of(second), weights_of(first)
    assert all(torch.equal(taken[name], given[name]) for name in given if not name.startswith("fc."))


def test_weights_of_another_architecture_are_refused(options, tmp_path, exported):
    path = exported(tmp_path / "b.safetensors", "resnet18")
    with pytest.raises(CheckpointError, match="expected weights of resnet50, found resnet18"):
        transfer(options(weights=path, arch="resnet50"))


def test_all_mistakes_are_told_at_once(options, tmp_path):
    with pytest.raises(LoaderError) as caught:
        options(weights=tmp_path / "none.safetensors", crop_size=64, label_smoothing=1.0, val="../x", momentum=0.0)
    assert "5 mistakes" in str(caught.value)
    for name in ("weights", "image_size", "label_smoothing", "val", "momentum"):
        assert f"  {name}: expected" in str(caught.value)


@small
def test_the_command_prints_top_1_with_its_interval_or_json(options, photos, tmp_path):
    chosen = options()
    names = ("epochs", "batch_size", "image_size", "crop_size", "arch", "device")
    flags = [part for name in names for part in (f"--{name.replace('_', '-')}", str(getattr(chosen, name)))]
    arguments = ["transfer", "random", str(photos), "--output", str(tmp_path / "out"), *flags]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert "top-1" in done.output
    assert "95 % interval" in done.output
    value = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"]).output)
    assert value["top1"]["total"] == 12
    assert value["completed"]
