"""Expansion of labels through a hierarchy of JFT's shape, on one core: labels a second.

Builds a hierarchy with the figures that JFT's paper gives (18,291 categories, depth 12, largest fan-out 2,876; here a
few percent have two parents), draws images whose labels follow Zipf's law, 1 + Poisson of them each (JFT: 375M labels
on 300M images), and runs `expand_labels` over chunks of the size of a build's bucket. Drawing is not timed; checking
the input and allocating the output are. Beside it, on such rows and the same core: a Python loop over
`networkx.ancestors` that gives rows (on a part, by labels a CPU-second on both sides: a busy machine hits long runs
more than short ones), one that only unites sets, and one with all ancestors known before; and the memory:
`numpy.copyto` of the output into new arrays, which no result of this size can be faster than. Out: JSON, and rows of
Markdown for RESULTS.md.

    python benchmarks/bench_taxonomy.py --labels 100000000
    python benchmarks/bench_taxonomy.py --quick --taxonomy oewn_nouns.tsv.gz
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from openjft.taxonomy import (
    Category,
    Closure,
    Edge,
    ExpandedLabels,
    Taxonomy,
    ancestor_closure,
    build_taxonomy,
    expand_labels,
    read_taxonomy,
    statistics,
)

CATEGORIES, DEPTH, FAN_OUT = 18_291, 12, 2_876
# Categories at each depth, as weights: most lie at 7 to 10, so that a category has JFT's nine ancestors on average.
LEVELS = (0, 12, 40, 90, 200, 400, 900, 2200, 4600, 5000, 3100, 1300, 400)
WIDE_LEVEL, TWO_PARENTS = 8, 0.04
MIXES = (1.0, 1.25, 2.0, 4.0)
MAIN_MIX = 1.25
WANTED_LABELS_PER_S, WANTED_RATIO = 5_000_000, 100
LOOP_IMAGES = 20_000
SHAPE = ("categories", "edges", "roots", "depth", "largest_fan_out", "several_parents", "mean_ancestors")

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def jft_like() -> Taxonomy:
    """The same hierarchy each time; labels are in no topological order."""
    rng = np.random.default_rng(1)  # of a few seeds the one nearest to the 170k closure pairs of METHODS, section 3
    sizes = (np.array(LEVELS) / sum(LEVELS) * (CATEGORIES - 1)).astype(int)
    sizes[0] = 1
    sizes[WIDE_LEVEL] += CATEGORIES - sizes.sum()
    level = np.repeat(np.arange(DEPTH + 1), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    edges: set[tuple[int, int]] = set()
    for depth in range(1, DEPTH + 1):
        children = np.arange(starts[depth], starts[depth + 1])
        share = 1 / np.arange(1, sizes[depth - 1] + 1) ** 0.8  # few parents have many children
        parents = starts[depth - 1] + rng.choice(len(share), len(children), p=share / share.sum())
        if depth == WIDE_LEVEL:
            parents[:FAN_OUT] = starts[depth - 1]
            parents[FAN_OUT:] = rng.integers(starts[depth - 1] + 1, starts[depth], len(children) - FAN_OUT)
        edges.update(zip(children.tolist(), parents.tolist(), strict=True))
    for child in np.flatnonzero((rng.random(CATEGORIES) < TWO_PARENTS) & (level > 1)).tolist():
        # Any category that lies higher, but neither the root nor the widest, whose fan-out is given.
        parent = int(rng.integers(1, starts[level[child]]))
        if parent != starts[WIDE_LEVEL - 1]:
            edges.add((child, parent))
    ids = [f"c{i:05d}" for i in rng.permutation(CATEGORIES).tolist()]
    taxonomy = build_taxonomy(
        [Category(i) for i in ids], [Edge(ids[c], ids[p]) for c, p in sorted(edges)], origin="like JFT"
    )
    shape = statistics(taxonomy)
    if (shape.categories, shape.depth, shape.largest_fan_out, shape.roots) != (CATEGORIES, DEPTH, FAN_OUT, 1):
        raise SystemExit(f"expected JFT's shape, found {shape}")
    return taxonomy


def draw(num_categories: int, mix: float, labels: int, chunk: int) -> Iterator[Rows]:
    """Chunks of about `chunk` rows, sorted by (image, label), until there are `labels`."""
    frequency = 1 / np.arange(1, num_categories + 1)
    cumulative = np.cumsum(frequency / frequency.sum())
    by_rank = np.random.default_rng(1).permutation(num_categories)
    number, drawn = 0, 0
    while drawn < labels:
        rng = np.random.default_rng([17, number])
        counts = 1 + rng.poisson(mix - 1, round(chunk / mix))
        image = np.repeat(np.arange(len(counts)), counts)
        label = by_rank[np.searchsorted(cumulative, rng.random(len(image)), side="right").clip(max=num_categories - 1)]
        keys = np.unique(image * num_categories + label)  # an image that drew a label twice has it once
        yield keys // num_categories, (keys % num_categories).astype(np.int32), rng.random(len(keys), dtype=np.float32)
        number, drawn = number + 1, drawn + len(keys)


@dataclasses.dataclass
class Measured:
    """What one mix came to; `best_` is of the fastest chunk, the others of all."""

    hierarchy: str
    mix: float
    images: int = 0
    labels: int = 0
    rows: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    copy_seconds: float = 0.0
    best_labels_per_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields and the rates."""
        return {
            **dataclasses.asdict(self),
            "labels_per_image": round(self.labels / self.images, 3),
            "labels_per_s": round(self.labels / self.seconds),
            "labels_per_cpu_s": round(self.labels / self.cpu_seconds),
            "rows_per_s": round(self.rows / self.seconds),
            "copy_share": round(self.copy_seconds / self.seconds, 3),
        }


