"""Where the time of a training step goes, and how much arithmetic it holds.

In: networks, and torch profiles of steps. Out: FLOPs of an image, shares of the device's time by part, the rate of a
large matrix product. `bench_train.py` puts them together.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from openjft.loaders.training import build_model

OPTIMIZER: Final = "Optimizer.step"
COPIES: Final = ("aten::copy_", "Memcpy", "Memset", "aten::contiguous", "aten::clone")
# The nearest of an operator and those that called it decides. A network of torchvision has no `cat` but for the groups
# of our batch norm, and no matrix product but for the head.
PARTS: Final = {
    "convolution": ("conv",),
    "batch norm": ("batch_norm", "batchnorm", "aten::cat", "aten::stack", "catbackward", "splitbackward"),
    "head": ("aten::addmm", "aten::mm", "aten::linear", "addmmbackward"),
    "loss": ("softplus", "aten::index_select", "indexselect", "repeat_interleave"),
    "crop": ("aten::index",),
    "relu, pooling, sums": ("relu", "clamp", "threshold", "pool", "aten::add", "aten::mean"),
    "between processes": ("nccl", "all_reduce", "allreduce", "gloo"),
    "fused by the compiler": ("triton", "compiled", "cpp_fused"),
}
# TFLOP/s of dense bfloat16 matrix products, from the data sheets; the first name that a device's name holds.
SHEET: Final = {"H100 PCIe": 756.0, "H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "B200": 2_250.0}


class Event(NamedTuple):
    """An operator: its name and those of its callers, the nearest first; microseconds of its own."""

    names: tuple[str, ...]
    own_us: float


def part_of(names: tuple[str, ...]) -> str:
    """The part of a step that an operator belongs to."""
    if any(name.startswith(OPTIMIZER) for name in names):
        return "optimizer"
    if names[0].startswith(COPIES):
        return "casts and copies"
    for name in names:
        for part, words in PARTS.items():
            if any(word in name.lower() for word in words):
                return part
    return "other"


def shares(events: Iterable[Event], total_us: float | None = None) -> dict[str, float]:
    """Each part's share of the time, the largest first; what `total_us` has beyond the events is `other`."""
    sums: dict[str, float] = {}
    for event in events:
        part = part_of(event.names)
        sums[part] = sums.get(part, 0.0) + event.own_us
    whole = max(sum(sums.values()), total_us or 0.0)
    if not whole:
        return {}
    sums["other"] = sums.get("other", 0.0) + whole - sum(sums.values())
    ordered = sorted(sums.items(), key=lambda item: -item[1])
    return {part: round(value / whole, 4) for part, value in ordered if value > 0}


class Profile(NamedTuple):
    """Shares of the parts, and the share of the time in which the device was busy (None on the CPU)."""

    shares: dict[str, float]
    busy: float | None


def profiler(device: torch.device) -> profile:
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    return profile(activities=kinds)


def read_profile(done: profile, device: torch.device, seconds: float) -> Profile:
    """What a finished profile of `seconds` says. On CUDA kernels count for the operator that launched them."""
    cuda = device.type == "cuda"
    found, kernels_us = [], 0.0
    for event in done.events() or ():
        if event.device_type != torch.autograd.DeviceType.CPU:
            kernels_us += event.time_range.elapsed_us()
            continue
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        if own > 0:
            found.append(Event(_names(event), own))
    if not cuda:
        return Profile(shares(found), None)
    return Profile(shares(found, kernels_us), round(min(kernels_us / 1e6 / seconds, 1.0), 4))


def _names(event: Any) -> tuple[str, ...]:
    names = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    return tuple(names)


def flops_an_image(arch: str, crop_size: int, classes: int) -> dict[str, float]:
    """Operations of the forward and backward pass of one image, a multiplication and an addition being two."""
    model = build_model(arch, classes, seed=0).to("meta").train()
    images = torch.empty(2, 3, crop_size, crop_size, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    counts = {str(op): count / 2 for op, count in counter.get_flop_counts()["Global"].items()}
    convolution = sum(count for op, count in counts.items() if "conv" in op)
    return {"convolution": convolution, "head": sum(counts.values()) - convolution}


def product_tflops(device: torch.device, dtype: torch.dtype, *, side: int, seconds: float = 1.0) -> float:
    """TFLOP/s of square matrix products, the best of five goes: the most that any layer could hope for here."""
    a = torch.rand(side, side, device=device, dtype=dtype)
    b = torch.rand(side, side, device=device, dtype=dtype)

    def products(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    products(2)
    count = max(1, int(seconds / 5 / max(products(2) / 2, 1e-6)))
    return 2 * side**3 * count / min(products(count) for _ in range(5)) / 1e12


def sheet_tflops(device: torch.device) -> float | None:
    """What the data sheet promises of bfloat16, of a device that is known here."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate for known, rate in SHEET.items() if known in name), None)
