from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openjft.dedup import DedupError, quantiser
from openjft.dedup.schema import DUPLICATES
from openjft.pipelines import config_duplicates
from openjft.pipelines.config import parse_config
from openjft.pipelines.duplicates import CellsStage, DuplicatesStage, EdgesStage, MembersStage
from openjft.pipelines.duplicates.files import read_images
from openjft.pipelines.engine import fingerprint
from openjft.pipelines.errors import StaleError
from openjft.pipelines.storage import bucket_file

from .conftest import BUCKETS, DIM, THRESHOLD, Built, Image, key, near, unit_vector


def some_images(rng, count=60, groups=8):
    """`groups` pictures with copies of several sizes, and others."""
    images, number = [], 0
    for _ in range(groups):
        vector = unit_vector(rng)
        for _ in range(int(rng.integers(2, 5))):
            images.append(Image(number, near(vector, rng), side=int(rng.integers(1, 200))))
            number += 1
    return images + [Image(i, unit_vector(rng), side=50) for i in range(number, count)]


def by_hand(images, threshold):
    """Representative -> members: from the largest on, each takes what is near it and has none."""
    left = sorted((i for i in images if i.ok), key=lambda i: (-i.side, i.key))
    found = {}
    while left:
        first = left[0]
        mine = [i for i in left if i is first or _alike(i, first, threshold)]
        left = [i for i in left if i not in mine]
        if len(mine) > 1:
            found[first.key] = {i.key for i in mine}
    return found


def _alike(a, b, threshold):
    if a.sha256 == b.sha256:
        return True
    if a.vector is None or b.vector is None:
        return False
    x, y = (np.asarray(i.vector, np.float16).astype(np.float64) for i in (a, b))
    lengths = np.linalg.norm(x) * np.linalg.norm(y)
    return lengths > 0 and np.float32(x @ y / lengths) >= np.float32(threshold)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.8, 0.95]))
def test_one_cell_gives_what_comparing_all_with_all_gives(tmp_path_factory, seed, threshold):
    rng = np.random.default_rng(seed)
    images = some_images(rng)
    built = Built(tmp_path_factory.mktemp("b"), images)
    built.run(cells=1, threshold=threshold)
    assert built.groups() == by_hand(images, threshold)


def test_the_largest_original_is_kept_and_the_others_are_counted(built):
    v, w = unit_vector(np.random.default_rng(1)), unit_vector(np.random.default_rng(2))
    images = [
        Image(0, v, content="a", side=10),
        Image(1, v, content="a", side=90),
        Image(2, near(v, np.random.default_rng(3), 0.01), side=50),
        Image(3, w),
        Image(4, None, ok=False),
    ]
    made = built(images)
    accounts = made.run()
    rows = {row["image_key"]: row for row in made.rows()}
    assert {k: (r["group"], r["kind"], r["kept"]) for k, r in rows.items()} == {
        key(0): (key(1), "exact", False),
        key(1): (key(1), "exact", True),
        key(2): (key(1), "near", False),
    }
    assert rows[key(0)]["similarity"] == rows[key(1)]["similarity"] == 1
    assert THRESHOLD < rows[key(2)]["similarity"] < 1
    account = accounts["duplicates"]
    assert (account.rows_in, account.rows_out, account.rejects) == (4, 2, {"exact": 1, "near": 1})
    assert account.counters == {"groups": 1, "exact": 1, "near": 1}
    assert made.store.read_table(bucket_file("duplicates", 0, BUCKETS)).schema == DUPLICATES
    summary = made.store.read_json("members/_groups.json")
    assert (summary["groups"], summary["images"], summary["exact"], summary["near"]) == (1, 3, 1, 1)
    assert summary["largest"] == [{"group": key(1).hex(), "images": 3}]
    assert summary["sizes"] == [[3, 1]]


