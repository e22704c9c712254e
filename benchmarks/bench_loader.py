"""The loader against bare decoding of the same bytes on the same cores, and webdataset over the same tars.

    python benchmarks/bench_loader.py --images 4000 --threads 2
    python benchmarks/bench_loader.py --dataset out/dataset

Draws 340 x 340 photo-like JPEGs into a dataset (or takes a finished one), then measures in turns, so that a busy
moment of the machine meets all alike: (a) simplejpeg alone, the JPEGs already in memory, as many threads; (b) `Loader`,
shuffled, with read-ahead, from the page cache; (c) webdataset in torch's DataLoader with as many processes, decoding by
Pillow as it does. Out: JSON, and a row of Markdown for RESULTS.md. The ratio is the median of the turns' ratios.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import platform
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg

from openjft.loaders import Dataset, Loader
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.schema import shard_name, tar_file
from openjft.loaders.writer import DatasetFacts, NewSample, class_counts, finish_dataset, write_shard
from openjft.taxonomy import Category, build_taxonomy

SIDE = 340
SHARDS = 8
DISTINCT = 128
TASK_IMAGES = 8


def draw_jpeg(seed: int) -> bytes:
    """A 340 x 340 JPEG with a photo's mix of scales (1/f noise), about 50 kB at quality 90."""
    draw = np.random.default_rng(seed)
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / SIDE) ** 1.2
    planes = []
    for _ in range(3):
        plane = np.fft.irfft2(amplitude * np.exp(2j * np.pi * draw.random(amplitude.shape)), s=(SIDE, SIDE))
        planes.append(plane / plane.std())
    rgb = np.stack([planes[0] + 0.3 * plane for plane in planes], axis=2)
    return encode_jpeg(np.clip(rgb * 50 + 120, 0, 255).astype(np.uint8), quality=90)


def draw_dataset(folder: Path, images: int, jpegs: list[bytes] | None = None) -> None:
    """A dataset of so many images of 100 categories; pictures (drawn, if none are given) repeat, samples do not."""

    def write(path: str, data: bytes) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    pictures = jpegs or [draw_jpeg(seed) for seed in range(min(DISTINCT, images))]
    taxonomy = build_taxonomy([Category(f"c{i:02d}") for i in range(100)], [], origin="benchmark")
    vocabulary, edges = taxonomy.to_tables()
    keys = sorted(hashlib.blake2b(str(i).encode(), digest_size=16).digest() for i in range(images))
    summaries, counts = [], []
    for shard, part in enumerate(np.array_split(np.arange(images), SHARDS)):
        samples = (
            NewSample(
                key=keys[i],
                jpeg=pictures[i % len(pictures)],
                width=SIDE,
                height=SIDE,
                labels=sorted({i % 100, i * 7 % 100}),
                probabilities=[0.9] * len({i % 100, i * 7 % 100}),
                asserted=[True] * len({i % 100, i * 7 % 100}),
                from_labels=sorted({i % 100, i * 7 % 100}),
                uri=f"http://example.org/{i}.jpg",
                source_sha256=bytes(32),
                original_width=500,
                original_height=375,
            )
            for i in part.tolist()
        )
        summary, table = write_shard(shard_name("bench", shard), samples, taxonomy.ids, write)
        summaries.append(summary)
        counts.append(class_counts(table, 100))
    facts = DatasetFacts(
        name="bench",
        image_mode="squash",
        image_size=SIDE,
        vocabulary=vocabulary,
        edges=edges,
        counts=(sum(c[0] for c in counts), sum(c[1] for c in counts)),
    )
    finish_dataset(summaries, facts, write)


def bare_decoding(dataset: Dataset, threads: int) -> Callable[[], int]:
    """Decodes all JPEGs from memory; returns how many."""
    jpegs = [dataset[i].jpeg for i in range(len(dataset))]

    def decode(start: int) -> int:
        part = jpegs[start : start + TASK_IMAGES]
        for jpeg in part:
            simplejpeg.decode_jpeg(jpeg, "RGB", fastdct=False)
        return len(part)

    def run() -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(decode, range(0, len(jpegs), TASK_IMAGES)))

    return run


