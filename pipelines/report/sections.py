"""The report's sections: from gathered facts to what stands on the page.

In: `gather.Gathered`. Out: `page.Page`. A section for which nothing has been built is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from . import plots
from .contradictions import contradictions_section
from .duplicates import duplicates_section
from .figures import percent, share
from .gather import Gathered, label_counts
from .hierarchy import hierarchy_section
from .overlap import overlap_section
from .page import FigureView, Flow, Gallery, Page, Part, Section, TableView, Tile
from .pairs import Galleries
from .precision import precision_section, precision_tile
from .texts import text_section

_STAGE_TEXT = {
    "spill": "raw rows read",
    "evidence": "fused by (image, label)",
    "precision": "counted for the fit",
    "priors": "counted by class",
    "scores": "given a probability",
    "labels": "filtered",
    "expanded": "given ancestors",
    "images": "fetched",
    "embeddings": "embedded",
    "cells": "sorted by what they look like",
    "edges": "compared within their cells",
    "members": "that look like others",
    "duplicates": "held against what they look like",
    "overlaps": "compared with the evaluation sets",
    "verdicts": "judged",
    "shards": "written",
}


def make_page(g: Gathered, galleries: Galleries) -> Page:
    """The whole page."""
    sections = [
        s
        for s in (
            _account(g),
            text_section(g.facts["texts"]),
            precision_section(g, galleries),
            _categories(g, galleries.examples),
            hierarchy_section(g.facts["hierarchy"], drawn=g.taxonomy is not None),
            galleries.consistency,
            contradictions_section(g.facts["contradictions"], galleries.contradictions),
            duplicates_section(g.facts["duplicates"], galleries.duplicates),
            overlap_section(g, galleries.pairs),
            _images(g),
            _settings(g),
        )
        if s is not None
    ]
    return Page(g.facts["name"], _lead(g), _tiles(g), sections)


def _stage(g: Gathered, name: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"rows_in": 0, "rows_out": 0, "rejects": {}, "counters": {}}
    return next((row for row in g.facts["account"] if row["stage"] == name), empty)


def _lead(g: Gathered) -> str:
    pairs, images = _stage(g, "spill"), _stage(g, "shards")
    if not images["rows_in"]:
        return "The build is not finished; this is what there is so far."
    categories = g.facts["categories"]["with_images"]
    return (
        f"{pairs['rows_in']:,} raw rows became {images['rows_out']:,} images in {categories:,} categories. "
        "Below: what became of every row, how sure the labels are, and which evaluation images were met."
    )


def _tiles(g: Gathered) -> list[Tile]:
    tiles = []
    shards, labels = _stage(g, "shards"), _stage(g, "labels")
    if shards["rows_in"]:
        tiles.append(Tile("images", f"{shards['rows_out']:,}", f"{_stage(g, 'images')['rows_in']:,} asked for"))
    if labels["rows_in"]:
        share = labels["rows_out"] / labels["rows_in"]
        tiles.append(Tile("labels kept", f"{labels['rows_out']:,}", f"{percent(share)} of {labels['rows_in']:,}"))
    if g.facts["precision"]:
        tiles.append(precision_tile(g.facts))
    overlaps, summary = _stage(g, "overlaps"), g.facts["decontamination"]
    if overlaps["rows_in"] and summary:
        met = f"{summary['training_images']:,}"
        tiles.append(Tile("images overlapping eval sets", met, f"of {overlaps['rows_in']:,} compared"))
    return tiles


def _account(g: Gathered) -> Section | None:
    flows = []
    for row in g.facts["account"]:
        total = max(row["rows_in"], 1)
        rejects = sorted(row["rejects"].items(), key=lambda item: (-item[1], item[0]))
        parts = [Part(reason.replace("_", " "), f"{n:,}", 100 * n / total) for reason, n in rejects if n]
        flows.append(
            Flow(
                f"{row['stage']}: {_STAGE_TEXT[row['stage']]}",
                row["rows"],
                f"{row['rows_in']:,}",
                f"{row['rows_out']:,}",
                100 * row["rows_out"] / total,
                parts,
            )
        )
    if not flows:
        return None
    counters = _counter_rows(g)
    header = ("stage", "counter", "sum")
    table = TableView(header, counters, frozenset({2}), folded="What else was counted")
    text = "Rows in are rows out plus rows rejected, at every stage; a stage that loses a row without a reason fails."
    return Section("account", "What became of every row", text, flow=flows, tables=[table] if counters else [])


def _counter_rows(g: Gathered) -> list[tuple[str, str, str]]:
    return [
        (row["stage"], name.replace("_", " "), f"{count:,}")
        for row in g.facts["account"]
        for name, count in sorted(row["counters"].items())
        if count
    ]


def _categories(g: Gathered, examples: Gallery | None) -> Section | None:
    facts, each = g.facts["categories"], g.facts["labels_per_image"]
    if not facts["with_images"] and not each["images"]:
        return None
    text = (
        f"Of {each['images']:,} images, a uniform sample of those with labels; the data set is not written yet. "
        if facts["counted_on"] == "sample"
        else ""
    )
    text += (
        f"{facts['with_images']:,} of {facts['in_hierarchy']:,} categories have images, {facts['asserted']:,} by "
        f"asserted labels alone; {share(facts['under_20_images'], facts['with_images'])} have fewer than 20 images and "
        f"{share(facts['under_100_images'], facts['with_images'])} fewer than 100. Of JFT-300M's 18,291 categories "
        f"{share(2_001, 18_291)} have fewer than 20 and {share(3_301, 18_291)} fewer than 100."
    )
    if each["images"]:
        text += f" An image has {each['before']:.2f} labels before expansion and {each['after']:.2f} after."
    figures = []
    if facts["with_images"]:
        figures.append(FigureView(plots.long_tail(g.asserted, g.expanded), "The long tail."))
    if each["images"]:
        before, after = label_counts(g.sample)
        caption = f"Labels an image, from a uniform sample of {each['images']:,} images."
        figures.append(FigureView(plots.labels_per_image(before, after), caption))
    largest = TableView(
        ("category", "asserted", "with ancestors"),
        [(c["name"], f"{c['asserted']:,}", f"{c['expanded']:,}") for c in facts["largest"]],
        frozenset({1, 2}),
        "Largest categories, images",
    )
    tables = [largest] if facts["largest"] else []
    return Section("categories", "Categories", text, (), figures, tables, [examples] if examples else [])


def _images(g: Gathered) -> Section | None:
    facts = g.facts["images"]
    if not facts["sample"]:
        return None
    text = (
        f"Of a uniform sample of {facts['sample']:,} images: mean size {facts['mean_original_bytes'] / 1000:,.1f} kB "
        f"as received and {facts['mean_bytes'] / 1000:,.1f} kB as stored; {facts['exact_duplicates']:,} are byte for "
        "byte equal to another one under a different address."
    )
    rows = [(s.replace("_", " "), f"{n:,}", percent(n / facts["sample"])) for s, n in facts["status"].items()]
    table = TableView(("how fetching ended", "images", "share"), rows, frozenset({1, 2}))
    widths = pc.drop_null(g.catalog["original_width"]).to_numpy().astype(np.float64)
    figures = []
    if len(widths):
        figures.append(FigureView(plots.histogram(widths, xlabel="width as received, pixels"), "Original widths."))
    return Section("images", "Images", text, (), figures, [table])


def _settings(g: Gathered) -> Section:
    rows = []
    for section, value in g.facts["configuration"].items():
        items = value.items() if isinstance(value, dict) else ((str(i), item) for i, item in enumerate(value))
        rows += [(f"{section}.{key}", str(item)) for key, item in items]
    text = "The configuration of this build; the same stands in the data set's config.json."
    return Section(
        "configuration", "Configuration", text, tables=[TableView(("key", "value"), rows, folded="Every key")]
    )
