from __future__ import annotations

import pytest
import torch
from torch import nn

from openjft.loaders.transfer.sgd import load_sgd, make_schedule, make_sgd, sgd_tensors


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))


def test_weight_decay_leaves_norms_and_biases_alone(options):
    model = network()
    groups = make_sgd(model, options(weight_decay=0.01)).param_groups
    decayed = {id(p) for p in groups[0]["params"]}
    assert {name for name, p in model.named_parameters() if id(p) in decayed} == {"0.weight", "3.weight"}
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert all(group["nesterov"] and group["momentum"] == 0.9 for group in groups)


def test_momentum_that_was_put_back_gives_the_same_steps(options):
    torch.manual_seed(1)
    inputs = torch.randn(4, 4, 1, 1, 1)

    def step(model, optimizer, i):
        optimizer.zero_grad()
        model(inputs[i]).square().sum().backward()
        optimizer.step()

    one = network()
    first = make_sgd(one, options())
    for i in range(2):
        step(one, first, i)
    other = network()
    other.load_state_dict(one.state_dict())
    second = make_sgd(other, options())
    load_sgd(other, second, {name: tensor.clone() for name, tensor in sgd_tensors(one, first).items()})
    for model, optimizer in ((one, first), (other, second)):
        for i in range(2, 4):
            step(model, optimizer, i)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_momentum_of_another_network_is_refused(options):
    model = network()
    optimizer = make_sgd(model, options())
    tensors = sgd_tensors(model, optimizer)
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        load_sgd(model, optimizer, tensors | {"momentum.0.weight": torch.zeros(3)})


def test_the_rate_rises_then_falls_as_a_cosine_to_zero(options):
    schedule = make_schedule(options(lr=1.0, warmup_images=100), 1_000)
    rates = [schedule.rate(images, 10) for images in range(0, 1_000, 10)]
    peak = rates.index(max(rates))
    assert 0 < rates[0] < 0.15
    assert 8 <= peak <= 10
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[50] == pytest.approx(0.5)
    assert rates[-1] < 0.001
