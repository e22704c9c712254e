"""What the options of a training and of an evaluation share: each mistake as a line, all of them in one error."""

from __future__ import annotations

from typing import Any, Literal

import torch

from openjft.loaders.errors import LoaderError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]


def option(text: str, *, recipe: bool = False) -> dict[str, Any]:
    """Metadata of a field: its line of help, and whether it decides the weights."""
    return {"help": text, "recipe": recipe}


def check(name: str, value: object, expected: str, ok: bool) -> list[str]:
    """The line of a mistake, or nothing."""
    return [] if ok else [f"{name}: expected {expected}, found {value!r}"]


def device_mistakes(device: str) -> list[str]:
    """Whether there is such a device here."""
    if device == "cuda" and not torch.cuda.is_available():
        return ["device: expected a CUDA device, since 'cuda' was asked for, and torch sees none; say 'cpu' or 'auto'"]
    return check("device", device, "auto, cpu or cuda", device in ("auto", "cpu", "cuda"))


def raise_all(what: str, mistakes: list[str]) -> None:
    """Raises `LoaderError` with every mistake, if there is one."""
    if mistakes:
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        raise LoaderError(f"{what}: {len(mistakes)} {noun}\n" + "\n".join(f"  {line}" for line in mistakes))


def choose_device(device: Device) -> torch.device:
    """The device that the word means on this machine."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
