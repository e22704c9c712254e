"""Measures the lexicon: seconds to build it, texts a second on one core.

    python benchmarks/bench_lexicon.py wordnet.tsv.gz --texts captions.tsv.gz
    python benchmarks/bench_lexicon.py vocabulary.tsv --background wordnet.tsv.gz

Without texts it makes captions out of the taxonomy's own names and common words. Texts are matched once to fill the
cache of words and to load what is compiled, then as often as it takes to reach `--seconds` of processor time. Out:
JSON, and one row of Markdown for RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

from openjft.taxonomy import Taxonomy, read_taxonomy
from openjft.taxonomy.lexicon import Lexicon

FRAMES = (
    "a {} on the table",
    "photo of a {} and a {} in the park",
    "{}, {}, {}",
    "young woman with a {} near the {} at night",
    "the {} house is for sale",
    "{} runs along the road beside two {}",
)


def made_texts(taxonomy: Taxonomy, number: int, seed: int) -> list[str]:
    """Captions of names of the taxonomy in fixed frames."""
    rng = np.random.default_rng(seed)
    names = taxonomy.names
    texts = []
    for frame, places in zip(
        rng.integers(len(FRAMES), size=number), rng.integers(len(names), size=(number, 3)), strict=True
    ):
        texts.append(FRAMES[frame].format(*(names[place] for place in places)))
    return texts


def read_texts(path: Path, number: int) -> list[str]:
    """The first column of a TSV, or the lines of a text file."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [line.rstrip("\n").split("\t")[0] for line, _ in zip(lines, range(number), strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("taxonomy")
    parser.add_argument("--background")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--number", type=int, default=100_000, help="texts at most")
    parser.add_argument("--seconds", type=float, default=10.0, help="processor time to measure for")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    taxonomy = read_taxonomy(args.taxonomy)
    background = read_taxonomy(args.background) if args.background else None
    texts = read_texts(args.texts, args.number) if args.texts else made_texts(taxonomy, args.number, args.seed)

    start = time.perf_counter()
    lexicon = Lexicon.build(taxonomy, background=background)
    build_s = time.perf_counter() - start
    start = time.perf_counter()
    lexicon.match(texts[:1])
    load_s = time.perf_counter() - start
    start = time.perf_counter()
    found = lexicon.match(texts)
    first_s = time.perf_counter() - start
    rounds, start = 0, time.process_time()
    while (spent := time.process_time() - start) < args.seconds:
        lexicon.match(texts)
        rounds += 1
    result = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "categories": taxonomy.num_categories,
        "surfaces": lexicon.surfaces.patterns.num_lists,
        "build_s": round(build_s, 1),
        "load_s": round(load_s, 1),
        "texts": len(texts),
        "texts_per_s_first": round(len(texts) / first_s),
        "texts_per_core_s": round(rounds * len(texts) / spent),
        "outcomes": found.counts(),
    }
    print(json.dumps(result, indent=1))
    print(
        f"| {result['date']} | {result['categories']:,} categories, {result['surfaces']:,} surfaces | build "
        f"{build_s:.1f} s | {result['texts_per_core_s']:,} texts/s a core |"
    )


if __name__ == "__main__":
    main()
