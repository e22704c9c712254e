from __future__ import annotations

import numpy as np
import pytest
import torch

from openjft.loaders.errors import LoaderError
from openjft.loaders.training.loss import sparse_logistic_loss
from openjft.loaders.training.models import build_model, class_log_odds


def test_log_odds_are_those_of_the_frequency_and_stay_finite():
    odds = class_log_odds(np.array([0, 25, 50, 100]), 100)
    expected = np.log([0.5 / 99.5, 1 / 3, 1.0, 99.5 / 0.5])
    np.testing.assert_allclose(odds, expected, atol=1e-6)
    with pytest.raises(LoaderError, match="at least one image"):
        class_log_odds(np.array([0]), 0)


def test_the_first_loss_is_the_entropy_of_the_frequencies():
    counts = np.array([1, 2, 2])  # of 4 images: [0, 1], [1], [2], [2]
    model = build_model("resnet18", 3, seed=0, class_log_odds=class_log_odds(counts, 4)).eval()
    with torch.inference_mode():
        logits = model(torch.rand(4, 3, 32, 32))
    loss = sparse_logistic_loss(logits, torch.tensor([0, 1, 1, 2, 2]), torch.tensor([0, 2, 3, 4, 5]))
    p = counts / 4
    assert loss.item() == pytest.approx(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(), rel=1e-5)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = (build_model("resnet18", 2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.conv1.weight, b.conv1.weight)
    assert not torch.equal(a.conv1.weight, c.conv1.weight)


def test_an_unknown_architecture_is_named():
    with pytest.raises(LoaderError, match=r"resnet18, resnet50, resnet101, resnet152, found 'resnet34'"):
        build_model("resnet34", 2, seed=0)
