from __future__ import annotations

import errno
import json
import pickle
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders.errors import CheckpointError
from openjft.loaders.training import load_checkpoint, train
from openjft.loaders.training.checkpoint import Checkpoint, checkpoint_folders, save_checkpoint, writer
from openjft.loaders.training.checkpoint.layout import share_of
from openjft.loaders.training.checkpoint.tensor_file import read_tensors, write_tensors

tiny = pytest.mark.usefixtures("tiny_network")


def some(step=1, **changes):
    values = {
        "step": step,
        "model": {"fc.weight": torch.arange(6.0).view(3, 2), "n": torch.tensor(7)},
        "optimizer": {"momentum.fc.weight": torch.ones(3, 2)},
        "recipe": {"arch": "resnet18", "crop_size": 32, "holdout": 0.0, "image_size": None, "seed": 1},
        "num_categories": 3,
        "fingerprint": "f",
        "images_fingerprint": "f",
        "vocabulary_sha256": "v",
        "window": [0.1, 1 / 3],
    }
    return Checkpoint(**(values | changes))


def same(a, b):
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a)


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**31)), max_size=5
    )
)
def test_a_tensor_file_is_read_by_the_library_as_it_was_written(tmp_path_factory, drawn):
    tensors = {
        f"t{i}": (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 50).to(dtype)
        for i, (dtype, shape, seed) in enumerate(drawn)
    }
    path = tmp_path_factory.mktemp("x") / "a.safetensors"
    written = write_tensors(path, tensors, {"arch": "x"})
    assert same(safetensors.torch.load_file(path), tensors)
    assert same(read_tensors(path, size=written.size, sha256=written.sha256), tensors)
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata()["arch"] == "x"


def test_a_strided_tensor_is_written_in_the_order_of_its_indices(tmp_path):
    filters = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    write_tensors(tmp_path / "a.safetensors", {"w": filters, "t": torch.randn(3, 4).t()})
    assert torch.equal(safetensors.torch.load_file(tmp_path / "a.safetensors")["w"], filters)


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    saved = some(ema={"fc.weight": torch.zeros(3, 2), "n": torch.tensor(7)}, loader={"epoch": 1, "step": 3})
    folder = save_checkpoint(tmp_path, saved)
    for path in (tmp_path, folder, folder / "checkpoint.json"):
        read = load_checkpoint(path)
        assert read.facts() == saved.facts()
        assert same(read.model, saved.model)
        assert same(read.optimizer, saved.optimizer)
        assert same(read.ema, saved.ema)
    assert load_checkpoint(folder, optimizer=False).optimizer == {}


def test_the_running_mean_is_taken_where_there_is_one(tmp_path):
    mean = {"fc.weight": torch.zeros(3, 2)}
    both, one = some(ema=mean), some()
    assert both.weights() is both.weights("ema") is mean
    assert both.weights("raw") is both.model
    assert one.weights() is one.model
    with pytest.raises(CheckpointError, match="expected a training with a running mean"):
        one.weights("ema")


def test_the_model_can_be_read_without_this_program(tmp_path):
    folder = save_checkpoint(tmp_path, some())
    assert same(safetensors.torch.load_file(folder / "model-00000-of-00001.safetensors"), some().model)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 100), max_size=20), st.integers(1, 5))
def test_every_replicated_tensor_is_written_by_one_rank_and_the_load_is_even(sizes, world_size):
    tensors = {f"t{i}": torch.empty(n) for i, n in enumerate(sizes)}
    shares = [share_of(tensors, rank, world_size) for rank in range(world_size)]
    assert sorted(name for share in shares for name in share) == sorted(tensors)
    loads = [sum(tensors[n].nbytes for n in share) for share in shares]
    assert max(loads) - min(loads) <= max((t.nbytes for t in tensors.values()), default=0)


