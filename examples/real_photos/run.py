"""Builds a dataset from a folder of real photos, and measures it against what is known of them.

    python examples/real_photos/run.py DATA --output OUT [--model mobilenet|dct] [--workers 2] [--port N]

In: a folder laid out as README.md says. Out: OUT/dataset, OUT/report/index.html, OUT/results.md and results.json;
OUT/input holds what was made for the build (pairs, gold, evaluation sets as links, planted copies). Nothing of DATA
is copied but what the build stores. A second run with the same OUT does what is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from categories import Categories
from evals import lay_out_eval_sets, plant_copies
from measure import measure
from photos import check_parts, photo, read_part
from results import print_results, write_results
from rich.console import Console
from serve import HOST, serve
from signals import (
    SOURCES,
    Classify,
    Pair,
    classifier_pairs,
    folder_pairs,
    mobilenet,
    query_pairs,
    remembered,
    write_gold,
    write_pairs,
)
from web import Web, read_web

from openjft.pipelines.build import BuildSummary, build
from openjft.pipelines.cli_build import account_table
from openjft.pipelines.config import Config, parse_config
from openjft.pipelines.config_text import config_text
from openjft.pipelines.console import BuildProgress, steps
from openjft.pipelines.errors import mendable
from openjft.taxonomy import read_taxonomy

DEFAULT_PORT: Final = 18_329
MODELS: Final[dict[str, dict[str, Any]]] = {
    "mobilenet": {
        "model": "onnx",
        "output": "embedding",
        "input_size": 224,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    },
    "dct": {"model": "dct"},
}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that stands before a build: the configuration, and what is known for the measurement."""

    config: Config
    web: Web
    categories: Categories
    pairs: list[Pair]
    address: str
    routes: Path
    gold: int


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="real_photos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the photos")
    parser.add_argument("--output", type=Path, required=True, help="folder of the build")
    parser.add_argument("--model", choices=sorted(MODELS), default="mobilenet", help="descriptor")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of the server; addresses and keys depend on it")
    parser.add_argument("--seed", type=int, default=17, help="of wrong labels, sites and planted copies")
    parser.add_argument("--target", type=float, default=0.9, help="precision of the kept labels")
    parser.add_argument("--date", default=None, help="of the results, YYYY-MM-DD; today, if none is given")
    parser.add_argument("--without-classifier", action="store_true", help="leave the network's labels out")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace, console: Console, *, classify: Classify | None = None) -> Prepared:
    """Reads DATA and writes OUT/input."""
    data, output = options.data.resolve(), options.output.resolve()
    check_parts(data)
    folder = output / "input"
    categories = Categories(read_taxonomy(str(data / "taxonomies" / "oewn"), "oewn"))
    web = read_web(data, categories)
    eval_sets = lay_out_eval_sets(folder / "eval", data, web.evals)
    targets = sum(e.eval_set != "originals" for e in web.evals)
    with steps(console, "planting", targets, quiet=options.quiet) as (bar, task):
        plant_copies(folder / "planted", web, seed=options.seed, progress=lambda: bar.advance(task))
    address = f"http://{HOST}:{options.port}"
    sources = {"folder": folder_pairs(web.images, categories, seed=options.seed), "query": query_pairs(web.images)}
    if not options.without_classifier:
        sources["classifier"] = _classified(data, web, sources, categories, console, options, classify)
    pairs = [pair for found in sources.values() for pair in found]
    inputs = write_pairs(folder / "pairs", address, sources)
    gold = write_gold(folder / "gold.csv", address, pairs, categories, seed=options.seed)
    routes = folder / "routes.json"
    served = {image.route: str(image.file) for image in web.images if image.file is not None}
    routes.write_text(json.dumps({"below": [str(data), str(folder / "planted")], "routes": served}, indent=1))
    config = make_config(options, data, output, inputs, eval_sets, [i["source"] for i in inputs])
    (output / "openjft.toml").write_text(config_text(config), encoding="utf-8")
    return Prepared(config, web, categories, pairs, address, routes, gold)


def _classified(
    data: Path,
    web: Web,
    sources: dict[str, list[Pair]],
    categories: Categories,
    console: Console,
    options: argparse.Namespace,
    classify: Classify | None,
) -> list[Pair]:
    given = [pair for found in sources.values() for pair in found]
    rows = sorted(read_part(data, "MobileNetV1 classes"), key=lambda row: int(row["index"]))
    classes = [row["wnid"] for row in rows]
    total = sum(image.file is not None for image in web.images)
    with steps(console, "classifying", total, quiet=options.quiet) as (bar, task):
        network = photo(data, "weights", "mobilenet_v1_075_224_imagenet.onnx", part="MobileNetV1")
        known = classify or mobilenet(network, threads=options.workers, progress=lambda: bar.advance(task))
        cache = options.output / "input" / "classifier.json"
        return remembered(cache, given, network, lambda: classifier_pairs(given, classes, categories, known))


def make_config(
    options: argparse.Namespace,
    data: Path,
    output: Path,
    inputs: list[dict[str, Any]],
    eval_sets: list[dict[str, Any]],
    sources: list[str],
) -> Config:
    """The build's configuration, as OUT/openjft.toml tells it."""
    embed = dict(MODELS[options.model])
    if embed["model"] == "onnx":
        embed["weights"] = str(data / "weights" / "mobilenet_v1_075_224_imagenet.onnx")
    return parse_config(
        {
            "build": {"name": "real", "output": str(output), "buckets": 8, "seed": options.seed},
            "inputs": inputs,
            "sources": [source for source in SOURCES if source["name"] in sources],
            "taxonomy": {"path": str(data / "taxonomies" / "oewn"), "format": "oewn"},
            "precision": {"target": options.target, "gold": str(output / "input" / "gold.csv")},
            "fetch": {"allow_private": True, "retries": 1, "backoff_s": 0.05, "timeout_s": 10.0},
            "embed": embed,
            "eval_sets": eval_sets,
            "report": {"examples": 24},
            "runner": {"workers": options.workers},
        },
        base=output,
        origin="real_photos",
    )


def run(options: argparse.Namespace, console: Console, *, classify: Classify | None = None) -> dict[str, Any]:
    """Everything; returns what OUT/results.json says."""
    options.output.mkdir(parents=True, exist_ok=True)
    prepared = prepare(options, console, classify=classify)
    with serve(prepared.routes, options.port), BuildProgress(console, quiet=options.quiet) as listener:
        summary: BuildSummary = build(prepared.config, listener=listener)
    found = measure(prepared, options.seed, summary)
    found["command"] = "python examples/real_photos/run.py DATA --output OUT" + (
        "" if options.model == "mobilenet" else f" --model {options.model}"
    )
    found["date"] = options.date or dt.datetime.now(tz=dt.UTC).date().isoformat()
    write_results(options.output, found)
    if not options.quiet:
        console.print(account_table(summary.stages))
        print_results(console, found)
        console.print(f"Report: {summary.report}\nResults: {options.output / 'results.md'}", soft_wrap=True)
    return found


def main() -> int:
    options = parse_arguments()
    logging.basicConfig(level=logging.ERROR)
    warnings.simplefilter("ignore")
    console = Console()
    try:
        run(options, console)
    except mendable() as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
