"""False pairs predicted by the tail against those seen, at a hundredfold extrapolation, on real embeddings.

In: the folder of real data (copy_sets.py). A tenth of the training pictures against a tenth of the eval pictures, a
hundredth of all pairs, is what the tail is fitted on; it then says how many pairs of the whole reach the scores that
10, 30, 100, 300 and 1,000 pairs do reach. Many draws. Pictures that the truth of the sets names are left out, and pairs
that alignment holds for copies: the photos and CIFAR-10 are full of unlisted ones. Out: Markdown, and JSON.

    python benchmarks/bench_tail.py DATA
    python benchmarks/bench_tail.py DATA --only dct --train 25000 --test 5000
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench_copies import collections, specs
from copy_judge import PATIENCE, SETTINGS, VIEWS, Collection, Judge

from openjft.dedup import tail_form
from openjft.dedup.tail import EXCEEDANCES, MAX_SHARE, fit_tail

SEEN = (10, 30, 100, 300, 1000)
PART = 10  # one in so many on each side
SHARE_KEPT = 0.03  # of all pairs, the nearest: three times what is fitted at most


class Pairs:
    """The nearest pairs of different pictures of one collection by one descriptor."""

    def __init__(self, judge: Judge, keep: list[str]) -> None:
        kept = set(keep)
        queries = [row for row, name in enumerate(judge.names) if name in kept]
        references = [row for row, name in enumerate(judge.references) if name in kept]
        self.shape = len(queries), len(references)
        found = judge.index.search(
            judge.vectors[queries], min_score=_floor(judge, queries), neighbours=len(judge.references)
        )
        place = np.full(len(judge.references), -1)
        place[references] = np.arange(len(references))
        own = np.array([judge.names[row] for row in queries])[found.query_index]
        other = np.array(judge.references)[found.eval_index]
        good = np.flatnonzero((place[found.eval_index] >= 0) & (own != other))
        good = good[np.argsort(-found.score[good], kind="stable")]
        copies = np.zeros(len(good), bool)
        since = 0
        for i, at in enumerate(good.tolist()):
            aligned = judge.align(queries[found.query_index[at]], int(found.eval_index[at]), int(found.view[at]))
            copies[i] = aligned.is_alike(SETTINGS.remove_ssim)
            since = 0 if copies[i] else since + 1
            if since == PATIENCE:
                break
        good = good[~copies]
        self.copies = int(copies.sum())
        self.query, self.reference = found.query_index[good], place[found.eval_index[good]]
        self.score = found.score[good].astype(np.float64)


def _floor(judge: Judge, queries: list[int]) -> float:
    """The score that SHARE_KEPT of the pairs reach, by some of the queries."""
    some = judge.vectors[queries[:: max(1, len(queries) // 100)]]
    rows = int(SHARE_KEPT * len(judge.references)) * 2
    near = np.sort(judge.index.searcher.top(some, min(rows * 2, len(judge.index.rows))), axis=None)[::-1]
    return float(near[min(len(near) - 1, int(SHARE_KEPT * len(judge.references) * len(some)))])


def draws(pairs: Pairs, form: Any, count: int) -> np.ndarray:
    """(count, len(SEEN)) predicted by seen."""
    marks = pairs.score[np.array(SEEN) - 1]
    total = float(pairs.shape[0]) * pairs.shape[1]
    out = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        sizes = [max(1, side // PART) for side in pairs.shape]
        chosen = [
            np.isin(np.arange(side), rng.choice(side, size, replace=False))
            for side, size in zip(pairs.shape, sizes, strict=True)
        ]
        inside = chosen[0][pairs.query] & chosen[1][pairs.reference]
        tail = fit_tail(
            pairs.score[inside],
            pairs.query[inside],
            queries=sizes[0],
            references=sizes[1],
            form=form,
            exceedances=min(EXCEEDANCES[form], int(MAX_SHARE * sizes[0] * sizes[1])),
            seed=seed,
        )
        out.append(tail.expected(marks, total) / np.array(SEEN))
    return np.array(out)


def measure(collection: Collection, judge: Judge, count: int) -> dict[str, Any]:
    """One row of the table."""
    named = {
        name
        for each in collection.sets
        if each.name.startswith("cifar")
        for key in each.copies | each.ignored
        for name in key
    }
    keep = [name for name in judge.names if not name.startswith("near_duplicates/") and name not in named]
    pairs = Pairs(judge, keep)
    form = tail_form(judge.spec)
    ratios = draws(pairs, form, count)
    return {
        "form": form,
        "queries": pairs.shape[0],
        "references": pairs.shape[1],
        "views": len(VIEWS),
        "copies_left_out": pairs.copies,
        "scores": [round(float(x), 3) for x in pairs.score[np.array(SEEN) - 1]],
        "median": [round(float(x), 2) for x in np.median(ratios, axis=0)],
        "within_2": [round(float(x), 2) for x in ((ratios >= 0.5) & (ratios <= 2)).mean(axis=0)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", help="descriptors, instead of all")
    parser.add_argument("--train", type=int, default=5000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cache", type=Path, help="as of bench_copies.py")
    parser.add_argument("--json", type=Path, help="also write the result here")
    given = parser.parse_args()
    rows: dict[str, Any] = {}
    print(
        "| descriptor, pictures | form | pairs | copies left out | predicted by seen at "
        + " / ".join(f"{n:,}" for n in SEEN)
        + ", median | draws within a factor 2 |"
    )
    print("|---" * 6 + "|")
    for collection in collections(given.data, given.train, given.test):
        for model, spec in specs(given.data).items():
            if given.only and model not in given.only:
                continue
            row = measure(collection, Judge(collection, spec, given.cache), given.draws)
            rows[f"{model}, {collection.name}"] = row
            print(
                f"| {model}, {collection.name} | {row['form']} | {row['queries'] * row['references']:,} "
                f"| {row['copies_left_out']} | {' / '.join(f'{x:.2f}' for x in row['median'])} "
                f"| {' / '.join(f'{x:.0%}' for x in row['within_2'])} |",
                flush=True,
            )
    result = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "cores": os.cpu_count(), "rows": rows}
    print(json.dumps(result), file=sys.stderr)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
