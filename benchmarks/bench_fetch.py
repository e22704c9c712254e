"""Fetching from a loopback server against bare decoding, resizing and encoding on the same cores.

Draws photo-like 500 x 375 JPEGs (or takes those of a folder), then measures, each with the same number of processes,
(a) `convert` alone from memory, and (b) the stage `images` over HTTP from a server in a process of its own, which
shares the cores. Prints a Markdown row and JSON.

    python benchmarks/bench_fetch.py --images 4000 --processes 2
    python benchmarks/bench_fetch.py --photos FOLDER
    python benchmarks/bench_fetch.py --peer OTHER_ENVIRONMENT/bin/python      (c) img2dataset beside it

img2dataset needs an environment of its own (other versions of the same libraries). It decodes, resizes and encodes with
OpenCV, so its rate measures another decoder too, not fetching alone.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import datetime as dt
import io
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from aiohttp import web
from PIL import Image

from openjft.pipelines.config import Fetch
from openjft.pipelines.engine import run_unit
from openjft.pipelines.fetch import FetchStage
from openjft.pipelines.fetch.convert import convert
from openjft.pipelines.keys import buckets_of, image_keys
from openjft.pipelines.schema import LABELS
from openjft.pipelines.storage import Store

DISTINCT = 256  # drawn pictures; each is served under many addresses


def draw_jpeg(seed: int) -> bytes:
    """A 500 x 375 JPEG with a photo's mix of scales (1/f noise), 110 kB at quality 90, as ImageNet's."""
    draw = np.random.default_rng(seed)
    fy, fx = np.meshgrid(np.fft.fftfreq(375), np.fft.rfftfreq(500), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / 500) ** 1.1
    planes = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * draw.random(amplitude.shape))
        plane = np.fft.irfft2(amplitude * phase, s=(375, 500))
        planes.append(plane / plane.std())
    grey = planes[0]
    rgb = np.stack([grey + 0.3 * plane for plane in planes], axis=2)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(rgb * 50 + 120, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def load_photos(folder: Path) -> list[bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    return [path.read_bytes() for path in paths[: 8 * DISTINCT]]


def serve(pictures: list[bytes], pipe: Connection) -> None:
    """The server's process: sends its port, and runs until it is ended."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=pictures[int(request.match_info["i"]) % len(pictures)], content_type="image/jpeg")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{i}.jpg", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def bare(pictures: list[bytes], count: int, settings: Fetch) -> tuple[int, float]:
    """Converts `count` pictures from memory, in one process; (images stored, CPU seconds)."""
    start = time.process_time()
    done = sum(convert(pictures[i % len(pictures)], settings).stored is not None for i in range(count))
    return done, time.process_time() - start


def fetch(stage: FetchStage, unit: int, store: Store) -> tuple[int, float, int]:
    """One unit; (images stored, CPU seconds, peak memory of this process in bytes)."""
    start = time.process_time()
    result = run_unit(stage, unit, store, "bench")
    return result.rows_out, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_labels(store: Store, uris: list[str], buckets: int) -> None:
    keys = image_keys(uris)
    n = len(uris)
    table = pa.table(
        [keys, pa.array([0] * n, pa.int32()), uris, pa.array([1.0] * n, pa.float32()), pa.array([1] * n, pa.uint64())],
        schema=LABELS,
    ).sort_by("image_key")
    which = buckets_of(table.column("image_key"), buckets)
    for bucket in range(buckets):
        store.write_table(f"labels/{bucket:05d}-of-{buckets:05d}.parquet", table.filter(pa.array(which == bucket)))


class Measured(NamedTuple):
    """One round: wall-clock rate, CPU time of the workers, and the largest peak memory of a worker."""

    images_per_s: float
    cpu_ms_per_image: float
    peak_bytes: int = 0


