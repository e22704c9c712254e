"""The page on which an auditor looks at overlapping pairs and judges them: one HTML file with everything inside.

In: an `OverlapReport`. Out: the page as text. Nothing is loaded from elsewhere and nothing is sent; the policy in its
head forbids both. Decisions live in the browser's storage and leave it as a file that `dedup.read_decisions` reads.
Equal input gives equal bytes.

Texts come from strangers: they travel as JSON that cannot end its element, and the scripts set them as text only. Each
picture stands once, after everything else, in an element that nothing parses before its pair comes into view.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup.decisions import FORMAT, MAX_NAME_CHARS, VERSION
from openjft.dedup.schema import DECISIONS, KEY, LEVELS
from openjft.taxonomy.draw.embed import filled_page

from .choose import left_out, shown_rows
from .counts import count_sets, published
from .model import OverlapReport

VERDICT_WORDS: Final = ("verified", "alike", "neither")
SCRIPTS: Final = (
    "model.js", "counts.js", "filters.js", "pictures.js", "rows.js", "list.js", "exchange.js", "storage.js",
    "summary.js", "keys.js", "main.js",
)  # fmt: skip


def render_overlap_page(report: OverlapReport) -> str:
    """The page of a report."""
    rows = shown_rows(report.pairs, report.thresholds, report.max_pairs)
    shown = report.pairs.take(pa.array(rows))
    head = filled_page(
        __package__,
        SCRIPTS,
        _data(report, rows, shown),
        title=f"{report.name}: overlaps",
        report=report,
        total=report.pairs.num_rows,
        hidden=report.pairs.num_rows - len(rows),
        has_paper=any(published(each.name) for each in report.sets),
        max_name_chars=MAX_NAME_CHARS,
        verdicts=VERDICT_WORDS,
    )
    # The pictures are base64 of ours: they need no escape, and no second copy of 200 MB for it.
    return "".join((head, *_holders(report, shown), '<p id="end" hidden></p>\n</body>\n</html>\n'))


def _holders(report: OverlapReport, shown: pa.Table) -> Iterator[str]:
    """An element for each picture: `t0`, `t1`, ... of training images, `e0`, ... of evaluation images, as numbered."""
    for letter, keys, pictures in (
        ("t", _training_keys(shown), report.training_pictures),
        ("e", _eval_keys(shown), report.eval_pictures),
    ):
        for number, key in enumerate(keys):
            if key in pictures:
                data = base64.b64encode(pictures[key]).decode()
                yield f'<script type="text/plain" id="{letter}{number}">data:image/jpeg;base64,{data}</script>\n'


def _training_keys(shown: pa.Table) -> dict[Any, int]:
    """Number of each training image, in the order of the pairs."""
    keys = dict.fromkeys(shown[KEY].to_pylist())
    return {key: number for number, key in enumerate(keys)}


def _eval_keys(pairs: pa.Table) -> dict[Any, int]:
    """Number of each evaluation image, in the order of the pairs."""
    keys = dict.fromkeys(zip(pairs["eval_set"].to_pylist(), pairs["eval_id"].to_pylist(), strict=True))
    return {key: number for number, key in enumerate(keys)}


def _data(report: OverlapReport, rows: npt.NDArray[np.int64], shown: pa.Table) -> dict[str, Any]:
    """The page's data; each image, evaluation image and name of a label stands once, pairs are columns of numbers."""
    rest = left_out(report.pairs, rows)
    trained, labels = _training(report, shown)
    set_of = {each.name: i for i, each in enumerate(report.sets)}
    number = _eval_keys(pa.concat_tables([shown.select(["eval_set", "eval_id"]), rest.select(["eval_set", "eval_id"])]))
    return {
        "name": report.name, "build": report.build, "format": FORMAT, "version": VERSION,
        "max_name_chars": MAX_NAME_CHARS, "total": report.pairs.num_rows,
        "thresholds": {
            # As scores are written, or a pair that set a threshold would lie below it.
            **{name: _short(getattr(report.thresholds, name)) for name in ("remove", "report", "listed")},
            "verify_ssim": report.verify_ssim,
            "curve": [list(point) for point in report.thresholds.curve],
        },
        "decisions": DECISIONS, "levels": LEVELS,
        "sets": _sets(report),
        "images": trained, "labels": labels,
        "evals": _evals(report, shown, number, set_of),
        "pairs": _pairs(report, shown, number),
        "kept": _kept(report, rows),
        "rest": [
            [number[set_, id_], int(verified), _place(DECISIONS, decision), _short(score)]
            for set_, id_, verified, decision, score in _tuples(rest)
        ],
    }  # fmt: skip


