"""People's votes with expert truth: ImageNet ReaL, CIFAR-10N, and cleanlab's label errors.

    python benchmarks/bench_real_votes.py DATA

- ImageNet ReaL: five of 85 raters say no, maybe or yes to an (image, label) pair; experts judged 542 of the pairs
  (right: at least three of five say yes). Precision among the pairs ranked highest, at equal recall, of ours
  (`precision/crowd.py`), plain Dawid-Skene, the share of yes votes, and the score that was published. Pairs of equal
  score are taken together: what falls inside them is their mean.
- CIFAR-10N: noise rate of each of three annotators from their answers alone, against the truth.
- label errors: how well cross-validated self-confidence, as the one source of the filter, ranks given labels that five
  people checked; cleanlab's own orders beside it.

Out: JSON, and tables for RESULTS.md.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from openjft.dedup.interval import clopper_pearson
from openjft.pipelines.precision import crowd
from openjft.pipelines.precision.crowd import Answers, fuse_answers

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9)


def read_rows(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = gzip.decompress(data).decode() if path.suffix == ".gz" else data.decode()
    return list(csv.DictReader(text.splitlines()))


def precision_at_recall(score: Floats, truth: Bools, recall: float) -> tuple[float, int]:
    """(precision, how many pairs that takes) of the highest pairs with this share of the right ones; ties shared."""
    wanted = recall * truth.sum()
    values, group = np.unique(-score, return_inverse=True)
    n = np.bincount(group, minlength=len(values))
    right = np.bincount(group, truth, len(values))
    above, got = np.cumsum(n), np.cumsum(right)
    last = int(np.searchsorted(got, wanted - 1e-9))
    part = (wanted - (got[last] - right[last])) / right[last]
    taken = above[last] - n[last] + part * n[last]
    return float(wanted / taken), round(float(taken))


def plain_dawid_skene(answers: Answers, classes: int, iterations: int = 100) -> Floats:
    """The textbook form: every worker by himself, no prior but a thousandth of an answer."""
    posterior = crowd.votes(answers, classes)
    cell = answers.worker * answers.num_answers + answers.answer
    for _ in range(iterations):
        columns = [
            np.bincount(cell, posterior[answers.item, c], answers.num_workers * answers.num_answers)
            for c in range(classes)
        ]
        table = np.stack(columns, axis=1).reshape(answers.num_workers, answers.num_answers, classes) + 1e-3
        rates = np.log(table / table.sum(axis=1, keepdims=True))
        joint = np.log(posterior.mean(axis=0))[None] + np.stack(
            [
                np.bincount(answers.item, rates[answers.worker, answers.answer, c], answers.num_items)
                for c in range(classes)
            ],
            axis=1,
        )
        posterior = np.exp(joint - joint.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior


def imagenet_real(folder: Path) -> dict[str, Any]:
    rows = read_rows(folder / "rater_votes.csv.gz")
    said = [
        (f"{row['val_image']}/{row['label']}", row[f"rater{j}"], row[f"answer{j}"])
        for row in rows
        for j in range(1, 6)
        if row[f"answer{j}"]
    ]
    answers, items, _ = Answers.of(*zip(*said, strict=True), ["n", "y", "m"])
    place = {item: i for i, item in enumerate(items)}
    yes = np.bincount(answers.item, np.where(answers.answer == 1, 1.0, np.where(answers.answer == 2, 0.5, 0.0)))
    share = yes / np.bincount(answers.item)
    published = np.zeros(len(items))
    for row in rows:
        published[place[f"{row['val_image']}/{row['label']}"]] = float(row["published_ds_score"])
    scores = {
        "ours": fuse_answers(answers, num_classes=2).posterior[:, 1],
        "plain Dawid-Skene": plain_dawid_skene(answers, 2)[:, 1],
        "share of yes": share,
        "published": published,
    }
    experts = [row for row in read_rows(folder / "golden_experts.csv") if f"{row['val_image']}/{row['label']}" in place]
    at = np.array([place[f"{row['val_image']}/{row['label']}"] for row in experts])
    truth = np.array([int(row["expert_yes_votes_of_5"]) >= 3 for row in experts])
    found: dict[str, Any] = {"pairs": len(items), "votes": len(said), "judged": len(experts), "right": int(truth.sum())}
    for name, score in scores.items():
        each = score[at]
        points = {}
        for recall in RECALLS:
            precision, taken = precision_at_recall(each, truth, recall)
            low, high = clopper_pearson(round(precision * taken), taken)
            points[str(recall)] = {"precision": precision, "low": low, "high": high}
        found[name] = {
            "accuracy": float(((each > 0.5) == truth).mean()),
            "auc": float(roc_auc_score(truth, each)),
            **points,
        }
    return found


def cifar10n(folder: Path) -> list[dict[str, float]]:
    rows = read_rows(folder / "train_labels.csv")
    names = ("random1", "random2", "random3")
    said = np.array([[int(row[name]) for name in names] for row in rows])
    clean = np.array([int(row["clean"]) for row in rows])
    n = len(rows)
    answers = Answers(np.repeat(np.arange(n), 3), np.tile(np.arange(3), n), said.ravel(), n, 3, 10)
    ours = fuse_answers(answers, num_classes=10).error_rate(answers)
    plain = plain_dawid_skene(answers, 10)
    alone = [float(1 - plain[np.arange(n), said[:, j]].mean()) for j in range(3)]
    return [
        {"annotator": j + 1, "ours": float(ours[j]), "plain": alone[j], "true": float((said[:, j] != clean).mean())}
        for j in range(3)
    ]


def label_errors(folder: Path) -> dict[str, Any]:
    model = {row["index"]: row for row in read_rows(folder / "label_errors_cifar10/model_probabilities.csv")}
    classes = [name for name in next(iter(model.values())) if name not in {"index", "given"}]
    checks = [row for row in read_rows(folder / "label_errors_cifar10/mturk_checks.csv") if row["index"] in model]
    p = np.array([[float(model[row["index"]][name]) for name in classes] for row in checks])
    given = np.array([int(row["given"]) for row in checks])
    wrong = np.array([int(row["votes_given"]) + int(row["votes_both"]) < 3 for row in checks])
    own = p[np.arange(len(p)), given]
    other = np.where(np.arange(p.shape[1])[None] == given[:, None], -1, p).max(axis=1)
    orders = {"self-confidence": own, "normalised margin": own - other}
    imagenet = read_rows(folder / "label_errors_imagenet/mturk_checks.csv")
    kept = [int(row["votes_given"]) + int(row["votes_both"]) >= 3 for row in imagenet]
    return {
        "checked": len(checks),
        "wrong": int(wrong.sum()),
        "orders": {
            name: {
                "auc": float(roc_auc_score(wrong, -s)),
                "average_precision": float(average_precision_score(wrong, -s)),
            }
            for name, s in orders.items()
        },
        "imagenet_checked": len(imagenet),
        "imagenet_wrong": 1 - sum(kept) / len(kept),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    folder = options.data / "label_noise"
    real, noise, errors = imagenet_real(folder / "imagenet_real"), cifar10n(folder / "cifar10n"), label_errors(folder)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    print(json.dumps({"date": date, "imagenet_real": real, "cifar10n": noise, "label_errors": errors}, indent=1))
    points = [f"precision at recall {recall}" for recall in RECALLS]
    print(f"\n| ImageNet ReaL, {real['judged']} expert-judged pairs | accuracy | AUC | {' | '.join(points)} |")
    print("|---|---|---|" + "---|" * len(points))
    for name in ("ours", "plain Dawid-Skene", "share of yes", "published"):
        r = real[name]
        print(f"| {name} | {100 * r['accuracy']:.1f} % | {r['auc']:.3f} | {' | '.join(map(_cell, _points(r)))} |")
    print("\n| CIFAR-10N annotator | true noise | ours | plain Dawid-Skene |\n|---|---|---|---|")
    for row in noise:
        print(
            f"| {row['annotator']} | " + " | ".join(f"{100 * row[n]:.1f} %" for n in ("true", "ours", "plain")) + " |"
        )
    print(f"\nlabel errors, CIFAR-10 test: {errors['checked']} checked, {errors['wrong']} wrong: {errors['orders']}")
    print(f"label errors, ImageNet: {errors['imagenet_checked']} checked, {errors['imagenet_wrong']:.1%} wrong")


def _points(result: dict[str, Any]) -> list[dict[str, float]]:
    return [result[str(recall)] for recall in RECALLS]


def _cell(point: dict[str, float]) -> str:
    return f"{100 * point['precision']:.1f} % [{100 * point['low']:.0f}, {100 * point['high']:.0f}]"


if __name__ == "__main__":
    main()
