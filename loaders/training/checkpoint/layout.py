"""Names in a checkpoint, which rank writes which tensor, and the content of `checkpoint.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from torch import Tensor

FORMAT: Final = 2  # 1 was a torch file, step-*.pt
KEPT: Final = 2
CONTENT: Final = "checkpoint.json"
TEMPORARY: Final = ".tmp-"
SECTIONS: Final = ("model", "optimizer", "ema")
FILE_NAME: Final = re.compile(r"(model|optimizer|ema)-\d{5}-of-\d{5}\.safetensors")
_NAME: Final = re.compile(r"step-\d{12}")
_FORMER: Final = re.compile(r"step-\d{12}\.pt")

Sections = Mapping[str, Mapping[str, Tensor]]  # section -> name -> tensor


class Rows(NamedTuple):
    """The part of a tensor that one rank holds: rows [low, high) of `total`."""

    low: int
    high: int
    total: int


def folder_name(step: int) -> str:
    """The name of a step's folder."""
    return f"step-{step:012d}"


def step_of(folder: Path) -> int:
    """The step of a folder of that name."""
    return int(folder.name.removeprefix("step-"))


def file_name(section: str, rank: int, world_size: int) -> str:
    """The name of a rank's file."""
    return f"{section}-{rank:05d}-of-{world_size:05d}.safetensors"


def checkpoint_folders(output: Path) -> list[Path]:
    """The whole checkpoints below a training's output folder, oldest first."""
    folder = output / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / CONTENT).is_file())


def former_files(output: Path) -> list[Path]:
    """Files of format 1, which is not read any more."""
    return sorted(path for path in (output / "checkpoints").glob("step-*.pt") if _FORMER.fullmatch(path.name))


def share_of(tensors: Mapping[str, Tensor], rank: int, world_size: int) -> list[str]:
    """Names of the replicated tensors that a rank writes, so that all ranks write about as many bytes.

    The largest first, each to the rank with the least so far: the same on every rank, nothing to be agreed on.
    """
    loads = [0] * world_size
    mine = []
    for name in sorted(tensors, key=lambda name: (-tensors[name].nbytes, name)):
        taker = loads.index(min(loads))
        loads[taker] += tensors[name].nbytes
        if taker == rank:
            mine.append(name)
    return mine
