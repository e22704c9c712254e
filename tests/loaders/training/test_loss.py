from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from openjft.loaders.errors import LoaderError
from openjft.loaders.training.loss import sparse_logistic_loss


def dense(rows, num_classes):
    target = torch.zeros(len(rows), num_classes)
    for i, row in enumerate(rows):
        target[i, row] = 1.0
    return target


def sparse(rows):
    offsets = torch.tensor(np.concatenate(([0], np.cumsum([len(r) for r in rows]))))
    return torch.tensor([c for r in rows for c in r], dtype=torch.int64), offsets


def reference(logits, rows):
    target = dense(rows, logits.shape[1]).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(rows)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.lists(st.integers(0, 6), unique=True), min_size=1, max_size=5))
def test_value_and_gradient_are_those_of_the_dense_cross_entropy(seed, rows):
    z = torch.randn(len(rows), 7, generator=torch.Generator().manual_seed(seed)) * 10
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    loss, expected = sparse_logistic_loss(ours, *sparse(rows)), reference(theirs, rows)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("size", [100.0, 1e4])
def test_huge_logits_give_no_infinity(size):
    z = torch.tensor([[size, -size]], requires_grad=True)
    loss = sparse_logistic_loss(z, *sparse([[0]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.0)
    assert z.grad.isfinite().all()


def test_bfloat16_logits_are_summed_in_float32():
    z = torch.full((2, 18_291), -10.0, dtype=torch.bfloat16)
    loss = sparse_logistic_loss(z, *sparse([[1], [2, 3]]))
    assert loss.dtype == torch.float32
    # float64, since the dense form itself loses 4e-4 of it to cancellation in float32
    torch.testing.assert_close(loss.double(), reference(z.double(), [[1], [2, 3]]), rtol=1e-6, atol=0.0)


def test_a_batch_without_labels_is_all_negatives():
    loss = sparse_logistic_loss(torch.zeros(2, 3), *sparse([[], []]))
    assert loss.item() == pytest.approx(3 * np.log(2))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 5), c=st.integers(1, 7))
def test_targets_weights_and_masks_equal_the_dense_loss_and_its_gradient(seed, n, c):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, (n, c))  # 0 negative, 1 label, 2 left out
    target, weight = rng.random((n, c)).astype(np.float32), rng.random((n, c)).astype(np.float32) * 3
    logits = torch.tensor(rng.normal(0, 3, (n, c)), dtype=torch.float32, requires_grad=True)
    dense = torch.tensor(logits.detach().numpy(), requires_grad=True)

    def cells(which):
        offsets = np.concatenate([[0], np.cumsum((kind == which).sum(1))])
        return torch.tensor(np.nonzero(kind == which)[1]), torch.tensor(offsets)

    (values, offsets), (ignored, ignored_offsets) = cells(1), cells(2)
    loss = sparse_logistic_loss(
        logits,
        values,
        offsets,
        label_targets=torch.tensor(target[kind == 1]),
        label_weights=torch.tensor(weight[kind == 1]),
        ignored_values=ignored,
        ignored_offsets=ignored_offsets,
        images=2 * n,
    )
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        dense,
        torch.tensor(np.where(kind == 1, target, 0).astype(np.float32)),
        weight=torch.tensor(np.select([kind == 1, kind == 2], [weight, 0], 1.0).astype(np.float32)),
        reduction="sum",
    ) / (2 * n)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits.grad, dense.grad)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_class_that_does_not_exist_is_refused_among_labels_and_among_those_left_out(wrong):
    logits, (values, offsets) = torch.zeros(2, 3), sparse([[0], [1]])
    ignored, ignored_offsets = sparse([[wrong], []])
    with pytest.raises(LoaderError, match=rf"class ids in \[0, 3\), found {wrong} to {wrong}"):
        sparse_logistic_loss(logits, values, offsets, ignored_values=ignored, ignored_offsets=ignored_offsets)
    with pytest.raises(LoaderError, match=r"class ids in \[0, 3\)"):
        sparse_logistic_loss(logits, ignored, ignored_offsets)
