"""Writes checkpoints while the training goes on.

In: the tensors that a rank holds, on any device. Out: a folder that appears by rename. The step loop waits for the copy
into host memory and no longer; a thread writes and syncs this rank's files. Ranks tell each other with the numbers
that they exchange in every step anyway (`state`), so that all of them learn in one step that a save is whole, or that
it failed. One save is under way at most.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openjft.loaders.errors import CheckpointError

from ..parallel import World
from .layout import (
    CONTENT,
    FORMAT,
    KEPT,
    TEMPORARY,
    Rows,
    Sections,
    checkpoint_folders,
    file_name,
    folder_name,
    share_of,
)
from .state import Checkpoint
from .tensor_file import sync_folder, write_tensors

QUIET, WRITTEN, FAILED = 0, 1, 2  # states of a rank's save


class CheckpointWriter:
    """The saves of one run.

    Args:
        output: the training's output folder, the same for all ranks.
        world: the processes that save together.
    """

    def __init__(self, output: Path, world: World) -> None:
        self._folder, self._world = output / "checkpoints", world
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="openjft-checkpoint")
        self._host: dict[tuple[str, str], Tensor] = {}  # the copies, allocated once
        self._future: Future[list[dict[str, Any]]] | None = None
        self._step = -1
        self._facts: dict[str, Any] = {}
        if world.rank == 0:
            _remove_leftovers(self._folder)

    @property
    def state(self) -> int:
        """What the other ranks need to know: QUIET (nothing or not yet), WRITTEN or FAILED."""
        if self._future is None or not self._future.done():
            return QUIET
        return WRITTEN if self._future.exception() is None else FAILED

    def start(self, step: int, sections: Sections, rows: Mapping[str, Rows], facts: Mapping[str, Any]) -> None:
        """Copies this rank's share and returns; the rest happens in the thread. The one before must be finished.

        Args:
            step: of the checkpoint.
            sections: the tensors that this rank holds: whole ones are the same on all ranks.
            rows: of the tensors of which it holds some rows only.
            facts: `Checkpoint.facts()`.
        """
        assert self._future is None, "a save is under way"
        world = self._world
        shares: dict[str, dict[str, Tensor]] = {}
        for section, tensors in sections.items():
            whole = {name: tensor for name, tensor in tensors.items() if name not in rows}
            names = {*share_of(whole, world.rank, world.size), *(name for name in tensors if name in rows)}
            shares[section] = {name: self._copy(section, name, tensors[name]) for name in tensors if name in names}
        copied = None
        if world.device.type == "cuda":
            copied = torch.cuda.current_stream(world.device).record_event()
        self._step, self._facts = step, {"format": FORMAT, **facts}
        self._future = self._thread.submit(self._write, self._temporary(), shares, dict(rows), copied)

    def settle(self, states: Sequence[int]) -> Path | None:
        """Ends a save that all ranks have written; called by all ranks with the states of all ranks.

        Returns:
            The checkpoint's folder if the save ended now.

        Raises:
            CheckpointError: a rank could not write; the checkpoints before it are untouched.
        """
        if FAILED in states:
            self._fail(states)
        if self._future is None or any(state != WRITTEN for state in states):
            return None
        texts = self._world.gather_text(json.dumps(self._future.result()))
        self._future = None
        final = self._folder / folder_name(self._step)
        if self._world.rank == 0:
            files = sorted((file for text in texts for file in json.loads(text)), key=lambda file: file["name"])
            try:
                self._publish(final, files)
            except OSError as error:
                raise _not_written(final, error) from error
        return final

    def finish(self) -> Path | None:
        """Waits for the save under way, if there is one; called by all ranks.

        Raises:
            CheckpointError: it could not be written.
        """
        if self._future is None:
            return None
        self._future.exception()  # waits
        return self.settle([states[0] for states in self._world.gather([self.state])])

    def close(self) -> None:
        """Ends the thread. After an error a single process still ends its save; several cannot agree any more."""
        if self._world.size == 1:
            with contextlib.suppress(CheckpointError):
                self.finish()
        self._thread.shutdown(wait=True)

    def _temporary(self) -> Path:
        return self._folder / f"{TEMPORARY}{folder_name(self._step)}"

    def _copy(self, section: str, name: str, tensor: Tensor) -> Tensor:
        host = self._host.get((section, name))
        if host is None:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._host[section, name] = host
        return host.copy_(tensor.detach(), non_blocking=True)

    def _write(
        self,
        folder: Path,
        shares: Mapping[str, Mapping[str, Tensor]],
        rows: Mapping[str, Rows],
        copied: torch.cuda.Event | None,
    ) -> list[dict[str, Any]]:
        """This rank's files; in the thread. Returns their entries of checkpoint.json."""
        if copied is not None:
            copied.synchronize()
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for section, tensors in shares.items():
            if not tensors:
                continue
            path = folder / file_name(section, self._world.rank, self._world.size)
            written = write_tensors(path, tensors)
            spans = {name: list(rows[name]) for name in tensors if name in rows}
            entries.append({**written._asdict(), "rows": spans, "tensors": len(tensors)})
        return entries

    def _fail(self, states: Sequence[int]) -> None:
        """Raises the error of the first rank that could not write."""
        own = None if self._future is None or not self._future.done() else self._future.exception()
        texts = self._world.gather_text("" if own is None else str(own))
        self._future = None
        first = states.index(FAILED)
        if self._world.rank == 0:
            shutil.rmtree(self._temporary(), ignore_errors=True)
        where = f" on rank {first}" if self._world.size > 1 else ""
        raise _not_written(self._folder / folder_name(self._step), f"{texts[first]}{where}") from own

    def _publish(self, final: Path, files: Sequence[Mapping[str, Any]]) -> None:
        """Writes checkpoint.json, renames the folder, and removes all but the last two."""
        folder = self._temporary()
        missing = [file["name"] for file in files if not (folder / file["name"]).is_file()]
        if missing:
            raise OSError(f"{missing[0]}, written by another rank, is not there: output must be a folder they share")
        path = folder / CONTENT
        path.write_text(json.dumps({**self._facts, "files": files}, indent=1), encoding="utf-8")
        sync_folder(path)
        sync_folder(folder)
        if final.exists():
            shutil.rmtree(final)
        folder.rename(final)
        sync_folder(self._folder)
        for old in checkpoint_folders(self._folder.parent)[:-KEPT]:
            _remove(old)


def _not_written(final: Path, why: object) -> CheckpointError:
    return CheckpointError(
        f"{final}: could not be written: {why}. The checkpoints before it are whole; free some space and run the same "
        "command again, it goes on from the last one"
    )


def _remove(folder: Path) -> None:
    (folder / CONTENT).unlink(missing_ok=True)  # first: from here on it is no checkpoint, wherever this is killed
    shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """What a killed run left: half a save, half a removal."""
    for path in (*folder.glob(f"{TEMPORARY}*"), *folder.glob("step-*")):
        if path.is_dir() and (path.name.startswith(TEMPORARY) or not (path / CONTENT).is_file()):
            shutil.rmtree(path, ignore_errors=True)


def save_checkpoint(output: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint from one process and waits for it; the last two are kept.

    Raises:
        CheckpointError: it cannot be written; the ones before it are untouched.
    """
    writer = CheckpointWriter(output, World.alone(torch.device("cpu")))
    try:
        sections = {"model": checkpoint.model, "optimizer": checkpoint.optimizer, "ema": checkpoint.ema or {}}
        writer.start(checkpoint.step, sections, {}, checkpoint.facts())
        path = writer.finish()
    finally:
        writer.close()
    assert path is not None
    return path
