"""Simulates audits with known truth: how often is a certified precision not reached, and how much is kept?

    python benchmarks/bench_certificate.py --audits 500
    python benchmarks/bench_certificate.py --population drawn --audits 2000
    python benchmarks/bench_certificate.py --population scores.npz

Populations, one for each seed: `web`, the candidates of the synthetic web (`synthetic_web.py`), scored by the filter
(LR2 on 4,000 gold labels); `drawn`, scores that are calibrated on average and too sure near the target, most of all in
some groups; or an .npz with the arrays p, correct, group, and label if single classes are to be looked at. Each audit
draws 1,000 labels from those that a threshold could keep, as `openjft audit sample` does, and learns their truth.
Methods: **plug-in**, the loosest threshold at which the sample's own precision reaches the target;
**split-conformal**, the same with one wrong label added; **Learn-then-Test**, ours. The same samples for all.
Violation: the true precision of what is kept lies below the target. Also: claims about groups of which any is false,
and single classes whose 95 % interval misses the truth. Out: JSON, and the table for RESULTS.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from openjft.pipelines.audit.breakdown import branches, size_bands
from openjft.pipelines.audit.certificate import certify, class_intervals, count_above, threshold_grid
from openjft.pipelines.audit.groups import certify_groups, first_thresholds
from openjft.pipelines.precision.keeping import SIZE_BANDS
from openjft.pipelines.precision.model import sigmoid
from openjft.pipelines.precision.threshold import Histogram, find_threshold, to_steps

TARGET, DELTA, MARGIN = 0.80, 0.05, 0.1
MIN_JUDGED = 100
MIN_KEPT = 20  # of a class whose interval is looked at
METHODS = ("plug-in", "split-conformal", "Learn-then-Test")

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """n candidates: probability in millionths, truth, group, class or None, and which the filter was fitted on."""

    steps: Int64s
    correct: Bools
    group: Int64s
    label: npt.NDArray[np.integer] | None
    gold: Int64s


def web_candidates(seed: int, rows: int) -> Candidates:
    """The synthetic web, scored by the filter; groups are branches by size of class."""
    from precision_fit import score_web
    from synthetic_web import draw_web

    scored = score_web(draw_web(seed, rows=rows, hashed_rows=0), gold=4000, seed=seed)
    candidates = np.bincount(scored.label, minlength=scored.closure.num_categories)
    of_class = branches(scored.closure, None) * len(SIZE_BANDS) + size_bands(candidates)
    group = np.unique(of_class[scored.label], return_inverse=True)[1]
    return Candidates(scored.steps, scored.correct, group, scored.label, scored.gold)


def drawn_candidates(seed: int, rows: int, *, num_groups: int = 12, num_classes: int = 600) -> Candidates:
    """Scores with the right mean that promise too much near the target; groups and classes they know nothing of."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-0.5, 2.4, rows)
    label = np.minimum((num_classes * rng.random(rows) ** 2).astype(np.int64), num_classes - 1)
    group = label % num_groups
    effects = rng.normal(0, 0.35, num_groups)[group] + rng.normal(0, 0.3, num_classes)[label]
    tilted = odds + effects - 0.35 * np.exp(-((odds - 0.9) ** 2))
    low, high = -2.0, 2.0
    for _ in range(50):  # the shift that makes the mean right
        middle = (low + high) / 2
        low, high = (low, middle) if sigmoid(tilted + middle).mean() > sigmoid(odds).mean() else (middle, high)
    return Candidates(
        to_steps(sigmoid(odds)), rng.random(rows) < sigmoid(tilted + low), group, label, np.empty(0, np.int64)
    )


def stored_candidates(path: Path) -> Candidates:
    """An .npz: p (n,), correct (n,), group (n,), and label (n,) if there."""
    arrays = np.load(path)
    group = np.unique(arrays["group"], return_inverse=True)[1]
    label = arrays.get("label")
    return Candidates(to_steps(arrays["p"]), arrays["correct"].astype(bool), group, label, np.empty(0, np.int64))


