"""Trains all weights on class folders: softmax cross-entropy, SGD, random crops of one size, mirrored at random.

In: a network and the images. Out: the same network, trained; checkpoints and metrics.jsonl in the output folder. A run
that is killed and started again goes on from its last checkpoint with the same weights, on one CPU to the bit.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from openjft.loaders.errors import CheckpointError, LoaderError
from openjft.loaders.training.checkpoint import (
    Checkpoint,
    check_same_run,
    checkpoint_folders,
    load_checkpoint,
    save_checkpoint,
)
from openjft.loaders.training.device import DeviceBatch
from openjft.loaders.training.runlog import MetricsLog, ProgressEvent, Stop
from openjft.loaders.training.split import vocabulary_sha256

from .data import TransferData, to_device, train_loader
from .options import TransferOptions
from .sgd import load_sgd, make_schedule, make_sgd, sgd_tensors
from .summary import TransferProgress

OnProgress = Callable[[TransferProgress], None] | None


def make_checkpoint(
    model: nn.Module,
    data: TransferData,
    options: TransferOptions,
    arch: str,
    *,
    step: int,
    optimizer: dict[str, Tensor] | None = None,
    window: list[float] | None = None,
) -> Checkpoint:
    """A checkpoint of a transfer; scored and exported as those of `openjft train` are."""
    return Checkpoint(
        step=step,
        model=dict(model.state_dict()),
        optimizer=optimizer or {},
        recipe=options.recipe(arch),
        num_categories=data.train.num_categories,
        fingerprint=data.train.fingerprint,
        images_fingerprint=data.train.fingerprint,
        vocabulary_sha256=vocabulary_sha256(data.train),
        window=list(window or []),
    )


def former_checkpoint(data: TransferData, options: TransferOptions, arch: str) -> tuple[Checkpoint, Path] | None:
    """The last checkpoint of this transfer in the output folder, and where it lies.

    Raises:
        CheckpointError: it is another run's, or damaged.
        LoaderError: there is one and resume is off.
    """
    folders = checkpoint_folders(options.output)
    if not folders:
        return None
    if not options.resume:
        raise LoaderError(
            f"{options.output}: expected no checkpoints, since resume is off, found {folders[-1].name}; "
            "give another output folder, or let it resume"
        )
    found = load_checkpoint(folders[-1])
    check_same_run(
        found,
        recipe=options.recipe(arch),
        fingerprint=data.train.fingerprint,
        vocabulary_sha256=vocabulary_sha256(data.train),
        output=options.output,
    )
    return found, folders[-1]


class FineTune:
    """A network in training, and where it stands."""

    def __init__(
        self,
        model: nn.Module,
        data: TransferData,
        options: TransferOptions,
        arch: str,
        device: torch.device,
        on_progress: OnProgress = None,
    ) -> None:
        self.model, self.data, self.options, self.arch, self.device = model.to(device), data, options, arch, device
        self.loader = train_loader(data.train, options)
        self.steps = options.passes * self.loader.steps_per_epoch
        self.optimizer = make_sgd(self.model, options)
        self.schedule = make_schedule(options, self.steps * options.batch_size)
        self.step = 0
        self.loss: float | None = None
        self.resumed_from: int | None = None
        self.saved: Path | None = None
        self._saved_step = -1
        self._on_progress = on_progress
        self._losses: list[Tensor] = []  # on the device, not looked at yet
        self._window: list[float] = []
        self._resume()
        self._log = MetricsLog(options.output / "metrics.jsonl", step=self.step)
        self._clock = (self.step, time.monotonic())

    def _resume(self) -> None:
        former = former_checkpoint(self.data, self.options, self.arch)
        if former is None:
            return
        checkpoint, where = former
        try:
            self.model.load_state_dict(checkpoint.model)
            load_sgd(self.model, self.optimizer, checkpoint.optimizer)
        except (RuntimeError, KeyError) as error:
            first = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{where}: expected the tensors of a {self.arch} in training, found others: {first}; remove it"
            ) from error
        self.step = self.resumed_from = self._saved_step = checkpoint.step
        self._window, self.saved = list(checkpoint.window), where

    def until(self, stop: Stop) -> Path:
        """Steps until the end or the signal; returns the checkpoint that is left."""
        self.model.train()
        stopped = stop.requested
        while self.step < self.steps and not stopped:
            epoch, start = divmod(self.step, self.loader.steps_per_epoch)
            with (
                self.loader.epoch(epoch, start) as host,
                contextlib.closing(
                    to_device(host, self.options, self.device, self.data.train.num_categories)
                ) as batches,
            ):
                for batch in batches:
                    self._train_step(batch)
                    stopped = stop.requested
                    if stopped:
                        break
        return self._save()

    def _train_step(self, batch: DeviceBatch) -> None:
        seen, size = self.step * self.options.batch_size, self.options.batch_size
        rate = self.schedule.rate(seen, size)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.options.precision == "bf16"):
            logits = self.model(batch.images)
        loss = functional.cross_entropy(
            logits.float(), batch.label_values, label_smoothing=self.options.label_smoothing
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._losses.append(loss.detach())
        self.step += 1
        if self.step % self.options.log_every == 0 or self.step == self.steps:
            self._tell(rate)
        if self.step % self.options.checkpoint_every_steps == 0:
            self._save()

    def _collect(self) -> None:
        """Reads the losses since the last look, all at once.

        Raises:
            LoaderError: one is not finite.
        """
        if not self._losses:
            return
        values = torch.stack(self._losses).tolist()
        self._losses.clear()
        if not all(map(math.isfinite, values)):
            raise LoaderError(
                f"before step {self.step:,}: expected finite losses, found others; lower lr (now {self.options.rate}) "
                "in a new output folder"
            )
        self._window += values

    def _tell(self, rate: float) -> None:
        self._collect()
        before, since = self._clock
        now, size = time.monotonic(), self.options.batch_size
        self.loss = math.fsum(self._window) / len(self._window)
        pace = (self.step - before) * size / max(now - since, 1e-9)
        self._log.write(ProgressEvent(self.step, self.steps, self.step * size, self.loss, pace, rate))
        self._window, self._clock = [], (self.step, now)
        if self._on_progress is not None:
            self._on_progress(TransferProgress("train", self.step, self.steps, self.loss))

    def _save(self) -> Path:
        """Writes a checkpoint of this step, unless there is one."""
        if self.saved is not None and self._saved_step == self.step:
            return self.saved
        self._collect()
        optimizer = sgd_tensors(self.model, self.optimizer)
        checkpoint = make_checkpoint(
            self.model, self.data, self.options, self.arch, step=self.step, optimizer=optimizer, window=self._window
        )
        self.saved, self._saved_step = save_checkpoint(self.options.output, checkpoint), self.step
        return self.saved
