"""Concurrent work whose results come out in order, with a bounded number held back.

In: items, and an async function of one. Out: its results, in the items' order. At most `window` items are under
way or finished and waiting for an earlier one, which bounds the memory of a slow head.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, R]], *, window: int
) -> AsyncGenerator[R, None]:
    """Yields `await work(item)` for each item, in order; close it (`contextlib.aclosing`) to stop what is under way.

    Raises:
        Exception: the first one of `work`, in the items' order; the rest is cancelled.
    """
    pending: collections.deque[asyncio.Task[R]] = collections.deque()
    try:
        for item in items:
            if len(pending) >= window:
                yield await pending.popleft()
            pending.append(asyncio.create_task(work(item)))
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
