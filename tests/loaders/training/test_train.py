from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import signal

import pytest
import torch

from openjft.loaders.errors import CheckpointError, DatasetError, LoaderError
from openjft.loaders.training import RMSProp, load_checkpoint, train
from openjft.loaders.training.checkpoint import checkpoint_folders

STEP = importlib.import_module("openjft.loaders.training.step")


def tensors(value, path=""):
    """All tensors of a nested value, by path."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {k: v for name, item in items for k, v in tensors(item, f"{path}/{name}").items()}


def assert_same_state(a, b):
    ours, theirs = tensors(dataclasses.asdict(a)), tensors(dataclasses.asdict(b))
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 16
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def log_of(output):
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in {"images_per_s", "waiting", "stages", "memory_bytes"}}
        for line in lines
    ]


tiny = pytest.mark.usefixtures("tiny_network")


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_at(step):
    def on_progress(event):
        if event.step >= step:
            raise KilledError

    return on_progress


def test_a_run_leaves_a_checkpoint_and_a_log(train_options):
    options = train_options()
    events = []
    summary = train(options, events.append)
    assert (summary.step, summary.steps, summary.images, summary.completed) == (6, 6, 48, True)
    assert summary.checkpoint.name == "step-000000000006"
    assert json.dumps(summary.to_json())
    log = log_of(options.output)
    assert [line["step"] for line in log] == [event.step for event in events] == [2, 4, 6]
    assert log[0].keys() == {"step", "images", "loss", "lr", "skipped"}
    assert log[-1]["images"] == 48
    assert events[-1].loss == summary.loss


def test_a_killed_and_resumed_run_ends_with_the_same_bits(train_options, tmp_path, tiny_network):
    # 12 steps an epoch: the run crosses into the second, and is killed in either.
    settings = {"steps": 14, "checkpoint_every_steps": 3, "log_every": 2}
    reference = train_options(output=tmp_path / "reference", **settings)
    train(reference)
    options = train_options(output=tmp_path / "killed", **settings)
    for step in (8, 14):
        with pytest.raises(KilledError):
            train(options, kill_at(step))
    summary = train(options)
    assert summary.resumed_from == 12
    assert_same_state(load_checkpoint(options.output), load_checkpoint(reference.output))
    assert log_of(options.output) == log_of(reference.output)


def test_a_resnet_killed_and_resumed_ends_with_the_same_bits(train_options, tmp_path):
    settings = {"steps": 3, "checkpoint_every_steps": 2, "log_every": 1}
    whole = train(train_options(output=tmp_path / "reference", **settings))
    options = train_options(output=tmp_path / "killed", **settings)
    with pytest.raises(KilledError):
        train(options, kill_at(3))
    assert train(options).resumed_from == 2
    assert_same_state(load_checkpoint(options.output), load_checkpoint(whole.checkpoint))


@tiny
def test_another_seed_gives_other_weights(train_options, tmp_path):
    a = train(train_options(steps=1, output=tmp_path / "a"))
    b = train(train_options(steps=1, output=tmp_path / "b", seed=18))
    a, b = (load_checkpoint(s.checkpoint).model["conv1.weight"] for s in (a, b))
    assert not torch.equal(a, b)


@tiny
def test_the_last_two_checkpoints_are_kept(train_options):
    options = train_options(checkpoint_every_steps=2)
    half = options.output / "checkpoints/.tmp-step-000000000001"
    half.mkdir(parents=True)
    (half / "model-00000-of-00001.safetensors").write_bytes(b"half a checkpoint of a killed run")
    train(options)
    assert [p.name for p in checkpoint_folders(options.output)] == ["step-000000000004", "step-000000000006"]
    assert not list((options.output / "checkpoints").glob(".tmp-*"))


@tiny
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_a_checkpoint(train_options, kind):
    options = train_options(steps=100)
    former = signal.getsignal(kind)
    summary = train(options, lambda event: os.kill(os.getpid(), kind))
    assert signal.getsignal(kind) == former
    assert not summary.completed
    assert summary.step == 2
    assert load_checkpoint(options.output).step == 2
    assert f"Stopped by {kind.name} after step 2 of 100" in summary.message


@tiny
def test_a_finished_run_has_nothing_left_to_do_and_can_be_made_longer(train_options):
    train(train_options(steps=2))
    again = train(train_options(steps=2))
    assert again.message.startswith("Nothing to do")
    assert again.loss is None
    longer = train(train_options(steps=3))
    assert (longer.resumed_from, longer.step) == (2, 3)


@tiny
def test_epochs_count_whole_batches(train_options):
    options = train_options(steps=None, epochs=1, batch_size=40, log_every=1)
    assert train(options).step == 2  # 96 images


@tiny
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "resnet50"}, "arch: checkpoint 'resnet18', now 'resnet50'"),
        ({"lr": 0.5}, "lr: checkpoint 0.001, now 0.5"),
        ({"seed": 1}, "seed: checkpoint 17, now 1"),
    ],
)
def test_a_checkpoint_of_another_recipe_is_refused_with_the_difference(train_options, change, message):
    train(train_options(steps=1))
    with pytest.raises(CheckpointError, match=message):
        train(train_options(steps=2, **change))


@tiny
def test_a_checkpoint_of_another_dataset_is_refused(train_options, other_dataset):
    train(train_options(steps=1))
    with pytest.raises(CheckpointError, match=r"dataset fingerprint: checkpoint [0-9a-f]{64}, now [0-9a-f]{64}"):
        train(train_options(steps=2, data=other_dataset))


@tiny
def test_a_checkpoint_of_another_taxonomy_is_refused(train_options, renamed_dataset):
    train(train_options(steps=1))
    with pytest.raises(
        CheckpointError, match=r"taxonomy \(vocabulary sha256\): checkpoint [0-9a-f]{64}, now [0-9a-f]{64}"
    ):
        train(train_options(steps=2, data=renamed_dataset))


@tiny
def test_a_missing_shard_is_named(train_options, dataset_folder, tmp_path):
    data = shutil.copytree(dataset_folder, tmp_path / "data")
    next((data / "shards").glob("*.tar")).unlink()
    with pytest.raises(DatasetError, match=r"toy-00000\d\.tar"):
        train(train_options(data=data, max_skipped=0.5))


@tiny
def test_more_damaged_images_than_allowed_end_the_run(train_options, dataset_folder, tmp_path):
    data = shutil.copytree(dataset_folder, tmp_path / "data")
    for shard in (data / "shards").glob("*.tar"):
        shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(LoaderError, match="could not be used"):
        train(train_options(data=data, max_skipped=3))
    assert (train_options().output / "skipped-rank00000.jsonl").read_text().count("\n") == 8


@tiny
def test_the_curve_does_not_depend_on_saving(train_options, tmp_path):
    train(train_options(output=tmp_path / "a", checkpoint_every_steps=1, steps=4, log_every=1))
    train(train_options(output=tmp_path / "b", steps=4, log_every=1))
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")
    assert_same_state(load_checkpoint(tmp_path / "a"), load_checkpoint(tmp_path / "b"))


@tiny
def test_a_compiled_network_follows_the_plain_one(train_options, tmp_path, monkeypatch):
    # Without the last stage, which writes C++ and took 70 s here: what is ours is that the network can be traced.
    former = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: former(module, backend="aot_eager"))
    settings = {"steps": 2, "log_every": 1, "bn_images": 4}
    train(train_options(output=tmp_path / "plain", **settings))
    train(train_options(output=tmp_path / "compiled", compile=True, **settings))
    for a, b in zip(log_of(tmp_path / "plain"), log_of(tmp_path / "compiled"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
    plain, compiled = (load_checkpoint(tmp_path / name).model for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()


@tiny
def test_without_resume_a_used_output_folder_is_refused_and_left_alone(train_options):
    train(train_options(steps=1))
    with pytest.raises(LoaderError, match=r"expected no checkpoints, since resume is off, found step-000000000001"):
        train(train_options(steps=1, resume=False))


@tiny
def test_a_loss_that_is_not_finite_names_its_step(train_options, monkeypatch):
    calls = []

    def damaged(logits, values, offsets, **_):
        calls.append(1)
        return logits.sum() * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(STEP, "sparse_logistic_loss", damaged)
    options = train_options(checkpoint_every_steps=2, log_every=5)
    with pytest.raises(LoaderError, match="at step 3: expected a finite loss, found nan; the last checkpoint, step 2"):
        train(options)
    assert load_checkpoint(options.output).step == 2


@tiny
def test_weights_that_are_not_finite_are_not_saved(train_options, monkeypatch):
    def step(self, closure=None):
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("inf"))

    monkeypatch.setattr(RMSProp, "step", step)
    options = train_options(steps=1)
    with pytest.raises(LoaderError, match="after step 1: expected finite weights"):
        train(options)
    assert not checkpoint_folders(options.output)


@tiny
def test_a_dataset_smaller_than_a_batch_is_refused(train_options):
    with pytest.raises(LoaderError, match="at least one batch of 97 training images"):
        train(train_options(batch_size=97))


@tiny
def test_images_smaller_than_the_crop_are_refused(train_options):
    with pytest.raises(LoaderError, match=r"at least 299x299 pixels \(crop_size\), found 36x36"):
        train(train_options(crop_size=299))


@tiny
def test_bf16_trains_with_float32_weights(train_options):
    summary = train(train_options(steps=2, precision="bf16"))
    assert summary.loss < 10
    assert load_checkpoint(summary.checkpoint).model["conv1.weight"].dtype == torch.float32


def test_an_output_that_cannot_be_written_is_named(train_options, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(LoaderError, match=r"run.*could not be written"):
        train(train_options())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_follows_the_cpu(train_options, tmp_path, precision):
    a = train(train_options(output=tmp_path / "cpu", steps=4, log_every=1))
    b = train(train_options(output=tmp_path / "gpu", steps=4, log_every=1, device="cuda", precision=precision))
    first, second = (log_of(s.checkpoint.parents[1]) for s in (a, b))
    for x, y in zip(first, second, strict=True):
        assert x["loss"] == pytest.approx(y["loss"], rel=0.02 if precision == "fp32" else 0.1)
    assert load_checkpoint(b.checkpoint).model["conv1.weight"].device.type == "cpu"


@tiny
def test_an_image_with_other_bytes_ends_the_training(train_options, dataset_folder, tmp_path):
    import shutil

    from openjft.loaders import Dataset, DatasetError

    copy = shutil.copytree(dataset_folder, tmp_path / "copy")
    dataset = Dataset.open(copy)
    index, path = dataset.index(0), copy / f"shards/{dataset.manifest.shards[0].name}.tar"
    data = bytearray(path.read_bytes())
    for row in range(index.num_samples):  # the density in the header: it decodes as before
        data[int(index.offsets[row]) + 15] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="the image's sha256 is not the index's"):
        train(train_options(data=copy, steps=12))
    assert train(train_options(data=copy, steps=2, check_sha256=False, output=tmp_path / "b")).completed
