"""Several real processes that train together by gloo, for the tests; forked from a server that has torch imported."""

from __future__ import annotations

import dataclasses
import importlib
import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openjft.loaders.errors import DatasetError
from openjft.loaders.training import TrainOptions, train

TIMEOUT_S = 90


@dataclasses.dataclass
class Outcome:
    """How one process ended: its summary or its error, and its exit code."""

    summary: dict[str, Any] | None
    error: tuple[str, str] | None
    exit_code: int | None


class SmallNet(nn.Module):
    """Two convolutions with batch norm and a head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, stride=4, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, num_classes)

    def forward(self, images):
        x = torch.relu(self.bn1(self.conv1(images)))
        return self.fc(torch.relu(self.bn2(self.conv2(x))).mean((2, 3)))


def build(_arch, num_classes, *, seed, class_log_odds=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallNet(num_classes)


def small_networks():
    importlib.import_module("openjft.loaders.training.run").build_model = build


def fail(rank):
    """Rank 1 cannot read its third batch."""
    module = importlib.import_module("openjft.loaders.training.train")
    former = module.device_batches

    def broken(*args, **kwargs):
        for i, batch in enumerate(former(*args, **kwargs)):
            if rank == 1 and i == 2:
                raise DatasetError("shard 7 is missing")
            yield batch

    module.device_batches = broken


def end_itself(kind):
    """Rank 1 gets a signal in its third step."""

    def install(rank):
        module = importlib.import_module("openjft.loaders.training.step")
        former = module.TrainStep.__call__
        calls = []

        def call(self, *args, **kwargs):
            calls.append(1)
            if rank == 1 and len(calls) == 3:
                os.kill(os.getpid(), kind)
            return former(self, *args, **kwargs)

        module.TrainStep.__call__ = call

    return install


def killed_once_saved(rank):
    """Rank 1 is killed in a step after a checkpoint has become whole."""
    module = importlib.import_module("openjft.loaders.training.step")
    former = module.TrainStep.__call__

    def call(self, *args, **kwargs):
        if rank == 1 and self.options.output.exists():
            time.sleep(0.05)
            if list(self.options.output.glob("checkpoints/step-*")):
                os.kill(os.getpid(), signal.SIGKILL)
        return former(self, *args, **kwargs)

    module.TrainStep.__call__ = call


def no_space(rank):
    """Rank 1 cannot write its part of a checkpoint."""
    module = importlib.import_module("openjft.loaders.training.checkpoint.writer")
    former = module.write_tensors

    def write(*args):
        if rank == 1:
            raise OSError(28, "No space left on device")
        return former(*args)

    module.write_tensors = write


def nan_loss(rank):
    """The loss of rank 1 is not a number."""
    module = importlib.import_module("openjft.loaders.training.step")
    former = module.sparse_logistic_loss

    def loss(*args, **kwargs):
        return former(*args, **kwargs) * (float("nan") if rank == 1 else 1.0)

    module.sparse_logistic_loss = loss


TROUBLES = {
    "fail": fail,
    "SIGTERM": end_itself(signal.SIGTERM),
    "SIGKILL": end_itself(signal.SIGKILL),
    "killed_once_saved": killed_once_saved,
    "no_space": no_space,
    "nan_loss": nan_loss,
}


def work(rank: int, size: int, port: int, values: dict[str, Any], result: str, trouble: str | None) -> None:
    """One process."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    small_networks()
    if trouble is not None:
        TROUBLES[trouble](rank)
    try:
        told: Any = {"summary": train(TrainOptions(**values)).to_json()}
    except Exception as error:  # noqa: BLE001 - handed to the test
        told = {"error": [type(error).__name__, str(error)]}
    Path(result).write_text(json.dumps(told))


def train_together(size: int, options: TrainOptions, tmp_path: Path, trouble: str | None = None) -> list[Outcome]:
    """Trains in `size` processes and returns how each ended; none may stand still."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openjft.loaders.training"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    results = [tmp_path / f"rank{rank}.json" for rank in range(size)]
    processes = [
        context.Process(target=work, args=(rank, size, port, values, str(results[rank]), trouble), daemon=True)
        for rank in range(size)
    ]
    for result in results:
        result.unlink(missing_ok=True)
    for process in processes:
        process.start()
    outcomes = []
    for process, result in zip(processes, results, strict=True):
        process.join(TIMEOUT_S)
        stuck = process.is_alive()
        process.kill()
        assert not stuck, "a process stands still"
        told = json.loads(result.read_text()) if result.exists() else {}
        error = told.get("error")
        outcomes.append(Outcome(told.get("summary"), error and tuple(error), process.exitcode))
    return outcomes
