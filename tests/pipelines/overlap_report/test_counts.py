"""Counts of evaluation images, the choice of pairs, and what stands for those that are left out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.dedup.schema import DECISIONS, LEVELS
from openjft.pipelines.overlap_report import CurvePoint, SetFacts, Thresholds
from openjft.pipelines.overlap_report.choose import left_out, shown_rows
from openjft.pipelines.overlap_report.counts import Published, count_sets, expected_false_pairs, published

SETS = (SetFacts("own", "folder", 90, 0), SetFacts("minival", "coco", 800, 0))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "eval_set": st.sampled_from(["own", "minival"]),
            "eval_id": st.sampled_from(["a", "b", "c"]),
            "score": st.sampled_from([0.6, 0.7, 0.8, 0.9]),
            "verified": st.booleans(),
            "level": st.sampled_from(LEVELS),
            "decision": st.sampled_from([None, *DECISIONS]),
        }
    ),
    max_size=25,
)


def one_by_one(rows: list[dict], name: str, score: float) -> dict[str, int]:
    """The counts by their definition."""
    mine = [row for row in rows if row["eval_set"] == name]
    near = [row for row in mine if np.float32(row["score"]) >= np.float32(score)]
    ids = {row["eval_id"] for row in near}
    return {
        "found": len(ids),
        "verified": len({row["eval_id"] for row in near if row["verified"]}),
        "confirmed": len({row["eval_id"] for row in near if row["decision"] == "copy"}),
        "refuted": sum(all(r["decision"] == "different" for r in near if r["eval_id"] == id_) for id_ in ids),
        "counted": len(
            {row["eval_id"] for row in mine if row["decision"] == "copy"}
            | {row["eval_id"] for row in near if row["verified"] and row["decision"] != "different"}
        ),
        "pairs": len(near),
    }


@given(ROWS, st.sampled_from([0.55, 0.7, 0.85, 0.95]))
def test_counts_are_those_of_their_definition(draw, rows, score):
    counts = count_sets(draw.table([draw.pair(i, **row) for i, row in enumerate(rows)]), SETS, score)
    assert {name: dataclasses.asdict(found) for name, found in counts.items()} == {
        each.name: one_by_one(rows, each.name, score) for each in SETS
    }


def test_an_image_of_the_same_id_in_two_sets_is_two_images(draw):
    pairs = draw.table([draw.pair(1, eval_set="own", eval_id="x"), draw.pair(2, eval_set="minival", eval_id="x")])
    assert {name: c.found for name, c in count_sets(pairs, SETS, 0.9).items()} == {"own": 1, "minival": 1}


# -- Which pairs are shown -----------------------------------------------------------------------------------

AT = Thresholds(0.7, 0.9, 0.5)


@given(ROWS, st.integers(0, 25))
def test_the_highest_level_is_shown_first_and_then_the_nearest_to_a_threshold(draw, rows, most):
    pairs = draw.table([draw.pair(i, **row) for i, row in enumerate(rows)])

    def rank(i: int) -> tuple:
        score = float(np.float32(rows[i]["score"]))
        return LEVELS.index(rows[i]["level"]), min(abs(score - AT.remove), abs(score - AT.report)), i

    expected = sorted(sorted(range(len(rows)), key=rank)[:most])
    assert shown_rows(pairs, AT, most).tolist() == expected


@given(ROWS, st.integers(0, 25), st.sampled_from([0.55, 0.7, 0.85, 0.95]))
def test_what_stands_for_pairs_that_are_left_out_counts_as_they_do(draw, rows, most, score):
    pairs = draw.table([draw.pair(i, **row) for i, row in enumerate(rows)])
    shown = shown_rows(pairs, AT, most)
    rest = left_out(pairs, shown).to_pylist()
    kept = [rows[i] for i in shown.tolist()]
    assert len(rest) <= len(rows) - len(kept)
    for each in SETS:
        whole = one_by_one(rows, each.name, score)
        assert {**one_by_one([*kept, *rest], each.name, score), "pairs": None} == {**whole, "pairs": None}


# -- The paper's counts, the curve ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagenet", ("ImageNet val", 50_000, 5_536)),
        ("ImageNet_val", ("ImageNet val", 50_000, 5_536)),
        ("coco-minival", ("COCO minival*", 8_000, 1_648)),
        ("minival", ("COCO minival*", 8_000, 1_648)),
        ("voc2007-test", ("VOC 2007 test", 4_952, 201)),
        ("voc2012_val", ("VOC 2012 val", 1_449, 84)),
        ("voc2012test", None),
        ("coco", None),
        ("mine", None),
    ],
)
def test_known_sets_have_the_paper_s_counts_beside_them(name, expected):
    assert published(name) == (expected and Published(*expected))


def test_false_pairs_between_measured_scores_lie_on_a_line_of_the_logarithm():
    curve = [CurvePoint(0.5, 1000.0, 900.0, 1100.0), CurvePoint(0.7, 10.0, 4.0, 20.0)]
    found = expected_false_pairs(curve, 0.6)
    assert found["expected"] == pytest.approx(100.0)
    assert found["low"] == pytest.approx(math.sqrt(900 * 4))
    assert found["high"] == pytest.approx(math.sqrt(1100 * 20))
    assert found["bound"] is None
    assert expected_false_pairs(curve, 0.7) == {"expected": 10.0, "low": 4.0, "high": 20.0, "bound": None}


def test_beyond_the_measured_scores_the_last_count_is_a_bound():
    curve = [CurvePoint(0.5, 8.0, 5.0, 9.0), CurvePoint(0.7, 0.0, 0.0, 3.0)]
    assert expected_false_pairs(curve, 0.4) == {"expected": 8.0, "low": 5.0, "high": 9.0, "bound": "at_least"}
    assert expected_false_pairs(curve, 0.8) == {"expected": 0.0, "low": 0.0, "high": 3.0, "bound": "at_most"}
    assert expected_false_pairs(curve, 0.6)["expected"] == pytest.approx(4.0)  # nothing has no logarithm
    assert expected_false_pairs([], 0.6) is None
