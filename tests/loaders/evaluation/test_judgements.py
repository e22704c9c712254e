from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders.errors import DatasetError
from openjft.loaders.evaluation.judgements import columns_of, read_judgements

WIDE = "file,/m/a,/m/b\nx.jpg,1,0\ny.jpg,,1\nz.jpg,0,\n"
LONG = "file,label,value\nx.jpg,/m/a,1\nx.jpg,/m/b,0\ny.jpg,/m/b,1\nz.jpg,/m/a,0\n"
CELLS = [[1, 0], [-1, 1], [0, -1]]


def table(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


@pytest.mark.parametrize("text", [WIDE, LONG, "\ufeff" + WIDE, WIDE.replace("\n", "\r\n"), WIDE.replace(",0", ", 0 ")])
def test_wide_and_long_tables_say_the_same(tmp_path, text):
    found = read_judgements(table(tmp_path, text))
    assert found.images == ["x.jpg", "y.jpg", "z.jpg"]
    assert found.classes == ["/m/a", "/m/b"]
    assert found.cells.tolist() == CELLS


@pytest.mark.parametrize(
    "columns",
    [
        {"a": pa.array([1, None, 0], pa.int8()), "b": pa.array([0, 1, None], pa.int64())},
        {"a": pa.array([True, None, False]), "b": pa.array([0.0, 1.0, None])},
        {"a": pa.array(["1", "", "0"]), "b": pa.array(["0", "1", None])},
    ],
)
def test_parquet_cells_are_numbers_truth_values_or_texts(tmp_path, columns):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": ["x", "y", "z"], **columns}), path)
    found = read_judgements(path)
    assert found.cells.tolist() == CELLS
    assert found.classes == ["a", "b"]


def test_keys_of_a_parquet_table_are_read_as_hex(tmp_path):
    keys = pa.array([bytes(15) + b"\x01", bytes(16)], pa.binary(16))
    pq.write_table(pa.table({"image_key": keys, "a": [1, 0]}), tmp_path / "t.parquet")
    assert read_judgements(tmp_path / "t.parquet").images == ["00" * 15 + "01", "00" * 16]


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 5))
def test_any_dense_table_comes_back_from_both_shapes(tmp_path_factory, data, n, m):
    cells = np.array(data.draw(st.lists(st.sampled_from([1, 0, -1]), min_size=n * m, max_size=n * m))).reshape(n, m)
    cells[:, 0] = np.abs(cells[:, 0])  # a long table knows no image of which nothing was judged
    cells[0, 0] = 1
    cells = np.vstack([cells, np.zeros((1, m), int)])
    folder = tmp_path_factory.mktemp("t")
    word = {1: "1", 0: "0", -1: ""}
    header = ",".join(["file", *(f"c{j}" for j in range(m))])
    wide = table(
        folder, "\n".join([header, *(",".join([f"i{i}", *map(word.get, r)]) for i, r in enumerate(cells.tolist()))])
    )
    rows = [f"i{i},c{j},{v}" for i, r in enumerate(cells.tolist()) for j, v in enumerate(r) if v >= 0]
    long = table(folder, "\n".join(["file,label,value", *rows]), "l.csv")
    for found in (read_judgements(wide), read_judgements(long)):
        assert found.cells.tolist() == cells.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WIDE.replace("y.jpg,,1", "y.jpg,,2"), r"column '/m/b': expected 1, 0 or an empty cell, found '2' in row 2"),
        (WIDE.replace("y.jpg", "x.jpg"), "a row for each image, found 1 again"),
        (LONG + "x.jpg,/m/a,0\n", r"one row for an image and a label, found more for 'x\.jpg', '/m/a'"),
        (LONG + "w.jpg,/m/a,\n", "found empty cells"),
        ("file,label,value\nx.jpg,/m/a,1\n", "judgements of both kinds, found none that says 0"),
        ("file,/m/a\nx.jpg,0\n", "found none that says 1"),
        ("file\nx.jpg\n", "a column for each class"),
        ("file,/m/a,/m/a\nx.jpg,0,1\n", "each column once"),
        ("file,/m/a\n", "found none"),
        ("file,/m/a\nx.jpg,1,0\n", "expected a CSV with a header"),
    ],
)
def test_a_table_that_is_no_table_of_judgements_is_refused(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        read_judgements(table(tmp_path, text))


def test_a_missing_table_and_a_damaged_parquet_file_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="expected a CSV with a header"):
        read_judgements(tmp_path / "none.csv")
    with pytest.raises(DatasetError, match="or a Parquet file"):
        read_judgements(table(tmp_path, "PAR1", "t.parquet"))


def test_columns_get_the_networks_numbers_and_strangers_are_told(tmp_path):
    columns, strange = columns_of(read_judgements(table(tmp_path, WIDE)), ["/m/z", "/m/b"])
    assert columns.tolist() == [-1, 1]
    assert strange == ["/m/a"]
