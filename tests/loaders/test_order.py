from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.loaders.order import SampleOrder, permutation, rank_slice, splitmix64

GOLDEN_PERMUTATION = [0, 9, 3, 6, 8, 4, 7, 5, 1, 2]
GOLDEN_EPOCH_0 = [21, 7, 5, 8, 3, 2, 22, 1, 4, 0, 6, 20, 19, 14, 13, 9, 17, 15, 12, 11, 18, 10, 16]
GOLDEN_EPOCH_1 = [3, 14, 0, 20, 21, 13, 2, 22, 12, 15, 8, 1, 10, 7, 6, 19, 18, 11, 5, 4, 9, 16, 17]
GOLDEN_BIG = [83686037, 186077907, 153642943]

sizes = st.integers(0, 120)
seeds = st.integers(-(2**40), 2**70)


def everything(order: SampleOrder) -> np.ndarray:
    return order.at(np.arange(order.num_samples, dtype=np.int64))


def test_golden_order():
    """These numbers stay for good: a checkpoint of any release must find its place."""
    assert permutation(10, 1, 2).tolist() == GOLDEN_PERMUTATION
    assert everything(SampleOrder(23, seed=17, epoch=0, block=4, window=3)).tolist() == GOLDEN_EPOCH_0
    assert everything(SampleOrder(23, seed=17, epoch=1, block=4, window=3)).tolist() == GOLDEN_EPOCH_1
    big = SampleOrder(300_000_000, seed=17, epoch=3)
    assert big.at(np.array([0, 1, 299_999_999], np.int64)).tolist() == GOLDEN_BIG


def test_splitmix64_gives_the_published_stream():
    # The generator with seed 1234567, as in the reference implementation: state advances by the golden gamma.
    gamma = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + i * gamma) % 2**64 for i in range(3)], np.uint64)
    assert splitmix64(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(size=sizes, seed=seeds, epoch=st.integers(0, 5), block=st.integers(1, 9), window=st.integers(1, 7))
def test_every_sample_stands_in_the_order_exactly_once(size, seed, epoch, block, window):
    order = SampleOrder(size, seed=seed, epoch=epoch, block=block, window=window)
    assert sorted(everything(order).tolist()) == list(range(size))


@given(size=st.integers(1, 120), seed=seeds, block=st.integers(1, 9), window=st.integers(1, 7), data=st.data())
def test_a_position_can_be_asked_for_alone_and_in_any_order(size, seed, block, window, data):
    order = SampleOrder(size, seed=seed, epoch=2, block=block, window=window)
    whole = everything(order)
    asked = data.draw(st.lists(st.integers(0, size - 1), max_size=20))
    fresh = SampleOrder(size, seed=seed, epoch=2, block=block, window=window)
    assert fresh.at(np.array(asked, np.int64)).tolist() == whole[asked].tolist()


@given(size=st.integers(1, 120), seed=seeds, block=st.integers(1, 9), window=st.integers(1, 7))
def test_the_order_is_the_plain_two_level_shuffle(size, seed, block, window):
    blocks = [range(i, min(i + block, size)) for i in range(0, size, block)]
    laid_out = [sample for number in permutation(len(blocks), seed, 4, 1) for sample in blocks[number]]
    expected = []
    for number, start in enumerate(range(0, size, block * window)):
        part = laid_out[start : start + block * window]
        expected += [part[i] for i in permutation(len(part), seed, 4, 2, number)]
    assert everything(SampleOrder(size, seed=seed, epoch=4, block=block, window=window)).tolist() == expected


def test_a_window_touches_no_more_blocks_than_its_size():
    order = SampleOrder(10_000, seed=1, epoch=0, block=10, window=8)
    for start in range(0, 10_000, 80):
        samples = order.at(np.arange(start, start + 80, dtype=np.int64))
        assert len(np.unique(samples // 10)) == 8


def test_orders_differ_by_seed_and_by_epoch_and_look_random():
    orders = [everything(SampleOrder(2_000, seed=s, epoch=e)) for s in (0, 1) for e in (0, 1)]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert np.mean(a == b) < 0.01
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.1
        assert abs(np.corrcoef(a, np.arange(2_000))[0, 1]) < 0.1


def test_each_position_sees_each_sample_equally_often():
    counts = np.zeros((6, 6))
    for epoch in range(3_000):
        counts[np.arange(6), everything(SampleOrder(6, seed=9, epoch=epoch))] += 1
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert chi_square < 60  # 25 degrees of freedom: 0.9999 quantile is 60.1; the draw is fixed


def test_without_shuffling_the_order_is_that_of_storage():
    assert everything(SampleOrder(50, seed=1, epoch=7, shuffle=False)).tolist() == list(range(50))


@given(
    batch=st.integers(1, 40),
    extra=st.integers(0, 39),
    full=st.integers(0, 4),
    world=st.integers(1, 9),
)
def test_ranks_share_a_batch_without_gap_or_overlap(batch, extra, full, world):
    total = full * batch + extra % batch
    for step in range(-(-total // batch)):
        parts = [rank_slice(step, batch_size=batch, num_samples=total, rank=r, world_size=world) for r in range(world)]
        assert parts[0][0] == step * batch
        assert parts[-1][1] == min((step + 1) * batch, total)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))
        lengths = [end - start for start, end in parts]
        assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", [0, 1])
def test_orders_of_nothing_and_of_one(size):
    assert everything(SampleOrder(size, seed=3, epoch=0)).tolist() == list(range(size))
