"""Trains our ResNet-18 on real photos under noisy labels, filtered and not: two label tables on the same tars.

    python benchmarks/train_real.py DATA --output OUT

CIFAR-10: the labels that three people gave each picture (CIFAR-10N), tested on clean test pictures. Caltech-101: three
drawn annotators, each wrong with probability `--noise` (any other class alike), tested on photos held out with their
true labels. Candidates are every label that one of the three gave; the filter is the build's own, fitted on judged
candidates (`--gold`) and cut at a mean probability of `--target`. The images are written once; each arm joins its own
label table when it reads them; a third one, the limit, has the true labels. All arms make as many updates, with the
trainer's recipe but for what `SETTINGS` says, which was fixed before the first run. Top-1 asks for the given class
among all; mAP@100 is the trainer's own. Three seeds.

Out: JSON and the table.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from bench_cifar10n import ANNOTATORS, evidence
from precision_fit import fit_filter
from real_sets import Job, Pictures, caltech, cifar, held_out

from openjft.loaders import Loader
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.evaluation import EvaluateOptions, evaluate
from openjft.loaders.open import open_source
from openjft.loaders.schema import shard_name
from openjft.loaders.training import (
    TrainOptions,
    build_model,
    load_checkpoint,
    train,
)
from openjft.loaders.training.scores import network_scores
from openjft.loaders.writer import DatasetFacts, NewSample, class_counts, finish_dataset, write_shard
from openjft.pipelines.config import Source
from openjft.pipelines.keys import image_keys
from openjft.pipelines.precision.model import sigmoid
from openjft.pipelines.precision.threshold import STEPS, Histogram, find_threshold, to_steps
from openjft.taxonomy import Category, Taxonomy, build_taxonomy

SHARDS: Final = 4
# Of both arms and sets, fixed before the first run; the rest is the paper's recipe.
SETTINGS: Final[dict[str, Any]] = {"arch": "resnet18", "batch_size": 64, "schedule": "cosine", "warmup_images": 2_000}


def write_dataset(folder: Path, pictures: Pictures, taxonomy: Taxonomy) -> Path:
    """A finished data set with the true labels; its keys are those of `evidence`."""

    def write(path: str, data: bytes) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    keys = image_keys(f"https://cifar.test/{name}" for name in pictures.names).to_pylist()
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    stored = pictures.pixels[0].shape[0]
    summaries, counts = [], []
    for shard, part in enumerate(np.array_split(np.array(order), SHARDS)):
        samples = (
            NewSample(
                key=keys[i],
                jpeg=encode_jpeg(pictures.pixels[i], quality=95),
                width=stored,
                height=stored,
                labels=[int(pictures.clean[i])],
                probabilities=[1.0],
                asserted=[True],
                from_labels=[int(pictures.clean[i])],
                uri=f"https://cifar.test/{pictures.names[i]}",
                source_sha256=bytes(32),
                original_width=stored,
                original_height=stored,
            )
            for i in part.tolist()
        )
        summary, table = write_shard(shard_name("real", shard), samples, taxonomy.ids, write)
        summaries.append(summary)
        counts.append(class_counts(table, taxonomy.num_categories))
    vocabulary, edges = taxonomy.to_tables()
    facts = DatasetFacts(
        name="real",
        image_mode="squash",
        image_size=stored,
        vocabulary=vocabulary,
        edges=edges,
        counts=(sum(c[0] for c in counts), sum(c[1] for c in counts)),
    )
    finish_dataset(summaries, facts, write)
    return folder


def label_tables(
    job: Job, folder: Path, taxonomy: Taxonomy, gold_size: int, target: float
) -> dict[str, dict[str, Any]]:
    """Two CSV tables of (image_key, label), the tars' own true labels (no table), and what share of each is right."""
    table, _, correct = evidence(job.rows)
    sources = tuple(Source(name=name, kind="links") for name in ANNOTATORS)
    gold = np.sort(np.random.default_rng(0).choice(len(correct), min(gold_size, len(correct) // 2), replace=False))
    scored = fit_filter(table, correct, taxonomy, gold, sources=sources)
    steps = to_steps(sigmoid(scored.log_odds["lr2"]))
    found = find_threshold(Histogram.of(np.bincount(steps, minlength=STEPS + 1)), target)
    assert found is not None, "the target cannot be reached"
    keys, labels = table["image_key"].to_pylist(), table["label"].to_numpy()
    arms = {"all candidates": np.ones(len(steps), np.bool_), "kept by the filter": steps >= found.steps}
    made: dict[str, dict[str, Any]] = {}
    for number, (name, kept) in enumerate(arms.items()):
        path = folder / f"labels-{number}.csv"
        with path.open("w", newline="") as sink:
            writer = csv.writer(sink)
            writer.writerow(["image_key", "label"])
            for i in np.flatnonzero(kept).tolist():
                writer.writerow([keys[i].hex(), taxonomy.ids[int(labels[i])]])
        made[name] = {"table": path, "labels": int(kept.sum()), "precision": float(correct[kept].mean())}
    made["true labels"] = {"table": None, "labels": len(job.train.names), "precision": 1.0}
    return made


def top_1(checkpoint: Path, data: Path, classes: int, side: int) -> float:
    """The share of the images whose best class is theirs."""
    source, state = open_source(str(data)), load_checkpoint(checkpoint)
    model = build_model("resnet18", classes, seed=0)
    model.load_state_dict(state.weights())
    model.eval()
    right = 0
    loader = Loader(source, batch_size=128, seed=0, shuffle=False, drop_last=False)
    for batch, scores in network_scores(
        model, loader, torch.device("cpu"), crop_size=side, num_classes=classes, precision="fp32"
    ):
        right += int((scores.argmax(1) == batch.label_values).sum())
    return right / source.num_samples


def run_job(name: str, job: Job, options: argparse.Namespace) -> dict[str, Any]:
    folder = options.output / name
    folder.mkdir(parents=True, exist_ok=True)
    taxonomy = build_taxonomy([Category(f"c{i:03d}") for i in range(job.classes)], [], origin=name)
    train_data = write_dataset(folder / "train", job.train, taxonomy)
    test_data = write_dataset(folder / "test", job.test, taxonomy)
    arms = label_tables(job, folder, taxonomy, options.gold, options.target)
    numbers = {arm: number for number, arm in enumerate(arms)}
    arms = {arm: told for arm, told in arms.items() if options.arm in (None, arm)}
    for arm, told in arms.items():
        number = numbers[arm]
        told |= {"top_1": [], "map": []}
        for seed in options.seeds:
            begin = time.perf_counter()
            run = train(
                TrainOptions(
                    data=str(train_data),
                    output=folder / f"run-{number}-{seed}",
                    labels=told["table"] and str(told["table"]),
                    steps=job.steps,
                    crop_size=job.train.side,
                    seed=seed,
                    log_every=100,
                    **SETTINGS,
                    **({} if options.lr is None else {"lr": options.lr}),
                )
            )
            told["top_1"].append(top_1(run.checkpoint, test_data, job.classes, job.test.side))
            scored = evaluate(EvaluateOptions(data=str(test_data), checkpoint=run.checkpoint, split="all"))
            told["map"].append(scored.unweighted_map_at_k)
            took = time.perf_counter() - begin
            print(f"{name}, {arm}, seed {seed}: top-1 {told['top_1'][-1]:.4f} in {took:.0f} s", flush=True)
        told["table"] = told["table"] and told["table"].name
    return {"train": len(job.train.names), "test": len(job.test.names), "steps": job.steps, "arms": arms}


def table(results: dict[str, Any]) -> str:
    lines = [
        "| set | trained on | labels | of them right | top-1 by seed | mean | mAP@100 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        for arm, told in found["arms"].items():
            each = ", ".join(f"{100 * value:.1f}" for value in told["top_1"])
            lines.append(
                f"| {name} | {arm} | {told['labels']:,} | {100 * told['precision']:.1f} % | {each} % "
                f"| {100 * statistics.mean(told['top_1']):.1f} % | {statistics.mean(told['map']):.3f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--gold", type=int, default=1_000)
    parser.add_argument("--target", type=float, default=0.95)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="of every run; none: 800 and 400")
    parser.add_argument("--lr", type=float, help="instead of the recipe's: for trying with --held-out")
    parser.add_argument(
        "--held-out", action="store_true", help="score on a fifth of the training pictures: to choose settings by"
    )
    parser.add_argument("--arm", choices=["all candidates", "kept by the filter", "true labels"], help="none: all")
    parser.add_argument("--only", choices=["cifar10", "caltech101"])
    parser.add_argument("--quick", action="store_true", help="a few steps: does it run?")
    options = parser.parse_args()
    steps = 4 if options.quick else options.steps
    jobs: dict[str, Callable[[], Job]] = {
        "cifar10": lambda: cifar(options.data, steps or 800),
        "caltech101": lambda: caltech(options.data, steps or 400, options.noise),
    }
    results = {
        name: run_job(name, held_out(make()) if options.held_out else make(), options)
        for name, make in jobs.items()
        if options.only in (None, name)
    }
    told = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "torch": torch.__version__,
        "settings": SETTINGS if options.lr is None else SETTINGS | {"lr": options.lr},
        "scored_on": "a fifth of the training pictures" if options.held_out else "the test pictures",
        "results": results,
    }
    print(json.dumps(told))
    print("\n" + table(results))


if __name__ == "__main__":
    main()
