from __future__ import annotations

import pyarrow as pa
import pytest

from openjft.pipelines.demo.text_truth import ROWS, SCORE, TextKindTruth, judge_texts
from openjft.pipelines.demo.texts import TEXTS


def judge(texts, evidence, rejects=()):
    return judge_texts(
        pa.Table.from_pylist([dict(zip(TEXTS.names, row, strict=True)) for row in texts], schema=TEXTS),
        pa.Table.from_pylist(
            [dict(zip(("uri", "label", ROWS, SCORE), row, strict=True)) for row in evidence],
            schema=pa.schema(
                [("uri", pa.string()), ("label", pa.string()), (ROWS, pa.int32()), (SCORE, pa.float32())]
            ),
        ),
        pa.Table.from_pylist(
            [dict(zip(("reason", "uri", "label"), row, strict=True)) for row in rejects],
            schema=pa.schema([(name, pa.string()) for name in ("reason", "uri", "label")]),
        ),
    )  # fmt: skip


def test_a_text_is_matched_as_meant_or_to_another_or_not():
    truth = judge(
        [
            ("a", "a dog", "name", "dog", "dog"),
            ("b", "light house", "compound", "lighthouse", "lighthouse"),
            ("c", "cacti", "name", "cactus", "cactus"),
            ("d", " crane ", "bare", "crane_bird", "crane_bird"),
            ("e", "apple pie", "stranger", None, None),
        ],
        [("a", "dog", 2, 1.0), ("b", "house", 1, 0.75), ("c", "cactus", 0, None)],
        [("ambiguous_text", "d", "crane"), ("missing_uri", None, "a dog")],
    )
    assert truth.kinds == (
        TextKindTruth("name", 2, 1, 0, 0, 1),
        TextKindTruth("compound", 1, 0, 1, 0, 0),
        TextKindTruth("bare", 1, 0, 0, 1, 0),
        TextKindTruth("stranger", 1, 0, 0, 0, 1),
    )
    assert (truth.matches, truth.right, truth.claimed) == (2, 1, pytest.approx(0.875))


def test_a_label_of_a_picture_with_several_texts_is_charged_to_one_of_them():
    truth = judge(
        [
            ("a", "my new Apple", "brand", "phone", "apple"),
            ("a", "a phone", "name", "phone", "phone"),
            ("a", "bat", "bare", "bat_sports", "bat_sports"),
        ],
        [("a", "phone", 1, 1.0), ("a", "apple", 1, 0.5)],
    )
    assert {kind.kind: (kind.meant, kind.another, kind.unmatched) for kind in truth.kinds} == {
        "name": (1, 0, 0),
        "bare": (0, 1, 0),
        "brand": (0, 0, 1),
    }
    assert (truth.matches, truth.right) == (2, 1)


def test_no_texts_read_are_no_error():
    truth = judge([("a", "IMG_1", "nothing", None, None)], [])
    assert truth.kinds == (TextKindTruth("nothing", 1, 0, 0, 0, 1),)
    assert (truth.matches, truth.claimed) == (0, 0.0)
