"""Labels joined at read time: every label of the table on its image, nothing lost, nothing silent."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders import Dataset, Loader, LoaderError
from openjft.loaders.labels import open_label_table, sample_key, with_classes, with_labels
from openjft.loaders.labels.own import own_rows
from openjft.loaders.labels.rows import LabelTable
from openjft.loaders.labels.tables import EXPANDED_NAMES
from openjft.pipelines.schema import EXPANDED
from openjft.taxonomy import Category, Edge, build_taxonomy

IDS = ["animal", "beagle", "dog", "rock", "spaniel"]
EDGES = [("dog", "animal"), ("beagle", "dog"), ("spaniel", "dog")]
TAXONOMY = build_taxonomy([Category(i) for i in IDS], [Edge(*pair) for pair in EDGES], origin="test")
UP = {0: set(), 1: {0, 2}, 2: {0}, 3: set(), 4: {0, 2}}


@pytest.fixture(scope="module")
def dataset(make_dataset, tmp_path_factory):
    return Dataset.open(make_dataset(tmp_path_factory.mktemp("data"), 40, 3, 32, 0, shards=3))


def keys_of(source):
    shards = int(source.locate(np.array([source.num_samples - 1]))[0][0]) + 1
    return [key.tobytes() for shard in range(shards) for key in source.index(shard).keys]


def labels_of(source):
    """{key: {label: (probability, asserted, from)}} of the samples that are numbered."""
    found = {}
    for number in range(source.num_samples):
        shard, row = (int(part[0]) for part in source.locate(np.array([number])))
        index = source.index(shard)
        part = slice(*index.labels.offsets[row : row + 2].tolist())
        columns = (index.labels.values, index.probabilities, index.asserted, index.from_labels)
        found[index.keys[row].tobytes()] = {
            c: (round(p, 5), a, f) for c, p, a, f in zip(*(column[part].tolist() for column in columns), strict=True)
        }
    return found


def write_csv(path, rows, columns=("image_key", "label", "probability")):
    with path.open("w", newline="") as sink:
        csv.writer(sink).writerows([columns, *rows])
    return str(path)


def test_another_table_gives_the_same_images_other_labels_and_ancestors(dataset, tmp_path):
    keys = keys_of(dataset)
    path = write_csv(
        tmp_path / "labels.csv",
        [(keys[3].hex(), "beagle", 0.75), (keys[3].hex(), "spaniel", 0.5), (keys[30].hex().upper(), "rock", 1)],
    )
    view = with_labels(dataset, open_label_table(path, taxonomy=TAXONOMY))
    assert labels_of(view) == {
        keys[3]: {
            0: (0.75, False, 1), 1: (0.75, True, 1), 2: (0.75, False, 1), 4: (0.5, True, 4),
        },
        keys[30]: {3: (1.0, True, 3)},
    }  # fmt: skip
    assert view.class_counts.tolist() == [1, 1, 1, 1, 1]
    assert view.category_ids == TAXONOMY.ids
    assert (view.account.samples, view.account.labelled, view.account.unlabelled) == (40, 2, 38)
    (batch,) = Loader(view, batch_size=2, seed=0).epoch(0)
    assert {key.tobytes() for key in batch.keys} == {keys[3], keys[30]}
    assert batch.images.any()


def test_images_without_a_label_may_stay_as_images_of_no_class(dataset, tmp_path):
    path = write_csv(tmp_path / "labels.csv", [(keys_of(dataset)[0].hex(), "rock", 1)])
    view = with_labels(dataset, open_label_table(path, taxonomy=TAXONOMY), unlabelled="keep")
    assert view.num_samples == 40
    assert sum(bool(labels) for labels in labels_of(view).values()) == 1
    assert len(list(Loader(view, batch_size=8, seed=0).epoch(0))) == 5


def test_a_data_set_joined_with_itself_is_as_it_was(dataset):
    view = with_labels(dataset, open_label_table(dataset.root))
    assert labels_of(view) == labels_of(dataset)
    assert np.array_equal(view.class_counts, dataset.class_counts)
    negatives = [dataset.index(s).negatives.values.tolist() for s in range(3)]
    assert [view.index(s).negatives.values.tolist() for s in range(3)] == negatives
    assert any(negatives)


def test_a_data_set_cut_into_other_shards_gives_the_same_labels(dataset, make_dataset, tmp_path):
    other = make_dataset(tmp_path / "other", 40, 3, 32, 0, shards=7)
    view = with_labels(dataset, LabelTable(open_label_table(str(other))._parts, cache_bytes=0))
    assert labels_of(view) == labels_of(dataset)


def expanded_build(folder, dataset, rows, buckets):
    """A build's folders: `rows` of (key, label, probability, asserted, from_label) by bucket, and the hierarchy."""
    for name, table in zip(("vocabulary", "edges"), TAXONOMY.to_tables(), strict=True):
        (folder / "taxonomy").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"taxonomy/{name}.parquet")
    (folder / "expanded").mkdir()
    for i, part in enumerate(np.array_split(np.arange(len(rows)), buckets)):
        columns = list(zip(*(rows[j] for j in part.tolist()), strict=True)) or [()] * 5
        pq.write_table(pa.table(list(columns), schema=EXPANDED), folder / f"expanded/{i:05d}.parquet")
    return folder


