"""Writes the overlap report: the page to look at, the counts as JSON, the pairs as Parquet.

In: an `OverlapReport` and a folder. Out: `overlap_report/index.html`, `overlaps.json`, `overlaps.parquet`; no time of
day in any of them, so equal reports give equal bytes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

from openjft.pipelines.storage import Store

from .counts import count_sets, expected_false_pairs, published
from .model import OverlapReport
from .page import render_overlap_page

FOLDER: Final = "overlap_report"
PAGE_FILE: Final = f"{FOLDER}/index.html"
JSON_FILE: Final = f"{FOLDER}/overlaps.json"
PAIRS_FILE: Final = f"{FOLDER}/overlaps.parquet"


def write_overlap_report(report: OverlapReport, place: Store | Path | str) -> None:
    """Writes the three files below a build's store or a folder."""
    store = place if isinstance(place, Store) else Store(str(place))
    store.write_table(PAIRS_FILE, report.pairs)
    store.write_json(JSON_FILE, overlap_facts(report))
    store.write_bytes(PAGE_FILE, render_overlap_page(report).encode())


def overlap_facts(report: OverlapReport) -> dict[str, Any]:
    """The content of overlaps.json: counts of all pairs, thresholds, sets, descriptor, recall; no pictures."""
    thresholds = report.thresholds
    at = {"remove": thresholds.remove, "report": thresholds.report, "listed": thresholds.listed}
    counts = {name: count_sets(report.pairs, report.sets, score) for name, score in at.items()}
    counted = count_sets(report.pairs.filter(report.pairs["overlap"]), report.sets, float("-inf"))
    return {
        "name": report.name,
        "build": report.build,
        "descriptor": report.descriptor,
        "views": list(report.views),
        "queries": report.queries,
        "references": report.references,
        "comparisons": report.queries * report.references,
        "verify_ssim": report.verify_ssim,
        "remove_ssim": report.remove_ssim,
        "remove_from": report.remove_from,
        "thresholds": {
            **{k: v for k, v in dataclasses.asdict(thresholds).items() if k != "curve"},
            "curve": [point._asdict() for point in thresholds.curve],
            "expected_false_pairs": {
                name: expected_false_pairs(thresholds.curve, score) for name, score in at.items()
            },
        },
        "pairs": report.pairs.num_rows,
        "removed_images": len(set(report.pairs.filter(report.pairs["removed"])["image_key"].to_pylist())),
        "sets": [
            {
                **dataclasses.asdict(each),
                "overlap": counted[each.name].found,
                "counts": {name: dataclasses.asdict(by_set[each.name]) for name, by_set in counts.items()},
                "paper": None if (paper := published(each.name)) is None else paper._asdict(),
            }
            for each in report.sets
        ],
        "planted_recall": [dataclasses.asdict(each) for each in report.recall],
    }  # fmt: skip
