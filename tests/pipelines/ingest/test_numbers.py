import decimal

import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.ingest.numbers import parse_counts, parse_flags, parse_scores

TEXTS = [
    ("0.5", 0.5), ("-1", -1.0), (" +2.5e1 ", 25.0), (".5", 0.5), ("1.", 1.0), ("-0", 0.0),
    ("nan", "wrong"), ("inf", "wrong"), ("1e39", "wrong"), ("abc", "wrong"), ("0x10", "wrong"), ("1,5", "wrong"),
    ("--1", "wrong"), ("+-1", "wrong"), ("", None), ("  ", None), (None, None),
]  # fmt: skip


def _outcome(values, wrong):
    return ["wrong" if w else None if np.isnan(v) else float(v) for v, w in zip(values, wrong, strict=True)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_scores_of_text(kind):
    column = pa.array([text for text, _ in TEXTS]).cast(kind)
    assert _outcome(*parse_scores(column)) == [expected for _, expected in TEXTS]


def test_one_bad_text_does_not_change_what_the_others_give():
    for text, expected in TEXTS:
        assert _outcome(*parse_scores(pa.array([text], pa.string()))) == [expected]


def test_scores_of_numbers():
    values = [1.5, float("nan"), float("-inf"), None, 1e300]
    assert _outcome(*parse_scores(pa.array(values))) == [1.5, "wrong", "wrong", None, "wrong"]
    assert _outcome(*parse_scores(pa.array([decimal.Decimal("0.25"), None]))) == [0.25, None]
    assert _outcome(*parse_scores(pa.array([3, None], pa.uint8()))) == [3.0, None]


def test_minus_zero_becomes_zero():
    scores, _ = parse_scores(pa.array([-0.0]))
    assert not np.signbit(scores[0])


def test_counts_are_whole_not_negative_and_bounded():
    counts, null, wrong = parse_counts(pa.array(["3", "4.0", "-1", "1.5", "x", None, str(1 << 49)]))
    assert counts.tolist() == [3, 4, 0, 0, 0, 0, 0]
    assert null.tolist() == [False, False, False, False, False, True, False]
    assert wrong.tolist() == [False, False, True, True, True, False, True]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["1", " 0 ", "", None, "TRUE", "false", "2", "yes", "1.0"]),
        pa.array([1, 0, None, None, 1, 0, 2, -1, 1]),
        pa.array([1.0, 0.0, None, None, 1.0, 0.0, 2.0, float("nan"), 1.0]),
    ],
)
def test_flags_are_zero_or_one_however_they_are_written(column):
    flags, wrong = parse_flags(column)
    assert flags.tolist() == [True, False, False, False, True, False, False, False, True]
    assert wrong.tolist() == [False] * 6 + [True, True, False]


def test_flags_may_be_booleans():
    flags, wrong = parse_flags(pa.array([True, False, None]))
    assert (flags.tolist(), wrong.tolist()) == ([True, False, False], [False] * 3)
