"""How loops are compiled here: numba, without the interpreter's lock, kept on disk where there is a place for it.

numba writes machine code beside the source file, else into the user's cache folder (`NUMBA_CACHE_DIR` says where), and
refuses to decorate a function where it can write to neither: a read-only installation, no home. Such a machine
compiles once for each process instead. Importing this imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(signature: Any = None) -> Callable[[F], F]:
    """`numba.njit` with a cache, if there can be one; with a signature it compiles (or loads) at once."""

    def compile_it(function: F) -> F:
        try:
            return cast(F, numba.njit(signature, nogil=True, cache=True)(function))
        except (RuntimeError, OSError):
            return cast(F, numba.njit(signature, nogil=True)(function))

    return compile_it


def inlined(function: F) -> F:
    """`numba.njit` for a helper, which becomes a part of its compiled caller."""
    return cast(F, numba.njit(forceinline=True)(function))
