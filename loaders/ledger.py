"""The ledger: a file of JSON lines, one for each sample that was left out; each rank has its own.

A run that goes on from a step cuts off what was written from that step on, and half a line of a killed run, so that no
sample is told twice. Each process does so for its own file, and the first one for those of ranks that are no more, so
that none meddles with a file that another writes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from .account import SkippedSample
from .atomic import whole_file
from .errors import LoaderError

MAX_DETAIL_CHARS: Final = 300
_NAME: Final = re.compile(r"skipped-rank(\d{5,})\.jsonl")


class Ledger:
    """The file of a rank's skipped samples.

    Args:
        folder: that the ledgers of all ranks lie in; it is made when the first sample is skipped.
        rank: of this process.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder, self.rank = folder, rank
        self.path = folder / ledger_name(rank)

    def begin(self, *, epoch: int, step: int, world_size: int = 1) -> None:
        """Cuts off what this rank will see again; rank 0 also what ranks that are no more wrote.

        Raises:
            LoaderError: a ledger cannot be read or written.
        """
        gone = [path for rank, path in _ledgers(self.folder) if rank >= world_size] if self.rank == 0 else []
        _cut([self.path, *gone], epoch=epoch, step=step)

    def write(self, samples: list[SkippedSample]) -> None:
        """Appends a line for each.

        Raises:
            LoaderError: it cannot be written: a sample must not vanish unsaid.
        """
        # ASCII, and so no control characters of strangers.
        lines = [json.dumps({**dataclasses.asdict(s), "detail": s.detail[:MAX_DETAIL_CHARS]}) + "\n" for s in samples]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as sink:
                sink.write("".join(lines))
        except OSError as error:
            raise LoaderError(
                f"{self.path}: the ledger of skipped samples could not be written: {error}; free some space, or give "
                "another folder"
            ) from error


def ledger_name(rank: int) -> str:
    """File name of a rank's ledger."""
    return f"skipped-rank{rank:05d}.jsonl"


def _ledgers(folder: Path) -> list[tuple[int, Path]]:
    """(rank, path) of the ledgers in a folder."""
    if not folder.is_dir():
        return []
    found = [(_NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir())]
    return [(int(match[1]), path) for match, path in found if match]


def _cut(paths: Iterable[Path], *, epoch: int, step: int) -> None:
    for path in paths:
        try:
            if not path.exists():
                continue
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if (place := _place(line)) is not None and place < (epoch, step)]
            if kept == lines:
                continue
            with whole_file(path) as temporary:
                temporary.write_text("".join(kept), encoding="utf-8")
        except OSError as error:
            raise LoaderError(
                f"{path}: the ledger could not be cut back to epoch {epoch}, step {step}: {error}; make the folder "
                "writable, or give another"
            ) from error


def _place(line: str) -> tuple[int, int] | None:
    """Epoch and step of a whole line, None of what is not one."""
    try:
        value: Any = json.loads(line)
        return (int(value["epoch"]), int(value["step"])) if line.endswith("\n") else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
