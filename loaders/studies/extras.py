"""The libraries that studies need beside the base install: looked for before the first training, not after the last."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Final

from openjft.loaders.errors import LoaderError

NEEDED: Final = ("matplotlib", "scipy")


def require(names: Sequence[str] = NEEDED) -> None:
    """Raises `LoaderError` with the line to type if a library is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise LoaderError(
            f"a study needs {' and '.join(missing)}, not installed here: pip install 'openjft[study]' "
            "('openjft[pipeline]' has both, too)"
        )
