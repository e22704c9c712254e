"""Runs every measurement of RESULTS.md in turn, each in its own process, and prints its Markdown rows.

`make bench` runs it. It takes about three quarters of an hour on two cores and wants the machine for itself. `--quick`
runs each on a small input, to see that it works; such numbers mean nothing. Not among them is what needs a GPU
(`bench_train.py`), photos (`train_real.py`, `bench_cifar10n.py`) or another environment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FULL = {
    "bench_taxonomy.py": [],
    "bench_metadata.py": ["--pairs", "10000000", "--workers", "2"],
    "bench_precision.py": [],
    "bench_certificate.py": [],
    "bench_visual.py": [],
    "bench_filter.py": ["--rows", "1000000", "10000000"],
    "bench_fetch.py": ["--images", "3000", "--processes", "2", "--rounds", "3"],
    "bench_duplicates.py": [],
    "bench_decontaminate.py": [],
    "bench_loader.py": [],
    "bench_loader_peers.py": ["--rounds", "1"],  # without --peer-python: those that are here
}
QUICK = {
    "bench_taxonomy.py": ["--quick"],
    "bench_metadata.py": ["--pairs", "200000", "--workers", "2"],
    "bench_precision.py": ["--quick"],
    "bench_certificate.py": ["--quick"],
    "bench_visual.py": ["--quick"],
    "bench_filter.py": ["--quick"],
    "bench_fetch.py": ["--images", "200", "--processes", "2", "--rounds", "1"],
    "bench_duplicates.py": ["20000"],
    "bench_decontaminate.py": ["--quick"],
    "bench_loader.py": ["--quick"],
    "bench_loader_peers.py": ["--quick"],
    "bench_train.py": ["--quick"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small inputs: does it run?")
    parser.add_argument("--only", help="one script, such as bench_loader.py")
    options = parser.parse_args()
    failed = []
    for name, arguments in (QUICK if options.quick else FULL).items():
        if options.only not in (None, name):
            continue
        print(f"\n== {name} {' '.join(arguments)}", flush=True)
        start = time.monotonic()
        done = subprocess.run([sys.executable, HERE / name, *arguments], check=False)
        print(f"== {name}: exit {done.returncode} after {time.monotonic() - start:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
