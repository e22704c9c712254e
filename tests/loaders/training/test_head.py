from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders.labels import Targets
from openjft.loaders.training.device import target_tensors
from openjft.loaders.training.head import class_rows, gather_targets
from openjft.loaders.training.loss import sparse_logistic_loss
from openjft.loaders.training.parallel import World
from openjft.taxonomy import Csr
from openjft.taxonomy.csr import offsets_of

ALONE = World.alone(torch.device("cpu"))


@pytest.mark.parametrize(("num_classes", "world_size"), [(1, 1), (4, 3), (7, 2), (18_291, 8)])
def test_every_class_lies_on_one_rank_and_shares_differ_by_one_at_most(num_classes, world_size):
    rows = [class_rows(num_classes, rank, world_size) for rank in range(world_size)]
    assert [low for low, _ in rows] == [0, *(high for _, high in rows[:-1])]
    assert rows[-1][1] == num_classes
    sizes = {high - low for low, high in rows}
    assert max(sizes) - min(sizes) <= 1


def lists(rows):
    return Csr(np.array([c for row in rows for c in row], np.int32), offsets_of(np.array([len(row) for row in rows])))


def loss_of(logits, targets, **more):
    tensors = target_tensors(targets)
    return sparse_logistic_loss(logits, tensors.pop("label_values"), tensors.pop("label_offsets"), **tensors, **more)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.lists(st.integers(0, 6), unique=True), min_size=1, max_size=4),
    st.integers(1, 7),
    st.booleans(),
    st.booleans(),
)
def test_the_losses_of_the_parts_add_up_to_that_of_the_whole(seed, rows, world_size, weighted, ignoring):
    rng = np.random.default_rng(seed)
    labels = lists(rows)
    values, weights = (rng.random(len(labels.values), np.float32) if weighted else None for _ in range(2))
    left = [[c for c in range(7) if c not in row and rng.random() < 0.4] for row in rows]
    targets = Targets(labels, values, weights, lists(left) if ignoring else None)
    logits = torch.from_numpy(rng.normal(size=(len(rows), 7)).astype(np.float32)).requires_grad_()
    whole = loss_of(logits, targets)
    parts = []
    for rank in range(world_size):
        low, high = class_rows(7, rank, world_size)
        parts.append(loss_of(logits[:, low:high], gather_targets(targets, [len(rows)], ALONE, low, high)))
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
    ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (torch.stack(parts).sum(), whole))
    torch.testing.assert_close(ours, theirs)
