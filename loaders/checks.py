"""Checks of options: each mistake as a line, all of them in one error. No torch here."""

from __future__ import annotations

from typing import Any, Literal

from .errors import LoaderError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]


def option(text: str, *, recipe: bool = False) -> dict[str, Any]:
    """Metadata of a field: its line of help, and whether it decides the weights."""
    return {"help": text, "recipe": recipe}


def check(name: str, value: object, expected: str, ok: bool) -> list[str]:
    """The line of a mistake, or nothing."""
    return [] if ok else [f"{name}: expected {expected}, found {value!r}"]


def raise_all(what: str, mistakes: list[str]) -> None:
    """Raises `LoaderError` with every mistake, if there is one."""
    if mistakes:
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        raise LoaderError(f"{what}: {len(mistakes)} {noun}\n" + "\n".join(f"  {line}" for line in mistakes))