def test_equal_sizes_are_decided_by_the_key(built):
    v = unit_vector(np.random.default_rng(1))
    made = built([Image(i, v) for i in range(5)])
    made.run()
    assert made.groups() == {min(key(i) for i in range(5)): {key(i) for i in range(5)}}


@pytest.mark.parametrize("policy", ["keep-all", "keep-largest", "merge-labels"])
def test_a_policy_changes_what_is_kept_and_not_the_groups(built, policy):
    made = built(some_images(np.random.default_rng(5)))
    made.expanded({})
    accounts = made.run(policy=policy)
    rows = made.rows()
    left_out = [r for r in rows if r["image_key"] != r["group"]] if policy != "keep-all" else []
    assert [r for r in rows if not r["kept"]] == left_out
    assert accounts["duplicates"].rows_out == 60 - len(left_out)
    assert len(made.groups()) == accounts["duplicates"].counters["groups"] >= 8


def test_images_without_a_vector_are_grouped_by_their_bytes_alone(built):
    zero = np.zeros(DIM)
    images = [Image(0, zero, content="x"), Image(1, zero, content="x"), Image(2, zero), Image(3, None, content="x")]
    made = built([*images, Image(4, zero)])
    accounts = made.run()
    assert [sorted(g) for g in made.groups().values()] == [sorted([key(0), key(1), key(3)])]
    assert accounts["cells"].counters["without_vector"] == 5
    assert accounts["edges"].rows_in == 0


def test_close_hashes_bring_together_what_lies_in_different_cells(built):
    """Four cells, and two vectors far enough apart to share none; the threshold lets them pass."""
    rng = np.random.default_rng(0)
    basis = np.eye(DIM)
    corners = [near(basis[i], rng, 0.02) for i in range(6) for _ in range(20)]
    images = [Image(i, v) for i, v in enumerate(corners)]
    a, b = Image(1000, basis[6], perceptual=0b1011), Image(1001, -basis[6] * 0.1 + basis[7], perceptual=0b1000)
    other = Image(1002, basis[7], perceptual=0xFFFF0000FFFF0000)
    made = built([*images, a, b, other])
    made.run(cells=8, threshold=0.99)
    edges = [made.store.read_table(bucket_file("edges", u, BUCKETS)).to_pylist() for u in range(BUCKETS)]
    linked = {frozenset((e["a"], e["b"])) for part in edges for e in part}
    assert frozenset((a.key, b.key)) in linked
    # What the hashes propose and the vectors do not confirm is no group.
    assert not any({a.key, b.key} <= g for g in made.groups().values())
    summary = made.store.read_json("members/_groups.json")
    assert summary["failures"] > 0


def test_many_copies_of_one_placeholder_take_few_links(built):
    rng = np.random.default_rng(7)
    v = unit_vector(rng)
    images = [Image(i, v, content="same") for i in range(300)]
    images += [Image(1000 + i, near(v, rng, 0.001)) for i in range(300)]
    made = built(images)
    accounts = made.run(whole=50)
    assert accounts["edges"].counters["edges"] < 2 * len(images)
    assert accounts["edges"].counters["repeated_in_cell"] == 299
    assert accounts["edges"].counters["clumped_cells"] == 1
    assert [len(g) for g in made.groups().values()] == [600]
    assert made.groups() == by_hand(images, THRESHOLD)


def test_more_cells_find_nothing_else_and_nearly_all(built):
    images = some_images(np.random.default_rng(8), count=600, groups=100)
    all_with_all = built(images, name="one")
    all_with_all.run(cells=1)
    cells = built(images, name="many")
    cells.run(cells=20)
    expected = {frozenset(g) for g in all_with_all.groups().values()}
    found = {frozenset(g) for g in cells.groups().values()}
    assert len(found & expected) >= 0.9 * len(expected)
    pairs = [{(m, rep) for rep, g in made.groups().items() for m in g if m != rep} for made in (all_with_all, cells)]
    assert len(pairs[1] - pairs[0]) <= 0.1 * len(pairs[0])


