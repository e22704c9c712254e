"""The trainer's step: images/s on drawn batches and with the loader, waiting, memory, and what limits it.

    python benchmarks/bench_train.py --json train.json                                  # one GPU, or the CPU
    torchrun --nproc-per-node 8 benchmarks/bench_train.py --batch-sizes 256 --json train.json

For every network, batch size (images of one process), batch-norm group and with or without torch.compile: the
trainer's own step with `--classes` classes (a) on batches that lie on the device, (b) with its loader on 340 x 340
JPEGs (drawn, or `--data`), cropped on the device. Channels-last, as the trainer always is. `--warmup` steps do not
count; `--profile-steps` further ones are profiled, which slows them, so they are not timed. The share of waiting is
the trainer's own; TFLOP/s are those of the convolutions and the head, forward and backward, against the card's data
sheet and against large matrix products measured here. `head` and the like are shares of the device's time (on the CPU:
of the operators'). Out: JSON, and two tables of Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from bench_loader import draw_dataset
from train_profile import Profile, flops_an_image, product_tflops, profiler, read_profile, sheet_tflops
from train_report import limiting, tables

from openjft.loaders import Dataset, EpochBatches, StageTimes
from openjft.loaders.training import TrainOptions, device_batches, random_policy
from openjft.loaders.training.clock import Clock, Pace, peak_memory
from openjft.loaders.training.device import DeviceBatch
from openjft.loaders.training.parallel import World, joined
from openjft.loaders.training.split import training_loader
from openjft.loaders.training.step import Share, TrainStep
from openjft.loaders.training.synthetic import bare_step, synthetic_batches

ARMS: Final = ("drawn", "loader")
RATE: Final = 1e-4  # of learning: the numbers mean nothing, but must stay finite


class Arm(NamedTuple):
    """What one stretch of steps took."""

    pace: Pace
    stages: dict[str, float]
    profile: Profile | None


class Feed:
    """Batches of the loader, epoch after epoch, and what its stages took."""

    def __init__(self, options: TrainOptions, world: World, classes: int) -> None:
        self.options, self.world, self.classes = options, world, classes
        source = Dataset.open(options.data)
        self.loader = training_loader(source, options, rank=world.rank, world_size=world.size)
        self.former, self.host = list[StageTimes](), list[EpochBatches]()

    def batches(self) -> Generator[DeviceBatch, None, None]:
        """Without end, on the device, cropped as the trainer crops."""
        size = self.options.crop_size
        crops = random_policy(size, seed=self.options.seed)
        for epoch in itertools.count():
            with self.loader.epoch(epoch) as host:
                self.host = [host]
                moved = device_batches(host, self.world.device, crop_size=size, crops=crops, num_classes=self.classes)
                with contextlib.closing(moved):
                    yield from moved
            self.former.append(host.times)

    def stages(self) -> dict[str, float]:
        """Seconds and bytes by stage since the beginning."""
        told = [times.to_json() for times in (*self.former, *(host.times for host in self.host[-1:]))]
        return {name: sum(part[name] for part in told) for name in StageTimes().to_json()}


def drawn_batches(options: TrainOptions, world: World, classes: int) -> Iterator[DeviceBatch]:
    return synthetic_batches(
        world.device,
        batch_size=options.batch_size // world.size,
        crop_size=options.crop_size,
        num_classes=classes,
        count=10**9,
        seed=options.seed + world.rank,
    )


def run_arm(arm: str, step: TrainStep, options: TrainOptions, world: World, asked: argparse.Namespace) -> Arm:
    """Warms up, times, and profiles; all ranks take the same steps."""
    feed = Feed(options, world, asked.classes) if arm == "loader" else None
    clock = Clock(world.device)
    source = feed.batches() if feed else drawn_batches(options, world, asked.classes)
    losses = []

    def advance(batch: DeviceBatch) -> None:
        told = world.gather([*Share.of(batch, options.group_images)])
        loss = step(batch, [Share(*row) for row in told], rate=RATE, images_seen=0)
        clock.step_ended()
        assert loss is not None
        losses.append(loss)

    with contextlib.closing(source) if feed else contextlib.nullcontext():
        stream = clock.waiting_for(source)
        for batch in itertools.islice(stream, asked.warmup):
            advance(batch)
        clock.read()
        before = feed.stages() if feed else {}
        for batch in itertools.islice(stream, asked.steps):
            advance(batch)
        pace = clock.read()
        after = feed.stages() if feed else {}
        told = profile_steps(stream, advance, world, asked.profile_steps)
    assert torch.stack(losses).isfinite().all(), "the loss is not finite: such numbers are of no use"
    return Arm(pace, {name: round(after[name] - before[name], 3) for name in after}, told)


def profile_steps(stream: Iterator[DeviceBatch], advance: Any, world: World, steps: int) -> Profile | None:
    if not steps:
        return None
    with profiler(world.device) if world.first else contextlib.nullcontext() as found:
        begin = time.perf_counter()
        for batch in itertools.islice(stream, steps):
            advance(batch)
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        seconds = time.perf_counter() - begin
    return read_profile(found, world.device, seconds) if found is not None else None


def measure(options: TrainOptions, world: World, asked: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    row: dict[str, Any] = {
        "arch": options.arch,
        "crop_size": options.crop_size,
        "batch_size": options.batch_size,
        "bn_images": options.group_images,
        "compile": options.compile,
        "precision": options.precision,
    }
    if world.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(world.device)
    torch.compiler.reset()
    flops = flops_an_image(options.arch, options.crop_size, asked.classes)
    row["gflop_per_image"] = {name: round(count / 1e9, 2) for name, count in flops.items()}
    try:
        step = bare_step(options, asked.classes, world)
        for arm in ARMS:
            found = run_arm(arm, step, options, world, asked)
            rate = asked.steps * options.batch_size / found.pace.seconds
            row[arm] = {"images_per_s": round(rate, 2), "waiting": round(found.pace.waiting, 4)}
            row[arm] |= {"stages": found.stages} if found.stages else {}
            row[arm] |= {"parts": found.profile.shares, "busy": found.profile.busy} if found.profile else {}
            row[arm]["tflops"] = round(rate / world.size * sum(flops.values()) / 1e12, 3)
    except torch.OutOfMemoryError:
        if world.size > 1:
            raise  # the others would wait for this one
        return row | {"failed": "out of memory"}
    row["peak_gib"] = round(peak_memory(world.device) / 2**30, 2)
    row["limit"] = limiting(row)
    return row


def cases(asked: argparse.Namespace, world: World, folder: Path) -> Iterator[TrainOptions]:
    for network, size, group, compiled in itertools.product(
        asked.networks, asked.batch_sizes, asked.bn_images, asked.compile
    ):
        arch, _, crop = network.partition(":")
        yield TrainOptions(
            data=str(folder / "data" if asked.data is None else asked.data),
            output=folder / "run",
            arch=arch,
            crop_size=int(crop),
            batch_size=size * world.size,
            bn_images=min(group, size) or size,
            precision=asked.precision,
            compile=compiled == "on",
            device=asked.device,
            num_threads=asked.threads,
            lr=RATE,
        )


def arguments() -> argparse.Namespace:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet50:224", "resnet101:299"], help="ARCH:CROP")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 128, 256] if cuda else [8, 32])
    parser.add_argument("--bn-images", type=int, nargs="+", default=[32], help="0: the images of a process")
    parser.add_argument("--compile", nargs="+", choices=["off", "on"], default=["off", "on"] if cuda else ["off"])
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16" if cuda else "fp32")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--classes", type=int, default=18_291)
    parser.add_argument("--data", type=Path, help="a finished data set; none: draw one")
    parser.add_argument("--images", type=int, default=4_096, help="images to draw")
    parser.add_argument("--threads", type=int, help="of the loader; none: its own choice")
    parser.add_argument("--warmup", type=int, default=10 if cuda else 2)
    parser.add_argument("--steps", type=int, default=30 if cuda else 5)
    parser.add_argument("--profile-steps", type=int, default=5 if cuda else 1)
    parser.add_argument("--quick", action="store_true", help="a small network, two steps: does it run?")
    parser.add_argument("--json", type=Path, help="also write the result here")
    asked = parser.parse_args()
    if asked.quick:
        asked.networks, asked.batch_sizes, asked.bn_images = ["resnet18:64"], [8], [4]
        asked.classes, asked.images, asked.warmup, asked.steps, asked.profile_steps = 500, 64, 1, 2, 1
    return asked


def facts(world: World, asked: argparse.Namespace) -> dict[str, Any]:
    device = world.device
    cuda = device.type == "cuda"
    dtype = torch.bfloat16 if asked.precision == "bf16" else torch.float32
    side = 8192 if cuda else 512 if asked.quick else 2048
    return {
        "benchmark": "train",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "processes": world.size,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "classes": asked.classes,
        "steps": asked.steps,
        "product_tflops": round(product_tflops(device, dtype, side=side, seconds=0.1 if asked.quick else 1.0), 3),
        "sheet_tflops": sheet_tflops(device),
    }


def shared_folder(world: World, asked: argparse.Namespace, own: Path) -> Path:
    """The folder of the first process, with the data set in it."""
    if world.first and asked.data is None:
        draw_dataset(own / "data", asked.images)
    return Path(world.gather_text(str(own) if world.first else "")[0])


def as_the_trainer(device: torch.device) -> None:
    """Its settings of CUDA: TF32 where float32 is multiplied, and cuDNN tries its kernels."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = True


def main() -> None:
    asked = arguments()
    with joined(asked.device) as world, tempfile.TemporaryDirectory() as scratch:
        as_the_trainer(world.device)
        folder = shared_folder(world, asked, Path(scratch))
        told, rows = facts(world, asked), []
        for options in cases(asked, world, folder):
            rows.append(measure(options, world, asked))
            if world.first:
                print(json.dumps(rows[-1]), flush=True)
        world.gather([0])  # the data set goes when the first process leaves
    if world.first:
        text = json.dumps({**told, "rows": rows}, indent=1)
        if asked.json is not None:
            asked.json.write_text(text + "\n")
        print(text)
        print(tables(rows, told))


if __name__ == "__main__":
    main()
