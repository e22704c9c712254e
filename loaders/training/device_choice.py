"""Which device a word means on this machine."""

from __future__ import annotations

import torch

from openjft.loaders.checks import Device, check


def device_mistakes(device: str) -> list[str]:
    """Whether there is such a device here."""
    if device == "cuda" and not torch.cuda.is_available():
        return ["device: expected a CUDA device, since 'cuda' was asked for, and torch sees none; say 'cpu' or 'auto'"]
    return check("device", device, "auto, cpu or cuda", device in ("auto", "cpu", "cuda"))


def choose_device(device: Device) -> torch.device:
    """The device that the word means on this machine."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