def measure_bare(pictures: list[bytes], settings: Fetch, images: int, processes: int) -> Measured:
    """`convert` alone, from memory."""
    with concurrent.futures.ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        list(pool.map(bare, [pictures] * processes, [len(pictures)] * processes, [settings] * processes))
        start = time.perf_counter()
        outcomes = list(
            pool.map(bare, [pictures] * processes, [images // processes] * processes, [settings] * processes)
        )
        seconds = time.perf_counter() - start
    done = sum(outcome[0] for outcome in outcomes)
    return Measured(done / seconds, 1000 * sum(outcome[1] for outcome in outcomes) / done)


def measure_fetch(port: int, settings: Fetch, images: int, processes: int, threads: int) -> Measured:
    """The stage, from the server."""
    buckets = 2 * processes
    stage = FetchStage(settings, buckets, decode_threads=threads)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        write_labels(store, [f"http://127.0.0.1:{port}/{i}.jpg" for i in range(images)], buckets)
        with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
            list(pool.map(_ready, range(processes)))
            start = time.perf_counter()
            outcomes = list(pool.map(fetch, [stage] * buckets, range(buckets), [store] * buckets))
            seconds = time.perf_counter() - start
    done = sum(outcome[0] for outcome in outcomes)
    cpu_s = sum(outcome[1] for outcome in outcomes)
    return Measured(done / seconds, 1000 * cpu_s / done, max(outcome[2] for outcome in outcomes))


_PEER = """
import sys, img2dataset
urls, out, size, processes, threads, shard = sys.argv[1:]
img2dataset.download(
    url_list=urls, output_folder=out, output_format="webdataset", image_size=int(size), resize_mode="center_crop",
    resize_only_if_bigger=False, encode_quality=90, processes_count=int(processes), thread_count=int(threads),
    number_sample_per_shard=int(shard), retries=2, timeout=20, enable_wandb=False, disallowed_header_directives=[],
)
"""


def measure_peer(python: Path, port: int, settings: Fetch, images: int, processes: int) -> Measured:
    """img2dataset from the same server, by the times that it notes for its shards: its start does not count."""
    with tempfile.TemporaryDirectory(prefix="openjft-bench-") as name:
        urls, out = Path(name, "urls.txt"), Path(name, "out")
        urls.write_text("".join(f"http://127.0.0.1:{port}/{i}.jpg\n" for i in range(images)))
        arguments = [str(urls), str(out), str(settings.size), str(processes), str(settings.concurrency)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([python, "-c", _PEER, *arguments, str(-(-images // processes))], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        stats = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    done = sum(item["successes"] for item in stats)
    seconds = max(item["end_time"] for item in stats) - min(item["start_time"] for item in stats)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(done / seconds, 1000 * cpu_s / done)


def _ready(_: int) -> None:
    time.sleep(0.5)  # so that every process of the pool has started


@contextlib.contextmanager
def serving(pictures: list[bytes]) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(pictures, theirs), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        server.terminate()
        server.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument(
        "--rounds", type=int, default=3, help="rates are the best of each, the ratio is the rounds' median"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=1, help="decoding threads of a process")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--size", type=int, default=340)
    parser.add_argument("--photos", type=Path, help="folder of JPEGs, instead of drawn ones")
    parser.add_argument("--peer", type=Path, help="a Python that has img2dataset, to run it in the same rounds")
    parser.add_argument("--json", type=Path, help="also write the result here")
    given = parser.parse_args()
    pictures = load_photos(given.photos) if given.photos else [draw_jpeg(seed) for seed in range(DISTINCT)]
    if not pictures:
        sys.exit(f"{given.photos}: expected a folder with JPEGs, found none")
    settings = Fetch.model_validate(
        {
            "size": given.size,
            "allow_private": True,
            "concurrency": given.concurrency,
            "per_host": given.concurrency,  # there is one host here
        }
    )
    with serving(pictures) as port:
        rounds = [  # in turn, so that a busy moment of the machine hits both
            (
                measure_bare(pictures, settings, given.images, given.processes),
                measure_fetch(port, settings, given.images, given.processes, given.threads),
                measure_peer(given.peer, port, settings, given.images, given.processes) if given.peer else None,
            )
            for _ in range(given.rounds)
        ]
    alone = max((r[0] for r in rounds), key=lambda r: r.images_per_s)
    fetched = max((r[1] for r in rounds), key=lambda r: r.images_per_s)
    ratio = statistics.median(turn[1].images_per_s / turn[0].images_per_s for turn in rounds)
    peers = [turn[2] for turn in rounds if turn[2] is not None]
    peer = max(peers, key=lambda r: r.images_per_s, default=None)
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "images": given.images,
        "processes": given.processes,
        "mean_kilobytes": round(sum(map(len, pictures)) / len(pictures) / 1000, 1),
        "bare_images_per_s": round(alone.images_per_s, 1),
        "fetch_images_per_s": round(fetched.images_per_s, 1),
        "ratio": round(ratio, 3),
        "bare_cpu_ms_per_image": round(alone.cpu_ms_per_image, 2),
        "fetch_cpu_ms_per_image": round(fetched.cpu_ms_per_image, 2),  # without the server's
        "img2dataset_images_per_s": round(peer.images_per_s, 1) if peer else None,
        "img2dataset_cpu_ms_per_image": round(peer.cpu_ms_per_image, 2) if peer else None,  # its start included
        "peak_worker_mebibytes": round(max(r[1].peak_bytes for r in rounds) / 2**20),
        "rounds": [[round(m.images_per_s, 1) for m in turn if m is not None] for turn in rounds],
    }
    print("| images | processes | bare, images/s | fetch, images/s | ratio | img2dataset | peak of a worker, MiB |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {given.images:,} | {given.processes} | {result['bare_images_per_s']:.0f} "
        f"| {result['fetch_images_per_s']:.0f} | {ratio:.0%} "
        f"| {f'{peer.images_per_s:.0f}' if peer else '-'} | {result['peak_worker_mebibytes']} |"
    )
    print(json.dumps(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
