"""The training loop: the recipe of Sun et al. 2017 on one device, exactly resumable.

In: a finished dataset. Out, in the output folder: `checkpoints/` and `metrics.jsonl`, a line every `log_every`
steps. All draws are functions of (seed, epoch, image), so a run that is killed and started again ends with the same
weights: bit by bit on the CPU, with the same number of torch threads. Several devices are not here yet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openjft.loaders import Batch, Dataset, Loader
from openjft.loaders.errors import LoaderError

from .augment import Crops, random_crops
from .checkpoint import Checkpoint, check_same_run, checkpoint_files, load_checkpoint, restore, save_checkpoint
from .checks import choose_device
from .device import DeviceBatch, device_batches
from .loss import sparse_logistic_loss
from .models import build_model, class_log_odds
from .optimizer import RMSProp, learning_rate, parameter_groups
from .options import DEFAULT_EPOCHS, TrainOptions
from .runlog import MetricsLog, ProgressEvent, Stop, stop_signals
from .split import training_loader, vocabulary_sha256


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """How a training ended.

    `loss` and `images_per_s` are those of the log's last line, None if this process wrote none; `message` is for
    people. `completed` is False after SIGTERM or SIGINT.
    """

    step: int
    steps: int
    images: int
    loss: float | None
    images_per_s: float | None
    checkpoint: Path
    resumed_from: int | None
    completed: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "checkpoint": str(self.checkpoint)}


def train(options: TrainOptions, on_progress: Callable[[ProgressEvent], None] | None = None) -> TrainSummary:
    """Trains, or goes on training, until the end or until SIGTERM or SIGINT, and leaves a checkpoint either way.

    Args:
        options: what to do.
        on_progress: called at every line of the log.

    Raises:
        DatasetError: the dataset is not whole.
        CheckpointError: the output folder holds another run's checkpoint, or one cannot be written or read.
        LoaderError: the loss is not finite, the images are smaller than the crop, or too few for one batch.
    """
    dataset = Dataset.open(options.data)
    loader = training_loader(dataset, options)
    if loader.steps_per_epoch < 1:
        raise LoaderError(
            f"{options.data}: expected at least one batch of {options.batch_size} training images, found fewer among "
            f"{dataset.num_samples:,} images with subset {options.subset} and holdout {options.holdout}; "
            "lower batch_size"
        )
    run = _Run(options, dataset, loader, on_progress)
    with stop_signals() as stop:
        return run.until(stop)


class _Run:
    """One training: the network, its optimizer, and where it stands."""

    def __init__(
        self,
        options: TrainOptions,
        dataset: Dataset,
        loader: Loader,
        on_progress: Callable[[ProgressEvent], None] | None,
    ) -> None:
        self.options, self.dataset, self.loader, self.on_progress = options, dataset, loader, on_progress
        epochs = DEFAULT_EPOCHS if options.epochs is None else options.epochs
        self.steps = epochs * loader.steps_per_epoch if options.steps is None else options.steps
        self.device = choose_device(options.device)
        self.model = _initial_model(options, dataset).to(self.device)
        self.optimizer = RMSProp(
            parameter_groups(self.model, options.weight_decay),
            lr=options.lr,
            rho=options.rho,
            momentum=options.momentum,
            epsilon=options.epsilon,
        )
        self.step = 0
        self.saved: tuple[int, Path] | None = None
        self.event: ProgressEvent | None = None
        self._losses: list[Tensor] = []  # on the device, not looked at yet
        self._window: list[float] = []  # since the last line of the log
        self.resumed_from = self._resume()
        self._log = MetricsLog(options.output / "metrics.jsonl", step=self.step)
        self._clock = (self.step, time.monotonic())

    def _resume(self) -> int | None:
        """Takes over the last checkpoint, if there is one, and returns its step."""
        output = self.options.output
        files = checkpoint_files(output)
        if not files:
            return None
        if not self.options.resume:
            raise LoaderError(
                f"{output}: expected no checkpoints, since resume is off, found {files[-1].name}; "
                "give another output folder, or let it resume"
            )
        state = load_checkpoint(files[-1])
        recipe, manifest = self.options.recipe(), self.dataset.manifest_sha256
        check_same_run(state, recipe=recipe, manifest_sha256=manifest, output=output)
        restore(state, self.model, self.optimizer, where=files[-1])
        self.step, self._window, self.saved = state.step, list(state.window), (state.step, files[-1])
        return state.step

    def until(self, stop: Stop) -> TrainSummary:
        """Steps until the end or the signal, and leaves a checkpoint."""
        self.model.train()
        while self.step < self.steps and not stop.requested:
            epoch, start = divmod(self.step, self.loader.steps_per_epoch)
            with self.loader.epoch(epoch, start) as host, contextlib.closing(self._to_device(host)) as batches:
                for batch in batches:
                    self._train_step(batch)
                    if self.step >= self.steps or stop.requested:
                        break
        path = self._save()
        return self._summary(path, stop)

    def _to_device(self, batches: Iterable[Batch]) -> Generator[DeviceBatch, None, None]:
        seed, size = self.options.seed, self.options.crop_size

        def crops(batch: Batch) -> Crops:
            _, height, width, _ = batch.images.shape
            return random_crops(batch.keys, seed=seed, epoch=batch.epoch, height=height, width=width, size=size)

        num_classes = self.dataset.num_categories
        return device_batches(batches, self.device, crop_size=size, crops=crops, num_classes=num_classes)

    def _rate(self) -> float:
        """The learning rate of the next step."""
        options = self.options
        images = self.step * options.batch_size
        return learning_rate(images, initial=options.lr, decay=options.lr_decay, decay_images=options.lr_decay_images)

    def _train_step(self, batch: DeviceBatch) -> None:
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.options.precision == "bf16"):
            logits = self.model(batch.images)
        loss = sparse_logistic_loss(logits, batch.label_values, batch.label_offsets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._losses.append(loss.detach())
        self.step += 1
        if self.step % self.options.log_every == 0 or self.step == self.steps:
            self._tell(rate)
        if self.step % self.options.checkpoint_every_steps == 0:
            self._save()

    def _collect_losses(self) -> None:
        """Reads the losses since the last look, all at once: reading each would make the device wait every step.

        Raises:
            LoaderError: one is not finite.
        """
        if not self._losses:
            return
        values = torch.stack(self._losses).tolist()
        first = self.step - len(values) + 1
        self._losses.clear()
        for step, value in enumerate(values, start=first):
            if not math.isfinite(value):
                raise self._diverged(f"at step {step:,}: expected a finite loss, found {value}")
        self._window += values

    def _diverged(self, what: str) -> LoaderError:
        last = f"the last checkpoint, step {self.saved[0]:,}, is sound" if self.saved else "there is no checkpoint yet"
        return LoaderError(f"{what}; {last}. Lower lr (now {self.options.lr}) in a new output folder")

    def _tell(self, rate: float) -> None:
        self._collect_losses()
        before, since = self._clock
        now = time.monotonic()
        size = self.options.batch_size
        self.event = ProgressEvent(
            step=self.step,
            steps=self.steps,
            images=self.step * size,
            loss=math.fsum(self._window) / len(self._window),
            images_per_s=(self.step - before) * size / max(now - since, 1e-9),
            lr=rate,
        )
        self._window, self._clock = [], (self.step, now)
        self._log.write(self.event)
        if self.on_progress is not None:
            self.on_progress(self.event)

    def _save(self) -> Path:
        """Writes a checkpoint of this step, unless there is one."""
        if self.saved is not None and self.saved[0] == self.step:
            return self.saved[1]
        self._collect_losses()
        finite = torch.stack([p.isfinite().all() for p in self.model.state_dict().values()]).all()
        if not bool(finite):
            raise self._diverged(f"after step {self.step:,}: expected finite weights, found NaN or infinity")
        path = save_checkpoint(
            self.options.output,
            Checkpoint(
                step=self.step,
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                recipe=self.options.recipe(),
                num_categories=self.dataset.num_categories,
                manifest_sha256=self.dataset.manifest_sha256,
                vocabulary_sha256=vocabulary_sha256(self.dataset),
                window=self._window,
            ),
        )
        self.saved = (self.step, path)
        return path

    def _summary(self, path: Path, stop: Stop) -> TrainSummary:
        completed = self.step >= self.steps
        if stop.signal is not None and not completed:
            message = (
                f"Stopped by {stop.signal.name} after step {self.step:,} of {self.steps:,}; the checkpoint is {path}. "
                "Run the same command again to go on."
            )
        elif self.resumed_from == self.step:
            message = f"Nothing to do: {path} is at step {self.step:,} of {self.steps:,}."
        else:
            message = f"Trained {self.step:,} steps; the checkpoint is {path}."
        return TrainSummary(
            step=self.step,
            steps=self.steps,
            images=self.step * self.options.batch_size,
            loss=self.event.loss if self.event else None,
            images_per_s=self.event.images_per_s if self.event else None,
            checkpoint=path,
            resumed_from=self.resumed_from,
            completed=completed,
            message=message,
        )


def _initial_model(options: TrainOptions, dataset: Dataset) -> nn.Module:
    odds = class_log_odds(dataset.class_counts, dataset.num_samples)
    return build_model(options.arch, dataset.num_categories, seed=options.seed, class_log_odds=odds)