def our_loader(dataset: Dataset, threads: int, batch_size: int) -> Callable[[], int]:
    """One shuffled epoch; returns how many images."""
    side = dataset.image_size or SIDE
    loader = Loader(dataset, batch_size=batch_size, seed=0, image_size=side, num_threads=threads, drop_last=False)
    epochs = iter(range(1_000_000))

    def run() -> int:
        with loader.epoch(next(epochs)) as epoch:
            return sum(len(batch) for batch in epoch)

    return run


def webdataset_library(dataset: Dataset, threads: int, batch_size: int) -> Callable[[], int]:
    """One pass over the tars by webdataset, in as many processes; returns how many images."""
    import webdataset
    from torch.utils.data import DataLoader

    urls = [f"{dataset.folder.root}/{tar_file(shard.name)}" for shard in dataset.manifest.shards]

    def run() -> int:
        stream = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode("rgb8").to_tuple("jpg")
        same_size = dataset.image_size is not None
        batched = stream.batched(batch_size, partial=True) if same_size else stream
        items = DataLoader(batched, batch_size=None, num_workers=threads)
        return sum(len(item[0]) if same_size else 1 for item in items)

    return run


class Rates(NamedTuple):
    """Of each turn: images a second, and CPU milliseconds of this process an image (all threads)."""

    per_s: list[float]
    cpu_ms: list[float]


def measure(runs: dict[str, Callable[[], int]], rounds: int) -> dict[str, Rates]:
    """Each in turns; the first turn warms up and does not count."""
    rates = {name: Rates([], []) for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start, cpu = time.perf_counter(), time.process_time()
            images = run()
            if turn:
                rates[name].per_s.append(images / (time.perf_counter() - start))
                rates[name].cpu_ms.append(1000 * (time.process_time() - cpu) / images)
    return rates


def report(dataset: Dataset, rates: dict[str, Rates], threads: int) -> dict[str, object]:
    """Medians, and the loader's share of bare decoding turn by turn."""
    shares = [ours / bare for ours, bare in zip(rates["loader"].per_s, rates["bare"].per_s, strict=True)]
    return {
        "benchmark": "loader",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "images": len(dataset),
        "image_size": dataset.image_size,
        "threads": threads,
        "images_per_s": {name: round(statistics.median(r.per_s), 1) for name, r in rates.items()},
        "cpu_ms_per_image": {name: round(statistics.median(rates[name].cpu_ms), 3) for name in ("bare", "loader")},
        "loader_share_of_bare": round(statistics.median(shares), 4),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="a finished dataset; none: draw one")
    parser.add_argument("--images", type=int, default=4_000, help="images to draw")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="256 images, one turn: does it run?")
    parser.add_argument("--skip-webdataset", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    if options.quick:
        options.images, options.rounds = 256, 1
    warnings.simplefilter("ignore")  # webdataset leaves files open, torch warns of forks
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.dataset or Path(scratch)
        if options.dataset is None:
            draw_dataset(folder, options.images)
        dataset = Dataset.open(folder)
        runs = {
            "bare": bare_decoding(dataset, options.threads),
            "loader": our_loader(dataset, options.threads, options.batch_size),
        }
        if not options.skip_webdataset:
            runs["webdataset"] = webdataset_library(dataset, options.threads, options.batch_size)
        result = report(dataset, measure(runs, options.rounds), options.threads)
    text = json.dumps(result, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    rates = result["images_per_s"]
    assert isinstance(rates, dict)
    print(text)
    print("| images | threads | bare decoding | loader | loader / bare | webdataset | peak MiB | machine | date |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {result['images']:,} of {result['image_size']} px | {result['threads']} | {rates['bare']:,.0f}/s "
        f"| {rates['loader']:,.0f}/s | {result['loader_share_of_bare']:.1%} | {rates.get('webdataset', 0):,.0f}/s "
        f"| {result['peak_mib']} | {result['machine']} | {result['date']} |"
    )


if __name__ == "__main__":
    main()