def test_the_columns_of_a_builds_labels_are_those_of_its_schema():
    assert tuple(EXPANDED.names) == EXPANDED_NAMES


def test_a_builds_expanded_labels_are_read_with_its_hierarchy_and_its_negatives(dataset, tmp_path):
    keys = keys_of(dataset)
    rows = [(key, 3, 0.5, True, 3) for key in keys[:20]]
    build = expanded_build(tmp_path / "build", dataset, rows, buckets=3)
    (build / "negatives").mkdir()
    negatives = pa.table(
        {"image_key": pa.array([keys[0], keys[39]], pa.binary(16)), "label": pa.array([2, 1], pa.int32())}
    )
    pq.write_table(negatives, build / "negatives/00000.parquet")
    view = with_labels(dataset, open_label_table(str(build / "expanded")))
    assert labels_of(view) == {key: {3: (0.5, True, 3)} for key in keys[:20]}
    assert view.index(0).negatives.of(0).tolist() == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [(k, 9, p, a, f) for k, _, p, a, f in rows], "expected labels in \\[0, 5\\), found 9 to 9"),
        (lambda rows: rows[::-1], "expected rows by rising key and label"),
    ],
)
def test_a_damaged_build_is_refused(dataset, tmp_path, change, message):
    rows = [(key, 3, 0.5, True, 3) for key in keys_of(dataset)[:20]]
    build = expanded_build(tmp_path / "build", dataset, change(rows), buckets=1)
    with pytest.raises(LoaderError, match=message):
        with_labels(dataset, open_label_table(str(build / "expanded")))


def test_every_kind_of_mistake_in_a_table_is_told_with_its_rows(tmp_path):
    path = write_csv(tmp_path / "bad.csv", [("xyz", "beagle", 0.5), ("0" * 32, "begle", 1), ("1" * 32, "dog", 7)])
    with pytest.raises(LoaderError) as caught:
        open_label_table(path, taxonomy=TAXONOMY)
    text = str(caught.value)
    assert "3 kinds of mistakes" in text
    assert "image_key of 32 hex digits, found 1 others: 'xyz' (row 1)" in text
    assert "labels of the vocabulary (5 categories, such as 'animal'), found 1 others: 'begle' (row 2)" in text
    assert "a probability in [0, 1], found 1 others: 7" in text


def test_a_label_told_twice_for_an_image_is_a_mistake(tmp_path):
    path = write_csv(tmp_path / "bad.csv", [("0" * 32, "dog", 1), ("0" * 32, "dog", 0.5)])
    with pytest.raises(LoaderError, match=r"each \(image, label\) once, found 1 repeated: 0{32} 'dog'"):
        open_label_table(path, taxonomy=TAXONOMY)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("key", "label", "p"), "expected the columns label and image_key"),
        (("image_key", "class", "p"), "columns label"),
    ],
)
def test_a_table_without_its_columns_is_refused(tmp_path, columns, message):
    path = write_csv(tmp_path / "bad.csv", [("0" * 32, "dog", 1)], columns)
    with pytest.raises(LoaderError, match=message):
        open_label_table(path, taxonomy=TAXONOMY)


def test_a_table_of_other_images_is_refused(dataset, tmp_path):
    path = write_csv(tmp_path / "labels.csv", [("0" * 32, "dog", 1)])
    with pytest.raises(LoaderError, match="a label for none of them"):
        with_labels(dataset, open_label_table(path, taxonomy=TAXONOMY))


def test_samples_of_plain_tars_are_named(dataset):
    table = pa.table({"name": ["a/0001", "a/0002"], "label": ["rock", "dog"]})
    rows = own_rows(table, TAXONOMY, where="t")
    assert {key.tobytes() for key in rows.keys} == {sample_key("a/0001"), sample_key("a/0002")}


def test_another_table_is_another_stream(dataset, tmp_path):
    keys = keys_of(dataset)
    a, b = (
        with_labels(
            dataset,
            open_label_table(write_csv(tmp_path / f"{p}.csv", [(keys[0].hex(), "dog", p)]), taxonomy=TAXONOMY),
        )
        for p in (0.5, 0.75)
    )
    assert a.fingerprint != b.fingerprint
    state = Loader(a, batch_size=1, seed=0).state(0, 0)
    with pytest.raises(LoaderError, match="fingerprint: state"):
        Loader(b, batch_size=1, seed=0).epoch_from(state)


