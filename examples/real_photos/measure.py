"""What the build did, against what is known: copies found and false pairs, label precision, ancestors, rejects.

In: the build's folder and the truth that `run.prepare` kept. Out: one JSON value, which `results` prints and writes;
and OUT/false_pairs.png, a contact sheet of the strongest pairs that nobody knows to be copies. Known relations come
from the data's tables; pairs that were found here and judged by eye stand in verdicts.csv beside this file.
"""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from sheet import contact_sheet
from signals import in_gold, known_truths, truth
from web import WebImage

from openjft.dedup import clopper_pearson
from openjft.dedup.schema import KEY as VECTOR_KEY
from openjft.dedup.schema import VECTOR
from openjft.dedup.vectors import vectors_of
from openjft.pipelines.build import BuildSummary
from openjft.pipelines.decontaminate.stage import load_tools
from openjft.pipelines.keys import image_key
from openjft.pipelines.schema import KEY, LABEL
from openjft.pipelines.storage import Store, bucket_file

if TYPE_CHECKING:
    from run import Prepared

# The lowest threshold that is looked at: where false pairs are many.
LOWEST: Final = {"onnx": 0.70, "dct": 0.50}
VERDICTS: Final = Path(__file__).with_name("verdicts.csv")
SHOWN: Final = 60  # pairs of the contact sheet and of the list in results.json
SHOWN_FACES: Final = 10
PairKey = tuple[str, str, str]  # route, eval set, eval id


@dataclasses.dataclass(frozen=True)
class Found:
    """A web image and an evaluation image, how near they are, and what is known of them.

    `kind`: duplicate, similar, different, or "" where nobody looked; `by_eye`: judged for this example.
    """

    route: str
    eval_set: str
    eval_id: str
    similarity: float
    view: str
    origin: str
    kind: str
    by_eye: bool


def measure(prepared: Prepared, seed: int, summary: BuildSummary) -> dict[str, Any]:
    """Everything that results.json holds, but for the date and the command."""
    store, config = summary.store, prepared.config
    images = images_by_key(prepared)
    found, searched = search_pairs(prepared, store, images)
    threshold = store.read_json("evalsets/thresholds.json")["remove"]
    result = {
        "model": store.read_json("evalsets/summary.json")["embedder"],
        "workers": config.runner.workers,
        "input": _input(prepared),
        "duplicates": duplicates(prepared, found, searched, threshold, levels_of(store, prepared, images)),
        "at_the_build": at_the_build(prepared, store, images),
        "labels": labels(prepared, store, images, seed),
        "ancestors": ancestors(prepared, store, images, seed),
        "rejects": {s.name: dict(s.account.rejects) for s in summary.stages if any(s.account.rejects.values())},
        "stages": [
            {
                "stage": s.name,
                "rows": s.noun,
                "in": s.account.rows_in,
                "out": s.account.rows_out,
                "units_run": s.units_run,
                "seconds": round(s.seconds, 2),
            }
            for s in summary.stages
        ],
        "not_fetched": not_fetched(store, config.build.buckets, images),
        "planted_by_the_build": store.read_json("evalsets/planted.json")["recall"],
        "eval_sets": store.read_json("evalsets/summary.json")["sets"],
    }
    strongest = _to_look_at(found)
    files = {image.route: image.file for image in prepared.web.images if image.file is not None}
    evals = {(e.eval_set, e.eval_id): e.file for e in prepared.web.evals}
    rows = [
        (files[p.route], evals[p.eval_set, p.eval_id], f"{p.similarity:.3f} {p.view} {p.kind or '?'} {p.route}")
        for p in strongest
    ]
    contact_sheet(Path(config.build.output) / "false_pairs.png", rows)
    return result


def _to_look_at(found: list[Found]) -> list[Found]:
    """The strongest pairs that are no known copies; few of the faces, which would fill the sheet."""
    others = [f for f in found if f.kind != "duplicate"]
    faces = [f for f in others if within_faces(f)][:SHOWN_FACES]
    return faces + [f for f in others if not within_faces(f)][: SHOWN - SHOWN_FACES]


def sweep(model: str) -> list[float]:
    """Thresholds up to 0.99, in hundredths."""
    return [i / 100 for i in range(round(100 * LOWEST[model]), 100)]


