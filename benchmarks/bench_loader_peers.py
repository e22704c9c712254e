"""Readers side by side on the same images: this loader, webdataset, files with Pillow, MosaicML streaming, litdata.

    python benchmarks/bench_loader_peers.py --peer-python PEERS/bin/python --data PHOTOS

The same JPEG bytes (340 x 340) are written once as each reader wants them: our data set, whose tars webdataset reads;
files; MDS; litdata's chunks. Then, in turns, so that a busy moment of the machine meets all: (read) encoded bytes in
batches of 128; (decode) RGB pixels, cut at random to 299 x 299, in batches of 128. Each reader runs in a process of its
own, with one and with two workers (threads or processes, as it has them), and the better counts; the first pass warms
up, then passes are counted for `--seconds`. Limits in the same turns: `pread` alone, and simplejpeg on bytes in memory.

PEERS is an environment with webdataset, mosaicml-streaming, litdata, torch and torchvision; a reader that is missing is
said to be. Out: JSON, and rows of Markdown.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SIDE, CROP, BATCH = 340, 299, 128
READERS = ("openjft", "webdataset", "files", "streaming", "litdata")
LIMITS = ("limit",)
PACKAGES = {"openjft": "openjft", "webdataset": "webdataset", "streaming": "mosaicml-streaming", "litdata": "litdata"}
Passes = Callable[[], Iterable[int]]  # samples of each batch of a pass


# -- the images, as each reader wants them ---------------------------------------------------------------------------


def photos(folder: Path, count: int) -> list[bytes]:
    """JPEGs of 340 x 340 of the photos below a folder, repeated as often as it takes."""
    from openjft.loaders.decoding import DecodeError, decode_image, encode_jpeg, resize_image

    found: list[bytes] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"}):
        try:
            pixels = decode_image(path.read_bytes(), max_pixels=10**8, target=2 * SIDE).pixels
        except DecodeError:
            continue
        found.append(encode_jpeg(resize_image(pixels, size=SIDE, mode="squash"), quality=90))
        if len(found) == count:
            break
    return found


def write_all(root: Path, jpegs: list[bytes], count: int) -> None:
    from bench_loader import draw_dataset

    from openjft.loaders import Dataset

    draw_dataset(root / "openjft", count, jpegs)
    dataset = Dataset.open(root / "openjft")
    (root / "files").mkdir()
    for number in range(len(dataset)):
        sample = dataset[number]
        (root / "files" / f"{sample.key.hex()}.jpg").write_bytes(sample.jpeg)


def write_peers(root: Path) -> None:
    """In the peers' environment: MDS and litdata's chunks of the same files."""
    files = [str(path) for path in sorted((root / "files").iterdir())]
    if _there("streaming"):
        from streaming import MDSWriter

        with MDSWriter(out=str(root / "streaming"), columns={"jpeg": "bytes"}, size_limit=1 << 26) as sink:
            for path in files:
                sink.write({"jpeg": Path(path).read_bytes()})
    if _there("litdata"):
        import litdata

        litdata.optimize(_read, files, str(root / "litdata"), chunk_bytes="64MB", num_workers=1)


def _read(path: str) -> dict[str, bytes]:
    return {"jpeg": Path(path).read_bytes()}


def _there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


# -- the readers, each in a process of its own -----------------------------------------------------------------------


def cut(pixels: Any, draw: np.random.Generator) -> Any:
    top, left = draw.integers(0, SIDE - CROP + 1, 2)
    return pixels[top : top + CROP, left : left + CROP]


def pillow_crop(data: bytes, draw: np.random.Generator) -> Any:
    from PIL import Image

    return cut(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), draw)


def openjft(root: Path, workers: int, decode: bool) -> Passes:
    from openjft.loaders import Dataset, Loader

    draw = np.random.default_rng(0)
    loader = Loader(
        Dataset.open(root / "openjft"), batch_size=BATCH, seed=0, num_threads=workers, decode=decode, drop_last=False
    )
    epochs = iter(range(10**9))

    def run() -> Iterator[int]:
        with loader.epoch(next(epochs)) as epoch:
            for batch in epoch:
                if decode:
                    np.stack([cut(image, draw) for image in batch.images])
                yield len(batch)

    return run


def data_loader(dataset: Any, workers: int, **options: Any) -> Passes:
    from torch.utils.data import DataLoader

    loader = DataLoader(dataset, num_workers=workers, persistent_workers=workers > 0, **options)
    return lambda: (len(batch) for batch in loader)


def webdataset(root: Path, workers: int, decode: bool) -> Passes:
    import webdataset as wds

    draw = np.random.default_rng(0)
    urls = sorted(str(path) for path in (root / "openjft/shards").glob("*.tar"))
    stream = wds.WebDataset(urls, shardshuffle=False, empty_check=False)
    if decode:
        stream = stream.decode("rgb8").to_tuple("jpg").map(lambda item: cut(item[0], draw))
    else:
        stream = stream.to_tuple("jpg").map(lambda item: item[0])
    collate = np.stack if decode else list
    return data_loader(stream.batched(BATCH, collation_fn=collate, partial=True), workers, batch_size=None)


class Files:
    """A map-style data set of files."""

    def __init__(self, root: Path, decode: bool) -> None:
        self.paths, self.decode = sorted((root / "files").iterdir()), decode
        self.draw = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Any:
        data = self.paths[number].read_bytes()
        return pillow_crop(data, self.draw) if self.decode else data


def files(root: Path, workers: int, decode: bool) -> Passes:
    options = {"batch_size": BATCH, "shuffle": True, "collate_fn": np.stack if decode else list}
    return data_loader(Files(root, decode), workers, **options)


def streaming(root: Path, workers: int, decode: bool) -> Passes:
    from streaming import StreamingDataset

    class Mds(StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            data = super().__getitem__(at)["jpeg"]
            return pillow_crop(data, np.random.default_rng(0)) if decode else data

    dataset = Mds(local=str(root / "streaming"), shuffle=True, batch_size=BATCH)
    return data_loader(dataset, workers, batch_size=BATCH, collate_fn=np.stack if decode else list)


def litdata(root: Path, workers: int, decode: bool) -> Passes:
    import torch
    from litdata import StreamingDataLoader, StreamingDataset
    from torchvision.io import ImageReadMode, decode_jpeg

    draw = np.random.default_rng(0)

    class Chunks(StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            data = super().__getitem__(at)["jpeg"]
            if not decode:
                return data
            pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
            return cut(pixels.permute(1, 2, 0).numpy(), draw)

    dataset = Chunks(str(root / "litdata"), shuffle=True, drop_last=False)
    loader = StreamingDataLoader(
        dataset,
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=np.stack if decode else list,
    )
    return lambda: (len(batch) for batch in loader)


def limit(root: Path, workers: int, decode: bool) -> Passes:
    """What the machine gives: preads of all images one after the other, or simplejpeg on bytes in memory."""
    import simplejpeg

    from openjft.loaders import Dataset

    dataset = Dataset.open(root / "openjft")
    if decode:
        jpegs = [dataset[i].jpeg for i in range(len(dataset))]

        def part(start: int) -> int:
            for data in jpegs[start : start + 8]:
                simplejpeg.decode_jpeg(data, "RGB", fastdct=False)
            return len(jpegs[start : start + 8])

        def decoding() -> Iterator[int]:
            with ThreadPoolExecutor(workers) as pool:
                yield from pool.map(part, range(0, len(jpegs), 8))

        return decoding

    def reading() -> Iterator[int]:
        for shard in dataset.manifest.shards:
            index = dataset.index(dataset.manifest.shards.index(shard))
            handle = os.open(root / f"openjft/shards/{shard.name}.tar", os.O_RDONLY)
            for offset, size in zip(index.offsets.tolist(), index.sizes.tolist(), strict=True):
                os.pread(handle, size, offset)
            os.close(handle)
            yield index.num_samples

    return reading


def work(name: str, root: Path, workers: int, decode: bool, seconds: float) -> None:
    """Prints samples a second of one reader; the first pass warms up."""
    warnings.simplefilter("ignore")
    make: Callable[[Path, int, bool], Passes] = globals()[name]
    passes = make(root, workers, decode)
    sum(passes())
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        done += sum(passes())
    package = PACKAGES.get(name)
    version = importlib.metadata.version(package) if package else ""
    print(json.dumps({"per_s": done / (time.perf_counter() - begin), "version": version}), flush=True)


# -- the turns -------------------------------------------------------------------------------------------------------


def run_worker(name: str, root: Path, mode: str, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    ours = name in {"openjft", "limit"}
    python = sys.executable if ours else str(options.peer_python)
    command = [python, __file__, "--worker", name, "--root", str(root), "--mode", mode, "--workers", str(workers)]
    command += ["--seconds", str(options.seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1][:160]}
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def measure(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for turn in range(options.rounds):
        for mode in ("read", "decode"):
            for name in (*LIMITS, *READERS):
                for workers in (1, 2):
                    found = run_worker(name, root, mode, workers, options)
                    results.setdefault(mode, {}).setdefault(name, {}).setdefault(str(workers), []).append(found)
                    print(f"turn {turn} {mode} {name} x{workers}: {found}", file=sys.stderr, flush=True)
    return results


def best(by_workers: dict[str, list[dict[str, Any]]]) -> tuple[float, str]:
    """The better of one and two workers, by the median of the turns."""
    rates = {w: [r["per_s"] for r in runs if "per_s" in r] for w, runs in by_workers.items()}
    medians = {w: statistics.median(values) for w, values in rates.items() if values}
    return max((rate, w) for w, rate in medians.items()) if medians else (float("nan"), "-")


def table(results: dict[str, Any]) -> str:
    lines = []
    for mode in ("read", "decode"):
        limit_rate = best(results[mode]["limit"])[0]
        reference = best(results[mode]["webdataset"])[0]
        lines += [f"\n{mode}: | reader | samples/s | workers | to webdataset | of the limit |", "|---|---|---|---|---|"]
        for name in READERS:
            rate, workers = best(results[mode][name])
            lines.append(f"| {name} | {rate:,.0f} | {workers} | {rate / reference:.2f} | {rate / limit_rate:.0%} |")
        lines.append(f"| limit | {limit_rate:,.0f} | {best(results[mode]['limit'])[1]} | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable), help="of the peers' environment")
    parser.add_argument("--data", type=Path, help="folder of photos; none: draw pictures")
    parser.add_argument("--images", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="that each reader is counted for")
    parser.add_argument("--quick", action="store_true", help="256 images, one short turn: does it run?")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--write-peers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.root, options.workers, options.mode == "decode", options.seconds)
        return
    if options.write_peers:
        write_peers(options.root)
        return
    if options.quick:
        options.images, options.rounds, options.seconds = 256, 1, 0.2
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        from bench_loader import DISTINCT, draw_jpeg

        jpegs = photos(options.data, options.images) if options.data else [draw_jpeg(s) for s in range(DISTINCT)]
        write_all(root, jpegs, options.images)
        subprocess.run([str(options.peer_python), __file__, "--write-peers", "--root", str(root)], check=False)
        results = measure(root, options)
    told = {
        "benchmark": "loader_peers",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "images": options.images,
        "distinct": len(jpegs),
        "mean_bytes": round(statistics.mean(map(len, jpegs))),
        "results": results,
    }
    text = json.dumps(told, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text if options.quick else table(results))


if __name__ == "__main__":
    main()
