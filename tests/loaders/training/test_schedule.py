from __future__ import annotations

import pytest
import torch

from openjft.loaders.training.ema import Ema, step_decay
from openjft.loaders.training.schedule import Schedule


def schedule(**changes):
    values = {
        "kind": "steps", "initial": 0.1, "decay": 0.5, "decay_images": 100, "warmup_images": 0, "total_images": 400,
    }  # fmt: skip
    return Schedule(**(values | changes))


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        ("steps", {0: 0.1, 99: 0.1, 100: 0.05, 399: 0.0125}),
        ("constant", {0: 0.1, 399: 0.1}),
        ("cosine", {0: 0.1, 200: 0.05, 400: 0.0, 500: 0.0}),
    ],
)
def test_the_rate_is_a_function_of_the_images_seen(kind, rates):
    made = schedule(kind=kind)
    assert {images: made.rate(images, 1) for images in rates} == pytest.approx(rates)


def test_the_warm_up_rises_linearly_and_ends_at_the_schedule():
    made = schedule(warmup_images=40, kind="constant")
    assert [made.rate(images, 10) for images in range(0, 50, 10)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])


def test_the_mean_spans_as_many_images_at_any_batch_size():
    # Far from the start, where the decay is the one asked for.
    assert step_decay(0.999, 10**9, 32) == pytest.approx(0.999)
    assert step_decay(0.999, 10**9, 64) == pytest.approx(step_decay(0.999, 10**9, 32) ** 2)
    assert step_decay(0.999, 10**9, 8) ** 4 == pytest.approx(0.999)


def test_early_steps_forget_the_random_start():
    assert step_decay(0.9999, 0, 32) == pytest.approx(0.1)
    assert step_decay(0.9999, 32 * 90, 32) == pytest.approx(0.91)


def test_the_mean_follows_weights_and_copies_counters():
    tensors = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(1)}
    ema = Ema(tensors, 0.5)
    tensors["w"] += 1.0
    tensors["n"] += 1
    ema.update(tensors, images_seen=10**9, batch_images=32)
    assert ema.tensors["w"].tolist() == [0.5, 2.5]
    assert ema.tensors["n"] == 2
    ema.load({"w": torch.tensor([7.0, 8.0]), "n": torch.tensor(3)})
    assert ema.tensors["w"].tolist() == [7.0, 8.0]
