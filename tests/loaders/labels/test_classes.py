"""Some of the classes, with their images."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders import Loader, LoaderError
from openjft.loaders.labels import read_classes, taxonomy_of, with_classes, with_labels
from openjft.taxonomy import Taxonomy


def test_classes_are_a_vocabulary_of_their_own_with_their_images(dataset, toy):
    ids = dataset.category_ids
    counts = dict(zip(ids, dataset.class_counts.tolist(), strict=True))
    chosen = [ids[3], ids[1]]
    view = with_classes(dataset, chosen)
    assert list(view.category_ids) == sorted(chosen)
    assert view.class_counts.tolist() == [counts[i] for i in sorted(chosen)]
    before, after = toy.labels_of(dataset), toy.labels_of(view)
    expected = {key: {c for c in (1, 3) if c in labels} for key, labels in before.items()}
    assert {key: set(labels) for key, labels in after.items()} == {
        key: {(1, 3).index(c) for c in labels} for key, labels in expected.items() if labels
    }


def test_a_class_keeps_its_place_below_another_when_those_between_are_left_out(dataset, toy):
    view = with_labels(dataset, toy.table_of({(toy.keys_of(dataset)[0], 1): 1.0}))
    smaller = with_classes(view, ["animal", "beagle"])
    assert smaller.taxonomy.parents.of(1).tolist() == [0]
    assert list(toy.labels_of(smaller).values()) == [{0: (1.0, False, 1), 1: (1.0, True, 1)}]


def test_classes_with_what_lies_below_them(dataset, toy):
    keys = toy.keys_of(dataset)
    view = with_labels(dataset, toy.table_of({(keys[0], 1): 1.0, (keys[1], 4): 1.0, (keys[2], 3): 1.0}))
    smaller = with_classes(view, ["dog"], with_descendants=True)
    assert list(smaller.category_ids) == ["beagle", "dog", "spaniel"]
    assert set(toy.labels_of(smaller)) == {keys[0], keys[1]}


def test_an_inferred_label_whose_origin_is_left_out_stands_for_itself(dataset, toy):
    view = with_labels(dataset, toy.table_of({(toy.keys_of(dataset)[0], 1): 0.5}))
    assert list(toy.labels_of(with_classes(view, ["dog"])).values()) == [{0: (0.5, False, 0)}]


def test_an_unknown_class_is_named_with_the_nearest(dataset, toy):
    view = with_labels(dataset, toy.table_of({(toy.keys_of(dataset)[0], 2): 1.0}))
    with pytest.raises(LoaderError, match="found 1 of 2 unknown\n  'begle' Did you mean 'beagle'"):
        with_classes(view, ["dog", "begle"])


def test_classes_that_no_image_has_are_refused(dataset, toy):
    view = with_labels(dataset, toy.table_of({(toy.keys_of(dataset)[0], 2): 1.0}))
    with pytest.raises(LoaderError, match="images of the 1 classes, found none"):
        with_classes(view, ["rock"])


def test_a_list_of_classes_may_have_comments_and_empty_lines(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("# of the paper\n\nn01 \nn02\n")
    assert read_classes(path) == ["n01", "n02"]
    path.write_text("# none\n")
    with pytest.raises(LoaderError, match="one a line, found none"):
        read_classes(path)


class Flat:
    """A source that has categories and no hierarchy."""

    root, category_names = "flat", ("A", "B")

    def __init__(self, ids):
        self.category_ids = ids


def test_categories_without_a_hierarchy_stand_side_by_side():
    taxonomy = taxonomy_of(Flat(("a", "b")))
    assert isinstance(taxonomy, Taxonomy)
    assert (taxonomy.ids, taxonomy.names, taxonomy.parents.values.tolist()) == (("a", "b"), ("A", "B"), [])
    with pytest.raises(LoaderError, match="flat: expected categories in the order of their ids"):
        taxonomy_of(Flat(("b", "a")))


PAIRS = st.dictionaries(st.tuples(st.integers(0, 39), st.integers(0, 4)), st.just(1.0), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(pairs=PAIRS, chosen=st.sets(st.integers(0, 4), min_size=1), low=st.floats(0, 0.5), high=st.floats(0.5, 1))
def test_classes_of_joined_labels_equal_those_of_sets_and_their_subsets_are_nested(
    dataset, toy, pairs, chosen, low, high
):
    keys = toy.keys_of(dataset)
    up = {0: {0}, 1: {0, 1, 2}, 2: {0, 2}, 3: {3}, 4: {0, 2, 4}}
    wanted: dict[bytes, set[int]] = {}
    for i, c in pairs:
        wanted.setdefault(keys[i], set()).update(sorted(chosen).index(d) for d in up[c] & chosen)
    wanted = {key: labels for key, labels in wanted.items() if labels}
    view = with_labels(dataset, toy.table_of({(keys[i], c): p for (i, c), p in pairs.items()}))
    ids = [toy.ids[c] for c in chosen]
    if not wanted:
        with pytest.raises(LoaderError, match="found none"):
            with_classes(view, ids)
        return
    smaller = with_classes(view, ids)
    assert {key: set(labels) for key, labels in toy.labels_of(smaller).items()} == wanted
    assert smaller.class_counts.tolist() == [sum(c in s for s in wanted.values()) for c in range(len(chosen))]
    inside = set(toy.subset_keys(dataset, low, high))
    assert toy.subset_keys(smaller, low, high) == [key for key in keys if key in wanted and key in inside]
    assert set(toy.subset_keys(smaller, 0, low)) <= set(toy.subset_keys(smaller, 0, high))


def test_the_order_of_classes_of_joined_labels_goes_on_from_a_state_and_not_with_other_classes(dataset, toy):
    keys = toy.keys_of(dataset)
    view = with_labels(dataset, toy.table_of({(key, 1 + 3 * (i % 2)): 1.0 for i, key in enumerate(keys)}))
    first, other = with_classes(view, ["dog", "beagle"]), with_classes(view, ["dog", "spaniel"])
    loader = Loader(first, batch_size=4, seed=5)
    batches = [batch.keys.tobytes() for batch in loader.epoch(1)]
    state = loader.state(1, 3)
    again = Loader(with_classes(view, ["beagle", "dog"]), batch_size=4, seed=5)
    assert [batch.keys.tobytes() for batch in again.epoch_from(state)] == batches[3:]
    with pytest.raises(LoaderError, match="fingerprint"):
        Loader(other, batch_size=4, seed=5).epoch_from(state)


def test_negatives_are_those_of_the_classes(dataset):
    view = with_classes(dataset, [dataset.category_ids[i] for i in (1, 2)])
    for shard in range(3):
        whole, part = dataset.index(shard).negatives, view.index(shard).negatives
        expected = [[c - 1 for c in whole.of(i).tolist() if c in (1, 2)] for i in range(whole.num_lists)]
        assert [part.of(i).tolist() for i in range(part.num_lists)] == expected
    assert pa.array(np.concatenate([view.index(s).negatives.values for s in range(3)])).unique().to_pylist()