def flip_a_byte(folder: Path):
    path = folder / "model-00000-of-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def content(**changes):
    def change(folder: Path):
        path = folder / "checkpoint.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def entry(**changes):
    def change(folder: Path):
        path = folder / "checkpoint.json"
        value = json.loads(path.read_text())
        value["files"][0] |= changes
        path.write_text(json.dumps(value))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "model-00000-of-00001.safetensors: expected sha256 .* was damaged or changed"),
        (lambda f: (f / "model-00000-of-00001.safetensors").unlink(), "expected a file, found none"),
        (lambda f: (f / "model-00000-of-00001.safetensors").write_bytes(b"x"), r"expected \d+ bytes, found 1"),
        (lambda f: (f / "checkpoint.json").write_text("{"), "damaged or foreign"),
        (lambda f: (f / "checkpoint.json").write_text("[]"), r"foreign file \(list\)"),
        (lambda f: (f / "checkpoint.json").write_bytes(pickle.dumps(print)), "damaged or foreign"),
        (content(format=1), "format 2, found .*format 1"),
        (content(step="1"), "no valid step"),
        (content(recipe={}), "expected the recipe's"),
        (entry(name="../model-00000-of-00001.safetensors"), "the file entry"),
        (entry(rows={"fc.weight": "all"}), "the file entry"),
        (entry(rows={"fc.weight": [0, 3, 4]}), r"expected all 4 rows of fc.weight, found \[0, 3\)"),
        (entry(rows={"fc.weight": [1, 4, 4]}), r"expected all 4 rows of fc.weight, found \[1, 4\)"),
    ],
)
def test_a_damaged_checkpoint_is_told_with_the_file(tmp_path, damage, message):
    folder = save_checkpoint(tmp_path, some())
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_file_that_is_no_safetensors_is_refused_even_with_the_right_hash(tmp_path):
    import hashlib

    folder = save_checkpoint(tmp_path, some())
    data = pickle.dumps(print)
    (folder / "model-00000-of-00001.safetensors").write_bytes(data)
    value = json.loads((folder / "checkpoint.json").read_text())
    for file in value["files"]:
        if file["name"].startswith("model"):
            file |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "checkpoint.json").write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match="expected a safetensors file"):
        load_checkpoint(folder)


def test_a_folder_without_its_list_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, some(1))
    (save_checkpoint(tmp_path, some(2)) / "checkpoint.json").unlink()
    assert load_checkpoint(tmp_path).step == 1
    with pytest.raises(CheckpointError, match=r"output folder with checkpoints/step-\*/, found neither"):
        load_checkpoint(tmp_path / "other")


def test_a_file_of_the_former_layout_is_named_as_such(tmp_path):
    former = tmp_path / "checkpoints/step-000000000001.pt"
    former.parent.mkdir()
    torch.save({"format": 1}, former)
    for path in (tmp_path, former):
        with pytest.raises(CheckpointError, match="a file of a former layout, which is a pickle"):
            load_checkpoint(path)


@tiny
def test_a_run_does_not_start_beside_files_of_the_former_layout(train_options):
    former = train_options().output / "checkpoints/step-000000000001.pt"
    former.parent.mkdir(parents=True)
    torch.save({"format": 1}, former)
    with pytest.raises(CheckpointError, match="former layout"):
        train(train_options())


def test_the_last_two_are_kept_and_leftovers_are_removed(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, some(step))
    half = tmp_path / "checkpoints/step-000000000009"
    half.mkdir()
    save_checkpoint(tmp_path, some(4))
    assert [path.name[-1] for path in checkpoint_folders(tmp_path)] == ["3", "4"]
    assert not half.exists()


def test_a_step_that_is_saved_again_replaces_the_former(tmp_path):
    save_checkpoint(tmp_path, some(1, num_categories=3))
    save_checkpoint(tmp_path, some(1, num_categories=4))
    assert load_checkpoint(tmp_path).num_categories == 4


def no_space(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["write_tensors", "sync_folder"])
def test_without_space_the_former_checkpoint_stays_whole(tmp_path, monkeypatch, place):
    save_checkpoint(tmp_path, some(1))
    monkeypatch.setattr(writer, place, no_space)
    with pytest.raises(CheckpointError, match=r"step-000000000002: could not be written: .*No space left on device"):
        save_checkpoint(tmp_path, some(2))
    assert load_checkpoint(tmp_path).step == 1


@tiny
def test_a_save_that_fails_ends_the_run_at_a_later_step_or_at_the_end(train_options, monkeypatch):
    train(train_options(steps=1))
    monkeypatch.setattr(writer, "write_tensors", no_space)
    with pytest.raises(CheckpointError, match=r"No space left on device.*the same command again"):
        train(train_options(steps=6, checkpoint_every_steps=2))
    monkeypatch.undo()
    assert load_checkpoint(train_options().output).step == 1


@tiny
def test_a_changed_checkpoint_is_not_gone_on_with(train_options):
    flip_a_byte(train(train_options(steps=1)).checkpoint)
    with pytest.raises(CheckpointError, match=r"sha256 .*remove .*step-000000000001 to go on from the one before it"):
        train(train_options(steps=2))


@tiny
@pytest.mark.parametrize(
    "change", [{"model": {"conv1.weight": torch.ones(1)}}, {"optimizer": {}}, {"optimizer": None}], ids=str
)
def test_tensors_that_do_not_fit_are_refused(train_options, change):
    options = train_options(steps=1)
    train(options)
    checkpoint = load_checkpoint(options.output)
    values = {**checkpoint.facts(), "model": checkpoint.model, "optimizer": checkpoint.optimizer} | change
    if values["optimizer"] is None:  # a shape that would be broadcast
        values["optimizer"] = {n: torch.zeros(1) for n in checkpoint.optimizer}
    shutil.rmtree(options.output / "checkpoints")
    save_checkpoint(options.output, Checkpoint(**values))
    with pytest.raises(CheckpointError, match="expected the tensors of a resnet18 with 4 classes"):
        train(train_options(steps=2))
