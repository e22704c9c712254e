"""Transfers a network to class folders and scores it: top-1 and top-5 with intervals.

In: weights and a folder with train/ and val/. Out, in the output folder: `result.json`, `predictions.parquet` (a row
for each val image), `metrics.jsonl` and `checkpoints/`. Same options, same images, same result: on one CPU to the bit.
It runs on one device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from openjft.loaders.errors import LoaderError
from openjft.loaders.evaluation.clean_table import write_table
from openjft.loaders.training.checkpoint import restore, save_checkpoint
from openjft.loaders.training.device_choice import choose_device
from openjft.loaders.training.runlog import Stop, stop_signals

from .accuracy import CleanAccuracy, Proportion, compare_clean, true_ranks, wilson
from .data import TransferData, scored
from .finetune import FineTune, OnProgress, former_checkpoint, make_checkpoint
from .options import TransferOptions
from .probe import features_of, probe_steps, progress_of, train_probe
from .start import arch_of, starting_model
from .summary import TransferProgress, TransferSummary

RESULT = "result.json"
PREDICTIONS = "predictions.parquet"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Trained:
    """A training's end: `completed` is False after a signal."""

    model: nn.Module
    step: int
    steps: int
    loss: float | None
    checkpoint: Path
    resumed_from: int | None
    completed: bool


def transfer(options: TransferOptions, on_progress: OnProgress = None) -> TransferSummary:
    """Trains and scores; ended by SIGTERM or SIGINT, the same call goes on.

    Args:
        options: what to do.
        on_progress: called as it goes.

    Raises:
        DatasetError: train or val are no class folders, or do not agree.
        CheckpointError: the weights do not fit, or output holds another run's checkpoint.
        LoaderError: a list is of other images, there are too few images, or the training diverges.
    """
    data = TransferData.open(options)
    arch = arch_of(options)
    device = choose_device(options.device)
    with stop_signals() as stop:
        train = _finetune if options.mode == "finetune" else _freeze
        trained = train(options, data, arch, device, stop, on_progress)
    if not trained.completed:
        return _summary(options, data, arch, trained, None, ())
    ranks, best = _score(trained.model, options, data, device, on_progress)
    comparisons = _compare(options, data, ranks, on_progress)
    tops = (wilson(int((ranks < 1).sum()), len(ranks)), wilson(int((ranks < 5).sum()), len(ranks)))
    summary = _summary(options, data, arch, trained, tops, comparisons)
    _write(options, data, ranks, best, summary)
    return summary


def _finetune(
    options: TransferOptions,
    data: TransferData,
    arch: str,
    device: torch.device,
    stop: Stop,
    on_progress: OnProgress,
) -> _Trained:
    model = starting_model(options, arch, data.train.num_categories)
    run = FineTune(model, data, options, arch, device, on_progress)
    path = run.until(stop)
    return _Trained(
        model=run.model,
        step=run.step,
        steps=run.steps,
        loss=run.loss,
        checkpoint=path,
        resumed_from=run.resumed_from,
        completed=run.step >= run.steps,
    )


def _freeze(
    options: TransferOptions,
    data: TransferData,
    arch: str,
    device: torch.device,
    stop: Stop,
    on_progress: OnProgress,
) -> _Trained:
    """The classifier is trained whole or not at all: a run that was ended begins again and ends the same."""
    model = starting_model(options, arch, data.train.num_categories)
    steps = probe_steps(data.train.num_samples, options)
    former = former_checkpoint(data, options, arch)
    if former is not None:
        restore(former[0], model, where=former[1])
        return _Trained(
            model=model.to(device), step=steps, steps=steps, loss=None, checkpoint=former[1],
            resumed_from=former[0].step, completed=True,
        )  # fmt: skip
    tell = progress_of(on_progress, data.train.num_samples)
    features = features_of(model, data.train, options, device, tell)
    labels = torch.from_numpy(data.train.labels.values.astype(np.int64))

    def show(step: int, total: int, loss: float) -> None:
        if on_progress is not None:
            on_progress(TransferProgress("train", step, total, loss))

    found = train_probe(features, labels, data.train.num_categories, options, device, stop, show)
    if found is None:
        return _Trained(
            model=model, step=0, steps=steps, loss=None, checkpoint=options.output, resumed_from=None, completed=False
        )
    model.add_module("fc", found[0])
    path = save_checkpoint(options.output, make_checkpoint(model, data, options, arch, step=steps))
    return _Trained(
        model=model, step=steps, steps=steps, loss=found[1], checkpoint=path, resumed_from=None, completed=True
    )


