"""What a training tells while it runs: events, the log `metrics.jsonl`, and the signals that end it early."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from openjft.loaders.atomic import whole_file
from openjft.loaders.errors import LoaderError


@dataclasses.dataclass(frozen=True)
class ProgressEvent:
    """Where a training stands, told at every line of its log.

    Attributes:
        step: of the whole training.
        steps: that it will have.
        images: planned so far in the whole training, also before a resume, over all processes.
        loss: mean over the steps since the line before, in nats an image; NaN if none had an image.
        images_per_s: since the line before, over all processes.
        lr: learning rate of the last step.
        waiting: share of the time since the line before in which the first process waited for images.
        skipped: images left out since this start of the program, by reason, over all processes.
        stages: since the line before, in the first process: seconds of the loader's stages, summed over its threads,
            and bytes read.
        memory_bytes: largest so far in the first process: of the GPU, else of the process.
    """

    step: int
    steps: int
    images: int
    loss: float
    images_per_s: float
    lr: float
    waiting: float = 0.0
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    stages: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory_bytes: int = 0


class MetricsLog:
    """A JSON-lines file, one line an event. Lines beyond `step`, and half a line of a killed run, are cut off."""

    def __init__(self, path: Path, *, step: int) -> None:
        self._path = path
        try:
            kept = _lines_up_to(path, step) if path.exists() else []
            with whole_file(path) as temporary:
                temporary.write_text("".join(kept), encoding="utf-8")
        except OSError as error:
            raise LoaderError(f"{path}: could not be written: {error}; give another output folder") from error

    def write(self, event: ProgressEvent) -> None:
        """Appends one line."""
        value = {
            "step": event.step,
            "images": event.images,
            "loss": event.loss if math.isfinite(event.loss) else None,
            "lr": event.lr,
            "images_per_s": round(event.images_per_s, 3),
            "waiting": round(event.waiting, 4),
            "skipped": dict(event.skipped),
            "stages": dict(event.stages),
            "memory_bytes": event.memory_bytes,
        }
        try:
            with self._path.open("a", encoding="utf-8") as sink:
                sink.write(json.dumps(value) + "\n")
        except OSError as error:
            raise LoaderError(
                f"{self._path}: could not be written: {error}; free some space and run the same command again, "
                "it goes on from the last checkpoint"
            ) from error


def _lines_up_to(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            if line.endswith("\n") and int(json.loads(line)["step"]) <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # half a line of a killed run
    return kept


class Stop:
    """The signal that asked for an end, if one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None  # of this process, or later of any of those that train together

    @property
    def requested(self) -> bool:
        """Whether one did."""
        return self.signal is not None


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Notes the first SIGTERM or SIGINT; a second one does what it did before. Main thread only, else nothing."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for kind, handler in former.items():
            signal.signal(kind, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        restore()

    for kind in former:
        signal.signal(kind, note)
    try:
        yield stop
    finally:
        restore()
