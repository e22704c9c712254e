import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.taxonomy import (
    Category,
    Edge,
    ancestor_closure,
    build_taxonomy,
    count_below,
    information_content,
    statistics,
)


@st.composite
def dags(draw):
    """A random hierarchy whose labels are not in topological order."""
    n = draw(st.integers(1, 12))
    ids = draw(st.permutations([f"{i:02d}" for i in range(n)]))
    pairs = [(a, b) for a in range(n) for b in range(a)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return build_taxonomy([Category(i) for i in ids], [Edge(ids[a], ids[b]) for a, b in chosen], origin="t")


@given(dags())
def test_the_closure_is_that_of_networkx(taxonomy):
    closure = ancestor_closure(taxonomy)
    graph = taxonomy.to_networkx()
    for label, category_id in enumerate(taxonomy.ids):
        expected = sorted(taxonomy.index_of(i) for i in nx.ancestors(graph, category_id))
        assert closure.of(label).tolist() == expected
        assert closure.with_self.of(label).tolist() == sorted([*expected, label])
    assert closure.values.dtype == np.int32
    assert closure.offsets.dtype == np.int64


@given(dags())
def test_the_descendants_are_those_of_networkx(taxonomy):
    descendants = ancestor_closure(taxonomy).descendants
    graph = taxonomy.to_networkx()
    for label, category_id in enumerate(taxonomy.ids):
        expected = sorted(taxonomy.index_of(i) for i in nx.descendants(graph, category_id))
        assert descendants.of(label).tolist() == expected
    assert (descendants.values.dtype, descendants.offsets.dtype) == (np.int32, np.int64)


def test_the_top_of_a_diamond_stands_once(animals):
    closure = ancestor_closure(animals)
    above = [animals.ids[a] for a in closure.of(animals.index_of("dog"))]
    assert above == ["animal", "canine", "domestic", "entity"]


def test_a_deep_chain_has_all_its_ancestors():
    ids = [f"{i:04d}" for i in range(1500)]
    chain = build_taxonomy(map(Category, ids), [Edge(b, a) for a, b in itertools.pairwise(ids)], origin="t")
    closure = ancestor_closure(chain)
    assert np.diff(closure.offsets).tolist() == list(range(1500))
    assert closure.of(1499).tolist() == list(range(1499))


def test_information_content_counts_labels_at_or_below(animals):
    counts = np.zeros(8, np.int64)
    counts[animals.index_of("dog")] = 4
    counts[animals.index_of("cat")] = 3
    counts[animals.index_of("car")] = 1
    closure = ancestor_closure(animals)
    below = dict(zip(animals.ids, count_below(closure, counts).tolist(), strict=True))
    assert below == {
        "entity": 8, "animal": 7, "domestic": 7, "canine": 4, "dog": 4, "cat": 3, "car": 1, "wolf": 0,
    }  # fmt: skip
    bits = dict(zip(animals.ids, information_content(closure, counts).tolist(), strict=True))
    assert (bits["entity"], bits["canine"], bits["car"], bits["wolf"]) == (0.0, 1.0, 3.0, float("inf"))


def test_nothing_counted_says_nothing_about_any_category(animals):
    assert np.isinf(information_content(ancestor_closure(animals), np.zeros(8, np.int64))).all()


@pytest.mark.parametrize("counts", [np.zeros(3, np.int64), np.full(8, -1)])
def test_counts_of_another_taxonomy_are_refused(animals, counts):
    with pytest.raises(ValueError, match=r"expected \(8,\) counts"):
        information_content(ancestor_closure(animals), counts)


def test_statistics_describe_the_shape(animals):
    shape = statistics(animals)
    assert (shape.categories, shape.edges, shape.roots, shape.leaves) == (8, 8, 1, 4)
    assert (shape.depth, shape.largest_fan_out, shape.several_parents) == (3, 2, 1)
    # entity 0, animal 1, car 1, canine 2, domestic 2, dog 4, cat 3, wolf 3
    assert shape.mean_ancestors == 16 / 8