class Population:
    """Candidates that can be kept, with what is true of every threshold and group."""

    def __init__(self, candidates: Candidates, judged: int, thresholds: int) -> None:
        self.judged = judged
        self.steps, self.correct = candidates.steps, candidates.correct
        self.group, self.label = candidates.group, candidates.label
        self.total = len(self.steps)
        histogram = Histogram.of(np.bincount(self.steps, minlength=1_000_001))
        loosest, plug_in = (find_threshold(histogram, t) for t in (TARGET - MARGIN, TARGET))
        assert loosest is not None
        assert plug_in is not None
        outside = np.ones(self.total, bool)
        outside[candidates.gold] = False  # never a label that the filter was fitted on
        self.pool = np.flatnonzero((self.steps >= loosest.steps) & outside)
        self.grid = threshold_grid(
            histogram.steps,
            histogram.counts,
            floor=loosest.steps,
            num=thresholds,
            judged=judged,
            min_judged=MIN_JUDGED,
        )
        above, right = count_above(self.steps, self.correct, self.grid)
        self.precision, self.kept = right / above, above / self.total
        reached = _last(self.precision >= TARGET)
        self.best = 0.0 if reached is None else float(self.kept[reached])
        self.model_kept = np.flatnonzero((self.steps >= plug_in.steps) & outside)
        self.model = (plug_in.kept / self.total, float(self.correct[self.steps >= plug_in.steps].mean()))
        self.end = min(int(np.searchsorted(-self.grid, -plug_in.steps)), len(self.grid) - 1)
        self.group_precision = np.ones((int(self.group.max()) + 1, len(self.grid)))
        expected = np.zeros(self.group_precision.shape)
        for g in range(len(expected)):
            mine = self.group == g
            n, k = count_above(self.steps[mine], self.correct[mine], self.grid)
            self.group_precision[g] = np.where(n > 0, k / np.maximum(n, 1), 1)
            expected[g] = n * judged / above[-1]
        self.starts = first_thresholds(expected, MIN_JUDGED / 2)


def simulate(population: Population, audits: int, seed: int) -> dict[str, Any]:
    """Violations and kept shares of each method over the same audits."""
    rng = np.random.default_rng(seed)
    p = population
    wrong = dict.fromkeys(METHODS, 0)
    kept: dict[str, list[float]] = {name: [] for name in METHODS}
    groups = {"claims": 0, "audits_with_a_false_claim": 0}
    covered = classes = 0
    for _ in range(audits):
        rows = rng.choice(p.pool, p.judged, replace=False)
        steps, correct = p.steps[rows], p.correct[rows]
        n, k = count_above(steps, correct, p.grid)
        certificate = certify(steps, correct, p.grid, target=TARGET, delta=DELTA)
        chosen = {
            "plug-in": _last((n > 0) & (k >= TARGET * n)),
            "split-conformal": _last((n > 0) & (k >= TARGET * (n + 1))),
            "Learn-then-Test": None if certificate.steps is None else int(np.searchsorted(-p.grid, -certificate.steps)),
        }
        for name, at in chosen.items():
            wrong[name] += int(at is not None and p.precision[at] < TARGET)
            kept[name].append(0.0 if at is None else float(p.kept[at]))
        claims, false = _group_claims(p, rows)
        groups["claims"] += claims
        groups["audits_with_a_false_claim"] += int(false)
        hit, all_ = _class_coverage(p, rows, chosen["Learn-then-Test"])
        covered, classes = covered + hit, classes + all_
    return {
        "audits": audits,
        "model_kept": p.model[0],
        "model_precision": p.model[1],
        "best_kept": p.best,
        "violations": wrong,
        "kept": {name: float(np.mean(values)) for name, values in kept.items()},
        "groups": {**groups, "groups": len(p.starts), "tested": int(((p.starts >= 0) & (p.starts <= p.end)).sum())},
        "class_intervals": {"classes": classes, "covered": covered},
    }


