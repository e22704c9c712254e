"""Files of answers: what the page exports or a spreadsheet makes is read; anything else is told with its place."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openjft.pipelines.audit import answers as module
from openjft.pipelines.audit.answers import AnswerFile, read_answers
from openjft.pipelines.errors import InputError

KEY = "0123456789abcdef" * 2
A, B, C = f"{KEY}/n1", f"{KEY}/n2", f"{'f' * 32}/a label, with / and \u00fc"
SAMPLE = "5a" * 32


@pytest.fixture
def read(tmp_path):
    def read_(content, name="answers.json"):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        return read_answers(str(tmp_path / name))

    return read_


def document(*entries, **changes):
    value = {
        "format": "openjft-answers", "version": 1, "sample": SAMPLE, "purpose": "audit", "annotator": "Ann",
        "exported_at": "2025-01-01T00:00:00.000Z", "answers": [{"id": i, "answer": a} for i, a in entries],
    }  # fmt: skip
    return json.dumps({k: v for k, v in {**value, **changes}.items() if v is not ...})


def test_an_export_is_read_in_its_order(read):
    found = read(document((B, "no"), (A, "yes"), (C, "unsure")))
    assert found == AnswerFile("Ann", SAMPLE, "audit", {B: "no", A: "yes", C: "unsure"})
    assert list(found.answers) == [B, A, C]


def test_a_packed_export_is_read_through(read):
    assert read(gzip.compress(document((A, "yes")).encode()), "answers.json.gz").answers == {A: "yes"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_from_a_spreadsheet_is_read(read, delimiter, newline):
    quoted = f'"{C}"'
    rows = [
        ("ID ", "note", "Answer"),
        (A, "", " Yes"),
        (B, "x", "0"),
        ("", "", ""),
        (quoted, "", "u"),
        (f"{KEY}/n3", "", ""),
    ]
    text = "\ufeff" + newline.join(delimiter.join(row) for row in rows) + newline
    assert read(text, "ann lee.csv") == AnswerFile("ann lee", None, None, {A: "yes", B: "no", C: "unsure"})


def test_a_table_may_name_key_label_and_annotator(read):
    text = f"image_key,label,answer,annotator\n{KEY},n1,1, Ann  Lee\n{KEY},n2,n,Ann Lee\n"
    assert read(text, "x.csv") == AnswerFile("Ann Lee", None, None, {A: "yes", B: "no"})


@pytest.mark.parametrize("again", ["y", "YES", "1"])
def test_the_same_answer_again_is_merged(read, again):
    assert read(f"id,answer\n{A},yes\n{B},no\n{A},{again}\n", "x.csv").answers == {A: "yes", B: "no"}
    assert read(document((A, "yes"), (A, "yes"))).answers == {A: "yes"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            document((A, "yes"), (B, "no"), (A, "no")),
            rf"answers\[2\]: expected one answer to {A}, found 'no' here and 'yes' in answers\[0\]",
        ),
        (
            f"id,answer\n{A},y\n\n{A},u\n",
            f"line 4: expected one answer to {A}, found 'unsure' here and 'yes' in line 2",
        ),
    ],
)  # fmt: skip
def test_contradicting_answers_are_told_with_both_places(read, content, message):
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (document((A, "yes"))[:-4], r"line 1, column \d+: expected JSON"),
        ("[1, 2]", 'expected JSON with "format"'),
        (document((A, "yes"), format="other"), 'expected JSON with "format"'),
        (document((A, "yes"), version=2), "expected answers of version 1, found 2"),
        (document((A, "yes"), version=True), "expected answers of version 1, found True"),
        (document((A, "yes"), sample=...), "sample: expected text, found None"),
        (document((A, "yes"), sample="../../etc"), "sample: expected 12 to 128 hex digits"),
        (document((A, "yes"), purpose="fun"), "purpose: expected 'audit' or 'gold', found 'fun'"),
        (document((A, "yes"), annotator="  "), "annotator: expected a name of 1 to 80"),
        (document((A, "yes"), annotator="a\x1b[31m"), "annotator: expected a name"),
        (document((A, "yes"), annotator="a" * 81), "annotator: expected a name of 1 to 80"),
        (document((A, "yes"), answers={A: "yes"}), "answers: expected a list, found an object"),
        (document((A, "yes"), answers=["yes"]), r"answers\[0\]: expected {.*}, found 'yes'"),
        (document((A, "yes"), (B, "maybe")), r"answers\[1\]: expected the answer 'yes', .* found 'maybe'"),
        (document((A, ["yes"])), r"answers\[0\]: expected the answer .*, found a list"),
        (document((A, "yes"), (7, "no")), r"answers\[1\]: id: expected text, found 7"),
        (document((A.upper(), "yes")), r"answers\[0\]: expected an id of 32 hex digits in lower case"),
        (document((f"{KEY}/", "yes")), r"answers\[0\]: expected an id"),
        (document((f"{KEY}/a\nb", "yes")), r"answers\[0\]: expected an id"),
        (document((f"{KEY}/\ud800", "yes")), r"answers\[0\]: expected an id"),
        (document(), "expected at least one answer, found none"),
        ("[" * 100_000, "expected exported answers, found JSON that is none"),
        ('{"version": ' + "1" * 5000 + "}", "expected exported answers, found JSON that is none"),
    ],
)  # fmt: skip
def test_json_that_is_no_export_is_told_with_its_place(read, content, message):
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected the header id,answer"),
        (f"{A},yes\n", "line 1: expected the header id,answer"),
        (f"id,correct\n{A},1\n", "found 'id,correct'"),
        (f"id,answer,id\n{A},1,{B}\n", "each once, found 'id,answer,id'"),
        (f"id,answer\n{A},yes\n{B},maybe\n", "line 3: expected yes, no or unsure .* found 'maybe'"),
        ("id,answer\n1.23E+31,yes\n", r"line 2: expected an id .*found '1.23E\+31'. A spreadsheet may have changed it"),
        ("answer,id\nyes\n", "line 2: expected an id"),
        (f"image_key,label,answer\n{KEY},,yes\n", "line 2: expected an id"),
        (f"id,answer,annotator\n{A},y,Ann\n{B},y,Bob\n", "line 3: expected .* one annotator, 'Ann', found 'Bob'"),
        (f"id,answer,annotator\n{A},y,\n", "line 2: expected a name"),
        (f'id,answer\n"{A},yes\n', "expected CSV, found unexpected end of data"),
        ("id,answer\n" + "x" * 200_000 + ",yes\n", "line 2: expected CSV, found field larger than"),
        (f"id,answer\n{A},\n", "expected at least one answer, found none"),
        (b"id,answer\n\xe9,yes\n", "expected text in UTF-8, .* save as 'CSV UTF-8'"),
        (b"\x1f\x8b\x08 not really", "expected text in UTF-8"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_meant_is_told_with_its_line(read, content, message):
    with pytest.raises(InputError, match=message):
        read(content, "answers.csv")


def test_a_file_that_is_not_there_or_too_large_is_an_error(read, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="could not read it"):
        read_answers(str(tmp_path / "none.json"))
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    with pytest.raises(InputError, match="at most 1 MiB, found a larger one"):
        read(gzip.compress(b" " * (1 << 21)), "bomb.json.gz")


ids = st.builds(
    "{}/{}".format,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.dictionaries(ids, st.sampled_from(["yes", "no", "unsure"]), min_size=1, max_size=8))
def test_json_and_table_of_the_same_answers_are_equal(read, answers):
    cells = [('"' + id_.replace('"', '""') + '"', answer) for id_, answer in answers.items()]
    table = "\n".join(",".join(row) for row in [("id", "answer"), *cells])
    assert read(document(*answers.items())).answers == read(table, "x.csv").answers == answers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda t: f"id,answer\n{t}".encode("utf-8", "ignore")))
)
def test_whatever_bytes_come_they_are_read_or_refused(read, data):
    try:
        found = read(data, "x.csv")
    except InputError:
        return
    assert set(found.answers.values()) <= {"yes", "no", "unsure"}
    assert all(module.ANSWER_ID.fullmatch(id_) for id_ in found.answers)
