from __future__ import annotations

import json

import pytest
import safetensors
import safetensors.torch
import torch
import torchvision
from typer.testing import CliRunner

from openjft.loaders.errors import CheckpointError, LoaderError
from openjft.loaders.training import export, load_checkpoint, train
from openjft.pipelines import cli

tiny = pytest.mark.usefixtures("tiny_network")


def header(path):
    with safetensors.safe_open(path, framework="pt") as file:
        return file.metadata()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_backbone_loads_into_torchvision_and_the_header_says_how_to_feed_it(train_options, tmp_path):
    options = train_options(steps=1)
    train(options)
    path = tmp_path / "net.safetensors"
    summary = export(options.output, path)
    model = torchvision.models.resnet18(weights=None)
    missing, unexpected = model.load_state_dict(safetensors.torch.load_file(path), strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    checkpoint = load_checkpoint(options.output)
    expected = {"arch": "resnet18", "crop_size": "32", "mean": "0.5,0.5,0.5", "step": "1", "weights": "raw",
                "head": "false", "vocabulary_sha256": checkpoint.vocabulary_sha256,
                "fingerprint": checkpoint.fingerprint}  # fmt: skip
    assert header(path).items() >= expected.items()
    assert (summary.step, summary.size) == (1, path.stat().st_size)


@tiny
def test_the_head_and_the_kind_of_weights_can_be_chosen(train_options, tmp_path):
    options = train_options(steps=2, ema=0.9)
    train(options)
    checkpoint = load_checkpoint(options.output)
    assert not same(checkpoint.model, checkpoint.ema)
    path = tmp_path / "net.safetensors"
    for weights, expected in (("auto", checkpoint.ema), ("ema", checkpoint.ema), ("raw", checkpoint.model)):
        assert export(options.output, path, head=True, weights=weights).weights == header(path)["weights"]
        assert same(safetensors.torch.load_file(path), expected)


@tiny
def test_what_cannot_be_exported_is_told(train_options, tmp_path):
    options = train_options(steps=1)
    train(options)
    with pytest.raises(CheckpointError, match="expected a training with a running mean"):
        export(options.output, tmp_path / "a.safetensors", weights="ema")
    with pytest.raises(LoaderError, match=r"ends in \.safetensors"):
        export(options.output, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="found neither"):
        export(tmp_path / "none", tmp_path / "a.safetensors")
    (tmp_path / "file").write_text("x")
    with pytest.raises(LoaderError, match="could not be written"):
        export(options.output, tmp_path / "file/a.safetensors")


@tiny
def test_the_command_prints_what_it_wrote(train_options, tmp_path):
    train(train_options(steps=1))
    path = tmp_path / "net.safetensors"
    done = CliRunner().invoke(cli.app, ["export", str(train_options().output), "-o", str(path), "--head", "--json"])
    assert json.loads(done.output)["path"] == str(path)
    assert any(name.startswith("fc.") for name in safetensors.torch.load_file(path))


@tiny
@pytest.mark.parametrize("source", ["checkpoint", "backbone", "network"])
def test_given_weights_are_the_start_and_the_head_only_for_the_same_vocabulary(
    train_options, tmp_path, renamed_dataset, source
):
    first = train_options(output=tmp_path / "first", steps=2)
    train(first)
    given, head = load_checkpoint(first.output).model, source != "backbone"
    init = first.output if source == "checkpoint" else tmp_path / "net.safetensors"
    if source != "checkpoint":
        export(first.output, init, head=head)
    for data, expect_head in ((first.data, head), (renamed_dataset, False)):
        options = train_options(output=tmp_path / f"second{expect_head}{data}"[-40:].replace("/", "_"), data=data,
                                init=init, steps=1, lr=1e-30, weight_decay=0.0)  # fmt: skip
        state = load_checkpoint(train(options).checkpoint).model
        assert torch.equal(state["conv1.weight"], given["conv1.weight"])
        assert torch.equal(state["fc.weight"], given["fc.weight"]) == expect_head


@tiny
def test_other_given_weights_are_another_recipe(train_options, tmp_path):
    first = train_options(output=tmp_path / "first", steps=1)
    train(first)
    train(train_options(steps=1, init=first.output))
    assert train(train_options(steps=1, init=first.output)).message.startswith("Nothing to do")
    train(train_options(output=tmp_path / "first", steps=2))
    with pytest.raises(CheckpointError, match=r"init: checkpoint '[0-9a-f]{64}', now '[0-9a-f]{64}'"):
        train(train_options(steps=2, init=first.output))


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"x": torch.ones(1)}, None, "found no arch and vocabulary_sha256 in its header"),
        ({"x": torch.ones(1)}, {"arch": "resnet50", "vocabulary_sha256": "v"}, "weights of resnet18, found resnet50"),
        ({"x": torch.ones(1)}, {"arch": "resnet18", "vocabulary_sha256": "v"}, "does not fit a resnet18"),
        (None, None, "expected a file of `openjft export`"),
    ],
)
def test_a_file_that_does_not_fit_is_told(train_options, tmp_path, tensors, metadata, message):
    path = tmp_path / "a.safetensors"
    if tensors is None:
        path.write_bytes(b"nothing")
    else:
        safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=message):
        train(train_options(init=path))