def contents(store):
    return {
        path: store.read_bytes(path)
        for folder in ("cells", "edges", "members", "duplicates")
        for path in store.list_files(folder, recursive=True)
        if "/_done/" not in path
    }


def test_the_same_bytes_in_any_order_of_units_and_the_same_groups_in_any_buckets(built):
    images = some_images(np.random.default_rng(9), count=200, groups=30)
    first, second = built(images, name="a"), built(images, name="b")
    first.run(cells=4)
    second.run(cells=4, order=(2, 0, 1))
    assert contents(first.store) == contents(second.store)
    other = built(images, name="c", buckets=5)
    other.run(cells=1)
    whole = built(images, name="d", buckets=1)
    whole.run(cells=1)
    assert other.groups() == whole.groups()


def test_an_empty_set_has_no_groups(built):
    made = built([])
    accounts = made.run()
    assert made.rows() == []
    assert accounts["duplicates"].rows_in == 0
    assert made.store.read_json("members/_groups.json")["groups"] == 0


def test_embeddings_without_perceptual_hashes_still_work(built):
    made = built(some_images(np.random.default_rng(5)))
    made.run()
    expected = made.groups()
    for bucket in range(BUCKETS):
        path = bucket_file("embeddings", bucket, BUCKETS)
        made.store.write_table(path, made.store.read_table(path).drop_columns(["perceptual"]))
    assert read_images(made.store, 0, BUCKETS).perceptual.null_count == len(read_images(made.store, 0, BUCKETS))
    made.run()
    assert made.groups() == expected


def test_embeddings_of_another_run_are_refused(built):
    made = built(some_images(np.random.default_rng(5)))
    path = bucket_file("catalog", 1, BUCKETS)
    made.store.write_table(path, made.store.read_table(path).slice(1))
    with pytest.raises(StaleError, match="expected images of catalog/"):
        made.run()


def test_vectors_that_are_no_numbers_are_refused(built):
    made = built([Image(0, unit_vector(np.random.default_rng(1)))], buckets=1)
    path = bucket_file("embeddings", 0, 1)
    table = made.store.read_table(path).to_pylist()
    table[0]["vector"][0] = float("nan")
    schema = made.store.read_table(path).schema
    made.store.write_table(path, type(made.store.read_table(path)).from_pylist(table, schema))
    with pytest.raises(DedupError, match="NaN"):
        made.run()


MINIMAL = {
    "inputs": [{"path": "pairs/*.parquet", "source": "alt"}],
    "sources": [{"name": "alt"}],
    "taxonomy": {"path": "tree.csv"},
}


def test_stages_pickle_and_depend_on_their_own_settings_only(tmp_path):
    config = parse_config(MINIMAL, base=tmp_path)
    other = parse_config(MINIMAL | {"duplicates": {"policy": "keep-all", "min_similarity": 0.8}}, base=tmp_path)
    changed = []
    for kind in (CellsStage, EdgesStage, MembersStage, DuplicatesStage):
        made = kind.from_config(config)
        assert pickle.loads(pickle.dumps(made)) == made
        if fingerprint(made, []) != fingerprint(kind.from_config(other), []):
            changed.append(kind)
    assert changed == [EdgesStage, MembersStage, DuplicatesStage]
    assert EdgesStage.from_config(config).min_similarity == 0.7  # of the descriptor


def test_the_configuration_allows_as_many_cells_as_there_may_be():
    assert config_duplicates.MAX_CELLS == quantiser.MAX_CELLS


@pytest.mark.parametrize("section", [{"min_similarity": 0}, {"cells": 0}, {"cells": 65_537}, {"policy": "drop"}])
def test_settings_out_of_range_are_refused(tmp_path, section):
    with pytest.raises(Exception, match=f"duplicates.{next(iter(section))}"):
        parse_config(MINIMAL | {"duplicates": section}, base=tmp_path)
