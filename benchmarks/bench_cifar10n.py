"""Trains on people's labels of CIFAR-10 (CIFAR-10N), filtered and not: does the filter help the network?

    python benchmarks/bench_cifar10n.py DATA

DATA holds `photos/cifar10` and `label_noise/cifar10n` (see the example of real photos for where they come from).
Candidates: each label that one of the three annotators of an image gave. Sources: the three annotators; evidence by
the build's own functions, fitted on 1,000 judged candidates (`--gold`), kept at a mean probability of `--target`. A
small convolutional network is trained on the candidates as they are, and on the kept ones, with the same number of
updates, and tested on clean test images; three seeds, everything else alike. An annotator's accuracy stands beside
it. Out: JSON and the table.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import io
import json
import os
import platform
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from precision_fit import fit_filter

from openjft.pipelines.config import Source
from openjft.pipelines.keys import image_keys, key_words, sortable_keys
from openjft.pipelines.precision.model import sigmoid
from openjft.pipelines.precision.threshold import STEPS, Histogram, find_threshold, to_steps
from openjft.pipelines.schema import evidence_schema
from openjft.taxonomy import Category, build_taxonomy

ANNOTATORS = ("random1", "random2", "random3")
CLASSES = 10
Bytes = npt.NDArray[np.uint8]


def read_pictures(folder: Path, kind: str) -> dict[str, Bytes]:
    """Pixels (32, 32, 3) by file name, of the archive whose members begin with `kind`."""
    found: dict[str, Bytes] = {}
    for path in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isfile() and name.startswith(kind):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    found[name] = np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def evidence(rows: list[dict[str, str]]) -> tuple[pa.Table, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """(evidence, image of each candidate, whether it is right), sorted by key and label."""
    said: dict[tuple[int, int], set[int]] = {}
    for i, row in enumerate(rows):
        for a, name in enumerate(ANNOTATORS):
            said.setdefault((i, int(row[name])), set()).add(a)
    keys = image_keys(f"https://cifar.test/{row['file']}" for row in rows)
    rank = np.argsort(np.argsort(sortable_keys(key_words(keys)), kind="stable"), kind="stable")
    pairs = sorted(said, key=lambda pair: (rank[pair[0]], pair[1]))
    image, label = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    columns: dict[str, Any] = {
        "image_key": keys.take(pa.array(image)),
        "label": label,
        "uri": [rows[i]["file"] for i in image.tolist()],
        "opportunity": np.full(len(pairs), (1 << len(ANNOTATORS)) - 1, np.uint64),
    }
    for a, name in enumerate(ANNOTATORS):
        says = np.array([a in said[pair] for pair in pairs])
        for part in ("rows", "support"):
            columns[f"{name}.{part}"] = says
        columns |= {f"{name}.{part}": np.zeros(len(pairs)) for part in ("domains", "clicks", "impressions", "exposure")}
        columns |= {f"{name}.statements": np.ones(len(pairs)), f"{name}.score": pa.nulls(len(pairs), pa.float32())}
    schema = evidence_schema(ANNOTATORS)
    table = pa.table({f.name: pa.array(columns[f.name]).cast(f.type) for f in schema}, schema=schema)
    clean = np.array([int(row["clean"]) for row in rows])
    return table, image, clean[image] == label


def network() -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    width = 3
    for out in (16, 32, 64):
        for _ in range(2):
            layers += [torch.nn.Conv2d(width, out, 3, padding=1, bias=False), torch.nn.BatchNorm2d(out)]
            layers += [torch.nn.ReLU(inplace=True)]
            width = out
        layers.append(torch.nn.MaxPool2d(2))
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 10))


def train(
    pictures: torch.Tensor, label: torch.Tensor, test: tuple[torch.Tensor, torch.Tensor], *, steps: int, seed: int
) -> float:
    """Accuracy on the test images after so many updates of 128 rows."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=steps)
    order = torch.empty(0, dtype=torch.long)
    model.train()
    for _ in range(steps):
        if len(order) < 128:
            order = torch.cat([order, torch.randperm(len(label), generator=generator)])
        rows, order = order[:128], order[128:]
        batch = pictures[rows]
        flip = torch.rand(len(rows), generator=generator) < 0.5
        batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
        shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
        batch = torch.roll(batch, shift, (2, 3)).contiguous(memory_format=torch.channels_last)
        loss = torch.nn.functional.cross_entropy(model(batch), label[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        right = sum(
            int((model(x.contiguous(memory_format=torch.channels_last)).argmax(1) == y).sum())
            for x, y in zip(test[0].split(500), test[1].split(500), strict=True)
        )
    return right / len(test[1])


def as_tensor(pictures: list[Bytes]) -> torch.Tensor:
    return (torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255 - 0.47) / 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--gold", type=int, default=1000)
    parser.add_argument("--target", type=float, default=0.95)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rows = read_rows(options.data / "label_noise/cifar10n/train_labels.csv")
    test_rows = read_rows(options.data / "label_noise/cifar10h/test_human_counts.csv")
    steps = 20 if options.quick else options.steps
    table, image, correct = evidence(rows)
    sources = tuple(Source(name=name, kind="links") for name in ANNOTATORS)
    taxonomy = build_taxonomy([Category(f"c{i}") for i in range(CLASSES)], [], origin="cifar")
    gold = np.sort(np.random.default_rng(0).choice(len(correct), options.gold, replace=False))
    scored = fit_filter(table, correct, taxonomy, gold, sources=sources)
    p = to_steps(sigmoid(scored.log_odds["lr2"]))
    found = find_threshold(Histogram.of(np.bincount(p, minlength=STEPS + 1)), options.target)
    assert found is not None, "the target cannot be reached"
    kept = p >= found.steps
    pixels = read_pictures(options.data / "photos/cifar10", "train")
    pictures = as_tensor([pixels[row["file"]] for row in rows])
    test_pixels = read_pictures(options.data / "photos/cifar10", "test")
    test = (
        as_tensor([test_pixels[row["file"]] for row in test_rows]),
        torch.tensor([int(row["given"]) for row in test_rows]),
    )
    label = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
    arms = {"all candidates": np.ones(len(kept), bool), "kept by the filter": kept}
    one = np.array([int(row["random1"]) for row in rows])
    clean = np.array([int(row["clean"]) for row in rows])
    results: dict[str, dict[str, Any]] = {}
    for name, rows_of in arms.items():
        chosen = np.flatnonzero(rows_of)
        results[name] = {"labels": len(chosen), "precision": float(correct[chosen].mean()), "accuracy": []}
        for seed in options.seeds:
            begin = time.perf_counter()
            accuracy = train(pictures[image[chosen]], label[chosen], test, steps=steps, seed=seed)
            results[name]["accuracy"].append(accuracy)
            print(f"{name}, seed {seed}: {accuracy:.4f} in {time.perf_counter() - begin:.0f} s", flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    told = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": machine, "torch": torch.__version__}
    print(json.dumps({**told, "steps": steps, "annotator_precision": float((one == clean).mean()), "results": results}))
    print("\n| trained on | labels | of them right | test accuracy by seed | mean |\n|---|---|---|---|---|")
    for name, r in results.items():
        each = ", ".join(f"{100 * a:.1f}" for a in r["accuracy"])
        mean = 100 * float(np.mean(r["accuracy"]))
        print(f"| {name} | {r['labels']:,} | {100 * r['precision']:.1f} % | {each} % | {mean:.1f} % |")


if __name__ == "__main__":
    main()