def images_by_key(prepared: Prepared) -> dict[bytes, WebImage]:
    """Image key -> web image."""
    return {image_key(f"{prepared.address}/{image.route}"): image for image in prepared.web.images}


def read_buckets(store: Store, stage: str, buckets: int, columns: list[str] | None = None) -> pa.Table:
    """All of a stage's tables."""
    return pa.concat_tables([store.read_table(bucket_file(stage, b, buckets), columns) for b in range(buckets)])


def _input(prepared: Prepared) -> dict[str, Any]:
    web = prepared.web
    return {
        "web_images": len(web.images),
        "web_groups": dict(sorted(Counter(image.group for image in web.images).items())),
        "eval_images": dict(Counter(e.eval_set for e in web.evals)),
        "pairs": len(prepared.pairs),
        "gold": prepared.gold,
        "left_out": dict(sorted(web.left_out.items())),
    }


# -- near-duplicates -----------------------------------------------------------------------------------------


def read_verdicts(path: Path = VERDICTS) -> dict[PairKey, str]:
    """What was seen by eye: (route, eval set, eval id) -> duplicate, similar or different."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as source:
        return {(r["route"], r["eval_set"], r["eval_id"]): r["verdict"] for r in csv.DictReader(source)}


def search_pairs(prepared: Prepared, store: Store, images: dict[bytes, WebImage]) -> tuple[list[Found], set[str]]:
    """(pairs at the lowest threshold of the sweep or above, strongest first; routes that have a vector)."""
    config = prepared.config
    table = read_buckets(store, "embeddings", config.build.buckets)
    index = load_tools(store, config.embed).index
    vectors = vectors_of(table[VECTOR], index.dim, origin="embeddings").astype(np.float32)
    matches = index.search(vectors, min_score=LOWEST[config.embed.model], neighbours=index.images.num_rows)
    routes = [images[key].route for key in table[VECTOR_KEY].to_pylist()]
    known = {(r.route, r.eval_set, r.eval_id): r for r in prepared.web.relations}
    verdicts = read_verdicts()
    sets, ids = index.images["eval_set"].to_pylist(), index.images["eval_id"].to_pylist()
    found = []
    for query, image, view, similarity in zip(
        matches.query_index.tolist(), matches.eval_index.tolist(), matches.view.tolist(), matches.similarity.tolist(),
        strict=True,
    ):  # fmt: skip
        key = (routes[query], sets[image], ids[image])
        told = known.get(key)
        kind = told.kind if told else verdicts.get(key, "")
        origin = told.origin if told else ""
        found.append(Found(*key, similarity, index.views[view].name, origin, kind, told is None and key in verdicts))
    return sorted(found, key=lambda f: (-f.similarity, f.route, f.eval_set, f.eval_id)), set(routes)


def duplicates(
    prepared: Prepared, found: list[Found], searched: set[str], threshold: float, levels: dict[PairKey, str]
) -> dict[str, Any]:
    """Recall of each known set and false pairs, at the build's threshold and over the sweep."""
    known = [r for r in prepared.web.relations if r.kind == "duplicate"]
    relations: dict[str, list[PairKey]] = defaultdict(list)
    for relation in known:
        relations[relation.origin].append((relation.route, relation.eval_set, relation.eval_id))
    similarity = {(f.route, f.eval_set, f.eval_id): f.similarity for f in found}
    thresholds = sweep(prepared.config.embed.model)
    at = {str(t): _pairs_at(found, t) for t in sorted({*thresholds, round(threshold, 4)})}
    planted = [key for origin, keys in relations.items() if origin.startswith("planted") for key in keys]
    natural = [key for origin, keys in relations.items() if not origin.startswith("planted") for key in keys]
    return {
        "threshold": threshold,
        "training_images": len(searched),
        "sets": [
            _known_set(origin, [key for key in keys if key[0] in searched], len(keys), similarity, levels, thresholds)
            for origin, keys in [*relations.items(), ("all planted", planted), ("all known copies", natural)]
        ],
        "pairs_at": at,
        "to_look_at": [{**dataclasses.asdict(f), "similarity": round(f.similarity, 4)} for f in _to_look_at(found)],
    }


