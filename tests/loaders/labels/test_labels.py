"""Labels joined at read time: every label of the table on its image, nothing lost, nothing silent."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders import Loader, LoaderError
from openjft.loaders.labels import open_label_table, sample_key, with_classes, with_labels
from openjft.loaders.labels.expanded import EXPANDED_NAMES
from openjft.loaders.labels.rows import LabelTable
from openjft.pipelines.schema import EXPANDED


def test_another_table_gives_the_same_images_other_labels_and_ancestors(dataset, toy, tmp_path):
    keys = toy.keys_of(dataset)
    path = toy.write_csv(
        tmp_path / "labels.csv",
        [(keys[3].hex(), "beagle", 0.75), (keys[3].hex(), "spaniel", 0.5), (keys[30].hex().upper(), "rock", 1)],
    )
    view = with_labels(dataset, open_label_table(path, taxonomy=toy.taxonomy))
    assert toy.labels_of(view) == {
        keys[3]: {
            0: (0.75, False, 1), 1: (0.75, True, 1), 2: (0.75, False, 1), 4: (0.5, True, 4),
        },
        keys[30]: {3: (1.0, True, 3)},
    }  # fmt: skip
    assert view.class_counts.tolist() == [1, 1, 1, 1, 1]
    assert view.category_ids == toy.taxonomy.ids
    assert (view.account.samples, view.account.labelled, view.account.unlabelled) == (40, 2, 38)
    (batch,) = Loader(view, batch_size=2, seed=0).epoch(0)
    assert {key.tobytes() for key in batch.keys} == {keys[3], keys[30]}
    assert batch.images.any()


def test_images_without_a_label_may_stay_as_images_of_no_class(dataset, toy, tmp_path):
    path = toy.write_csv(tmp_path / "labels.csv", [(toy.keys_of(dataset)[0].hex(), "rock", 1)])
    view = with_labels(dataset, open_label_table(path, taxonomy=toy.taxonomy), unlabelled="keep")
    assert view.num_samples == 40
    assert sum(bool(labels) for labels in toy.labels_of(view).values()) == 1
    assert len(list(Loader(view, batch_size=8, seed=0).epoch(0))) == 5


def test_a_data_set_joined_with_itself_is_as_it_was(dataset, toy):
    view = with_labels(dataset, open_label_table(dataset.root))
    assert toy.labels_of(view) == toy.labels_of(dataset)
    assert np.array_equal(view.class_counts, dataset.class_counts)
    negatives = [dataset.index(s).negatives.values.tolist() for s in range(3)]
    assert [view.index(s).negatives.values.tolist() for s in range(3)] == negatives
    assert any(negatives)


def test_a_data_set_cut_into_other_shards_gives_the_same_labels(dataset, toy, make_dataset, tmp_path):
    other = make_dataset(tmp_path / "other", 40, 3, 32, 0, shards=7)
    view = with_labels(dataset, LabelTable(open_label_table(str(other))._parts, cache_bytes=0))
    assert toy.labels_of(view) == toy.labels_of(dataset)


def test_the_columns_of_a_builds_labels_are_those_of_its_schema():
    assert tuple(EXPANDED.names) == EXPANDED_NAMES


def test_a_builds_expanded_labels_are_read_with_its_hierarchy_and_its_negatives(dataset, toy, tmp_path):
    keys = toy.keys_of(dataset)
    rows = [(key, 3, 0.5, True, 3) for key in keys[:20]]
    build = toy.expanded_build(tmp_path / "build", rows, buckets=3)
    (build / "negatives").mkdir()
    negatives = pa.table(
        {"image_key": pa.array([keys[0], keys[39]], pa.binary(16)), "label": pa.array([2, 1], pa.int32())}
    )
    pq.write_table(negatives, build / "negatives/00000.parquet")
    view = with_labels(dataset, open_label_table(str(build / "expanded")))
    assert toy.labels_of(view) == {key: {3: (0.5, True, 3)} for key in keys[:20]}
    assert view.index(0).negatives.of(0).tolist() == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [(k, 9, p, a, f) for k, _, p, a, f in rows], "expected labels in \\[0, 5\\), found 9 to 9"),
        (lambda rows: rows[::-1], "expected rows by rising image_key"),
        (
            lambda rows: [*rows, rows[-1]],
            "expected rows by rising key and label, found [0-9a-f]{32} with label 3 after 3",
        ),
        (lambda rows: [(k, c, 1.5, a, f) for k, c, _, a, f in rows], "expected probabilities in"),
        (lambda rows: [(k, c, p, a, 7) for k, c, p, a, _ in rows], "found 7 to 7"),
    ],
)
def test_a_damaged_build_is_refused(dataset, toy, tmp_path, change, message):
    rows = [(key, 3, 0.5, True, 3) for key in toy.keys_of(dataset)[:20]]
    build = toy.expanded_build(tmp_path / "build", change(rows), buckets=1)
    with pytest.raises(LoaderError, match=message):
        with_labels(dataset, open_label_table(str(build / "expanded")))


def test_a_table_of_other_images_is_refused(dataset, toy, tmp_path):
    path = toy.write_csv(tmp_path / "labels.csv", [("0" * 32, "dog", 1)])
    with pytest.raises(LoaderError, match="a label for none of them"):
        with_labels(dataset, open_label_table(path, taxonomy=toy.taxonomy))


def test_another_table_is_another_stream(dataset, toy, tmp_path):
    keys = toy.keys_of(dataset)
    a, b = (
        with_labels(
            dataset,
            open_label_table(toy.write_csv(tmp_path / f"{p}.csv", [(keys[0].hex(), "dog", p)]), taxonomy=toy.taxonomy),
        )
        for p in (0.5, 0.75)
    )
    assert a.fingerprint != b.fingerprint
    state = Loader(a, batch_size=1, seed=0).state(0, 0)
    with pytest.raises(LoaderError, match="fingerprint: state"):
        Loader(b, batch_size=1, seed=0).epoch_from(state)


def test_the_pass_over_the_indexes_is_kept_and_used_again(dataset, toy, tmp_path):
    table = open_label_table(dataset.root)
    calls = []
    first = with_labels(dataset, table, cache=tmp_path / "cache", on_progress=lambda *at: calls.append(at))
    again = with_labels(dataset, table, cache=tmp_path / "cache", on_progress=lambda *at: calls.append(at))
    assert calls[-1] == (40, 40)
    assert len(calls) == 3  # a shard each, once
    assert again.class_counts.tolist() == first.class_counts.tolist()
    assert again.account == first.account


def test_what_the_table_has_and_the_source_has_not_is_counted(dataset, toy):
    keys = toy.keys_of(dataset)
    pairs = {(keys[0], 2): 1.0, (bytes(16), 2): 1.0, (b"\xff" * 16, 3): 1.0}
    view = with_labels(dataset, toy.table_of(pairs))
    assert view.account.foreign == 2
    assert "1 of 40 images have a label; 39 have none and are left out; 2 images" in view.account.message
    classes = with_classes(dataset, [dataset.category_ids[0]])
    outside = next(key for key in keys if key not in toy.labels_of(classes))
    joined = with_labels(classes, toy.table_of({(toy.keys_of(classes)[0], 2): 1.0, (outside, 2): 1.0}))
    assert joined.account.foreign == 1  # an image that the inner source leaves out


def test_a_cache_that_is_damaged_is_made_anew(dataset, toy, tmp_path):
    table = toy.table_of({(toy.keys_of(dataset)[7], 2): 1.0, (bytes(16), 2): 1.0})
    first = with_labels(dataset, table, cache=tmp_path)
    for path in [*tmp_path.glob("*.json"), *tmp_path.glob("*.npy")]:
        path.write_bytes(path.read_bytes()[:-9])
        again = with_labels(dataset, table, cache=tmp_path)
        assert again.account == first.account
        assert toy.labels_of(again) == toy.labels_of(first)
    assert not list(tmp_path.glob(".tmp*"))


def test_a_cache_folder_that_cannot_be_written_is_named(dataset, toy, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LoaderError, match="could not be written"):
        with_labels(dataset, toy.table_of({(toy.keys_of(dataset)[7], 2): 1.0}), cache=tmp_path / "file")


PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 45), st.integers(0, 4)), st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=40
)
UP = {0: set(), 1: {0, 2}, 2: {0}, 3: set(), 4: {0, 2}}


@settings(deadline=None, max_examples=60)
@given(pairs=PAIRS, low=st.floats(0, 0.5), high=st.floats(0.5, 1))
def test_joined_labels_and_subsets_equal_those_of_dictionaries(dataset, toy, pairs, low, high):
    own = toy.keys_of(dataset)
    keys = [*own, *(sample_key(str(i)) for i in range(6))]  # the last six are no images here
    expected: dict[bytes, dict[int, tuple[float, bool, int]]] = {}
    for (i, c), p in pairs.items():
        expected.setdefault(keys[i], {})[c] = (p, True, c)
    for (i, c), p in sorted(pairs.items(), key=lambda item: (-item[1], item[0][1])):
        for up in UP[c]:
            expected[keys[i]].setdefault(up, (p, False, c))
    foreign = sum(key not in own for key in expected)
    expected = {key: labels for key, labels in expected.items() if key in own}
    table = toy.table_of({(keys[i], c): p for (i, c), p in pairs.items()})
    if not expected:
        with pytest.raises(LoaderError, match=f"none of them \\({foreign} images"):
            with_labels(dataset, table)
        return
    view = with_labels(dataset, table)
    assert toy.labels_of(view) == expected
    assert view.account.foreign == foreign
    inside = set(toy.subset_keys(dataset, low, high))
    assert toy.subset_keys(view, low, high) == [key for key in own if key in expected and key in inside]
    assert with_labels(dataset, table, unlabelled="keep").class_counts.tolist() == view.class_counts.tolist()