def _score(
    model: nn.Module,
    options: TransferOptions,
    data: TransferData,
    device: torch.device,
    on_progress: OnProgress,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rank of each val image's own class, and its best class, both (n,)."""
    model.eval()
    ranks, best = [], []
    done = 0
    with contextlib.closing(scored(model, data.val, options, device)) as outputs:
        for batch, scores in outputs:
            ranks.append(true_ranks(scores, batch.label_values))
            best.append(scores.argmax(1).cpu().numpy())
            done += len(batch.keys)
            if on_progress is not None:
                on_progress(TransferProgress("score", done, data.val.num_samples))
    return np.concatenate(ranks), np.concatenate(best)


def _compare(
    options: TransferOptions, data: TransferData, ranks: npt.NDArray[np.int64], on_progress: OnProgress
) -> tuple[CleanAccuracy, ...]:
    def show(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(TransferProgress("resamples", done, total))

    return tuple(
        compare_clean(
            ranks,
            item.mask(data.whole)[data.val_rows],
            path=item.path,
            unknown=item.unknown,
            seed=options.seed,
            resamples=options.resamples,
            on_progress=show,
        )
        for item in data.lists
    )


def _summary(
    options: TransferOptions,
    data: TransferData,
    arch: str,
    trained: _Trained,
    tops: tuple[Proportion, Proportion] | None,
    comparisons: Sequence[CleanAccuracy],
) -> TransferSummary:
    top1, top5 = tops or (None, None)
    message = (
        f"Stopped after step {trained.step:,} of {trained.steps:,}; run the same command again to go on."
        if top1 is None or top5 is None
        else f"top-1 {top1.text()}, top-5 {top5.text()}"
    )
    ignored = {
        f"{name}/{reason}": count
        for name, folder in ((options.train, data.train), (options.val, data.val))
        for reason, count in folder.files.ignored.items()
    }
    return TransferSummary(
        mode=options.mode,
        weights=options.weights,
        arch=arch,
        num_classes=data.train.num_categories,
        train_images=data.train.num_samples,
        val_images=data.val.num_samples,
        epochs=options.passes,
        step=trained.step,
        steps=trained.steps,
        seed=options.seed,
        loss=trained.loss,
        top1=top1,
        top5=top5,
        comparisons=tuple(comparisons),
        train_fingerprint=data.train.fingerprint,
        val_fingerprint=data.val.fingerprint,
        ignored=ignored,
        checkpoint=trained.checkpoint,
        resumed_from=trained.resumed_from,
        completed=trained.completed,
        message=message,
    )


def _write(
    options: TransferOptions,
    data: TransferData,
    ranks: npt.NDArray[np.int64],
    best: npt.NDArray[np.int64],
    summary: TransferSummary,
) -> None:
    ids = pa.array(data.val.category_ids, pa.string())
    table = pa.table(
        {
            "file": pa.array(data.val.files.paths, pa.string()),
            "image_key": pa.array([key.tobytes() for key in data.val.keys], pa.binary(16)),
            "label": ids.take(pa.array(data.val.labels.values)),
            "predicted": ids.take(pa.array(best)),
            "rank": pa.array(ranks, pa.int32()),  # of the true label; 0: right
        }
    )
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, options.output / PREDICTIONS)
        (options.output / RESULT).write_text(json.dumps(summary.to_json(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise LoaderError(f"{options.output}: could not be written: {error}; give another output") from error
    if options.table is not None:
        write_table(options.table, summary.comparisons, 0)
