"""The report on contradictions: categories that exclude each other, and images that bear both or were denied one.

In: `expanded/_disjoint.json` and `contradictions/`. Out: facts, a section and a gallery. Images are counted in the
first buckets, which are a uniform sample, and in all where they are few. Nothing is dropped here or there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from openjft.pipelines.contradictions import DISJOINT, DISJOINT_KIND, FOLDER, NEGATIVE_KIND
from openjft.pipelines.schema import CONTRADICTIONS, KEY
from openjft.pipelines.storage import Store, bucket_file

from .figures import many, percent
from .page import Gallery, Picture, Section, TableView

SAMPLE_ROWS: Final = 500_000
_SHOWN_PAIRS: Final = 15
_TRIED: Final = 4  # pictures asked for, for each shown: some images could not be fetched
_RANKED: Final = 20_000


def read_contradictions(store: Store, num_buckets: int) -> tuple[pa.Table, int]:
    """Flagged pairs of labels of the first buckets, and how many buckets these are; 0 before the stage has run."""
    tables, rows, buckets = [CONTRADICTIONS.empty_table()], 0, 0
    while buckets < num_buckets and rows < SAMPLE_ROWS:
        path = bucket_file(FOLDER, buckets, num_buckets)
        if not store.exists(path):
            break
        tables.append(store.read_table(path).cast(CONTRADICTIONS))
        rows, buckets = rows + tables[-1].num_rows, buckets + 1
    return pa.concat_tables(tables).combine_chunks(), buckets


def contradiction_facts(
    store: Store, account: Sequence[Mapping[str, Any]], sample: tuple[pa.Table, int], num_buckets: int
) -> dict[str, Any] | None:
    """What was learned and what was flagged, as JSON values; None before the stage has run."""
    learned = store.read_json(DISJOINT) if store.exists(DISJOINT) else None
    table, buckets = sample
    if learned is None and not buckets:
        return None
    counters: Mapping[str, int] = next((row["counters"] for row in account if row["stage"] == "expanded"), {})
    pairs = learned["pairs"] if learned else []
    surest = sorted(pairs, key=lambda p: (p["bound"], -p["expected"], p["label_a"], p["label_b"]))
    return {
        "disjoint_pairs": len(pairs),
        "tested_pairs": learned["tested"] if learned else 0,
        "compared_categories": learned["categories"] if learned else 0,
        "images_of_several_labels": learned["images_of_several"] if learned else 0,
        "surest": surest[:_SHOWN_PAIRS],
        "flagged_labels": {kind: counters.get(kind, 0) for kind in (DISJOINT_KIND, NEGATIVE_KIND)},
        "flagged_images": len(pc.unique(table[KEY])),
        "buckets": buckets,
        "of_buckets": num_buckets,
    }


def contradictions_section(facts: Mapping[str, Any] | None, gallery: Gallery | None) -> Section | None:
    """The section; None where nothing was learned and nothing flagged."""
    if not facts or not (facts["disjoint_pairs"] or facts["flagged_images"]):
        return None
    seen = (
        ""
        if facts["buckets"] == facts["of_buckets"]
        else f" (in the first {facts['buckets']:,} of {facts['of_buckets']:,} buckets, a uniform sample)"
    )
    disjoint, denied = (facts["flagged_labels"][kind] for kind in (DISJOINT_KIND, NEGATIVE_KIND))
    text = (
        f"{many(facts['disjoint_pairs'], 'pair of categories was', 'pairs of categories were')} found to exclude each "
        f"other, of {facts['tested_pairs']:,} that are frequent enough to tell. Flagged: "
        f"{many(facts['flagged_images'], 'image', 'images')}{seen}; {many(disjoint, 'time', 'times')} two labels of an "
        f"image lie below such a pair, {many(denied, 'time', 'times')} a person denied a label. Flagged labels stay in "
        "the data set; contradictions/ names each with its probability."
    )
    rows = [
        (f"{p['name_a']} \u00d7 {p['name_b']}", f"{p['expected']:,.1f}", f"{p['observed']:,}", f"{p['lift']:.3f}")
        for p in facts["surest"]
    ]
    caption = "The surest pairs: images with both, expected by chance and seen; lift without errors, 1 is chance"
    header = ("categories", "expected", "seen", "lift")
    tables = [TableView(header, rows, frozenset({1, 2, 3}), caption)] if rows else []
    return Section("contradictions", "Contradictions", text, tables=tables, galleries=[gallery] if gallery else [])


def contradictions_gallery(
    table: pa.Table, names: Sequence[str], thumbnails: Callable[[Sequence[bytes]], Mapping[bytes, str]], n: int
) -> Gallery | None:
    """Flagged images, the most probable errors first; each image once, and two of each pair of labels.

    Args:
        table: rows of CONTRADICTIONS.
        names: of the categories, by label.
        thumbnails: the pictures that there are of some keys.
        n: how many to show.
    """
    order = [("probability", "descending"), (KEY, "ascending"), ("label_a", "ascending"), ("label_b", "ascending")]
    rows = table.sort_by(order).slice(0, _RANKED).to_pylist()
    seen: Counter[tuple[int, int]] = Counter()
    chosen: dict[bytes, Mapping[str, Any]] = {}
    for row in rows:
        pair = row["label_a"], row["label_b"]
        if seen[pair] < 2 and row[KEY] not in chosen:
            seen[pair] += 1
            chosen[row[KEY]] = row
        if len(chosen) == _TRIED * n:
            break
    pictures = thumbnails(list(chosen))
    shown = [_picture(row, names, pictures[key]) for key, row in chosen.items() if key in pictures][:n]
    text = "The most probable errors first, two of each pair of labels."
    return Gallery("Flagged images", shown, text) if shown else None


def _picture(row: Mapping[str, Any], names: Sequence[str], image: str) -> Picture:
    a, b = names[row["label_a"]], names[row["label_b"]]
    if row["kind"] == NEGATIVE_KIND:
        lines = [f"denied by a person: {b}", f"probably wrong: {percent(row['probability'])}"]
        return Picture([image], a, lines)
    return Picture([image], f"{a} \u00d7 {b}", [f"one of them wrong: {percent(row['probability'])}"])
