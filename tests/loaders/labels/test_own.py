"""Tables of anyone: every mistake is told, with its rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.loaders import LoaderError
from openjft.loaders.labels import open_label_table, own, sample_key
from openjft.loaders.labels.own import own_rows, read_own

BAD_ROWS = [
    ("xyz", "beagle", 0.5),
    ("0" * 32, "begle", 1),
    ("1" * 32, "dog", 7),
    ("2" * 32, "dog", "much"),
    ("3" * 32, "dog", 1),
    ("3" * 32, "dog", 0.5),
]


def test_every_kind_of_mistake_in_a_table_is_told_with_its_rows(toy, tmp_path):
    path = toy.write_csv(tmp_path / "bad.csv", BAD_ROWS)
    with pytest.raises(LoaderError) as caught:
        open_label_table(path, taxonomy=toy.taxonomy)
    text = str(caught.value)
    assert "4 kinds of mistakes" in text
    assert "image_key: expected 32 hex digits, found 1 others: 'xyz' (row 1)" in text
    assert "label: expected ids of the 5 categories, such as 'animal', found 1 others: 'begle' Did you mean" in text
    assert "'beagle'? (row 2)" in text
    assert "probability: expected a probability in [0, 1], found 2 others: '7' (row 3), 'much' (row 4)" in text
    assert f"repeated: expected each (image, label) once, found 1 others: {'3' * 32} 'dog' (row 6)" in text


def test_wrong_rows_are_counted_and_left_out_where_that_is_allowed(toy, tmp_path):
    path = toy.write_csv(tmp_path / "bad.csv", BAD_ROWS)
    table = open_label_table(path, taxonomy=toy.taxonomy, allow_rejects=True)
    assert table.rejected == {"image_key": 1, "label": 1, "probability": 2, "repeated": 1}
    assert [key.tobytes().hex() for key in table.part(0).keys] == ["3" * 32]
    assert table.part(0).probabilities.tolist() == [1, 1]  # the first of the repeated rows, and the ancestor


def test_a_table_of_wrong_rows_alone_is_refused_all_the_same(toy, tmp_path):
    path = toy.write_csv(tmp_path / "bad.csv", BAD_ROWS[:2])
    with pytest.raises(LoaderError, match="at least one row of an image and a label, found none\n  image_key"):
        open_label_table(path, taxonomy=toy.taxonomy, allow_rejects=True)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("image_key", pa.array([bytes(16), None], pa.binary(16)), r"image_key: expected 16 bytes.*row 2"),
        ("image_key", pa.array([bytes(16), b"short"], pa.binary()), r"image_key: expected 16 bytes.*row 2"),
        ("label", pa.array([3, 5]), r"label: expected labels in \[0, 5\), found 1 others: 5 \(row 2\)"),
        ("label", pa.array(["dog", None]), r"found 1 others: None \(row 2\)"),
        ("probability", pa.array([1.0, None]), r"probability.*None \(row 2\)"),
        ("asserted", pa.array(["true", "maybe"]), r"asserted: expected true or false, found 1 others"),
        ("asserted", pa.array([True, None]), r"asserted: expected true or false, found 1 others"),
        ("name", pa.array(["a", ""]), r"name: expected a name in each row, found 1 others: '' \(row 2\)"),
    ],
)
def test_columns_of_any_type_are_checked(toy, column, values, message):
    columns = {"label": pa.array(["dog", "rock"]), column: values}
    if column != "name":
        columns.setdefault("image_key", pa.array([bytes(16), bytes(15) + b"1"], pa.binary(16)))
    with pytest.raises(LoaderError, match=message):
        own_rows(pa.table(columns), toy.taxonomy, where="t")


def test_integers_are_labels_and_what_is_asserted_is_taken_as_told(toy):
    table = pa.table(
        {"image_key": pa.array([bytes(16)] * 2, pa.binary(16)), "label": [1, 2], "asserted": [True, False]}
    )
    rows = own_rows(table, toy.taxonomy, where="t").rows
    assert (rows.labels.of(0).tolist(), rows.asserted.tolist()) == ([1, 2], [True, False])


def test_a_table_too_large_for_memory_is_refused_with_what_to_do(toy, tmp_path):
    path = tmp_path / "large.csv"
    toy.write_csv(path, [(f"{i:032x}", "dog", 1) for i in range(11)])
    with pytest.raises(LoaderError, match=r"at most 10 rows in a table that is sorted in memory.*sorted by image_key"):
        read_own([path], max_rows=10)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("key", "label", "p"), "expected the columns label and image_key"),
        (("image_key", "class", "p"), "columns label"),
    ],
)
def test_a_table_without_its_columns_is_refused(toy, tmp_path, columns, message):
    path = toy.write_csv(tmp_path / "bad.csv", [("0" * 32, "dog", 1)], columns)
    with pytest.raises(LoaderError, match=message):
        open_label_table(path, taxonomy=toy.taxonomy)


def test_without_a_vocabulary_the_ids_that_occur_are_one(toy, tmp_path):
    path = toy.write_csv(tmp_path / "own.csv", [(f"{i:032x}", label, 1) for i, label in enumerate(("z", "a", "z"))])
    table = open_label_table(path)
    assert table.taxonomy.ids == ("a", "z")
    assert table.join(np.zeros((1, 16), np.uint8)).rows.labels.values.tolist() == [1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            pa.array([3, 4]),
            "expected category ids as text, since the images have no vocabulary, found .* type int64",
        ),
        (pa.array(["", ""]), "expected at least one row of an image and a label, found none"),
        (pa.array(["a", "b"]), "expected at most 1 different labels, found more"),
    ],
)
def test_rows_that_make_no_vocabulary_are_refused(tmp_path, monkeypatch, labels, message):
    monkeypatch.setattr(own, "MAX_OCCURRING", 1)
    pq.write_table(pa.table({"image_key": ["0" * 32, "1" * 32], "label": labels}), tmp_path / "own.parquet")
    with pytest.raises(LoaderError, match=message):
        open_label_table(str(tmp_path / "own.parquet"))


def test_a_missing_label_is_a_mistake_also_where_the_rows_make_the_vocabulary(toy, tmp_path):
    path = toy.write_csv(tmp_path / "own.csv", [("0" * 32, "a", 1), ("1" * 32, "", 1)])
    with pytest.raises(LoaderError, match=r"label: expected ids of the 1 categories, such as 'a', found 1 others"):
        open_label_table(path)


def test_samples_of_plain_tars_are_named(toy):
    table = pa.table({"name": ["a/0001", "a/0002"], "label": ["rock", "dog"]})
    rows = own_rows(table, toy.taxonomy, where="t").rows
    assert {key.tobytes() for key in rows.keys} == {sample_key("a/0001"), sample_key("a/0002")}
