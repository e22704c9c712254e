"""Large tables in pieces: each image's rows together, whatever the row groups and files are."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openjft.loaders import LoaderError
from openjft.loaders.labels import open_label_table, tables, with_labels
from openjft.loaders.labels.pieces import Pieces, key_array


def write(folder, keys, cuts, row_group_rows, *, text=False, statistics=True):
    """Rows with keys of small integers, every second of which ends with zeros, in files cut at `cuts`."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    raw = [key.to_bytes(8, "big") + bytes(7) + bytes([key % 2]) for key in keys]
    column = pa.array([key.hex() for key in raw]) if text else pa.array(raw, pa.binary(16))
    table = pa.table({"image_key": column, "row": pa.array(range(len(keys)), pa.int64())})
    borders = [0, *cuts, len(keys)]
    for i, (start, stop) in enumerate(itertools.pairwise(borders)):
        pq.write_table(
            table.slice(start, stop - start),
            folder / f"{i}.parquet",
            row_group_size=row_group_rows,
            write_statistics=statistics,
        )
    return sorted(folder.iterdir())


@settings(deadline=None, max_examples=80)
@given(
    keys=st.lists(st.integers(0, 12), min_size=1, max_size=40).map(sorted),
    share=st.floats(0, 1),
    row_group_rows=st.integers(1, 9),
    piece_rows=st.integers(1, 20),
    text=st.booleans(),
    statistics=st.booleans(),
)
@example(keys=[1, 2, 2, 3], share=1.0, row_group_rows=2, piece_rows=1, text=False, statistics=True)
def test_each_image_is_whole_in_one_piece(tmp_path_factory, keys, share, row_group_rows, piece_rows, text, statistics):
    cut = int(np.searchsorted(keys, int(share * 13)))  # images are not parted by files
    files = write(
        tmp_path_factory.getbasetemp() / "pieces", keys, [cut], row_group_rows, text=text, statistics=statistics
    )
    pieces = Pieces(files, piece_rows=piece_rows)
    assert list(pieces.first_keys) == sorted(set(pieces.first_keys))
    found = [pieces.read(i, ["image_key", "row"]) for i in range(len(pieces.of))]
    assert [row for table, _ in found for row in table["row"].to_pylist()] == list(range(len(keys)))
    images = [{key.tobytes() for key in part} for _, part in found]
    assert sum(map(len, images)) == len(set(keys))
    assert [min(part) for part in images] == list(pieces.first_keys)


def test_many_row_groups_are_read_a_few_at_a_time(tmp_path):
    files = write(tmp_path / "t", list(range(100)), [], 5)
    assert [len(Pieces(files, piece_rows=20).read(i, ["image_key"])[1]) for i in range(5)] == [20] * 5


@pytest.mark.parametrize(
    ("keys", "cuts", "message"),
    [
        ([1, 3, 2, 4], [], "expected rows by rising image_key, found others from row 2"),
        ([1, 4, 2, 5], [2], "expected keys before 0{15}20{16}, where other rows of 1.parquet begin, found 0{15}40{16}"),
        ([], [], "expected labels, found none in 1 files"),
    ],
)
def test_files_that_are_not_sorted_or_overlap_are_refused(tmp_path, keys, cuts, message):
    files = write(tmp_path / "t", keys, cuts, 10)

    def read():
        pieces = Pieces(files)
        return [pieces.read(i, ["image_key"]) for i in range(len(pieces.of))]

    with pytest.raises(LoaderError, match=message):
        read()


def test_row_groups_whose_keys_overlap_are_refused_and_those_in_another_order_are_read(tmp_path):
    pieces = Pieces(write(tmp_path / "t", [5, 6, 1, 2], [], 2), piece_rows=1)
    assert [pieces.read(i, ["row"])[0]["row"].to_pylist() for i in range(2)] == [[2, 3], [0, 1]]
    pieces = Pieces(write(tmp_path / "t", [1, 5, 3, 6], [], 2), piece_rows=1)
    with pytest.raises(LoaderError, match=r"expected keys before 0{15}30{15}1"):
        pieces.read(0, ["row"])


@pytest.mark.parametrize("content", [b"", b"PAR1 no PAR1", b"\0" * 100])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(LoaderError, match=r"a\.parquet: expected a Parquet file with image_key, found damage"):
        Pieces([path])


@pytest.mark.parametrize(
    "column", [pa.array(["0" * 31]), pa.array(["z" * 32]), pa.array([None], pa.string()), pa.array([7])]
)
def test_other_things_than_keys_are_refused(column):
    with pytest.raises(LoaderError, match="t: expected image_key of 16 bytes or 32 hex digits"):
        key_array(pa.chunked_array([column]), where="t")


def test_a_sorted_table_too_large_for_memory_gives_the_same_labels_piece_by_piece(dataset, toy, tmp_path, monkeypatch):
    keys = toy.keys_of(dataset)
    table = pa.table({"image_key": [key.hex() for key in keys for _ in (0, 1)], "label": ["beagle", "rock"] * 40})
    path = tmp_path / "labels.parquet"
    pq.write_table(table, path, row_group_size=7)
    whole = with_labels(dataset, open_label_table(str(path), taxonomy=toy.taxonomy))
    monkeypatch.setattr(tables, "MAX_ROWS", 10)
    monkeypatch.setattr(tables, "_LARGE_PIECE", 10)
    pieces = open_label_table(str(path), taxonomy=toy.taxonomy)
    assert pieces.num_parts > 5
    view = with_labels(dataset, pieces)
    assert toy.labels_of(view) == toy.labels_of(whole)
    assert view.fingerprint == whole.fingerprint
    assert open_label_table(str(path)).taxonomy.ids == ("beagle", "rock")  # the ids that occur
