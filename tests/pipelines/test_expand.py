import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.config import Expand
from openjft.pipelines.engine import run_unit
from openjft.pipelines.errors import StorageError
from openjft.pipelines.expand import INFORMATION, ExpandStage, expand_table, load_taxonomy
from openjft.pipelines.schema import EXPANDED, LABELS
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Category, Edge, build_taxonomy

# Labels: animal 0, car 1, cat 2, dog 3, entity 4, pet 5
TAXONOMY = build_taxonomy(
    [Category(i) for i in ("entity", "animal", "pet", "dog", "cat", "car")],
    [Edge("animal", "entity"), Edge("car", "entity"), Edge("pet", "animal"), Edge("dog", "pet"), Edge("cat", "pet")],
    origin="test",
)


def key(number):
    return bytes([number]) * 16


def labels_table(rows):
    """rows: (key number, label, probability)."""
    columns = [
        [key(k) for k, _, _ in rows],
        [label for _, label, _ in rows],
        [f"http://h/{k}" for k, _, _ in rows],
        [p for _, _, p in rows],
        [1] * len(rows),
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, LABELS, strict=True)], schema=LABELS)


def write_taxonomy(store, taxonomy=TAXONOMY):
    vocabulary, edges = taxonomy.to_tables()
    store.write_table("taxonomy/vocabulary.parquet", vocabulary)
    store.write_table("taxonomy/edges.parquet", edges)


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    write_taxonomy(store)
    store.write_table(bucket_file("labels", 0, 2), labels_table([(1, 2, 0.5), (1, 3, 0.5), (2, 1, 0.25)]))
    store.write_table(bucket_file("labels", 1, 2), labels_table([]))
    return store


def rows(store, unit=0):
    table = store.read_table(bucket_file("expanded", unit, 2))
    assert table.schema.equals(EXPANDED)
    return [(r["image_key"][0], r["label"], r["probability"], r["asserted"]) for r in table.to_pylist()]


def test_a_bucket_is_expanded_and_every_asserted_label_is_accounted_for(store):
    result = run_unit(ExpandStage(Expand(), 2), 0, store, "fp")
    assert rows(store) == [
        (1, 0, 0.75, False),
        (1, 2, 0.5, True),
        (1, 3, 0.5, True),
        (1, 4, 0.75, False),
        (1, 5, 0.75, False),
        (2, 1, 0.25, True),
        (2, 4, 0.25, False),
    ]
    assert (result.rows_in, result.rows_out, dict(result.rejects)) == (3, 3, {})
    assert result.counters == {"asserted": 3, "inferred": 4, "images": 2}


def test_an_empty_bucket_gives_an_empty_file(store):
    result = run_unit(ExpandStage(Expand(), 2), 1, store, "fp")
    assert rows(store, 1) == []
    assert result.counters == {"asserted": 0, "inferred": 0, "images": 0}


def test_the_same_bucket_gives_the_same_bytes(store):
    stage = ExpandStage(Expand(), 2)
    files = []
    for _ in range(2):
        run_unit(stage, 0, store, "fp")
        files.append(store.read_bytes(bucket_file("expanded", 0, 2)))
    assert files[0] == files[1]


def test_ancestors_that_say_too_little_are_dropped_and_named(store):
    stage = ExpandStage(Expand(min_information_bits=0.6), 2)
    stage.prepare(store)
    information = store.read_json(INFORMATION)
    # of 3 labels all are at or below entity (0 bits), 2 at or below pet and animal (0.585 bits)
    assert (information["buckets"], information["labels"]) == (2, 3)
    assert [(d["id"], d["bits"]) for d in information["dropped"]] == [
        ("animal", 0.584963),
        ("entity", 0.0),
        ("pet", 0.584963),
    ]
    result = run_unit(stage, 0, store, "fp")
    assert rows(store) == [(1, 2, 0.5, True), (1, 3, 0.5, True), (2, 1, 0.25, True)]
    assert result.counters["inferred"] == 0


def test_information_is_measured_on_a_prefix_of_the_buckets(store, monkeypatch):
    monkeypatch.setattr("openjft.pipelines.expand.SAMPLE_LABELS", 3)
    stage = ExpandStage(Expand(min_information_bits=1.0), 2)
    stage.prepare(store)
    assert store.read_json(INFORMATION)["buckets"] == 1


def test_information_is_not_measured_where_nothing_is_dropped(store):
    ExpandStage(Expand(), 2).prepare(store)
    assert not store.exists(INFORMATION)


def test_settings_are_the_section_of_the_configuration():
    stage = ExpandStage(Expand(min_information_bits=1.5), 4)
    assert stage.settings() == {"min_information_bits": 1.5}
    assert (stage.num_units(), stage.name, stage.noun) == (4, "expanded", "labels")


def test_a_hierarchy_that_changed_in_place_is_read_anew(store):
    before, _ = load_taxonomy(store)
    assert load_taxonomy(store)[0] is before
    other = build_taxonomy([Category("a"), Category("b")], [Edge("a", "b")], origin="test")
    write_taxonomy(store, other)
    assert load_taxonomy(store)[0] == other


def test_missing_labels_are_an_error_that_names_the_file(tmp_path):
    store = Store(str(tmp_path))
    write_taxonomy(store)
    with pytest.raises(StorageError, match=r"labels/00000-of-00002\.parquet"):
        run_unit(ExpandStage(Expand(), 2), 0, store, "fp")


def test_a_table_in_several_chunks_expands_as_one(store):
    table = store.read_table(bucket_file("labels", 0, 2))
    _, closure = load_taxonomy(store)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 1), table.slice(2)])
    whole, images = expand_table(table, closure)
    assert expand_table(chunked, closure)[0].equals(whole)
    assert images == 2
    assert np.count_nonzero(whole["asserted"].to_numpy()) == 3
