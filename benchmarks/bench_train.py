"""Images a second of the trainer: the network alone on drawn batches, and fed by the loader; what limits.

    python benchmarks/bench_train.py                                  # one GPU, or the CPU
    torchrun --nproc-per-node 8 benchmarks/bench_train.py             # several
    python benchmarks/bench_train.py --quick                          # tiny: does it run?

ResNet-50 at 224 and ResNet-101 at 299 pixels with 18,291 classes. (synthetic) batches that lie on the device; (loader)
a drawn data set of 340-pixel JPEGs through `Loader` and `device_batches`, from the page cache, with the share of time
that the device waits. The first steps warm up. On one process also a profile of a few steps: device time by kind of
operation. Out: JSON, and rows of Markdown. Arithmetic: 3 times the forward pass's multiply-adds times 2.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime as dt
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from bench_loader import SIDE, draw_dataset

from openjft.loaders import Batch, Dataset, Loader
from openjft.loaders.training import Crops, TrainOptions, device_batches, random_crops
from openjft.loaders.training.clock import Clock, peak_memory
from openjft.loaders.training.device import DeviceBatch
from openjft.loaders.training.parallel import World, joined
from openjft.loaders.training.step import Share, TrainStep
from openjft.loaders.training.synthetic import bare_step, synthetic_batches

CLASSES: Final = 18_291
KINDS: Final = {
    "conv": "convolution",
    "batch_norm": "batch norm",
    "addmm": "head",
    "mm": "head",
    "foreach": "optimizer",
}


class Case(NamedTuple):
    """A network, and what one image of it costs: GFLOP forward and backward."""

    arch: str
    crop: int
    gflop: float


CASES: Final = (Case("resnet50", 224, 24.8), Case("resnet101", 299, 86.6))
QUICK: Final = (Case("resnet18", 64, 0.9),)


def run(step: TrainStep, batches: Iterable[DeviceBatch], world: World, *, warm: int, size: int) -> dict[str, float]:
    """Images a second over all ranks after `warm` steps, and the share of time waiting."""
    clock, done = Clock(world.device), 0
    for number, batch in enumerate(clock.waiting_for(batches)):
        if number == warm:
            clock.read()
            done = 0
        shares = [Share(*row) for row in world.gather([*Share.of(batch, step.options.group_images)])]
        step(batch, shares, rate=1e-3, images_seen=number * size)
        clock.step_ended()
        done += size
    pace = clock.read()
    return {"images_per_s": done / pace.seconds, "waiting": pace.waiting, "memory_bytes": peak_memory(world.device)}


def loader_batches(folder: Path, case: Case, size: int, steps: int, world: World) -> Iterable[DeviceBatch]:
    dataset = Dataset.open(folder)
    unit = min(32, size)
    loader = Loader(dataset, batch_size=size, seed=1, rank=world.rank, world_size=world.size, unit=unit)

    def crops(batch: Batch) -> Crops:
        return random_crops(batch.keys, seed=1, epoch=batch.epoch, height=SIDE, width=SIDE, size=case.crop)

    def host() -> Iterable[Batch]:
        left, epoch = steps, 0
        while left:
            with loader.epoch(epoch) as batches:
                for batch in batches:
                    yield batch
                    left -= 1
                    if not left:
                        return
            epoch += 1

    return device_batches(host(), world.device, crop_size=case.crop, crops=crops, num_classes=CLASSES)


def profile(step: TrainStep, batch: DeviceBatch, size: int) -> dict[str, float]:
    """Share of the (device) time by kind of operation, over three steps."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    cuda = batch.images.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch_profile(activities=activities) as found:
        for _ in range(3):
            step(batch, [Share.of(batch, step.options.group_images)], rate=1e-3, images_seen=size)
    spent: collections.Counter[str] = collections.Counter()
    for event in found.key_averages():
        kind = next((name for part, name in KINDS.items() if part in event.key.lower()), "other")
        spent[kind] += event.self_device_time_total if cuda else event.self_cpu_time_total
    total = sum(spent.values()) or 1.0
    return {name: round(value / total, 3) for name, value in spent.most_common()}


def measure(case: Case, options: argparse.Namespace, world: World, folder: Path) -> dict[str, Any]:
    size = options.batch_size * world.size
    settings = TrainOptions(
        data="none", output=Path("none"), arch=case.arch, crop_size=case.crop, batch_size=size,
        bn_images=options.batch_size, precision=options.precision, compile=options.compile,
    )  # fmt: skip
    step = bare_step(settings, CLASSES, world)
    steps = options.warm + options.steps
    drawn = synthetic_batches(
        world.device, batch_size=options.batch_size, crop_size=case.crop, num_classes=CLASSES, count=steps
    )
    alone = run(step, drawn, world, warm=options.warm, size=size)
    fed = run(step, loader_batches(folder, case, size, steps, world), world, warm=options.warm, size=size)
    result = {"case": case._asdict(), "synthetic": alone, "loader": fed}
    result["tflop_per_s"] = alone["images_per_s"] * case.gflop / 1e3
    if world.size == 1:
        one = next(iter(synthetic_batches(
            world.device, batch_size=options.batch_size, crop_size=case.crop, num_classes=CLASSES, count=1
        )))  # fmt: skip
        result["time"] = profile(step, one, size)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128, help="images of a process")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warm", type=int, default=15)
    parser.add_argument("--images", type=int, default=20_000, help="of the drawn data set")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = CASES
    if options.quick:
        options.batch_size, options.steps, options.warm, options.images, cases = 8, 3, 1, 64, QUICK
    with joined(options.device) as world, contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        draw_dataset(folder, options.images)  # of each process: the same
        results = [measure(case, options, world, folder) for case in cases]
        if not world.first:
            return
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    told = {
        "benchmark": "train",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": f"{world.size} x {card}, {os.cpu_count()} cores, torch {torch.__version__}",
        "classes": CLASSES,
        "batch_size": options.batch_size,
        "precision": options.precision,
        "compile": options.compile,
        "results": results,
    }
    text = json.dumps(told, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text)
    print("| network | synthetic, images/s | with the loader | waiting | TFLOP/s |\n|---|---|---|---|---|")
    for r in results:
        name = f"{r['case']['arch']} at {r['case']['crop']}"
        alone, fed = r["synthetic"]["images_per_s"], r["loader"]
        row = f"{alone:,.0f} | {fed['images_per_s']:,.0f} | {fed['waiting']:.1%} | {r['tflop_per_s']:.1f}"
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    begin = time.monotonic()
    main()
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