def _known_set(
    origin: str,
    present: list[PairKey],
    known: int,
    similarity: dict[PairKey, float],
    levels: dict[PairKey, str],
    thresholds: list[float],
) -> dict[str, Any]:
    values = np.array([similarity.get(key, -1.0) for key in present])
    found = sum(levels.get(key) in DECIDED["removed"] for key in present)
    low, high = clopper_pearson(found, len(present))
    return {
        "set": origin,
        "known": known,
        "in_the_build": len(present),
        "found": found,
        "published": sum(levels.get(key) in DECIDED["published"] for key in present),
        "low": low,
        "high": high,
        "found_at": {str(t): int((values >= t).sum()) for t in thresholds},
    }


def _pairs_at(found: list[Found], threshold: float) -> dict[str, int]:
    """Pairs and flagged images at a threshold, by what is known of them."""
    above = [f for f in found if f.similarity >= threshold]
    true = {f.route for f in above if f.kind == "duplicate"}
    similar = {f.route for f in above if f.kind == "similar"} - true
    kinds = Counter(f.kind or "not_known" for f in above)
    return {
        "pairs": len(above),
        "duplicate": kinds["duplicate"],
        "of_them_by_eye": sum(f.kind == "duplicate" and f.by_eye for f in above),
        "similar": kinds["similar"],
        "false": kinds["different"] + kinds["not_known"],
        "of_them_seen": kinds["different"],
        "false_within_faces": sum(within_faces(f) for f in above if f.kind in {"", "different"}),
        "images": len({f.route for f in above}),
        "images_true": len(true),
        "images_similar": len(similar),
        "images_false": len({f.route for f in above} - true - similar),
    }


def within_faces(pair: Found) -> bool:
    """Two shots of one person, or two persons: the hard contrasts of the Caltech faces."""
    return "caltech_faces" in pair.route and pair.eval_id.startswith("caltech_faces/")


def at_the_build(prepared: Prepared, store: Store, images: dict[bytes, WebImage]) -> dict[str, Any]:
    """What the build itself decided, pair by pair: what it removed, what it would publish, and how much of it is so."""
    marks = store.read_json("evalsets/thresholds.json")
    table = read_buckets(store, "verdicts", prepared.config.build.buckets)
    known = {(r.route, r.eval_set, r.eval_id): r.kind for r in prepared.web.relations}
    by_eye = read_verdicts()
    rows = [
        (level, known.get(key) or by_eye.get(key, ""), key) for key, level in levels_of(store, prepared, images).items()
    ]
    return {
        "thresholds": {name: marks[name] for name in ("remove", "report", "listed", "how", "images_wrongly_removed")},
        "pairs": table.num_rows,
        "images_removed": len(set(table.filter(table["removed"])[VECTOR_KEY].to_pylist())),
        **{name: _decided(rows, wanted) for name, wanted in DECIDED.items()},
    }


DECIDED: Final = {"removed": {"reported", "removal"}, "published": {"reported"}}  # by the levels of `verdicts`


def levels_of(store: Store, prepared: Prepared, images: dict[bytes, WebImage]) -> dict[PairKey, str]:
    """The level of each pair that the build lists."""
    columns = [VECTOR_KEY, "eval_set", "eval_id", "level"]
    rows = read_buckets(store, "verdicts", prepared.config.build.buckets, columns).to_pylist()
    return {(images[row[VECTOR_KEY]].route, row["eval_set"], row["eval_id"]): row["level"] for row in rows}


def _decided(rows: list[tuple[str, str, PairKey]], levels: set[str]) -> dict[str, Any]:
    mine = [(kind, key) for level, kind, key in rows if level in levels]
    kinds = Counter(kind or "not_known" for kind, _ in mine)
    true = {key[0] for kind, key in mine if kind == "duplicate"}
    false = [key for kind, key in mine if kind in {"", "different"}]
    faces = sum("caltech_faces" in key[0] and key[2].startswith("caltech_faces/") for key in false)
    return {
        "pairs": len(mine),
        "duplicate": kinds["duplicate"],
        "similar": kinds["similar"],
        "false": len(false),
        "false_within_faces": faces,
        "images_false": len({key[0] for kind, key in mine if kind != "duplicate"} - true),
    }


