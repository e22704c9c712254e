"""How the report writes numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def percent(value: float | None, digits: int = 1) -> str:
    """0.8132 -> '81.3 %'; '-' for nothing."""
    return "-" if value is None else f"{100 * value:.{digits}f}\u00a0%"


def share(part: int, whole: int) -> str:
    """'58 (79.5 %)'; the number alone where there is no whole."""
    return f"{part:,} ({percent(part / whole)})" if whole else f"{part:,}"


def many(number: int, one: str, more: str) -> str:
    """'1 cycle was' or '2,316 cycles were'."""
    return f"{number:,} {one if number == 1 else more}"


def interval(estimate: Mapping[str, Any] | None, key: str = "precision") -> str:
    """'81.3 % [79.0, 83.5]'; '-' for nothing."""
    if not estimate or estimate.get(key) is None:
        return "-"
    return f"{percent(estimate[key])} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"
