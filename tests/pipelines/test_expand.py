import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.build import build
from openjft.pipelines.config import Expand, parse_config
from openjft.pipelines.contradictions import DISJOINT
from openjft.pipelines.engine import run_unit
from openjft.pipelines.errors import StorageError
from openjft.pipelines.expand import INFORMATION, ROLES, ExpandStage, check_roles, expand_table
from openjft.pipelines.hierarchy import load_closure
from openjft.pipelines.schema import CONTRADICTIONS, EXPANDED, LABELS, NEGATIVES
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Category, Edge, UnknownCategoryError, build_taxonomy

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
    return [
        (r["image_key"][0], r["label"], r["probability"], r["asserted"], r["from_label"]) for r in table.to_pylist()
    ]


def flagged(store, unit=0):
    table = store.read_table(bucket_file("contradictions", unit, 2))
    assert table.schema.equals(CONTRADICTIONS)
    return [(r["image_key"][0], *list(r.values())[1:]) for r in table.to_pylist()]


def counters(**told):
    names = ("asserted", "inferred", "images", "denied", "contradictions", "disjoint", "verified_negative")
    return {name: told.get(name, 0) for name in names}


def prepared(store, listed=(), **section):
    stage = ExpandStage(Expand(**section), 2, tuple(listed))
    stage.prepare(store)
    return stage


def test_a_bucket_is_expanded_and_every_asserted_label_is_accounted_for(store):
    result = run_unit(prepared(store), 0, store, "fp")
    assert rows(store) == [
        (1, 0, 0.75, False, 2),
        (1, 2, 0.5, True, 2),
        (1, 3, 0.5, True, 3),
        (1, 4, 0.75, False, 2),
        (1, 5, 0.75, False, 2),
        (2, 1, 0.25, True, 1),
        (2, 4, 0.25, False, 1),
    ]
    assert (result.rows_in, result.rows_out, dict(result.rejects)) == (3, 3, {})
    assert result.counters == counters(asserted=3, inferred=4, images=2)


def test_an_empty_bucket_gives_an_empty_file(store):
    result = run_unit(prepared(store), 1, store, "fp")
    assert rows(store, 1) == []
    assert result.counters == counters()
    assert flagged(store, 1) == []


def test_the_same_bucket_gives_the_same_bytes(store):
    files = []
    for _ in range(2):
        run_unit(prepared(store), 0, store, "fp")
        files.append([store.read_bytes(bucket_file(name, 0, 2)) for name in ("expanded", "contradictions")])
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
    assert rows(store) == [(1, 2, 0.5, True, 2), (1, 3, 0.5, True, 3), (2, 1, 0.25, True, 1)]
    assert result.counters["inferred"] == 0


def test_information_is_measured_on_a_prefix_of_the_buckets(store, monkeypatch):
    monkeypatch.setattr("openjft.pipelines.expand.SAMPLE_LABELS", 3)
    stage = ExpandStage(Expand(min_information_bits=1.0), 2)
    stage.prepare(store)
    assert store.read_json(INFORMATION)["buckets"] == 1


def test_information_is_not_measured_where_nothing_is_dropped(store):
    ExpandStage(Expand(), 2).prepare(store)
    assert not store.exists(INFORMATION)


def test_a_stage_says_what_it_fills():
    stage = ExpandStage(Expand(), 4)
    assert (stage.num_units(), stage.name, stage.noun) == (4, "expanded", "labels")
    assert stage.outputs() == ("expanded", "contradictions")


def test_a_hierarchy_that_changed_in_place_is_read_anew(store):
    before, _ = load_closure(store)
    assert load_closure(store)[0] is before
    other = build_taxonomy([Category("a"), Category("b")], [Edge("a", "b")], origin="test")
    write_taxonomy(store, other)
    assert load_closure(store)[0] == other


def test_missing_labels_are_an_error_that_names_the_file(tmp_path):
    store = Store(str(tmp_path))
    write_taxonomy(store)
    with pytest.raises(StorageError, match=r"labels/00000-of-00002\.parquet"):
        run_unit(ExpandStage(Expand(), 2), 0, store, "fp")


def test_a_table_in_several_chunks_expands_as_one(store):
    table = store.read_table(bucket_file("labels", 0, 2))
    _, closure = load_closure(store)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 1), table.slice(2)])
    whole, denied = expand_table(table, closure)
    assert expand_table(chunked, closure)[0].equals(whole)
    assert denied == 0
    assert np.count_nonzero(whole["asserted"].to_numpy()) == 3


# -- roles ---------------------------------------------------------------------------------------------------


