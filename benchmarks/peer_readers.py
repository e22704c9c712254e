"""The readers that `bench_loader_peers.py` puts side by side, and the same JPEG bytes as each wants them.

This file runs in two environments: the project's (openjft, the limits) and the peers' (webdataset, files, streaming,
litdata), each as a process of its own. `python peer_readers.py write ROOT` writes the peers' formats from
`ROOT/files`; `python peer_readers.py read READER ROOT ...` prints one line of JSON: samples a second, and versions.

Every reader gives batches of 128: encoded bytes (`--mode read`), or RGB cut at random to 299 x 299 (`--mode decode`),
decoded as its own documentation does.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SIDE, CROP, BATCH = 340, 299, 128
SHUFFLE_BUFFER = 1_000  # webdataset shuffles the shards, then samples within a buffer: the value of its documents
PACKAGES = {
    "openjft": ("numpy", "simplejpeg"),
    "limit": ("simplejpeg",),
    "webdataset": ("webdataset", "torch", "pillow"),
    "files": ("torch", "pillow"),
    "streaming": ("mosaicml-streaming", "torch", "pillow"),
    "litdata": ("litdata", "torch", "torchvision"),
}
MODULES = {"webdataset": "webdataset", "files": "torch", "streaming": "streaming", "litdata": "litdata"}
ABSENT = 3  # exit status: the reader's library is not in this environment
Passes = Callable[[], Iterable[int]]  # samples of each batch of a pass


def there(reader: str) -> bool:
    return reader not in MODULES or importlib.util.find_spec(MODULES[reader]) is not None


# -- the peers' formats ----------------------------------------------------------------------------------------------


def write(root: Path) -> None:
    """MDS and litdata's chunks of `root/files`."""
    files = [str(path) for path in sorted((root / "files").iterdir())]
    if there("streaming"):
        from streaming import MDSWriter

        with MDSWriter(out=str(root / "streaming"), columns={"jpeg": "bytes"}, size_limit=1 << 26) as sink:
            for path in files:
                sink.write(as_sample(path))
    if there("litdata"):
        import litdata

        litdata.optimize(as_sample, files, str(root / "litdata"), chunk_bytes="64MB", num_workers=1)


def as_sample(path: str) -> dict[str, bytes]:
    return {"jpeg": Path(path).read_bytes()}


# -- the readers -----------------------------------------------------------------------------------------------------


def cut(pixels: Any, draw: np.random.Generator) -> Any:
    top, left = draw.integers(0, SIDE - CROP + 1, 2)
    return pixels[top : top + CROP, left : left + CROP]


def pillow_crop(data: bytes, draw: np.random.Generator) -> Any:
    from PIL import Image

    return cut(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), draw)


def openjft(root: Path, workers: int, decode: bool) -> Passes:
    """`workers` threads."""
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


def batches_of(loader: Any) -> Passes:
    return lambda: (len(batch) for batch in loader)


def torch_loader(dataset: Any, workers: int, **options: Any) -> Passes:
    from torch.utils.data import DataLoader

    return batches_of(DataLoader(dataset, num_workers=workers, persistent_workers=workers > 0, **options))


def webdataset(root: Path, workers: int, decode: bool) -> Passes:
    """The shards of our data set; the labels beside the images are not parsed."""
    import webdataset as wds

    draw = np.random.default_rng(0)
    urls = sorted(str(path) for path in (root / "openjft/shards").glob("*.tar"))
    stream = wds.WebDataset(urls, shardshuffle=len(urls), empty_check=False).shuffle(SHUFFLE_BUFFER)
    if decode:
        stream = stream.decode("rgb8", only=["jpg"])
    stream = stream.to_tuple("jpg").map(lambda item: cut(item[0], draw) if decode else item[0])
    collate = np.stack if decode else list
    return torch_loader(stream.batched(BATCH, collation_fn=collate, partial=True), workers, batch_size=None)


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
    collate = np.stack if decode else list
    return torch_loader(Files(root, decode), workers, batch_size=BATCH, shuffle=True, collate_fn=collate)


def streaming(root: Path, workers: int, decode: bool) -> Passes:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()  # a former process may have left its own
    draw = np.random.default_rng(0)

    class Mds(StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            data = super().__getitem__(at)["jpeg"]
            return pillow_crop(data, draw) if decode else data

    dataset = Mds(local=str(root / "streaming"), shuffle=True, batch_size=BATCH)
    return torch_loader(dataset, workers, batch_size=BATCH, collate_fn=np.stack if decode else list)


def litdata(root: Path, workers: int, decode: bool) -> Passes:
    """Decoding as its JPEG serializer does, by torchvision."""
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
    return batches_of(loader)


def limit(root: Path, workers: int, decode: bool) -> Passes:
    """What the machine gives to so many threads: preads in the order of the file, or simplejpeg on bytes in memory."""
    import simplejpeg

    from openjft.loaders import Dataset

    dataset = Dataset.open(root / "openjft")
    tasks: list[list[Any]]
    if decode:
        jpegs = [dataset[i].jpeg for i in range(len(dataset))]
        tasks = [jpegs[start : start + 8] for start in range(0, len(jpegs), 8)]
    else:
        places = []
        for number, shard in enumerate(dataset.manifest.shards):
            index = dataset.index(number)
            handle = os.open(root / f"openjft/shards/{shard.name}.tar", os.O_RDONLY)
            places += [(handle, *at) for at in zip(index.sizes.tolist(), index.offsets.tolist(), strict=True)]
        tasks = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]

    def task(part: list[Any]) -> int:
        for item in part:
            if decode:
                simplejpeg.decode_jpeg(item, "RGB", fastdct=False)
            else:
                os.pread(*item)
        return len(part)

    def run() -> Iterator[int]:
        if workers == 0:
            yield from map(task, tasks)
            return
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(task, tasks)

    return run


READERS: dict[str, Callable[[Path, int, bool], Passes]] = {
    "limit": limit,
    "openjft": openjft,
    "webdataset": webdataset,
    "files": files,
    "streaming": streaming,
    "litdata": litdata,
}

# -- the measurement -------------------------------------------------------------------------------------------------


def samples_a_second(passes: Passes, seconds: float) -> float:
    """Passes follow each other and are counted for so long; a third of that long warms up, one batch at least."""

    def forever() -> Iterator[int]:
        while True:
            found = 0
            for samples in passes():
                found += samples
                yield samples
            assert found, "a pass gave no sample"

    stream = forever()
    next(stream)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds / 3:
        next(stream)
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        done += next(stream)
    return done / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing, reading = commands.add_parser("write"), commands.add_parser("read")
    writing.add_argument("root", type=Path)
    reading.add_argument("reader", choices=list(READERS))
    reading.add_argument("root", type=Path)
    reading.add_argument("--mode", choices=["read", "decode"], required=True)
    reading.add_argument("--workers", type=int, required=True)
    reading.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # webdataset leaves files open, torch warns of forks
    if options.command == "write":
        write(options.root)
        return
    if not there(options.reader):
        sys.exit(ABSENT)
    passes = READERS[options.reader](options.root, options.workers, options.mode == "decode")
    rate = samples_a_second(passes, options.seconds)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES[options.reader]}
    print(json.dumps({"per_s": round(rate, 1), "versions": versions}), flush=True)


if __name__ == "__main__":
    main()