# -- labels --------------------------------------------------------------------------------------------------


def _share(right: Iterable[bool]) -> dict[str, Any]:
    values = list(right)
    low, high = clopper_pearson(sum(values), len(values))
    precision = sum(values) / max(len(values), 1)
    return {"n": len(values), "right": sum(values), "precision": precision, "low": low, "high": high}


def labels(prepared: Prepared, store: Store, images: dict[bytes, WebImage], seed: int) -> dict[str, Any]:
    """Candidates and kept labels; precision before and after on photos whose truth the filter did not see."""
    buckets, ids = prepared.config.build.buckets, prepared.categories.taxonomy.ids
    columns = [KEY, LABEL]
    candidates, kept = (_pairs(read_buckets(store, s, buckets, columns), images, ids) for s in ("evidence", "labels"))
    known = known_truths(prepared.pairs, prepared.categories)
    measured = {i.route for i in images.values() if not in_gold(i, seed) and i.group in MEASURED}
    routes = {i.route: i for i in images.values()}

    def part(pairs: list[tuple[str, str]], of: str | None = None) -> dict[str, Any]:
        rows = (known[p] for p in pairs if p in known and p[0] in measured and of in {None, routes[p[0]].group})
        return _share(rows)

    before, after = part(candidates), part(kept)
    every = _share(known[p] for p in kept if p in known and not in_gold(routes[p[0]], seed))
    return {
        "candidates": len(candidates),
        "kept": len(kept),
        "threshold": store.read_json("scores/precision.json")["threshold"],
        "target": prepared.config.precision.target,
        "before": before,
        "after": after,
        "after_with_copies": every,
        "right_labels_kept": after["right"] / max(before["right"], 1),
        "by_group": {
            name: {"before": part(candidates, name), "after": part(kept, name)}
            for name in MEASURED
            if any(p in known and p[0] in measured and routes[p[0]].group == name for p in candidates)
        },
    }


MEASURED: Final = ("caltech", "imagenet", "search", "clutter")


def _pairs(table: pa.Table, images: dict[bytes, WebImage], ids: tuple[str, ...]) -> list[tuple[str, str]]:
    """(route, WordNet id) of each row."""
    rows = zip(table[KEY].to_pylist(), table[LABEL].to_pylist(), strict=True)
    return [(images[key].route, ids[label]) for key, label in rows]


def ancestors(prepared: Prepared, store: Store, images: dict[bytes, WebImage], seed: int) -> dict[str, Any]:
    """What the hierarchy added, and how precise all labels are with it."""
    table = read_buckets(store, "expanded", prepared.config.build.buckets)
    asserted = table["asserted"].to_numpy(zero_copy_only=False)
    routes = {image.route: image for image in images.values()}
    pairs = _pairs(table, images, prepared.categories.taxonomy.ids)
    judged = [
        right
        for route, label in pairs
        if routes[route].group in MEASURED
        and not in_gold(routes[route], seed)
        and (right := truth(routes[route], label, prepared.categories)) is not None
    ]
    with_labels = len({route for route, _ in pairs})
    return {
        "asserted": int(asserted.sum()),
        "inferred": int((~asserted).sum()),
        "images": with_labels,
        "labels_per_image_before": float(asserted.sum() / max(with_labels, 1)),
        "labels_per_image_after": len(pairs) / max(with_labels, 1),
        "categories_before": len({p[1] for p, a in zip(pairs, asserted.tolist(), strict=True) if a}),
        "categories_after": len({label for _, label in pairs}),
        "precision_with_ancestors": _share(judged),
    }


def not_fetched(store: Store, buckets: int, images: dict[bytes, WebImage]) -> list[dict[str, str]]:
    """Every image that was asked for and not stored, but for the dead links."""
    table = read_buckets(store, "catalog", buckets, [KEY, "status", "detail"])
    return [
        {"route": images[row[KEY]].route, "status": row["status"], "detail": row["detail"] or ""}
        for row in table.to_pylist()
        if row["status"] != "ok" and images[row[KEY]].group != "dead"
    ]
