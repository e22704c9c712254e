"""How fast a training goes, and how long it waits for images.

On CUDA the host runs ahead of the device, so its own waiting says little: events are put between the end of a step and
the start of the next, and read at the next line of the log, when the device is waited for anyway. On the CPU the time
in which the loop stands in the loader is the waiting.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch

from openjft.loaders import EpochBatches, StageTimes

T = TypeVar("T")
_KIB = 1024


class Pace(NamedTuple):
    """Since the last reading: seconds, and the share of them that was waited for images."""

    seconds: float
    waiting: float


class Clock:
    """Times the steps of one process."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._since = time.monotonic()
        self._waited = 0.0
        self._ended: torch.cuda.Event | None = None
        self._gaps: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def waiting_for(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches; the time in which they are waited for counts as such."""
        iterator = iter(batches)
        while True:
            before = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waited += time.monotonic() - before
            if self._ended is not None:
                self._gaps.append((self._ended, self._event()))
            yield batch

    def step_ended(self) -> None:
        """To be called after each step."""
        if self._device.type == "cuda":
            self._ended = self._event()

    def read(self) -> Pace:
        """The pace since the last reading; waits for the device."""
        waited = self._waited
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            waited = sum(end.elapsed_time(start) for end, start in self._gaps) / 1e3
        now = time.monotonic()
        seconds = max(now - self._since, 1e-9)
        self._since, self._waited = now, 0.0
        self._gaps.clear()
        return Pace(seconds, min(waited / seconds, 1.0))

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


class Stages:
    """What the loader's time went to since the last reading, across epochs."""

    def __init__(self) -> None:
        self._before, self._epochs = StageTimes(), list[StageTimes]()

    def epoch_ended(self, batches: EpochBatches) -> None:
        """Keeps what a finished epoch took; the next one counts from zero."""
        self._epochs.append(batches.times - self._before)
        self._before = StageTimes()

    def read(self, batches: EpochBatches) -> dict[str, float]:
        """Seconds and bytes by stage, rounded."""
        now = batches.times
        parts = [part.to_json() for part in (*self._epochs, now - self._before)]
        self._before = now
        self._epochs.clear()
        return {name: round(sum(part[name] for part in parts), 3) for name in parts[0]}


def peak_memory(device: torch.device) -> int:
    """Most bytes so far: of tensors on a CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
