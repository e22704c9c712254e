"""The report's galleries: least sure labels, examples of categories, overlapping pairs side by side.

In: gathered tables and the build's folder. Out: galleries with pictures inside. What is shown is chosen by rule,
never by chance: the first in key order (a uniform sample), the least sure, the most similar.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjft.pipelines.config import Config
from openjft.pipelines.evalsets.sets import BuildPictures, read_headers
from openjft.pipelines.schema import KEY, LABEL
from openjft.pipelines.storage import Store

from .consistency import consistency_section
from .contradictions import contradictions_gallery
from .duplicates import duplicates_gallery
from .gather import Gathered
from .page import Gallery, Picture, Section
from .pictures import stored_thumbnails, thumbnail

UNSURE_ROWS = 20_000
PICTURES_OF_A_CLASS = 3

Thumbnails = Callable[[Collection[bytes]], dict[bytes, str]]


@dataclasses.dataclass(frozen=True)
class Galleries:
    """Those that the build has pictures for."""

    unsure: Gallery | None
    worst: Gallery | None
    examples: Gallery | None
    pairs: Gallery | None
    duplicates: Gallery | None
    contradictions: Gallery | None
    consistency: Section | None


def make_galleries(g: Gathered, config: Config, store: Store) -> Galleries:
    """All galleries, with `report.examples` pictures each."""
    n = config.report.examples
    thumbnails = functools.partial(stored_thumbnails, store, config.build.buckets)
    return Galleries(
        _unsure(g, thumbnails, n),
        _worst(g, thumbnails, n),
        _examples(g, thumbnails, n),
        _pairs(g, store, thumbnails, n),
        duplicates_gallery(g.facts["duplicates"], store, config.build.buckets, thumbnails, n),
        contradictions_gallery(g.contradictions, g.names, thumbnails, n) if n else None,
        consistency_section(g.labels, g.names, store, config.build.buckets, thumbnails, n),
    )


def _unsure(g: Gathered, thumbnails: Thumbnails, n: int) -> Gallery | None:
    """Kept labels of the least probability: where the filter is most likely wrong."""
    if not g.labels.num_rows or not n:
        return None
    order = [("probability", "ascending"), (KEY, "ascending"), (LABEL, "ascending")]
    rows = g.labels.sort_by(order).slice(0, UNSURE_ROWS).to_pylist()
    # Rows of one evidence pattern share a probability: two of each, lest all pictures tell of one pattern.
    seen: Counter[float] = Counter()
    varied: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for row in rows:
        (varied if seen[row["probability"]] < 2 else rest).append(row)
        seen[row["probability"]] += 1
    rows = [*varied, *rest][: 3 * n]  # more than shown: some images could not be fetched
    pictures = thumbnails([row[KEY] for row in rows])
    shown = [
        Picture([pictures[row[KEY]]], g.names[row[LABEL]], [f"probability {row['probability']:.3f}", row[KEY].hex()])
        for row in rows
        if row[KEY] in pictures
    ][:n]
    text = "The kept labels of the least probability: look here first for what is still wrong."
    return Gallery("Least sure labels", shown, text) if shown else None


def _worst(g: Gathered, thumbnails: Thumbnails, n: int) -> Gallery | None:
    """Kept images of the classes whose labels are least sure, the least sure labels of each first."""
    classes = g.facts["worst_classes"][: max(n // PICTURES_OF_A_CLASS, 1)]
    if not classes or not n:
        return None
    order = [("probability", "ascending"), (KEY, "ascending")]
    rows = []
    for each in classes:
        mine = g.labels.filter(pc.equal(g.labels[LABEL], each[LABEL])).sort_by(order)
        rows.append(mine.slice(0, 3 * PICTURES_OF_A_CLASS).to_pylist())
    pictures = thumbnails([row[KEY] for some in rows for row in some])
    shown = [
        Picture([pictures[row[KEY]]], g.names[row[LABEL]], [f"probability {row['probability']:.3f}", row[KEY].hex()])
        for some in rows
        for row in [row for row in some if row[KEY] in pictures][:PICTURES_OF_A_CLASS]
    ]
    text = "Images of the classes whose kept labels have the least mean probability."
    return Gallery("Least sure classes", shown, text) if shown else None


def _examples(g: Gathered, thumbnails: Thumbnails, n: int) -> Gallery | None:
    """The first images in key order, with all their labels."""
    if not g.sample.num_rows or not n:
        return None
    keys = pc.unique(g.sample[KEY]).slice(0, 2 * n)
    pictures = thumbnails(keys.to_pylist())
    shown: list[Picture] = []
    for key in keys.to_pylist():
        if key not in pictures or len(shown) == n:
            continue
        rows = g.sample.filter(pc.equal(g.sample[KEY], pa.scalar(key, pa.binary(16)))).to_pylist()
        asserted = [g.names[r[LABEL]] for r in rows if r["asserted"]]
        inferred = [g.names[r[LABEL]] for r in rows if not r["asserted"]]
        lines = [f"inferred: {', '.join(inferred)}"] if inferred else []
        shown.append(Picture([pictures[key]], ", ".join(asserted), lines))
    text = "Taken in key order, which is a uniform sample. Asserted labels in bold, ancestors below."
    return Gallery("Examples", shown, text) if shown else None


def _pairs(g: Gathered, store: Store, thumbnails: Thumbnails, n: int) -> Gallery | None:
    """Overlapping pairs side by side, from the least to the most similar: the doubtful ones first."""
    if g.overlaps is None or not g.overlaps.num_rows or not n:
        return None
    found = g.overlaps.filter(pc.not_equal(g.overlaps["level"], "listed"))
    best = found.num_rows
    # Half of the room for the least similar, where a threshold goes wrong, half spread over the rest.
    low = np.arange(best - 1, max(best - 1 - n // 2, -1), -1)
    spread = np.linspace(0, best - 1, num=min(n, best), dtype=int)
    rows = found.take(pa.array(list(dict.fromkeys([*low.tolist(), *spread.tolist()]))[: 2 * n], pa.int64())).to_pylist()
    pictures = thumbnails(list({row[KEY] for row in rows}))
    kept = BuildPictures(store, read_headers(store))
    shown: list[Picture] = []
    for row in rows:
        data = kept.jpeg_of(row["eval_set"], row["eval_id"])
        reference = data and thumbnail(data)
        if row[KEY] in pictures and reference and len(shown) < n:
            lines = [
                f"score {row['score']:.3f}, {row['transform'] or row['view']}",
                f"SSIM {row['ssim']:.2f}" if row["ssim"] is not None else "",
                "verified" if row["verified"] else "not verified",
                f"training image {row[KEY].hex()}",
            ]
            shown.append(Picture([pictures[row[KEY]], reference], f"{row['eval_set']} {row['eval_id']}", lines))
    text = "Left the training image (query), right the evaluation image (reference)."
    return Gallery("Pairs", shown, text, wide=True) if shown else None