def test_roles_are_never_inferred_but_pass_on_what_they_know(store):
    run_unit(prepared(store, roles=["PET"]), 0, store, "fp")
    assert [row[:2] for row in rows(store)] == [(1, 0), (1, 2), (1, 3), (1, 4), (2, 1), (2, 4)]
    assert rows(store)[0][2] == 0.75
    assert store.read_json(ROLES) == {"roles": [{"label": 5, "id": "pet", "name": "pet"}]}


def test_a_role_that_is_asserted_stays(store):
    run_unit(prepared(store, roles=["cat", "dog", "car"]), 0, store, "fp")
    assert [row[1] for row in rows(store)] == [0, 2, 3, 4, 5, 1, 4]


def test_roles_and_trivial_ancestors_add_up(store):
    run_unit(prepared(store, roles=["pet"], min_information_bits=0.1), 0, store, "fp")
    assert [row[:2] for row in rows(store)] == [(1, 0), (1, 2), (1, 3), (2, 1)]


def config_of(base, **expand):
    return parse_config(
        {
            "inputs": [{"path": "pairs.csv", "source": "alt"}],
            "sources": [{"name": "alt"}],
            "taxonomy": {"path": "categories.csv"},
            "build": {"buckets": 2},
            "expand": expand,
        },
        base=base,
    )


def test_settings_hold_the_content_of_the_file_of_roles_and_not_its_path(tmp_path):
    (tmp_path / "roles.txt").write_text("# not seen on a picture\npet\tpet\tsomebody's\n")
    (tmp_path / "same.txt").write_text("pet")
    one, same = (ExpandStage.from_config(config_of(tmp_path, roles_file=f"{name}.txt")) for name in ("roles", "same"))
    assert one.listed_roles == ("pet",)
    assert one.settings() == same.settings()
    (tmp_path / "same.txt").write_text("pet\ncar")
    settings = ExpandStage.from_config(config_of(tmp_path, roles_file="same.txt")).settings()
    assert settings != one.settings()
    for change in ({"roles": ["car"]}, {"max_lift": 0.3}, {"contradictions": False}, {"negative_error_rate": 0.1}):
        assert (
            ExpandStage.from_config(config_of(tmp_path, roles_file="roles.txt", **change)).settings() != one.settings()
        )


def test_the_list_for_wordnet_comes_with_the_package_and_needs_wordnet(store, tmp_path):
    stage = ExpandStage.from_config(config_of(tmp_path, roles_file="wordnet"))
    assert len(stage.listed_roles) > 30
    with pytest.raises(UnknownCategoryError, match=r"expand\.roles_file: 'wordnet': expected .* WordNet 3\.0 ids"):
        check_roles(stage, store)
    synset = stage.listed_roles[0]
    write_taxonomy(store, build_taxonomy([Category(synset), Category("a")], [Edge("a", synset)], origin="part"))
    assert stage.roles(load_closure(store)[0]).tolist() == [1]


def test_unknown_roles_are_named_before_anything_runs(store, tmp_path):
    (tmp_path / "roles.txt").write_text("pett\ncomodity\n")
    stage = ExpandStage.from_config(config_of(tmp_path, roles_file="roles.txt"))
    with pytest.raises(UnknownCategoryError) as caught:
        check_roles(stage, store)
    assert str(caught.value) == (
        f"expand.roles_file: {tmp_path}/roles.txt: expected ids, aliases or unambiguous names of the 6 categories; "
        "2 of 2 entries are none:\n  'pett' is no category. Did you mean 'pet'?\n  'comodity' is no category."
    )


# -- verified negatives and contradictions -------------------------------------------------------------------


def deny(store, *pairs):
    """pairs: (key number, label) that a person denied."""
    columns = [[key(k) for k, _ in pairs], [label for _, label in pairs], [1] * len(pairs)]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, NEGATIVES, strict=True)], schema=NEGATIVES)
    store.write_table(bucket_file("negatives", 0, 2), table)


def test_an_ancestor_that_a_person_denied_is_not_inferred(store):
    deny(store, (1, 5), (3, 4))  # pet; image 3 has no label
    result = run_unit(prepared(store), 0, store, "fp")
    assert [row[:2] for row in rows(store)] == [(1, 0), (1, 2), (1, 3), (1, 4), (2, 1), (2, 4)]
    assert result.counters == counters(
        asserted=3, inferred=3, images=2, denied=1, contradictions=2, verified_negative=2
    )
    # 0.5 * 0.05 / (0.5 * 0.05 + 0.5 * 0.95) = 0.05
    assert flagged(store) == [
        (1, 2, 5, "verified_negative", None, pytest.approx(0.95)),
        (1, 3, 5, "verified_negative", None, pytest.approx(0.95)),
    ]


