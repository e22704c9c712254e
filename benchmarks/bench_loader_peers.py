"""Readers side by side on the same images: this loader, webdataset, files with Pillow, MosaicML streaming, litdata.

    python benchmarks/bench_loader_peers.py --peer-python PEERS/bin/python --data PHOTOS

The same JPEG bytes (340 x 340) are written once as each reader wants them: our data set, whose tars webdataset reads;
files; MDS; litdata's chunks. All of it is read once, so it lies in the page cache. Then, in turns, so that a busy
moment of the machine meets all: (read) encoded bytes in shuffled batches of 128; (decode) RGB, cut at random to
299 x 299, in batches of 128. Each reader runs in a process of its own on `--cores` cores, with each of `--workers`
(threads or processes, as it has them; 0: in the process itself), and the better counts, by the median of the turns. The
limits, in the same turns: `pread` of all samples in the order of the files, and simplejpeg on bytes in memory. A ratio
is the median of the turns' ratios.

PEERS is an environment with webdataset, mosaicml-streaming, litdata, torch and torchvision (`uv pip install` them); a
reader that is not there is said to be missing. Out: JSON, and a table of Markdown.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_loader import DISTINCT, draw_dataset, draw_jpeg
from peer_readers import ABSENT, READERS, SIDE

from openjft.loaders import Dataset
from openjft.loaders.decoding import DecodeError, decode_image, encode_jpeg, resize_image

HERE = Path(__file__).parent
MODES = ("read", "decode")
OURS = ("limit", "openjft")
SUFFIXES = {".jpg", ".jpeg", ".png"}
TIMEOUT_S = 900
Runs = dict[str, list[dict[str, Any]]]  # of a reader in a mode: by workers, one a turn


def photos(folder: Path, count: int) -> list[bytes]:
    """At most `count` JPEGs of 340 x 340 of the photos below a folder."""
    found: list[bytes] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            pixels = decode_image(path.read_bytes(), max_pixels=10**8, target=2 * SIDE).pixels
        except DecodeError:
            continue
        found.append(encode_jpeg(resize_image(pixels, size=SIDE, mode="squash"), quality=90))
        if len(found) == count:
            break
    if not found:
        sys.exit(f"{folder}: expected photos ({', '.join(sorted(SUFFIXES))}), found none")
    return found


def write_all(root: Path, jpegs: list[bytes], options: argparse.Namespace) -> None:
    """Writes every format, and reads each file once."""
    draw_dataset(root / "openjft", options.images, jpegs)
    dataset = Dataset.open(root / "openjft")
    (root / "files").mkdir()
    for number in range(len(dataset)):
        sample = dataset[number]
        (root / "files" / f"{sample.key.hex()}.jpg").write_bytes(sample.jpeg)
    command = [str(options.peer_python), str(HERE / "peer_readers.py"), "write", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    for path in root.rglob("*"):
        if path.is_file():
            path.read_bytes()


def run_reader(name: str, root: Path, mode: str, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    python = sys.executable if name in OURS else str(options.peer_python)
    command = [python, str(HERE / "peer_readers.py"), "read", name, str(root), "--mode", mode]
    command += ["--workers", str(workers), "--seconds", str(options.seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {TIMEOUT_S} s"}
    if done.returncode == ABSENT:
        return {"missing": "not in the peers' environment"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:200]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def measure(root: Path, options: argparse.Namespace) -> dict[str, dict[str, Runs]]:
    results: dict[str, dict[str, Runs]] = {mode: {name: {} for name in READERS} for mode in MODES}
    for turn in range(options.rounds):
        for mode in MODES:
            for name in READERS:
                for workers in options.workers:
                    found = run_reader(name, root, mode, workers, options)
                    results[mode][name].setdefault(str(workers), []).append(found)
                    print(f"turn {turn + 1}, {mode}, {name} x {workers}: {found}", file=sys.stderr, flush=True)
                    if "missing" in found:
                        break
    return results


def best(runs: Runs) -> tuple[str, list[float]]:
    """The better number of workers, by the median of the turns, and its rates; nothing if a turn failed."""
    rates = {w: [run["per_s"] for run in turns] for w, turns in runs.items() if all("per_s" in run for run in turns)}
    return max(rates.items(), key=lambda item: statistics.median(item[1])) if rates else ("-", [])


def ratio(rates: list[float], others: list[float]) -> float | None:
    """The median of the turns' ratios."""
    if not rates or not others:
        return None
    return round(statistics.median(a / b for a, b in zip(rates, others, strict=True)), 3)


def summary(results: dict[str, dict[str, Runs]]) -> list[dict[str, Any]]:
    """A row for each mode and reader."""
    rows = []
    for mode, readers in results.items():
        limit, webdataset = best(readers["limit"])[1], best(readers["webdataset"])[1]
        for name, runs in readers.items():
            workers, rates = best(runs)
            told = [run for turns in runs.values() for run in turns]
            reasons = [why for run in told for key, why in run.items() if key in {"missing", "failed"}]
            rows.append(
                {
                    "mode": mode,
                    "reader": name,
                    "workers": workers,
                    "per_s": round(statistics.median(rates), 1) if rates else None,
                    "to_webdataset": ratio(rates, webdataset),
                    "to_limit": ratio(rates, limit),
                    "versions": next((run["versions"] for run in told if "versions" in run), {}),
                    "why_not": next(iter(reasons), ""),
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| | reader | samples/s | workers | to webdataset | to the limit |", "|---|---|---|---|---|---|"]
    for row in rows:
        start = f"| {row['mode']} | {row['reader']} |"
        if row["per_s"] is None:
            lines.append(f"{start} {row['why_not']} | | | |")
            continue
        to_webdataset = "" if row["to_webdataset"] is None else f"{row['to_webdataset']:.2f}"
        lines.append(f"{start} {row['per_s']:,.0f} | {row['workers']} | {to_webdataset} | {row['to_limit']:.1%} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable), help="of the peers' environment")
    parser.add_argument("--data", type=Path, help="folder of photos; none: draw pictures")
    parser.add_argument("--images", type=int, default=8_000, help="samples; pictures repeat where there are fewer")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="that each reader is counted for")
    parser.add_argument("--scratch", type=Path, help="folder for the data (four times the samples)")
    parser.add_argument("--quick", action="store_true", help="256 images, one short turn: does it run?")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    if options.quick:
        options.images, options.rounds, options.seconds, options.workers = 256, 1, 0.3, [0, 1]
    return options


def main() -> None:
    options = arguments()
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)  # the readers' processes inherit it
    drawn = min(DISTINCT, options.images)
    jpegs = photos(options.data, options.images) if options.data else [draw_jpeg(seed) for seed in range(drawn)]
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        write_all(Path(scratch), jpegs, options)
        results = measure(Path(scratch), options)
    rows = summary(results)
    told = {
        "benchmark": "loader_peers",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": f"{len(cores)} cores, {platform.machine()}, Python {platform.python_version()}",
        "images": options.images,
        "distinct": len(jpegs),
        "mean_bytes": round(statistics.mean(map(len, jpegs))),
        "rounds": options.rounds,
        "rows": rows,
        "runs": results,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps({name: value for name, value in told.items() if name != "runs"}, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
