"""The training loop: the recipe of Sun et al. 2017 on any number of devices, exactly resumable on any other.

In: a source of images and labels. Out, in the output folder: `checkpoints/` and `metrics.jsonl`, a line every
`log_every` steps. All draws are functions of (seed, epoch, image) and a step is that of the global batch, so a run that
is killed and started again, with as many processes or others, goes on with the same weights: bit by bit on one CPU with
as many torch threads, else but for the order of sums.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openjft.loaders import Batch, EpochBatches
from openjft.loaders.errors import LoaderError
from openjft.loaders.labels import TargetPolicy

from .clock import Clock, Stages, peak_memory
from .data import LabelWatch, shared_source, training_targets
from .device import DeviceBatch, device_batches, random_policy
from .options import DEFAULT_EPOCHS, TrainOptions
from .parallel import World, joined
from .run import RunState
from .runlog import MetricsLog, ProgressEvent, Stop, stop_signals
from .step import Share, TrainStep

Progress = Callable[[ProgressEvent], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """How a training ended.

    `loss` and `images_per_s` are those of the log's last line, None if this process wrote none; `message` is for
    people. `completed` is False after SIGTERM or SIGINT. `rank` is that of this process.
    """

    step: int
    steps: int
    images: int
    loss: float | None
    images_per_s: float | None
    checkpoint: Path
    resumed_from: int | None
    completed: bool
    rank: int
    world_size: int
    message: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "checkpoint": str(self.checkpoint)}


def train(
    options: TrainOptions, on_progress: Progress | None = None, on_labels: LabelWatch | None = None
) -> TrainSummary:
    """Trains, or goes on training, until the end or until SIGTERM or SIGINT, and leaves a checkpoint either way.

    Under torchrun all processes call this; a signal to any of them stops all after the same step.

    Args:
        options: what to do.
        on_progress: called at every line of the log, by the first process.
        on_labels: called while other labels than the images' own are looked up, before the first step.

    Raises:
        DatasetError: the dataset is not whole, or a label lies outside its vocabulary.
        CheckpointError: the output folder holds another run's checkpoint, or one cannot be written or read.
        PeerError: another process failed; its message is in this one.
        LoaderError: the loss is not finite, the images are smaller than the crop, there are too few for one batch, or
            too few batch-norm groups for the processes.
    """
    with stop_signals() as stop, joined(options.device) as world:
        _set_arithmetic(options, world)
        source = shared_source(options, world, on_labels)
        state = RunState.begin(options, source, world)
        with contextlib.closing(state.writer):
            return _Loop(state, training_targets(options, source), on_progress, stop).run()


def _set_arithmetic(options: TrainOptions, world: World) -> None:
    """How float32 is multiplied on CUDA, and that cuDNN tries its kernels: all batches have one shape."""
    if world.device.type == "cuda":
        kind = "tf32" if options.tf32 else "ieee"
        torch.backends.cuda.matmul.fp32_precision = kind
        torch.backends.cudnn.conv.fp32_precision = kind  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = True


class _Loop:
    """Steps a run and tells how it goes."""

    def __init__(self, state: RunState, targets: TargetPolicy, on_progress: Progress | None, stop: Stop) -> None:
        self.state, self.options, self.world = state, state.options, state.world
        self.targets, self.on_progress, self.stop = targets, on_progress, stop
        epochs = DEFAULT_EPOCHS if self.options.epochs is None else self.options.epochs
        self.steps = epochs * state.loader.steps_per_epoch if self.options.steps is None else self.options.steps
        self.rates = self.options.rates(self.steps)
        self.train_step = TrainStep(self.options, state.network, state.optimizer, state.ema)
        self.event: ProgressEvent | None = None
        self.rate = self.options.lr
        self._losses: list[tuple[int, Tensor]] = []  # of a step, on the device, not looked at yet
        self._skipped: Counter[str] = Counter()  # in the epochs before this one
        self._log = MetricsLog(self.options.output / "metrics.jsonl", step=state.step) if self.world.first else None
        self._clock, self._stages, self._told = Clock(self.world.device), Stages(), state.step

    def run(self) -> TrainSummary:
        """Steps until the end or a signal, and leaves a checkpoint."""
        state = self.state
        state.network.model.train()
        stopped = False
        while state.step < self.steps and not stopped:
            epoch, start = divmod(state.step, state.loader.steps_per_epoch)
            with state.loader.epoch(epoch, start) as host, contextlib.closing(self._to_device(host)) as batches:
                for batch in self._clock.waiting_for(batches):
                    shares = self._agree(batch)
                    stopped = self.stop.requested
                    if stopped:
                        break
                    self._advance(batch, shares, host)
                    if state.step >= self.steps:
                        break
            self._skipped.update(host.account.skipped)
            self._stages.epoch_ended(host)
        self._save()
        state.note_saved(state.writer.finish())
        return self._summary()

    def _to_device(self, batches: Iterable[Batch]) -> Generator[DeviceBatch, None, None]:
        size = self.options.crop_size
        return device_batches(
            batches,
            self.world.device,
            crop_size=size,
            crops=random_policy(size, seed=self.options.seed),
            num_classes=self.state.source.num_categories,
            targets=self.targets,
        )

    def _agree(self, batch: DeviceBatch) -> list[Share]:
        """What the ranks tell each other before a step: images, groups, whether to stop, and how saving goes."""
        own, writer = Share.of(batch, self.options.group_images), self.state.writer
        told = self.world.gather([*own, self.stop.signal or 0, writer.state])
        self.state.note_saved(writer.settle([row[3] for row in told]))
        first = next((row[2] for row in told if row[2]), None)
        if first is not None:
            self.stop.signal = signal.Signals(first)
        return [Share(row[0], row[1]) for row in told]

    def _advance(self, batch: DeviceBatch, shares: list[Share], host: EpochBatches) -> None:
        state, options = self.state, self.options
        seen = state.step * options.batch_size
        self.rate = self.rates.rate(seen, options.batch_size)
        loss = self.train_step(batch, shares, rate=self.rate, images_seen=seen)
        self._clock.step_ended()
        state.step += 1
        if loss is not None:
            self._losses.append((state.step, loss))
        if state.step % options.log_every == 0 or state.step == self.steps:
            self._tell(host)
        if state.step % options.checkpoint_every_steps == 0:
            self._save()

    def _collect_losses(self) -> None:
        """Reads the losses since the last look, all at once: reading each would make the device wait every step.

        Raises:
            LoaderError: one is not finite.
        """
        if not self._losses:
            return
        steps = [step for step, _ in self._losses]
        values = self.world.sum_(torch.stack([loss for _, loss in self._losses])).tolist()
        self._losses.clear()
        for step, value in zip(steps, values, strict=True):
            if not math.isfinite(value):
                raise self._diverged(f"at step {step:,}: expected a finite loss, found {value}")
        self.state.window += values

    def _diverged(self, what: str) -> LoaderError:
        state = self.state
        state.note_saved(state.writer.finish())
        last = (
            f"the last checkpoint, step {state.saved[0]:,}, is sound" if state.saved else "there is no checkpoint yet"
        )
        return LoaderError(f"{what}; {last}. Lower lr (now {self.options.lr}) in a new output folder")

    def _tell(self, host: EpochBatches) -> None:
        self._collect_losses()
        state, window = self.state, self.state.window
        pace = self._clock.read()
        size = self.options.batch_size
        self.event = ProgressEvent(
            step=state.step,
            steps=self.steps,
            images=state.step * size,
            loss=math.fsum(window) / len(window) if window else math.nan,
            images_per_s=(state.step - self._told) * size / pace.seconds,
            lr=self.rate,
            waiting=pace.waiting,
            skipped=self._all_skipped(host.account.skipped),
            stages=self._stages.read(host),
            memory_bytes=peak_memory(self.world.device),
        )
        self._told = state.step
        window.clear()
        if self._log is not None:
            self._log.write(self.event)
        if self.on_progress is not None and self.world.first:
            self.on_progress(self.event)

    def _all_skipped(self, here: dict[str, int]) -> dict[str, int]:
        own, total = self._skipped.copy(), Counter[str]()
        own.update(here)
        for text in self.world.gather_text(json.dumps(own)):
            total.update(json.loads(text))
        return dict(sorted(total.items()))

    def _save(self) -> None:
        """Begins a checkpoint of this step, unless there is one."""
        state = self.state
        if state.begun == state.step:
            return
        self._collect_losses()
        if not state.finite():
            raise self._diverged(f"after step {state.step:,}: expected finite weights, found NaN or infinity")
        state.save()

    def _summary(self) -> TrainSummary:
        state = self.state
        assert state.saved is not None
        path = state.saved[1]
        completed = state.step >= self.steps
        if self.stop.signal is not None and not completed:
            message = (
                f"Stopped by {self.stop.signal.name} after step {state.step:,} of {self.steps:,}; the checkpoint is "
                f"{path}. Run the same command again to go on."
            )
        elif state.resumed_from == state.step:
            message = f"Nothing to do: {path} is at step {state.step:,} of {self.steps:,}."
        else:
            message = f"Trained {state.step:,} steps; the checkpoint is {path}."
        return TrainSummary(
            step=state.step,
            steps=self.steps,
            images=state.step * self.options.batch_size,
            loss=self.event.loss if self.event and math.isfinite(self.event.loss) else None,
            images_per_s=self.event.images_per_s if self.event else None,
            checkpoint=path,
            resumed_from=state.resumed_from,
            completed=completed,
            rank=self.world.rank,
            world_size=self.world.size,
            message=message,
        )
