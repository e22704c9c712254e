from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from openjft.loaders.training.batchnorm import GroupBatchNorm2d, Groups, group_sizes, use_groups

SHAPE = (5, 3, 2)  # channels, height, width


def images_of(n, seed=0):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def layer_of(sizes, share=1.0):
    torch.manual_seed(1)
    made = GroupBatchNorm2d(SHAPE[0], groups=Groups(tuple(sizes), share))
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


def by_hand(layer, images, sizes):
    """Each group normalised in float64, and the running statistics of the mean over groups."""
    out, means, variances = [], [], []
    for part in images.double().split(sizes):
        mean, var = part.mean((0, 2, 3)), part.var((0, 2, 3), unbiased=False)
        count = part.numel() / SHAPE[0]
        scaled = (part - mean[:, None, None]) / (var[:, None, None] + layer.eps).sqrt()
        out.append(scaled * layer.weight.double()[:, None, None] + layer.bias.double()[:, None, None])
        means.append(mean)
        variances.append(var * count / (count - 1))
    m = layer.momentum
    running = m * torch.stack(means).mean(0), 1 - m + m * torch.stack(variances).mean(0)
    return torch.cat(out), *running


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_each_group_is_normalised_by_itself_and_running_statistics_follow_their_mean(sizes):
    images, layer = images_of(sum(sizes)), layer_of(sizes, 1 / len(sizes))
    expected, mean, variance = by_hand(layer, images, sizes)
    torch.testing.assert_close(layer(images).double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.running_var.double(), variance, rtol=1e-4, atol=1e-5)
    assert layer.num_batches_tracked == 1


def test_one_group_has_the_bits_of_the_library():
    images, layer = images_of(6), layer_of([6])
    library = nn.BatchNorm2d(SHAPE[0])
    library.load_state_dict(layer.state_dict())
    assert torch.equal(layer(images), library(images))
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), library.buffers(), strict=True))


def test_the_mean_of_the_ranks_running_statistics_is_that_of_one_process():
    images = images_of(7)
    one = layer_of([2, 2, 2, 1], 1 / 4)
    one(images)
    ranks = [layer_of([2, 2], 2 / 4), layer_of([2, 1], 2 / 4)]
    for rank, part in zip(ranks, images.split([4, 3]), strict=True):
        rank(part)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(rank, name) for rank in ranks]).mean(0)
        torch.testing.assert_close(mean, getattr(one, name))


def test_a_rank_without_images_only_lets_its_running_statistics_fade():
    layer = layer_of([2], 0.0)
    out = layer(torch.zeros(2, *SHAPE))
    out.sum().backward()
    assert torch.isfinite(layer.weight.grad).all()
    assert torch.equal(layer.running_mean, torch.zeros(SHAPE[0]))
    torch.testing.assert_close(layer.running_var, torch.full((SHAPE[0],), 0.9))


@pytest.mark.parametrize("sizes", [[1], [2, 1]])
def test_a_single_value_of_a_channel_becomes_the_bias_and_no_nan(sizes):
    layer = layer_of(sizes, 1 / len(sizes))
    out = layer(images_of(sum(sizes))[:, :, :1, :1])
    torch.testing.assert_close(out[-1, :, 0, 0], layer.bias)
    out.sum().backward()
    assert all(torch.isfinite(t).all() for t in (out, layer.running_var, layer.running_mean, layer.weight.grad))


def test_evaluation_uses_the_running_statistics_and_no_groups():
    layer = layer_of([1, 2], 0.5).eval()
    images = images_of(3)
    library = nn.BatchNorm2d(SHAPE[0]).eval()
    library.load_state_dict(layer.state_dict())
    assert torch.equal(layer(images), library(images))


def test_the_parts_of_a_channels_last_batch_stay_so():
    images = images_of(4).to(memory_format=torch.channels_last)
    assert layer_of([2, 2], 0.5)(images).is_contiguous(memory_format=torch.channels_last)


def test_a_network_keeps_the_names_and_tensors_of_its_state():
    model = torchvision.models.resnet18(weights=None, num_classes=3)
    before = copy.deepcopy(model.state_dict())
    pointers = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    use_groups(model, Groups())
    assert list(model.state_dict()) == list(before)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == pointers
    assert sum(isinstance(layer, GroupBatchNorm2d) for layer in model.modules()) == 20
    assert not any(type(layer) is nn.BatchNorm2d for layer in model.modules())


@given(st.sets(st.integers(0, 30)), st.integers(1, 9))
def test_groups_are_told_by_slot_and_empty_ones_are_left_out(slots, images):
    ordered = sorted(slots)
    expected = [sum(s // images == g for s in ordered) for g in range(31)]
    assert group_sizes(np.array(ordered, np.int64), images) == tuple(n for n in expected if n)
