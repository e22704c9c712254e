from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from openjft.loaders.training.models import build_model
from openjft.loaders.training.optimizer import RMSProp, parameter_groups
from openjft.loaders.training.schedule import learning_rate


def reference(w, grads, lrs, *, rho, momentum, epsilon, weight_decay):
    """TensorFlow's ApplyRMSProp with its slots' initial values, in float64."""
    ms, mom = np.ones_like(w), np.zeros_like(w)
    for gradient, lr in zip(grads, lrs, strict=True):
        g = gradient + weight_decay * w
        ms = rho * ms + (1 - rho) * g**2
        mom = momentum * mom + lr * g / np.sqrt(ms + epsilon)
        w = w - mom
    return w


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_with_a_changing_learning_rate_follow_tensorflow(weight_decay):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(3, 4)), rng.normal(size=(6, 3, 4))
    lrs = [0.1, 0.1, 0.05, 0.2, 0.01, 0.01]
    settings = {"rho": 0.9, "momentum": 0.8, "epsilon": 1e-3, "weight_decay": weight_decay}
    w = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = RMSProp([w], lr=1.0, **settings)
    for g, lr in zip(grads, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        w.grad = torch.from_numpy(g.copy())
        optimizer.step()
        np.testing.assert_array_equal(w.grad.numpy(), g)  # the penalty is not left in the gradient
    np.testing.assert_allclose(w.detach().numpy(), reference(start, grads, lrs, **settings), rtol=1e-12)


def test_it_is_not_torch_optim_rmsprop():
    ours, theirs = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    a = RMSProp([ours], lr=0.1, rho=0.9, momentum=0.9, epsilon=1e-3)
    b = torch.optim.RMSprop([theirs], lr=0.1, alpha=0.9, momentum=0.9, eps=1e-3)
    for p, optimizer in ((ours, a), (theirs, b)):
        p.grad = torch.tensor([1.0, 1e-3], dtype=torch.float64)
        optimizer.step()
    assert not torch.allclose(ours, theirs, rtol=0.01)


def test_state_dict_restores_the_run():
    def step(w, optimizer, g):
        w.grad = torch.full_like(w, g)
        optimizer.step()

    w = nn.Parameter(torch.ones(3))
    optimizer = RMSProp([w], lr=0.1)
    step(w, optimizer, 0.5)
    twin = nn.Parameter(w.detach().clone())
    other = RMSProp([twin], lr=9.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(w, optimizer, -1.5)
    step(twin, other, -1.5)
    assert torch.equal(w, twin)


def test_a_parameter_without_a_gradient_is_left_alone():
    used, unused = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = RMSProp([used, unused], lr=0.1)
    used.grad = torch.ones(1)
    optimizer.step()
    assert unused.item() == 1.0
    assert used.item() < 1.0


def test_only_filters_and_head_weights_are_penalised():
    model = build_model("resnet18", 5, seed=0)
    decayed, free = parameter_groups(model, 1e-4)
    names = {id(p): n for n, p in model.named_parameters()}
    assert decayed["weight_decay"] == 1e-4
    assert free["weight_decay"] == 0.0
    assert {names[id(p)] for p in free["params"]} == {n for n in names.values() if "bn" in n or n.endswith("bias")} | {
        n for n in names.values() if "downsample.1" in n
    }
    assert len(decayed["params"]) + len(free["params"]) == len(names)


@pytest.mark.parametrize(
    ("images", "expected"), [(0, 1e-3), (95_999_999, 1e-3), (96_000_000, 9e-4), (2 * 96_000_000 + 5, 8.1e-4)]
)
def test_the_learning_rate_falls_by_a_tenth_every_96_million_images(images, expected):
    assert learning_rate(images, initial=1e-3, decay=0.9, decay_images=96_000_000) == pytest.approx(expected)
