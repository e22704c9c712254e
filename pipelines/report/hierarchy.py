"""The report on the hierarchy: its figures beside JFT's, what was mended, names inside other names, the drawn page.

In: `taxonomy/` of the build and the images of each category. Out: facts, a section, and `report/taxonomy.html`. Source
of JFT's figures: Sun et al. (2017), section 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from openjft.pipelines.expand import INFORMATION, ROLES
from openjft.pipelines.hierarchy import COLLAPSED_FILE, CONFUSIONS_FILE, load_taxonomy
from openjft.pipelines.storage import Store
from openjft.taxonomy import Taxonomy, statistics
from openjft.taxonomy.draw import draw_page

from .figures import many, percent
from .page import Link, Section, TableView

DRAWN: Final = "report/taxonomy.html"
_SHOWN_CONFUSIONS: Final = 12
_SHOWN_INSIDE: Final = 4
_SHOWN_CYCLES: Final = 20
_JFT: Final = {"categories": "18,291", "depth": "12", "largest fan-out": "2,876"}


def read_hierarchy(store: Store) -> Taxonomy | None:
    """The build's hierarchy; None before it is written."""
    files = ("taxonomy/vocabulary.parquet", "taxonomy/edges.parquet")
    return load_taxonomy(store) if all(map(store.exists, files)) else None


def hierarchy_facts(store: Store, taxonomy: Taxonomy | None, asserted: npt.NDArray[np.int64]) -> dict[str, Any] | None:
    """Figures of `taxonomy`, collapsed cycles, ancestors left out, confusions, as JSON values; None without one."""
    if taxonomy is None:
        return None
    figures = dataclasses.asdict(statistics(taxonomy))
    collapsed = store.read_json(COLLAPSED_FILE)["cycles"] if store.exists(COLLAPSED_FILE) else []
    return figures | {
        "collapsed_cycles": collapsed,
        "left_out": _left_out(store),
        "confusions": _confusions(store, taxonomy, asserted),
    }


def _left_out(store: Store) -> list[dict[str, Any]]:
    """Ancestors that are not inferred: roles, and those that say too little, with their bits."""
    roles = store.read_json(ROLES)["roles"] if store.exists(ROLES) else []
    trivial = store.read_json(INFORMATION)["dropped"] if store.exists(INFORMATION) else []
    return [
        *({"id": one["id"], "name": one["name"], "bits": None} for one in roles),
        *({"id": one["id"], "name": one["name"], "bits": one["bits"]} for one in trivial),
    ]


def _confusions(store: Store, taxonomy: Taxonomy, asserted: npt.NDArray[np.int64]) -> dict[str, Any] | None:
    """How many pairs, and the names with the most images that occur inside others; None where no list was written."""
    if not store.exists(CONFUSIONS_FILE):
        return None
    table = store.read_table(CONFUSIONS_FILE, ["label", "inside_label"])
    label, inside = (table[name].to_numpy() for name in ("label", "inside_label"))
    labels = np.unique(label)
    used = labels[asserted[labels] > 0]
    largest = used[np.argsort(-asserted[used], kind="stable")][:_SHOWN_CONFUSIONS]
    rows = []
    for one in largest.tolist():
        others = np.unique(inside[label == one])
        # Those with the most images tell most: there the shorter name may have been read out of the longer one.
        shown = others[np.argsort(-asserted[others], kind="stable")][:_SHOWN_INSIDE]
        rows.append(
            {
                "name": taxonomy.names[one],
                "images": int(asserted[one]),
                "inside": [taxonomy.names[i] for i in shown.tolist()],
                "inside_categories": len(others),
            }
        )
    return {"pairs": table.num_rows, "categories": len(labels), "largest": rows}


