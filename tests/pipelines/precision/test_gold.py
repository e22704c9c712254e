"""Gold: every row of the file is used or counted; a broken file is an error that says where."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.errors import InputError
from openjft.pipelines.keys import image_key, image_keys
from openjft.pipelines.precision.gold import GOLD, checked_digest, match_rows, read_gold
from openjft.taxonomy import Category, build_taxonomy

TAXONOMY = build_taxonomy([Category("n1", "cat"), Category("n2", "crane"), Category("n3", "crane")], [], origin="test")
SCHEMES = ("http", "https")


@pytest.fixture
def read(tmp_path):
    def read_(text, **kwargs):
        (tmp_path / "gold.csv").write_text(text)
        return read_gold(str(tmp_path / "gold.csv"), TAXONOMY, **{"labels": "id", "allowed_schemes": SCHEMES, **kwargs})

    return read_


def test_uris_are_canonicalised_and_rows_come_in_key_order(read):
    gold = read(
        "uri,label,correct,judge\nHTTP://Example.org:80/a,n1,1,x\nhttps://b.org/,n2, 0,y\nhttps://b.org,n1,1,y\n"
    )
    rows = gold.table.to_pylist()
    a, b = image_key("http://example.org/a"), image_key("https://b.org/")
    assert rows == sorted(
        [
            {"image_key": a, "label": 0, "correct": True},
            {"image_key": b, "label": 0, "correct": True},
            {"image_key": b, "label": 1, "correct": False},
        ],
        key=lambda row: (row["image_key"], row["label"]),
    )
    assert gold.rows == 3
    assert not any(gold.rejects.values())


def test_rows_that_cannot_be_used_are_counted_by_reason(read):
    text = (
        "uri,label,correct\n"
        "https://a.org/1,n1,1\n"
        "https://a.org/1,n1,1\n"  # again
        "https://a.org/2,n1,1\n"
        "https://a.org/2,n1,0\n"  # contradicts
        "https://a.org/2,n1,0\n"
        "https://a.org/3,n9,1\n"
        "no address,n1,1\n"
        "ftp://a.org/3,n1,1\n"
        ",n1,1\n"
    )
    gold = read(text)
    assert gold.rejects == {
        "bad_uri": 3, "ambiguous_label": 0, "unknown_label": 1, "contradictory": 3, "duplicate": 1
    }  # fmt: skip
    assert gold.rows == 9 == gold.table.num_rows + sum(gold.rejects.values())


def test_names_are_looked_up_where_the_pairs_hold_names(read):
    gold = read("uri,label,correct\nhttps://a.org/1, Cat ,1\nhttps://a.org/1,crane,1\n", labels="name")
    assert gold.table["label"].to_pylist() == [0]
    assert gold.rejects["ambiguous_label"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uri,label\nhttps://a.org/1,n1\n", "found uri, label; without correct"),
        ("uri,label,correct\nhttps://a.org/1,n1,1\nhttps://a.org/2,n1,yes\n", "found 'yes' in data row 2"),
        (
            "uri,label,correct\nhttps://a.org/1,n1,\nhttps://a.org/2,n1,2\n",
            "found '' in data row 1 and others in 1 more",
        ),
        ("", "expected gold labels as CSV"),
        ("uri,label,correct\na,b\n", "expected gold labels as CSV"),
    ],
)
def test_a_broken_file_is_an_error_that_says_where(read, tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(text)
    with pytest.raises(InputError, match=message):
        checked_digest(str(tmp_path / "gold.csv"))  # before anything starts


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    (tmp_path / "g.csv").write_bytes(b"uri,label,correct\nhttps://a.org/\xff,n1,1\n")
    with pytest.raises(InputError, match="expected gold labels as CSV"):
        read_gold(str(tmp_path / "g.csv"), TAXONOMY, labels="id", allowed_schemes=SCHEMES)


def test_a_header_alone_is_gold_without_rows(read):
    gold = read("uri,label,correct\n")
    assert (gold.rows, gold.table.num_rows, gold.table.schema) == (0, 0, GOLD)


def test_a_missing_file_is_an_error_before_anything_starts(tmp_path):
    with pytest.raises(InputError, match=r"gold labels \(precision\.gold\)"):
        checked_digest(str(tmp_path / "none.csv"))


def test_compressed_gold_is_the_same_gold(tmp_path):
    text = b"uri,label,correct\nhttps://a.org/1,n1,1\n"
    (tmp_path / "a.csv").write_bytes(text)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text))
    assert checked_digest(str(tmp_path / "a.csv")) == checked_digest(str(tmp_path / "b.csv.gz"))


def test_gold_finds_its_row_of_the_evidence_by_image_and_label():
    uris = sorted((f"https://a.org/{i}" for i in range(4)), key=image_key)
    keys = image_keys([uris[i] for i in (0, 1, 1, 1, 3)])
    labels = np.array([1, 0, 1, 2, 0], np.int32)
    pairs = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (3, 0)]
    columns = [image_keys([uris[i] for i, _ in pairs]), pa.array([label for _, label in pairs], pa.int32()), [True] * 6]
    in_gold, rows = match_rows(pa.table(columns, schema=GOLD), keys, labels)
    assert in_gold.tolist() == [1, 2, 3, 5]
    assert rows.tolist() == [0, 2, 3, 4]