def _sets(report: OverlapReport) -> list[list[Any]]:
    """[name, format, images, undecodable, reported by the build, [the paper's name, images, found] or 0]."""
    overlap = report.pairs.filter(report.pairs["overlap"])
    # Of the pairs that count, those at any score.
    reported = count_sets(overlap, report.sets, float("-inf"))
    return [
        [s.name, s.format, s.images, s.undecodable, reported[s.name].found, list(published(s.name) or ()) or 0]
        for s in report.sets
    ]


def _training(report: OverlapReport, shown: pa.Table) -> tuple[list[list[Any]], list[str]]:
    """[key, address, numbers of its labels, whether there is a picture] of each training image; names of labels."""
    count = shown.num_rows
    uris = shown["uri"].to_pylist() if "uri" in shown.column_names else [None] * count
    lists = shown["labels"].to_pylist() if "labels" in shown.column_names else [None] * count
    names: dict[str, int] = {}
    images: dict[bytes, list[Any]] = {}
    for key, uri, labels in zip(shown[KEY].to_pylist(), uris, lists, strict=True):
        if key not in images:
            numbers = [names.setdefault(name or "", len(names)) for name in labels or ()]
            images[key] = [key.hex(), uri or "", numbers, int(key in report.training_pictures)]
    return list(images.values()), list(names)


def _evals(report: OverlapReport, shown: pa.Table, number: dict[Any, int], set_of: dict[str, int]) -> list[list[Any]]:
    """[set, id, path, whether there is a picture] of each evaluation image; those of no shown pair are [set]."""
    count = shown.num_rows
    paths = shown["eval_path"].to_pylist() if "eval_path" in shown.column_names else [None] * count
    columns = (shown["eval_set"].to_pylist(), shown["eval_id"].to_pylist(), paths)
    path_of = {(set_, id_): path for set_, id_, path in zip(*columns, strict=True)}
    return [
        [set_of[key[0]], key[1], path_of[key] or "", int(key in report.eval_pictures)]
        if key in path_of
        else [set_of[key[0]]]
        for key in number
    ]


def _pairs(report: OverlapReport, shown: pa.Table, number: dict[Any, int]) -> dict[str, Any]:
    """The columns of pairs; `verdict` is a place in VERDICT_WORDS, `removed` 2 for this pair, 1 for another one."""
    image = _training_keys(shown)
    gone = set(report.pairs.filter(report.pairs["removed"])[KEY].to_pylist())
    views, transforms = _coded(shown["view"]), _coded(shown["transform"])
    evals = zip(shown["eval_set"].to_pylist(), shown["eval_id"].to_pylist(), strict=True)
    return {
        "image": [image[key] for key in shown[KEY].to_pylist()],
        "eval": [number[key] for key in evals],
        "views": views[0], "view": views[1],
        "transforms": transforms[0], "transform": transforms[1],
        "similarity": [_short(value) for value in shown["similarity"].to_numpy()],
        "score": [_short(value) for value in shown["score"].to_numpy()],
        **{
            name: [None if value is None else round(value, 4) for value in shown[name].to_pylist()]
            for name in ("ssim", "ssim_low")
        },
        "verdict": [
            0 if verified else 1 if alike else 2 for verified, alike in _tuples(shown.select(["verified", "alike"]))
        ],
        "level": [LEVELS.index(value) for value in shown["level"].to_pylist()],
        "removed": [2 if here else int(key in gone) for key, here in _tuples(shown.select([KEY, "removed"]))],
        "decision": [_place(DECISIONS, value) for value in shown["decision"].to_pylist()],
    }  # fmt: skip


def _kept(report: OverlapReport, rows: npt.NDArray[np.int64]) -> list[list[Any]]:
    """[key, set, id, decision] of decided pairs that are not shown: the export has them too."""
    others = np.ones(report.pairs.num_rows, np.bool_)
    others[rows] = False
    decided = report.pairs.filter(pc.and_(pa.array(others), pc.is_valid(report.pairs["decision"])))
    columns = _tuples(decided.select([KEY, "eval_set", "eval_id", "decision"]))
    return [[key.hex(), set_, id_, DECISIONS.index(decision)] for key, set_, id_, decision in columns]


def _coded(column: pa.ChunkedArray) -> tuple[list[str], list[int]]:
    """Distinct texts, and of each row the place of its own; -1 for null."""
    values = column.to_pylist()
    known = {value: i for i, value in enumerate(dict.fromkeys(v for v in values if v is not None))}
    return list(known), [known.get(value, -1) for value in values]


def _place(names: tuple[str, ...], value: str | None) -> int:
    return -1 if value is None else names.index(value)


def _short(value: float) -> float:
    """The shortest number that float32 takes for the same: thresholds of few digits compare with it as with that."""
    return float(str(np.float32(value)))


def _tuples(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