def hierarchy_section(facts: Mapping[str, Any] | None, *, drawn: bool) -> Section | None:
    """The section; None without a hierarchy."""
    if not facts:
        return None
    roots = "one root" if facts["roots"] == 1 else f"{facts['roots']:,} roots"
    text = (
        f"{facts['categories']:,} categories below {roots}, {facts['edges']:,} edges, "
        f"{facts['mean_ancestors']:.1f} ancestors a category."
    )
    if facts["collapsed_cycles"]:
        text += (
            f" {many(len(facts['collapsed_cycles']), 'cycle of the file was', 'cycles of the file were')} collapsed "
            "into one category each."
        )
    if facts["left_out"]:
        text += f" {many(len(facts['left_out']), 'category is', 'categories are')} never inferred."
    confusions = facts["confusions"]
    if confusions and confusions["pairs"]:
        text += (
            f" Names of {many(confusions['categories'], 'category', 'categories')} occur inside names of others that "
            f"are not below them ({many(confusions['pairs'], 'pair', 'pairs')}): a text that says the longer name does "
            "not speak of the shorter one."
        )
    tables = [
        _figures_table(facts),
        *_branches_table(facts),
        *_collapsed_table(facts),
        *_left_out_table(facts),
        *_confusions_table(confusions),
    ]
    links = [Link("taxonomy.html", "Look around in the hierarchy", "a tree, a picture and a search")] if drawn else []
    return Section("hierarchy", "Hierarchy", text, tables=tables, links=links)


def _figures_table(facts: Mapping[str, Any]) -> TableView:
    n = facts["categories"]
    values = {
        "categories": f"{n:,}",
        "depth": f"{facts['depth']:,}",
        "largest fan-out": f"{facts['largest_fan_out']:,}",
        "several parents": f"{facts['several_parents']:,} ({percent(facts['several_parents'] / n)})",
        "leaves": f"{facts['leaves']:,} ({percent(facts['leaves'] / n)})",
    }
    rows = [(name, value, _JFT.get(name, "-")) for name, value in values.items()]
    caption = "The hierarchy's shape, beside what the paper tells of JFT-300M's"
    return TableView(("", "here", "JFT-300M"), rows, frozenset({1, 2}), caption)


def _branches_table(facts: Mapping[str, Any]) -> list[TableView]:
    rows = [(b["name"], f"{b['below']:,}", f"{b['leaves']:,}") for b in facts["branches"]]
    header = ("branch", "categories below", "leaves")
    return [TableView(header, rows, frozenset({1, 2}), folded="Largest branches")] if rows else []


def _collapsed_table(facts: Mapping[str, Any]) -> list[TableView]:
    cycles: Sequence[Mapping[str, Any]] = facts["collapsed_cycles"]
    rows = [
        (f"{c['name']} ({c['survivor']})", ", ".join(c["merged"]), f"{len(c['removed_edges']):,}")
        for c in cycles[:_SHOWN_CYCLES]
    ]
    header = ("category kept", "ids that became its aliases", "edges removed")
    return [TableView(header, rows, frozenset({2}), folded="Cycles that were collapsed")] if rows else []


def _left_out_table(facts: Mapping[str, Any]) -> list[TableView]:
    rows = [
        (f"{one['name']} ({one['id']})", "role" if one["bits"] is None else f"says little: {one['bits']:.2f} bits")
        for one in facts["left_out"]
    ]
    return [TableView(("category", "why"), rows, folded="Never inferred")] if rows else []


def _confusions_table(confusions: Mapping[str, Any] | None) -> list[TableView]:
    rows = []
    for row in confusions["largest"] if confusions else []:
        more = row["inside_categories"] - len(row["inside"])
        inside = ", ".join(row["inside"]) + (f" and {more:,} more" if more else "")
        rows.append((row["name"], f"{row['images']:,}", inside))
    header = ("name", "images, asserted", "occurs inside")
    return [TableView(header, rows, frozenset({1}), folded="Names inside other names")] if rows else []


def write_drawn(
    store: Store,
    taxonomy: Taxonomy | None,
    *,
    title: str,
    counts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None,
) -> None:
    """Writes the drawn hierarchy, sized by (asserted, expanded) images where there are any; nothing without one."""
    if taxonomy is not None:
        asserted, expanded = counts or (None, None)
        page = draw_page(taxonomy, title=title, asserted=asserted, expanded=expanded)
        store.write_bytes(DRAWN, page.encode())
