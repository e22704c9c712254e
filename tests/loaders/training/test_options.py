from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from openjft.loaders.errors import LoaderError
from openjft.loaders.training import TrainOptions


def test_the_defaults_are_the_papers_recipe():
    recipe = TrainOptions(data=Path("d"), output=Path("o")).recipe()
    expected = {"crop_size": 299, "lr": 1e-3, "lr_decay": 0.9, "lr_decay_images": 3_000_000 * 32, "momentum": 0.9}
    assert recipe.items() >= {**expected, "weight_decay": 1e-4, "batch_size": 32}.items()


def test_all_mistakes_are_told_at_once():
    with pytest.raises(LoaderError) as caught:
        TrainOptions(data=Path("d"), output=Path("o"), arch="vgg", batch_size=0, lr=float("nan"), epochs=1, steps=1)
    lines = str(caught.value).splitlines()
    assert lines[0] == "training options: 4 mistakes"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["epochs, steps", "arch", "batch_size", "lr"]
    assert "expected one of resnet18, resnet50, resnet101, resnet152, found 'vgg'" in lines[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("steps", 0),
        ("batch_size", 1),
        ("crop_size", 16),
        ("image_size", 256),
        ("lr", 0.0),
        ("lr_decay", 1.5),
        ("lr_decay_images", 0),
        ("weight_decay", -1.0),
        ("momentum", 1.0),
        ("rho", 1.0),
        ("epsilon", 0.0),
        ("seed", -1),
        ("precision", "fp16"),
        ("subset", 0.0),
        ("holdout", 1.0),
        ("device", "tpu"),
        ("num_threads", 0),
        ("checkpoint_every_steps", 0),
        ("log_every", 0),
        ("bn_images", 1),
        ("bn_images", 33),
        ("schedule", "linear"),
        ("warmup_images", -1),
        ("ema", 1.0),
        ("init", Path("none.safetensors")),
        ("max_skipped", -0.1),
        ("cache_gb", 0.0),
        ("cache", Path(__file__)),
    ],
)
def test_each_wrong_training_option_is_named(name, value):
    with pytest.raises(LoaderError, match=rf"1 mistake\n  {name}: expected"):
        TrainOptions(data=Path("d"), output=Path("o"), **{name: value})


@pytest.mark.parametrize(("batch_size", "images"), [(32, 32), (256, 32), (48, 48), (20, 20)])
def test_a_batch_norm_group_has_the_papers_32_images_where_they_divide_the_batch(batch_size, images):
    options = TrainOptions(data=Path("d"), output=Path("o"), batch_size=batch_size)
    assert options.group_images == options.recipe()["bn_images"] == images


def test_the_length_belongs_to_the_recipe_where_the_rates_depend_on_it():
    steps, cosine = (
        TrainOptions(data=Path("d"), output=Path("o"), steps=7, schedule=kind).recipe() for kind in ("steps", "cosine")
    )
    assert "steps" not in steps
    assert cosine["steps"] == 7


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_device_is_refused_before_anything_starts():
    with pytest.raises(LoaderError, match="torch sees none"):
        TrainOptions(data=Path("d"), output=Path("o"), device="cuda")


def test_every_field_has_a_line_of_help():
    for field in dataclasses.fields(TrainOptions):
        assert len(field.metadata["help"]) > 10, field.name
