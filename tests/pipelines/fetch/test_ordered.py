"""Concurrent work with ordered results."""

import asyncio
import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.pipelines.fetch.ordered import in_order


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(1, 8), st.randoms(use_true_random=False))
def test_results_keep_the_order_and_the_window(count, window, draw: random.Random):
    under_way, most, taken = 0, 0, 0

    async def work(item):
        nonlocal under_way, most
        under_way += 1
        most = max(most, item - taken + 1)
        for _ in range(draw.randint(0, 5)):
            await asyncio.sleep(0)
        return item * 10

    async def run():
        nonlocal taken
        results = []
        async for result in in_order(range(count), work, window=window):
            results.append(result)
            taken += 1
        return results

    assert asyncio.run(run()) == [item * 10 for item in range(count)]
    assert under_way == count
    assert most <= window + 1


def test_an_exception_cancels_the_rest():
    ended = []

    async def work(item):
        try:
            if item == 1:
                raise ValueError("item 1")
            await asyncio.sleep(0 if item == 0 else 60)
        finally:
            ended.append(item)

    async def run():
        async with contextlib.aclosing(in_order(range(10), work, window=4)) as results:
            return [result async for result in results]

    with pytest.raises(ValueError, match="item 1"):
        asyncio.run(run())
    assert set(ended) <= set(range(6))


def test_a_consumer_that_fails_cancels_what_is_under_way():
    cancelled = []

    async def work(item):
        try:
            await asyncio.sleep(0 if item == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    async def run():
        async with contextlib.aclosing(in_order(range(10), work, window=4)) as results:
            async for _ in results:
                await asyncio.sleep(0)
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(run())
    assert cancelled == [1, 2, 3]
