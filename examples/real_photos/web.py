"""The web of real photos: which photos are served under which address, what they show, and what they are copies of.

In: the data folder and the categories. Out: `Web`: the images of the web, the evaluation images that are kept apart
from it, and the known relations between the two sides. Every second photo of the ImageNet sample is an evaluation
image; one original of each group of known near-duplicates is one too, and its copies stay in the web.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path
from typing import Final, Literal

from categories import ANYTHING, Categories
from photos import Row, connected, photo, read_part

Kind = Literal["duplicate", "similar", "different"]
DEAD_LINKS: Final = 20
# What the copies show, seen by eye; groups that are not named show ants, as the folder they came from.
_COPIES_SHOW: Final = {
    ("caltech_random_resize", "6"): "n02691156",  # airplane
    ("imagededup_ukbench", "ukbench00120"): "n03309808",  # fabric
    ("imagededup_ukbench", "ukbench09268"): "n04453156",  # toothbrush
    ("pdq_bridge_mods", "bridge"): "n02898711",
    ("jenssegers_forest", "forest"): "n09284015",
}
_ANT: Final = "n02219486"
_FACE: Final = "n05600637"
GROUPED: Final = {  # set: (part, folder, variant of the original; none: the first of the group)
    "caltech_random_resize": ("Caltech resized copies", None),
    "pdq_bridge_mods": ("bridge copies", "original"),
    "imagededup_ukbench": ("UKBench copies", "original"),
    "jenssegers_forest": ("forest copies", "high"),
}


@dataclasses.dataclass(frozen=True)
class WebImage:
    """A photo of the web.

    Attributes:
        route: its path on the server, without the first slash.
        file: where it lies; None: a dead link.
        group: caltech, imagenet, search, clutter, copy, planted, dead.
        shows: the category that it shows; None: unknown, or none of ours.
        verdict: of a search result, by eye: clean, noise, uncertain; empty where nobody looked.
        query: the category that was searched for. Copies have one too, so that they pass the filter: it is the search
            for them that is measured.
        rank: place among the results of its query, 0 first, below 1.
    """

    route: str
    file: Path | None
    group: str
    shows: str | None = None
    verdict: str = ""
    query: str | None = None
    rank: float = 0.0


@dataclasses.dataclass(frozen=True)
class EvalImage:
    """An evaluation image that is kept apart."""

    eval_set: str
    eval_id: str
    file: Path
    shows: str | None = None


@dataclasses.dataclass(frozen=True)
class Relation:
    """What is known of a web image and an evaluation image; `origin` is the set that says so."""

    route: str
    eval_set: str
    eval_id: str
    origin: str
    kind: Kind


@dataclasses.dataclass
class Web:
    """Both sides, what is known between them, and what had to be left out."""

    images: list[WebImage]
    evals: list[EvalImage]
    relations: list[Relation]
    left_out: Counter[str]


def read_web(data: Path, categories: Categories) -> Web:
    """The web and the evaluation images of a data folder, but for the planted copies."""
    web = Web([], [], [], Counter())
    apart = _originals(data, web)
    _caltech(data, categories, web, apart)
    _imagenet(data, web)
    _search(data, web, categories, apart)
    _coco_and_voc(data, categories, web)
    first = [image for image in web.images if image.group == "caltech"][:DEAD_LINKS]
    web.images += [WebImage(f"gone/{i:02d}.jpg", None, "dead", image.shows) for i, image in enumerate(first)]
    return web


def _original(web: Web, origin: str, name: str, file: Path, shows: str | None) -> str:
    """Adds an original to the set `originals`; returns its id."""
    eval_id = f"{origin}/{name.replace('/', '_')}"
    web.evals.append(EvalImage("originals", eval_id, file, shows))
    return eval_id


def _originals(data: Path, web: Web) -> dict[str, str]:
    """Adds the near-duplicate sets; returns the photos of the other sets that are kept apart: place -> id."""
    for row in read_part(data, "Caltech faces"):
        folder = "near_duplicates/caltech_faces"
        original = photo(data, folder, row["original"], part="Caltech faces")
        eval_id = _original(web, "caltech_faces", original.name, original, _FACE)
        copy = photo(data, folder, row["cropped_copy"], part="Caltech faces")
        _copy(web, f"copies/caltech_faces/{copy.name}", copy, _FACE, [eval_id], "caltech_faces")
    for origin, (part, variant) in GROUPED.items():
        _grouped(data, web, origin, part, variant)
    return _natural(data, web)


def copy_image(route: str, file: Path, group: str, shows: str | None) -> WebImage:
    """A copy of an evaluation image, with a place among the results that its route decides."""
    digest = hashlib.sha256(route.encode()).digest()
    return WebImage(route, file, group, shows, query=shows, rank=int.from_bytes(digest[:4]) / 2**32)


def _copy(web: Web, route: str, file: Path, shows: str, eval_ids: list[str], origin: str) -> None:
    web.images.append(copy_image(route, file, "copy", shows))
    web.relations += [Relation(route, "originals", eval_id, origin, "duplicate") for eval_id in eval_ids]


def _grouped(data: Path, web: Web, origin: str, part: str, variant: str | None) -> None:
    """A set with a table of groups: the original of each is kept apart; groups of one photo are left out."""
    groups: dict[str, list[Row]] = {}
    for row in read_part(data, part):
        groups.setdefault(row["group"], []).append(row)
    for group, rows in sorted(groups.items()):
        if len(rows) < 2:
            web.left_out[f"{origin}: photo without a copy"] += len(rows)
            continue
        first = next((row for row in rows if row["variant"] == variant), rows[0])
        shows = _COPIES_SHOW.get((origin, group), _ANT)
        folder = f"near_duplicates/{origin}"
        eval_id = _original(web, origin, first["file"], photo(data, folder, first["file"], part=part), shows)
        for row in rows:
            if row is not first:
                file = photo(data, folder, row["file"], part=part)
                _copy(web, f"copies/{origin}/{row['file']}", file, shows, [eval_id], origin)


def _natural(data: Path, web: Web) -> dict[str, str]:
    """Pairs inside the photo sets: the first of each group is kept apart, the others stay where they are."""
    apart: dict[str, str] = {}
    for origin, part, folder, prefix in (
        ("caltech_natural", "Caltech natural pairs", "photos/caltech101", "caltech101"),
        ("web_search_natural", "web search natural pairs", "photos/web_search_4queries", "search"),
    ):
        rows = read_part(data, part)
        pairs = {(row["file_a"], row["file_b"]): _kind(row.get("verdict_by_eye", "copy")) for row in rows}
        duplicates = connected([pair for pair, kind in pairs.items() if kind == "duplicate"])
        groups: list[tuple[list[str], Kind]] = [(group, "duplicate") for group in duplicates]
        groups += [(list(pair), kind) for pair, kind in pairs.items() if kind != "duplicate"]
        for (first, *others), kind in groups:
            file = photo(data, folder, first, part=part)
            apart[f"{folder}/{first}"] = eval_id = _original(web, origin, first, file, None)
            web.relations += [Relation(f"{prefix}/{name}", "originals", eval_id, origin, kind) for name in others]
    return apart


def _kind(verdict: str) -> Kind:
    if "different" in verdict:
        return "different"
    return "similar" if "similar" in verdict else "duplicate"


def _caltech(data: Path, categories: Categories, web: Web, apart: dict[str, str]) -> None:
    folder = "photos/caltech101"
    for row in read_part(data, "Caltech-101 labels"):
        name = row["file"]
        if f"{folder}/{name}" in apart:
            continue
        clutter = row["class"] == "BACKGROUND_Google"
        shows = categories.find(row["class"])
        if shows is None and not clutter:
            web.left_out[f"caltech: class {row['class']} without a category"] += 1
            continue
        file = photo(data, folder, name, part="Caltech-101 photos")
        web.images.append(WebImage(f"caltech101/{name}", file, "clutter" if clutter else "caltech", shows))


def _imagenet(data: Path, web: Web) -> None:
    """Every second photo, in the order of the table, is an evaluation image."""
    for number, row in enumerate(read_part(data, "ImageNet sample labels")):
        file = photo(data, "photos/imagenet_sample", row["file"], part="ImageNet sample photos")
        if number % 2:
            web.evals.append(EvalImage("imagenet-val", file.stem, file, row["wnid"]))
        else:
            web.images.append(WebImage(f"imagenet/{row['file']}", file, "imagenet", row["wnid"]))


def _search(data: Path, web: Web, categories: Categories, apart: dict[str, str]) -> None:
    rows = read_part(data, "web search labels")
    counts, seen = Counter(row["query_label_inferred"] for row in rows), Counter[str]()
    folder = "photos/web_search_4queries"
    for row in rows:
        query, verdict = row["query_label_inferred"], row["verdict_monkey_block_only"]
        rank = seen[query] / counts[query]
        seen[query] += 1
        if f"{folder}/{row['file']}" in apart:
            continue
        category = categories.find(query)
        if category is None:
            web.left_out[f"search: query {query} without a category"] += 1
            continue
        file = photo(data, folder, row["file"], part="web search photos")
        shows = category if verdict == "clean" else None
        web.images.append(WebImage(f"search/{row['file']}", file, "search", shows, verdict, category, rank))


def _coco_and_voc(data: Path, categories: Categories, web: Web) -> None:
    for row in read_part(data, "COCO labels"):
        file = photo(data, "eval_images/coco_train2017_128", row["file"], part="COCO photos")
        found = [category for name in row["class_names"].split("|") if (category := categories.find(name))]
        web.evals.append(EvalImage("coco-train2017-128", row["coco_image_id"], file, found[0] if found else ANYTHING))
    for row in read_part(data, "VOC labels"):
        file = photo(data, "eval_images/voc2007_demo", row["file"], part="VOC photos")
        web.evals.append(EvalImage("voc2007-test", row["voc_id"], file, ANYTHING))