def timed(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    start = clock()
    result = call()
    return clock() - start, result


def copy_out(result: ExpandedLabels) -> None:
    """What it takes to write as many bytes into new arrays."""
    for column in result:
        np.copyto(np.empty_like(column), column)


def measure(name: str, closure: Closure, mix: float, labels: int, chunk: int) -> Measured:
    """Expands `labels` labels chunk by chunk."""
    found = Measured(name, mix)
    for image, label, probability in draw(closure.num_categories, mix, labels, chunk):
        cpu_before = time.process_time()
        seconds, result = timed(lambda rows=(image, label, probability): expand_labels(*rows, closure))
        found.cpu_seconds += time.process_time() - cpu_before
        found.images += int(image[-1]) + 1
        found.labels += len(label)
        found.rows += len(result.label)
        found.seconds += seconds
        found.best_labels_per_s = max(found.best_labels_per_s, len(label) / seconds)
        found.copy_seconds += timed(lambda result=result: copy_out(result))[0]
    return found


def python_loops(taxonomy: Taxonomy, images: int) -> dict[str, float]:
    """Labels a CPU-second of the loops, on the first images of the main mix: the best of three turns."""
    graph = taxonomy.to_networkx()
    image, label, p = next(draw(taxonomy.num_categories, MAIN_MIX, 1, round(images * MAIN_MIX)))
    starts = np.flatnonzero(np.diff(image)) + 1
    ids = [[taxonomy.ids[i] for i in part.tolist()] for part in np.split(label, starts)]
    chances = [part.tolist() for part in np.split(p, starts)]

    def rows() -> int:
        """(image, category, probability), the probability being the largest below: less than `expand_labels` gives."""
        found = []
        for number, (names, values) in enumerate(zip(ids, chances, strict=True)):
            best: dict[str, float] = {}
            for name, value in zip(names, values, strict=True):
                for category in (name, *nx.ancestors(graph, name)):
                    best[category] = max(best.get(category, 0.0), value)
            found += [(number, category, best[category]) for category in sorted(best)]
        return len(found)

    def unite(ancestors: Callable[[str], set[str]]) -> int:
        """No rows, no probabilities: how many categories there are."""
        return sum(len(set(names).union(*map(ancestors, names))) for names in ids)

    before, known = timed(lambda: {node: nx.ancestors(graph, node) for node in graph})
    expected = len(expand_labels(image, label, p, ancestor_closure(taxonomy)).label)
    rates = {"labels": float(len(label)), "known_sets_seconds_before": before}
    calls = {
        "rows": rows,
        "sets": lambda: unite(lambda node: nx.ancestors(graph, node)),
        "known_sets": lambda: unite(known.__getitem__),
    }
    for name, call in calls.items():
        turns = [timed(call, time.process_time) for _ in range(3)]
        if any(count != expected for _, count in turns):
            raise SystemExit(f"expected {expected:,} rows as from expand_labels, found {turns[0][1]:,} by {name}")
        rates[f"{name}_labels_per_cpu_s"] = len(label) / min(seconds for seconds, _ in turns)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=100_000_000, help="at 1.25 labels an image; a fifth at others")
    parser.add_argument("--chunk", type=int, default=2_000_000, help="labels of one call: a build's bucket")
    parser.add_argument("--taxonomy", type=Path, help="a further hierarchy to measure, such as the OEWN table")
    parser.add_argument("--json", type=Path, help="where to write the JSON; printed if none is named")
    parser.add_argument("--quick", action="store_true", help="1M labels: does it run?")
    options = parser.parse_args()
    labels, chunk = (1_000_000, 200_000) if options.quick else (options.labels, options.chunk)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, also for what we are compared with

    taxonomies = {"like JFT": jft_like()}
    if options.taxonomy:
        taxonomies[options.taxonomy.name] = read_taxonomy(str(options.taxonomy))
    results, shapes, start_seconds = [], {}, 0.0
    for name, taxonomy in taxonomies.items():
        closure_seconds, closure = timed(lambda taxonomy=taxonomy: ancestor_closure(taxonomy))
        shape = dataclasses.asdict(statistics(taxonomy, closure))
        shapes[name] = {
            **{field: shape[field] for field in SHAPE},
            "closure_pairs": len(closure.values),
            "closure_seconds": round(closure_seconds, 3),
        }
        one = np.zeros(1, np.int64), np.zeros(1, np.int32), np.ones(1, np.float32)
        # Once a process: numba is imported, and compiles the kernels or finds them in its cache.
        start_seconds = start_seconds or timed(lambda rows=one, closure=closure: expand_labels(*rows, closure))[0]
        for mix in MIXES:
            amount = labels if mix == MAIN_MIX else labels // 5
            results.append(measure(name, closure, mix, amount, min(chunk, amount)))
    loops = python_loops(taxonomies["like JFT"], LOOP_IMAGES // 10 if options.quick else LOOP_IMAGES)
    report(options.json, results, shapes, loops, start_seconds)


def report(
    path: Path | None,
    results: list[Measured],
    shapes: dict[str, dict[str, Any]],
    loops: dict[str, float],
    start_seconds: float,
) -> None:
    main_result = next(result.to_json() for result in results if result.mix == MAIN_MIX)
    ratio = main_result["labels_per_cpu_s"] / loops["rows_labels_per_cpu_s"]
    document = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {"cores_used": 1, "machine": platform.machine(), "python": platform.python_version()},
        "shapes": shapes,
        "start_seconds": round(start_seconds, 2),
        "expansion": [result.to_json() for result in results],
        "loops": {name: round(value, 3) for name, value in loops.items()},
        "times_networkx": round(ratio, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    text = json.dumps(document, indent=1)
    path.write_text(text + "\n") if path else print(text)
    print(
        "\n| hierarchy | closure pairs | labels an image | labels | labels/s, one core | best chunk | labels/CPU-s "
        "| rows/s | a copy's share of the time | wanted |\n" + "|---" * 10 + "|"
    )
    for result in (result.to_json() for result in results):
        wanted = (
            f"{WANTED_LABELS_PER_S / 1e6:.0f}M"
            if result["hierarchy"] == "like JFT" and result["mix"] == MAIN_MIX
            else ""
        )
        print(
            f"| {result['hierarchy']} | {shapes[result['hierarchy']]['closure_pairs']:,} | {result['mix']} "
            f"| {result['labels']:,} | **{result['labels_per_s'] / 1e6:.2f}M** "
            f"| {result['best_labels_per_s'] / 1e6:.2f}M | {result['labels_per_cpu_s'] / 1e6:.2f}M "
            f"| {result['rows_per_s'] / 1e6:.0f}M "
            f"| {result['copy_share']:.0%} | {wanted} |"
        )
    print("\n| beside it, at 1.25 labels an image | labels/CPU-s | ours / this | wanted |\n|---|---|---|---|")
    beside = (
        ("rows", "a loop over networkx.ancestors that gives rows, the largest probability below"),
        ("sets", "a loop over networkx.ancestors that unites sets, no rows and no probabilities"),
        ("known_sets", f"as before, all ancestors known ({loops['known_sets_seconds_before']:.1f} s before)"),
    )
    for name, what in beside:
        rate = loops[f"{name}_labels_per_cpu_s"]
        wanted = WANTED_RATIO if name == "rows" else ""
        print(f"| {what} | {rate:,.0f} | **{main_result['labels_per_cpu_s'] / rate:,.0f}** | {wanted} |")


if __name__ == "__main__":
    main()
