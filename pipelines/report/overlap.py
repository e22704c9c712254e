"""The report's section on evaluation images among the training images: counts, thresholds, recall of planted copies.

In: gathered facts and the gallery of pairs. Out: a section, with a link to the page on which pairs are reviewed.
"""

from __future__ import annotations

import numpy as np

from . import plots
from .figures import interval, percent
from .gather import Gathered
from .page import FigureView, Gallery, Link, Section, TableView


def overlap_section(g: Gathered, pairs: Gallery | None) -> Section | None:
    """The section; None without evaluation sets."""
    summary = g.facts["decontamination"]
    if not summary or not summary["sets"]:
        return None
    marks = summary["thresholds"]
    fate = {"train": "left out of the shards", "eval": "kept; its evaluation image is to be left out instead"}
    text = (
        "Query: every training image; reference: every evaluation image and its views, compared exactly. A training "
        f"image with a score of {marks['remove']:.3f} or above, or that is alike (aligned, the two pictures agree in "
        f"structure), is {fate.get(summary['remove_from'], 'reported only')}. Published are pairs from "
        f"{marks['report']:.3f} on that also verify: three quarters of the aligned pictures agree closely. "
        f"{_expected_false(g)}"
    )
    links = [
        Link("../overlap_report/index.html", "Look at each pair, and judge it", "both pictures, a slider, the keys")
    ]
    sets = TableView(
        ("evaluation set", "images", "met in training", "share", "published", "pairs", "undecodable"),
        [
            (
                s["name"],
                f"{s['images']:,}",
                f"{s['hit']:,}",
                percent(s["hit"] / s["images"] if s["images"] else None),
                f"{s['overlap']:,}",
                f"{s['pairs']:,}",
                f"{s['undecodable']:,}",
            )
            for s in summary["sets"]
        ],
        frozenset(range(1, 7)),
        "Evaluation images that also occur among the training images",
    )
    figures = []
    if g.overlaps is not None and g.overlaps.num_rows:
        values = g.overlaps["score"].to_numpy().astype(np.float64)
        svg = plots.histogram(values, xlabel="score of listed pairs", line=marks["remove"])
        figures.append(FigureView(svg, "Scores of the pairs listed; the line is the removal threshold."))
    tables = [sets, *_planted(g)]
    galleries = [pairs] if pairs else []
    return Section("overlap", "Overlap with evaluation sets", text, (), figures, tables, galleries, links)


def _expected_false(g: Gathered) -> str:
    """What the tail of different images says of the removal threshold."""
    wrong = (g.facts["thresholds"] or {}).get("images_wrongly_removed")
    if wrong is None:
        return "Too few different images came near to say how often chance does it. "
    expected, low, high = wrong
    return (
        f"By the tail of this build's own different images some {expected:,.1f} training images [{low:,.1f}, "
        f"{high:,.1f}] reach the removal score by chance. "
    )


def _planted(g: Gathered) -> list[TableView]:
    planted = g.facts["planted"]
    if not planted or not planted["recall"]:
        return []
    rows = [(t["transform"], f"{t['found']:,} of {t['total']:,}", interval(t, "recall")) for t in planted["recall"]]
    caption = "Copies of evaluation images made by this build and searched like training images: the share found"
    return [TableView(("transform", "found", "recall, 95 % interval"), rows, frozenset({1, 2}), caption)]