def _last(reached: Any) -> int | None:
    found = np.flatnonzero(reached)
    return int(found[-1]) if len(found) else None


def _group_claims(p: Population, rows: Int64s) -> tuple[int, bool]:
    """(groups with a claim, whether any claim about any of them, at any threshold, is false)."""
    group, steps, correct = p.group[rows], p.steps[rows], p.correct[rows]
    found = certify_groups(group, steps, correct, p.grid, p.starts, end=p.end, target=TARGET, delta=DELTA)
    passed = [(g, r.start, r.passed) for g, r in enumerate(found) if r.start is not None and r.passed is not None]
    return len(passed), any((p.group_precision[g, i : j + 1] < TARGET).any() for g, i, j in passed)


def _class_coverage(p: Population, rows: Int64s, at: int | None) -> tuple[int, int]:
    """(classes whose interval holds the true precision of their kept labels, classes that are looked at)."""
    if at is None or p.label is None:
        return 0, 0
    threshold = int(p.grid[at])
    inside = p.steps >= threshold
    size = int(p.label.max()) + 1
    kept = np.bincount(p.label[inside], minlength=size)
    model = np.bincount(p.label[inside], p.steps[inside], size) / np.maximum(kept, 1) / 1e6
    truth = np.bincount(p.label[inside], p.correct[inside], size) / np.maximum(kept, 1)
    mine = rows[p.steps[rows] >= threshold]
    judged = np.bincount(p.label[mine], minlength=size)
    right = np.bincount(p.label[mine], p.correct[mine], size).astype(np.int64)
    used = np.flatnonzero(kept >= MIN_KEPT)
    _, low, high = class_intervals(model[used], judged[used], right[used])
    return int(((low <= truth[used]) & (truth[used] <= high)).sum()), len(used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", default="web", help="web, drawn, or an .npz file")
    parser.add_argument("--audits", type=int, default=500, help="for each seed")
    parser.add_argument("--judged", type=int, default=1000)
    parser.add_argument("--thresholds", type=int, default=200, help="tried, from strict to loose")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="40 audits of a small population")
    options = parser.parse_args()
    audits, rows = (40, 100_000) if options.quick else (options.audits, options.rows)
    seeds = options.seeds[:1] if options.quick else options.seeds
    results = {}
    for seed in seeds:
        if options.population == "web":
            candidates = web_candidates(seed, rows)
        elif options.population == "drawn":
            candidates = drawn_candidates(seed, rows)
        else:
            candidates = stored_candidates(Path(options.population))
        results[seed] = simulate(Population(candidates, options.judged, options.thresholds), audits, seed)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    date = dt.datetime.now(dt.UTC).date().isoformat()
    print(json.dumps({"date": date, "machine": machine, "results": results}, indent=1))
    print_table(results, audits)


def print_table(results: dict[int, dict[str, Any]], audits: int) -> None:
    header = (
        "seed", "the model alone: kept, true precision", "most that could be kept", "plug-in: wrong, kept",
        "split-conformal", "Learn-then-Test", "groups: a false claim", "claims an audit", "class intervals that hold",
    )  # fmt: skip
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for seed, r in results.items():
        g, c = r["groups"], r["class_intervals"]
        cells = [
            str(seed),
            f"{r['model_kept']:.3f}, {r['model_precision']:.3f}",
            f"{r['best_kept']:.3f}",
            *(f"{100 * r['violations'][name] / audits:.1f} %, {r['kept'][name]:.3f}" for name in METHODS),
            f"{100 * g['audits_with_a_false_claim'] / audits:.1f} %",
            f"{g['claims'] / audits:.1f} of {g['tested']} tested",
            f"{100 * c['covered'] / c['classes']:.1f} %" if c["classes"] else "",
        ]
        print(f"| {' | '.join(cells)} |")
    error = 100 * np.sqrt(DELTA * (1 - DELTA) / (audits * len(results)))
    print(f"\nMonte-Carlo error of 5 % over all {audits * len(results):,} audits: {error:.1f} points")


if __name__ == "__main__":
    main()
