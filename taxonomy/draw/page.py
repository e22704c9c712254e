"""Draws a hierarchy as one HTML file: a tree that folds, a sunburst that zooms, a search box.

In: a `Taxonomy`, and the images of each category where a data set is at hand. Out: the page as text, everything
inside: nothing is loaded from elsewhere, and the policy in its head forbids it. Equal input gives equal bytes.
Names come from strangers: they travel as JSON that cannot end its element, and the scripts set them as text only.
The page is for reading; it changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from openjft.taxonomy.closure import Closure, ancestor_closure
from openjft.taxonomy.csr import Int64s
from openjft.taxonomy.hierarchy import Taxonomy
from openjft.taxonomy.summary import statistics

from .embed import filled_page

SCRIPTS: Final = ("model.js", "tree.js", "picture.js", "search.js", "page.js")


@dataclasses.dataclass(frozen=True)
class Tile:
    """A figure that one reads first; `id` is the category that it is about, where it is about one."""

    label: str
    value: str
    note: str = ""
    id: str = ""


def draw_page(
    taxonomy: Taxonomy,
    *,
    title: str,
    asserted: npt.NDArray[np.integer] | None = None,
    expanded: npt.NDArray[np.integer] | None = None,
) -> str:
    """The page of a hierarchy.

    Args:
        taxonomy: any size; WordNet's 72k nouns make 9 MB.
        title: heading of the page, any text.
        asserted: (n,) images of each category by asserted labels; given with `expanded` or not at all.
        expanded: (n,) images of each category with its descendants' images.

    Raises:
        ValueError: only one of the counts is given, one is not of shape (n,), or one is negative.
    """
    closure = ancestor_closure(taxonomy)
    counts = _checked(taxonomy.num_categories, asserted, expanded)
    return filled_page(
        __package__,
        SCRIPTS,
        _columns(taxonomy, closure, counts),
        template="template.html",
        style="style.css",
        indented=False,
        title=title,
        tiles=_tiles(taxonomy, closure, counts),
        counted=counts is not None,
    )


def _checked(
    n: int, asserted: npt.NDArray[np.integer] | None, expanded: npt.NDArray[np.integer] | None
) -> tuple[Int64s, Int64s] | None:
    if asserted is None and expanded is None:
        return None
    if asserted is None or expanded is None:
        raise ValueError("expected `asserted` and `expanded` both or none, found one. Give the other one too")
    for name, counts in (("asserted", asserted), ("expanded", expanded)):
        if counts.shape != (n,) or (n and counts.min() < 0):
            raise ValueError(
                f"expected {name} counts of shape ({n},), 0 or more, found shape {counts.shape}. "
                "Are they of another taxonomy?"
            )
    return asserted.astype(np.int64), expanded.astype(np.int64)


def _columns(taxonomy: Taxonomy, closure: Closure, counts: tuple[Int64s, Int64s] | None) -> dict[str, Any]:
    """The page's data: columns in the order in which siblings are shown, the largest first.

    In that order a list of children sorts itself. A single parent stands as its position, several as a list, none
    as -1; 0 stands for an absent text or list, which most are.
    """
    n = taxonomy.num_categories
    below = np.bincount(closure.values, minlength=n)
    size = below if counts is None else counts[1]
    by_name = sorted(range(n), key=lambda label: (taxonomy.names[label].casefold(), label))
    place = np.empty(n, np.int64)
    place[by_name] = np.arange(n)
    order = np.lexsort((place, -below, -size))
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    parents = position[taxonomy.parents.values].tolist()
    bounds = taxonomy.parents.offsets.tolist()
    lists = [parents[bounds[i] : bounds[i + 1]] for i in order.tolist()]
    ids, names = taxonomy.ids, taxonomy.names
    columns: dict[str, Any] = {
        "ids": [ids[i] for i in order.tolist()],
        "names": [0 if names[i] == ids[i] else names[i] for i in order.tolist()],
        "synonyms": _picked(taxonomy.synonyms, order),
        "aliases": _picked(taxonomy.aliases, order),
        "definitions": _picked(taxonomy.definitions, order),
        "parents": [-1 if not up else up[0] if len(up) == 1 else up for up in lists],
        "below": below[order].tolist(),
        "depth": closure.depth[order].tolist(),
    }
    if counts is not None:
        columns |= {"asserted": counts[0][order].tolist(), "expanded": counts[1][order].tolist()}
    return columns


def _picked(values: Sequence[Any], order: npt.NDArray[np.integer]) -> list[Any]:
    return [values[i] or 0 for i in order.tolist()]


def _tiles(taxonomy: Taxonomy, closure: Closure, counts: tuple[Int64s, Int64s] | None) -> list[Tile]:
    """The figures by which the paper describes its hierarchy, each with what it means here."""
    figures = statistics(taxonomy, closure)
    widest = int(np.argmax(taxonomy.children.lengths))
    roots = f"{figures.roots:,} roots" if figures.roots > 1 else "one root"
    leaves = "leaf" if figures.leaves == 1 else "leaves"
    tiles = [
        Tile("categories", f"{figures.categories:,}", f"{roots}, {figures.leaves:,} {leaves}"),
        Tile("depth", f"{figures.depth:,}", "longest path, edges"),
        Tile("largest fan-out", f"{figures.largest_fan_out:,}", f"below {taxonomy.names[widest]}", taxonomy.ids[widest])
        if figures.largest_fan_out
        else Tile("largest fan-out", "0", "a flat list"),
        Tile("several parents", f"{figures.several_parents:,}", _share(figures.several_parents, figures.categories)),
    ]
    if counts is None:
        return [*tiles, Tile("ancestors", f"{figures.mean_ancestors:.1f}", "of a category, mean")]
    used = counts[1] > 0
    with_images = int(used.sum())
    tiles.append(Tile("with images", f"{with_images:,}", _share(with_images, figures.categories)))
    for limit in (20, 100):
        under = int((used & (counts[1] < limit)).sum())
        tiles.append(Tile(f"under {limit} images", f"{under:,}", _share(under, with_images)))
    return tiles


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}\u00a0% of {whole:,}" if whole else "of none"