def test_what_lies_below_a_denied_ancestor_is_not_inferred_and_asserted_labels_stay(store):
    deny(store, (1, 0), (2, 1))  # animal of the first image, the car itself of the second
    result = run_unit(prepared(store, negative_error_rate=0.25), 0, store, "fp")
    assert rows(store) == [
        (1, 2, 0.5, True, 2),
        (1, 3, 0.5, True, 3),
        (1, 4, 0.75, False, 2),
        (2, 1, 0.25, True, 1),
        (2, 4, 0.25, False, 1),
    ]
    assert result.counters["denied"] == 2
    # the car: 0.25 * 0.25 / (0.25 * 0.25 + 0.75 * 0.75) = 0.1
    assert flagged(store)[-1] == (2, 1, 1, "verified_negative", None, pytest.approx(0.9))


def many_images(path, cars_with_pets=0):
    """A build of one bucket: animals in pairs, cars with other things, pets with cars hardly ever."""
    store = Store(str(path))
    things = ["entity", "animal", "pet", "dog", "cat", "car", "tree", "bus"]
    edges = [("animal", "entity"), ("pet", "animal"), ("dog", "pet"), ("cat", "pet"), ("car", "entity")]
    taxonomy = build_taxonomy(
        [Category(i) for i in things],
        [Edge(*e) for e in [*edges, ("tree", "entity"), ("bus", "entity")]],
        origin="test",
    )  # animal 0, bus 1, car 2, cat 3, dog 4, entity 5, pet 6, tree 7
    write_taxonomy(store, taxonomy)
    pairs = [(3, 7), (4, 7), (2, 7), (1, 2), (3, 4)] * 1000 + [(2, 3)] * cars_with_pets
    rows = [(i, label) for i, pair in enumerate(pairs) for label in pair]
    columns = [
        [i.to_bytes(16, "big") for i, _ in rows],
        [label for _, label in rows],
        [""] * len(rows),
        [0.96875] * len(rows),
        [1] * len(rows),
    ]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, LABELS, strict=True)], schema=LABELS)
    store.write_table(bucket_file("labels", 0, 1), table)
    return store


def test_categories_that_exclude_each_other_are_learned_and_flagged(tmp_path):
    store = many_images(tmp_path, cars_with_pets=10)
    stage = ExpandStage(Expand(), 1)
    stage.prepare(store)
    learned = store.read_json(DISJOINT)
    assert (learned["buckets"], learned["labels"], learned["images_of_several"]) == (1, 10_020, 5_010)
    pairs = {(pair["id_a"], pair["id_b"]): pair for pair in learned["pairs"]}
    assert ("animal", "car") in pairs
    assert not [p for p in pairs if "entity" in p or ("tree" in p and "car" in p)]
    assert not {("cat", "car"), ("car", "cat"), ("car", "pet"), ("animal", "cat")} & set(pairs)  # these follow
    result = run_unit(stage, 0, store, "fp")
    table = store.read_table(bucket_file("contradictions", 0, 1))
    assert result.counters["contradictions"] == result.counters["disjoint"] == table.num_rows == 10
    row = table.to_pylist()[0]
    lift = pairs["animal", "car"]["lift"]
    together = 0.96875**2 * lift
    assert (row["label_a"], row["label_b"], row["kind"]) == (2, 3, "disjoint")
    assert row["lift"] == pytest.approx(lift)
    assert row["probability"] == pytest.approx(1 - together / (1 - 0.96875**2 + together), rel=1e-4)
    assert result.counters["asserted"] == 10_020


def test_contradictions_are_not_learned_where_nobody_asks(tmp_path):
    store = many_images(tmp_path, cars_with_pets=10)
    stage = ExpandStage(Expand(contradictions=False), 1)
    stage.prepare(store)
    assert not store.exists(DISJOINT)
    assert run_unit(stage, 0, store, "fp").counters["contradictions"] == 0


def test_a_sample_of_the_buckets_is_learned_from(store, monkeypatch):
    monkeypatch.setattr("openjft.pipelines.contradictions.SAMPLE_LABELS", 3)
    prepared(store)
    assert store.read_json(DISJOINT) == {
        "buckets": 1, "labels": 3, "images": 2, "images_of_several": 1, "categories": 0, "tested": 0, "pairs": [],
    }  # fmt: skip


def test_a_build_with_an_unknown_role_ends_before_it_reads_a_pair(tmp_path):
    (tmp_path / "categories.csv").write_text("child,parent\ncat,animal\n")
    (tmp_path / "pairs.csv").write_text("uri,label\nhttp://h/1.jpg,cat\n")
    config = config_of(tmp_path, roles=["anmal"])
    config = config.model_copy(update={"build": config.build.model_copy(update={"output": str(tmp_path / "out")})})
    with pytest.raises(
        UnknownCategoryError, match=r"expand\.roles: .*(?s:.*)'anmal' is no category\. Did you mean 'animal'"
    ):
        build(config, commands=("ingest",))
    assert not (tmp_path / "out/spill").exists()