def test_the_pass_over_the_indexes_is_kept_and_used_again(dataset, tmp_path):
    table = open_label_table(dataset.root)
    calls = []
    first = with_labels(dataset, table, cache=tmp_path / "cache", on_progress=lambda *at: calls.append(at))
    again = with_labels(dataset, table, cache=tmp_path / "cache", on_progress=lambda *at: calls.append(at))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert again.class_counts.tolist() == first.class_counts.tolist()
    assert again.account == first.account


def test_classes_are_a_vocabulary_of_their_own_with_their_images(dataset):
    ids = dataset.category_ids
    counts = dict(zip(ids, dataset.class_counts.tolist(), strict=True))
    chosen = [ids[3], ids[1]]
    view = with_classes(dataset, dataset.taxonomy, chosen)
    assert list(view.category_ids) == sorted(chosen)
    assert view.class_counts.tolist() == [counts[i] for i in sorted(chosen)]
    before, after = labels_of(dataset), labels_of(view)
    expected = {key: {c for c in (1, 3) if c in labels} for key, labels in before.items()}
    assert {key: set(labels) for key, labels in after.items()} == {
        key: {(1, 3).index(c) for c in labels} for key, labels in expected.items() if labels
    }


def test_a_class_keeps_its_place_below_another_when_those_between_are_left_out(dataset, tmp_path):
    path = write_csv(tmp_path / "labels.csv", [(keys_of(dataset)[0].hex(), "beagle", 1)])
    view = with_labels(dataset, open_label_table(path, taxonomy=TAXONOMY))
    smaller = with_classes(view, view.taxonomy, ["animal", "beagle"])
    assert smaller.taxonomy.parents.of(1).tolist() == [0]
    assert list(labels_of(smaller).values()) == [{0: (1.0, False, 1), 1: (1.0, True, 1)}]


def test_an_unknown_class_is_named_with_the_nearest(dataset):
    with pytest.raises(LoaderError, match="found 1 of 2 unknown\n  'begle'"):
        with_classes(with_all(dataset), TAXONOMY, ["dog", "begle"])


def with_all(dataset):
    rows = pa.table({"image_key": pa.array(keys_of(dataset), pa.binary(16)), "label": ["dog"] * dataset.num_samples})
    table = own_rows(rows, TAXONOMY, where="t")

    class Parts:
        taxonomy, fingerprint, first_keys = TAXONOMY, "x", [table.keys[0].tobytes()]

        def read(self, _):
            return table

    return with_labels(dataset, LabelTable(Parts()))


ROWS = st.dictionaries(
    st.tuples(st.integers(0, 45), st.integers(0, 4)), st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=40
)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, low=st.sampled_from([0.0, 0.3]), high=st.sampled_from([0.6, 1.0]))
def test_joined_labels_and_subsets_equal_those_of_dictionaries(dataset, rows, low, high):
    keys = [*keys_of(dataset), *(sample_key(str(i)) for i in range(6))]  # the last six are no images here
    table = pa.table(
        {
            "image_key": pa.array([keys[i] for i, _ in rows], pa.binary(16)),
            "label": [IDS[c] for _, c in rows],
            "probability": list(rows.values()),
        }
    )
    expected = {}
    for (i, c), p in rows.items():
        mine = expected.setdefault(keys[i], {})
        mine[c] = (p, True, c)
    for (i, c), p in sorted(rows.items(), key=lambda item: (-item[1], item[0][1])):
        for up in UP[c]:
            expected[keys[i]].setdefault(up, (p, False, c))
    expected = {key: labels for key, labels in expected.items() if key in keys[:40]}
    whole = own_rows(table, TAXONOMY, where="t")

    class Parts:
        taxonomy, fingerprint, first_keys = TAXONOMY, "x", [whole.keys[0].tobytes()]

        def read(self, _):
            return whole

    if not expected:
        with pytest.raises(LoaderError):
            with_labels(dataset, LabelTable(Parts()))
        return
    view = with_labels(dataset, LabelTable(Parts()))
    assert labels_of(view) == expected
    subset = view.subset(low, high)
    numbers = subset.numbers(np.arange(subset.num_samples))
    shards, at = view.locate(numbers)
    found = [view.index(int(s)).keys[int(r)].tobytes() for s, r in zip(shards, at, strict=True)]
    inner = dataset.subset(low, high)
    inside = {dataset[int(n)].key for n in inner.numbers(np.arange(inner.num_samples))}
    assert sorted(found) == sorted(key for key in expected if key in inside)
