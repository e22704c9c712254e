"""Auditors' decisions: files merge by rule, and nothing that cannot be meant is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.dedup import Decision, Decisions, DecisionsError, DedupError, read_decisions
from openjft.dedup import decisions as module
from openjft.dedup.decisions import PairId
from openjft.dedup.schema import DECISIONS, KEY_TYPE, OVERLAPS

BUILD = "0123456789ab"


def entry(i: int = 1, decision: object = "copy", **changes) -> dict:
    return {"image_key": f"{i:032x}", "eval_set": "voc", "eval_id": f"e{i}", "decision": decision, **changes}


def document(*entries: object, **changes) -> dict:
    head = {"format": "openjft-overlap-decisions", "version": 1, "build": BUILD, "reviewer": "Ann"}
    return {**head, "decisions": list(entries), **changes}


@pytest.fixture
def write(tmp_path):
    def write_(value: object, name: str = "a.json") -> Path:
        path = tmp_path / name
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return path

    return write_


def pair(i: int) -> tuple[bytes, str, str]:
    return i.to_bytes(16), "voc", f"e{i}"


def test_decisions_are_read_by_pair_in_rising_order(write):
    found = read_decisions([write(document(entry(2, "unsure"), entry(1, "copy"), entry(3, "different")))])
    assert list(found.items()) == [(pair(1), "copy"), (pair(2), "unsure"), (pair(3), "different")]
    assert found.builds == (BUILD,)
    assert [each.reviewer for each in found.records] == ["Ann"] * 3


def test_no_files_are_no_decisions():
    assert len(read_decisions([])) == 0
    assert read_decisions([]).decide(OVERLAPS.empty_table()).to_pylist() == []


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [("copy", "copy", "copy"), ("unsure", "copy", "copy"), ("different", "unsure", "different"),
     ("unsure", "unsure", "unsure")],
)  # fmt: skip
def test_equal_decisions_merge_and_unsure_yields(write, one, other, merged):
    paths = [write(document(entry(1, one))), write(document(entry(1, other), reviewer="Bob", build="ff" * 8), "b.json")]
    for order in (paths, paths[::-1]):
        found = read_decisions(order)
        assert dict(found) == {pair(1): merged}
        assert found.builds == (BUILD, "ff" * 8)


def test_contradicting_decisions_name_the_pair_and_both_files(write):
    one = write(document(entry(7, "unsure"), entry(1, "copy")))
    other = write(document(entry(1, "different"), reviewer="Bob"), "b.json")
    with pytest.raises(DecisionsError) as caught:
        read_decisions([one, other])
    for words in (f"{one}: decisions[1]", f"{other}: decisions[0]", f"{1:032x}", "'voc' 'e1'", "'Ann'", "'Bob'"):
        assert words in str(caught.value)


def test_unsure_between_two_that_contradict_hides_nothing(write):
    paths = [write(document(entry(1, d)), f"{d}.json") for d in ("copy", "unsure", "different")]
    with pytest.raises(DecisionsError, match="expected one decision"):
        read_decisions(paths)


MALFORMED = {
    "no object": ([], "expected JSON with"),
    "other format": (document(format="openjft-answers"), "expected JSON with"),
    "version": (document(version=2), "version: expected 1, found 2"),
    "version true": (document(version=True), "version: expected 1, found True"),
    "build": (document(build="xyz"), "build: expected 12 to 128 hex digits, found 'xyz'"),
    "build missing": (document(build=None), "build: expected a text"),
    "reviewer": (document(reviewer=""), "reviewer: expected a text of 1 to 200"),
    "reviewer long": (document(reviewer="a" * 201), "reviewer: expected a text of 1 to 200"),
    "no list": (document(decisions={"a": 1}), "decisions: expected a list of at most 250,000, found an object"),
    "no entry": (document(3), r"decisions\[0\]: expected an object, found 3"),
    "key": (document(entry(), entry(image_key="AB" * 16)), r"decisions\[1\]: image_key: expected 32 hex digits"),
    "key type": (document(entry(image_key=5)), r"decisions\[0\]: image_key: expected a text"),
    "set": (document(entry(eval_set="")), "eval_set: expected a text of 1 to"),
    "id": (document(entry(eval_id="a\0b")), "eval_id: expected a text"),
    "id surrogate": (document(entry(eval_id="\ud800")), "eval_id: expected a text"),
    "id long": (document(entry(eval_id="a" * 4097)), "eval_id: expected a text of 1 to 4,096"),
    "decision": (document(entry(decision="yes")), "decision: expected one of copy, different, unsure, found 'yes'"),
    "decision type": (document(entry(decision=["copy"])), "decision: expected one of .* found a list"),
    "cut off": (b'{"format": "openjft-overlap-de', "line 1, column 12: expected JSON, found"),
    "not UTF-8": (b'{"format": "\xff"}', "byte 12: expected UTF-8"),
    "twice": (b'{"format": 1, "format": 2}', "the member 'format' stands twice"),
    "deep": (b"[" * 100_000, "found JSON that is none"),
    "long number": (b'{"version": ' + b"1" * 5000 + b"}", "found JSON that is none"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_malformed_is_an_error_that_names_file_and_place(write, kind):
    value, words = MALFORMED[kind]
    path = write(value)
    with pytest.raises(DecisionsError, match=words) as caught:
        read_decisions([path])
    assert str(caught.value).startswith(f"{path}: ")
    assert isinstance(caught.value, DedupError)


@pytest.mark.parametrize("path", ["nowhere.json", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(path, tmp_path):
    with pytest.raises(DecisionsError, match="could not read it"):
        read_decisions([tmp_path / path])


def test_files_and_entries_have_caps(write, monkeypatch):
    paths = [write(document(entry(1), entry(2))), write(document(entry(3), entry(4)), "b.json")]
    assert len(read_decisions(paths)) == 4
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    with pytest.raises(DecisionsError, match=r"b\.json: decisions: expected at most 3 in all files together"):
        read_decisions(paths)
    monkeypatch.setattr(module, "MAX_BYTES", 50)
    with pytest.raises(DecisionsError, match="MiB of decisions, found more"):
        read_decisions(paths)


def test_a_file_with_a_byte_order_mark_and_further_members_is_read(write):
    data = json.dumps(document(entry(1, note="seen twice"), exported_at="today")).encode()
    assert dict(read_decisions([write(b"\xef\xbb\xbf" + data)])) == {pair(1): "copy"}


# -- Against a slow reference --------------------------------------------------------------------------------

TEXTS = st.sampled_from(["a", "b", "a b", "\n", "a\0b", "<script>", "\u00e9"])
KEYS = st.integers(0, 3).map(lambda i: i.to_bytes(16))
CLEAN = TEXTS.filter(lambda text: "\0" not in text)
MADE = st.dictionaries(st.tuples(KEYS, CLEAN, CLEAN), st.sampled_from(DECISIONS), max_size=12)


def made(choices) -> Decisions:
    return Decisions(Decision(PairId(*p), choice, "Ann", "here") for p, choice in choices.items())


@given(MADE, st.lists(st.tuples(KEYS, TEXTS, TEXTS), max_size=12), st.integers(1, 5))
def test_rows_are_decided_as_one_by_one(choices, rows, chunk):
    columns = [pa.array([row[i] for row in rows], t) for i, t in enumerate((KEY_TYPE, pa.string(), pa.string()))]
    whole = pa.table(columns, names=["image_key", "eval_set", "eval_id"])
    table = pa.concat_tables([whole.slice(at, chunk) for at in range(0, max(len(rows), 1), chunk)])
    decided = made(choices).decide(table)
    assert decided.type == pa.string()
    assert isinstance(decided, pa.Array)
    assert decided.to_pylist() == [choices.get(row) for row in rows]


@given(MADE, MADE, st.randoms())
def test_the_digest_is_of_what_was_decided_and_nothing_else(choices, others, random):
    shuffled = list(choices.items())
    random.shuffle(shuffled)
    again = Decisions([Decision(PairId(*p), c, "Bob", "there") for p, c in shuffled], builds=["ff" * 6])
    assert again.digest() == made(choices).digest()
    assert (made(others).digest() == made(choices).digest()) == (others == choices)


@given(MADE)
def test_the_table_of_decisions_decides_itself(choices):
    decisions = made(choices)
    table = decisions.as_table()
    assert decisions.decide(table).to_pylist() == table["decision"].to_pylist() == list(decisions.values())


def test_a_table_gives_the_same_decisions(tmp_path):
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(document(*(entry(i, said) for i, said in enumerate(("copy", "different", "unsure"))))))
    read = read_decisions([path])
    again = Decisions.from_table(read.as_table())
    assert dict(again) == dict(read)
    assert len(again) == 3
    assert again.digest() == read.digest()
    assert dict(Decisions.from_table(Decisions().as_table())) == {}
