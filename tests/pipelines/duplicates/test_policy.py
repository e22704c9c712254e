"""Labels that move to a representative, and files of parts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.duplicates.parts import read_part, write_parts
from openjft.pipelines.duplicates.policy import Labels, merge_labels, read_lent
from openjft.pipelines.errors import StorageError
from openjft.pipelines.storage import Store

from .conftest import BUCKETS, Image, key, unit_vector

NUM = 6
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, NUM - 1), st.integers(0, 4), st.booleans(), st.integers(0, NUM - 1)),
    max_size=30,
)


def labels(rows):
    image, label, steps, asserted, origin = zip(*rows, strict=True) if rows else ([],) * 5
    return Labels(
        np.array(image, np.int64), np.array(label, np.int32), np.array(steps, np.float32) / 4,
        np.array(asserted, np.bool_), np.array(origin, np.int32),
    )  # fmt: skip


def rows_of(found):
    return list(zip(*(column.tolist() for column in found), strict=True))


def by_hand(own, lent, denied):
    rows = list(own) + [r for r in lent if (r[0], r[1]) not in denied and (r[0], r[4]) not in denied]
    merged = []
    for pair in sorted({(r[0], r[1]) for r in rows}):
        mine = [r for r in rows if (r[0], r[1]) == pair]
        best = max(r[2] for r in mine) / 4
        said = [r for r in mine if r[3]] or mine
        most = max(r[2] for r in said)
        merged.append((*pair, best, said[0][3], min(r[4] for r in said if r[2] == most)))
    return merged


@given(ROWS, ROWS, st.sets(st.tuples(st.integers(0, 2), st.integers(0, NUM - 1)), max_size=4))
def test_merged_labels_are_the_union_with_the_greatest_probability_and_asserted_wins(own, lent, denied):
    barred = np.array([i * NUM + label for i, label in denied], np.int64)
    found = merge_labels(labels(own), labels(lent), barred, NUM)
    assert rows_of(found) == by_hand(own, lent, denied)


def test_labels_of_what_is_left_out_reach_the_representative_in_its_bucket(built):
    v = unit_vector(np.random.default_rng(0))
    images = [Image(i, v, side=10 + i) for i in range(12)] + [Image(50, unit_vector(np.random.default_rng(1)))]
    made = built(images)
    made.expanded({key(i): [(i, i / 20, True, i)] for i in [*range(12), 50]})
    made.run(policy="merge-labels")
    found = [row for bucket in range(BUCKETS) for row in read_lent(made.store, bucket, BUCKETS).to_pylist()]
    assert {row["image_key"] for row in found} == {key(11)}  # the largest
    assert sorted(row["label"] for row in found) == list(range(11))
    holds = [read_lent(made.store, bucket, BUCKETS).num_rows for bucket in range(BUCKETS)]
    assert holds[key(11)[0] * BUCKETS >> 8] == 11
    made.run(policy="keep-largest")
    assert made.store.exists("duplicates/lent") is False
    assert read_lent(made.store, 0, BUCKETS).num_rows == 0


@given(st.lists(st.integers(0, 5), max_size=30))
def test_each_part_of_a_file_holds_its_rows_in_their_order(tmp_path_factory, parts):
    store = Store(str(tmp_path_factory.mktemp("parts")))
    table = pa.table({"n": pa.array(range(len(parts)), pa.int64())})
    write_parts(store, "x.arrow", np.array(parts, np.int64), table)
    for part in range(7):
        expected = [i for i, p in enumerate(parts) if p == part]
        assert read_part(store, "x.arrow", part)["n"].to_pylist() == expected


@pytest.mark.parametrize("data", [b"", b"nonsense", b"ARROW1 nonsense of some length ARROW1"])
def test_a_damaged_file_of_parts_says_what_to_do(tmp_path, data):
    store = Store(str(tmp_path))
    store.write_bytes("cells/x.arrow", data)
    with pytest.raises(StorageError, match="run `openjft duplicates` again"):
        read_part(store, "cells/x.arrow", 0)
