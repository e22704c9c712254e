"""The report's section on duplicates inside the training set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.duplicates.files import GROUPED
from openjft.pipelines.report.duplicates import duplicate_facts, duplicates_gallery, duplicates_section
from openjft.pipelines.storage import Store, bucket_file


def key(i):
    return bytes([i * 16] * 16)


SUMMARY = {
    "min_similarity": 0.7, "linked": 9, "groups": 2, "images": 9, "exact": 4, "near": 3, "failures": 1,
    "sizes": [[2, 1], [7, 1]],
    "largest": [{"group": key(1).hex(), "images": 7}, {"group": key(9).hex(), "images": 2}],
}  # fmt: skip
ACCOUNT = [
    {"stage": "edges", "counters": {"clumped_cells": 1, "crowded_blocks": 2}},
    {"stage": "duplicates", "rows_in": 90, "rejects": {"exact": 4, "near": 3}},
]


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    store.write_json("members/_groups.json", SUMMARY)
    rows = [(key(i), key(1), "exact", 1.0) for i in (1, 2, 3, 4, 5, 6, 7)] + [
        (key(i), key(9), "near", 1.0) for i in (8, 9)
    ]
    for bucket in range(2):
        mine = [r for r in rows if r[0][0] >> 7 == bucket]
        table = pa.Table.from_pylist([dict(zip(GROUPED.names, r, strict=True)) for r in mine], GROUPED)
        store.write_table(bucket_file("members/groups", bucket, 2), table)
    return store


def test_facts_are_those_of_the_groups_and_of_the_account(store):
    facts = duplicate_facts(store, ACCOUNT, "keep-largest", largest=1)
    assert facts["groups"] == 2
    assert (facts["of_images"], facts["dropped"]) == (90, 7)
    assert (facts["clumped_cells"], facts["crowded_blocks"]) == (1, 2)
    assert [g["images"] for g in facts["largest"]] == [7]


def test_before_the_stage_there_are_no_facts_and_no_section(tmp_path):
    assert duplicate_facts(Store(str(tmp_path)), [], "keep-all", largest=3) is None
    assert duplicates_section(None, None) is None
    assert duplicates_gallery(None, Store(str(tmp_path)), 2, lambda keys: {}, 3) is None


def test_the_section_tells_what_was_capped_and_the_sizes_of_groups(store):
    section = duplicates_section(duplicate_facts(store, ACCOUNT, "keep-all", largest=2), None)
    assert "9 (10.0\u00a0%) images" in section.text
    assert "1 cell was too full" in section.text
    assert section.tables[0].rows == [("2", "1"), ("6 to 20", "1")]
    plain = duplicates_section(duplicate_facts(store, ACCOUNT[1:], "keep-all", largest=2), None)
    assert "too full" not in plain.text


def test_the_largest_groups_are_shown_with_their_representative_first(store):
    facts = duplicate_facts(store, ACCOUNT, "keep-all", largest=2)
    gallery = duplicates_gallery(facts, store, 2, lambda keys: {k: k.hex()[:2] for k in keys if k != key(2)}, 5)
    assert [p.title for p in gallery.pictures] == ["7 images", "2 images"]
    assert gallery.pictures[0].images[0] == key(1).hex()[:2]
    assert len(gallery.pictures[0].images) == 5  # six are chosen, one has no picture
    assert gallery.pictures[1].images == [key(9).hex()[:2], key(8).hex()[:2]]
    assert np.all([key(1).hex() in line for line in gallery.pictures[0].lines])
