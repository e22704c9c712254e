"""Threads of numerical libraries: workers run side by side, and a product's last bits depend on its threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """BLAS and OpenMP compute in one thread while the block runs."""
    import threadpoolctl  # type: ignore[import-untyped]

    with threadpoolctl.threadpool_limits(1):
        yield
