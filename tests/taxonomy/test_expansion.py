import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy, expand_labels, expansion


def columns(rows):
    images, labels, probabilities = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(images, np.int64), np.array(labels, np.int32), np.array(probabilities, np.float32)


def expand(taxonomy, rows, **kwargs):
    """{(image, id): (probability, asserted)} of rows (image, id, probability)."""
    given_columns = columns([(image, taxonomy.index_of(i), p) for image, i, p in rows])
    result = expand_labels(*given_columns, ancestor_closure(taxonomy), **kwargs)
    rows = zip(*(column.tolist() for column in result), strict=True)
    return {(image, taxonomy.ids[label]): (round(p, 6), asserted) for image, label, p, asserted in rows}


def test_one_label_gives_each_ancestor_once_with_its_own_probability(animals):
    assert expand(animals, [(0, "dog", 0.5)]) == {
        (0, "animal"): (0.5, False),
        (0, "canine"): (0.5, False),
        (0, "dog"): (0.5, True),
        (0, "domestic"): (0.5, False),
        (0, "entity"): (0.5, False),
    }


def test_different_child_subtrees_add_up_and_what_they_add_goes_up(animals):
    # domestic: dog 0.5 and cat 0.5 -> 0.75; entity: one child, never below its best descendant
    assert expand(animals, [(3, "dog", 0.5), (3, "cat", 0.5)]) == {
        (3, "animal"): (0.75, False),
        (3, "canine"): (0.5, False),
        (3, "cat"): (0.5, True),
        (3, "dog"): (0.5, True),
        (3, "domestic"): (0.75, False),
        (3, "entity"): (0.75, False),
    }


def test_one_label_below_two_children_of_a_diamond_is_evidence_once(animals):
    # canine's best is the wolf, domestic's is the dog: animal has two different labels for it.
    found = expand(animals, [(0, "dog", 0.5), (0, "wolf", 0.75)])
    assert found[0, "canine"] == (0.875, False)
    assert found[0, "domestic"] == (0.5, False)
    assert found[0, "animal"] == (0.875, False)
    # The dog is the best of both: it counts once, and the rest comes from the lift.
    found = expand(animals, [(0, "dog", 0.75), (0, "wolf", 0.5)])
    assert found[0, "animal"] == (0.875, False)
    assert found[0, "domestic"] == (0.75, False)


def test_asserted_ancestors_stay_asserted_and_are_lifted_but_never_lowered(animals):
    found = expand(animals, [(0, "animal", 0.2), (0, "dog", 0.9), (1, "animal", 0.95), (1, "dog", 0.9)])
    assert found[0, "animal"] == (0.9, True)
    assert found[1, "animal"] == (0.95, True)
    assert found[1, "entity"] == (0.95, False)
    assert found[1, "canine"] == (0.9, False)
    assert sum(asserted for _, asserted in found.values()) == 4


def test_ancestors_left_out_pass_on_what_they_know_and_asserted_ones_stay(animals):
    keep = np.ones(8, np.bool_)
    keep[[animals.index_of("domestic"), animals.index_of("animal")]] = False
    found = expand(animals, [(0, "cat", 0.5), (0, "dog", 0.5), (1, "animal", 0.4)], keep=keep)
    assert [key for key in found if key[0] == 0] == [(0, "canine"), (0, "cat"), (0, "dog"), (0, "entity")]
    assert found[0, "entity"] == (0.75, False)
    assert found[1, "animal"] == (0.4, True)


def test_rows_may_come_in_any_order_and_leave_sorted(animals):
    rows = [(7, "wolf", 0.1), (2, "car", 0.3), (7, "cat", 0.2), (2, "animal", 0.4)]
    found = expand(animals, rows)
    assert list(found) == sorted(found)
    assert found == expand(animals, sorted(rows))


def test_probabilities_of_0_and_1_are_exact(animals):
    found = expand(animals, [(0, "dog", 0.0), (0, "cat", -0.0), (1, "dog", 1.0), (1, "cat", 0.5)])
    assert {p for (image, _), (p, _) in found.items() if image == 0} == {0.0}
    assert found[1, "animal"] == (1.0, False)


def test_no_labels_give_no_labels(animals):
    result = expand_labels(*columns([]), ancestor_closure(animals))
    assert [column.dtype for column in result] == [np.int64, np.int32, np.float32, np.bool_]
    assert all(len(column) == 0 for column in result)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 4, 0.5), (0, 4, 0.6)], r"found \(0, 4\) twice"),
        ([(0, 8, 0.5)], r"labels in \[0, 8\)"),
        ([(0, -1, 0.5)], r"labels in \[0, 8\)"),
        ([(-1, 1, 0.5)], "images of 0 or more"),
        ([(0, 1, 1.5)], r"probabilities in \[0, 1\]"),
        ([(0, 1, math.nan)], r"probabilities in \[0, 1\]"),
    ],
)
def test_values_out_of_range_are_refused(animals, rows, message):
    with pytest.raises(ValueError, match=message):
        expand_labels(*columns(rows), ancestor_closure(animals))


def test_columns_and_masks_of_other_lengths_are_refused(animals):
    closure = ancestor_closure(animals)
    image, label, probability = columns([(0, 4, 0.5)])
    with pytest.raises(ValueError, match="three columns of one length"):
        expand_labels(image, label, np.ones(2, np.float32), closure)
    with pytest.raises(ValueError, match="expected `keep` for 8 categories"):
        expand_labels(image, label, probability, closure, keep=np.ones(3, np.bool_))


def slow_expand(taxonomy, rows):
    """METHODS section 3, image by image and category by category."""
    graph = nx.relabel_nodes(taxonomy.to_networkx(), {i: label for label, i in enumerate(taxonomy.ids)})
    below = {node: {node, *nx.descendants(graph, node)} for node in graph}
    out = {}
    for image in {image for image, _, _ in rows}:
        own = {label: np.float64(np.float32(p)) for i, label, p in rows if i == image}
        present = {node for node in graph if below[node] & set(own)}
        evidence = {}
        for node in present:
            best = {
                max(below[child] & set(own), key=lambda label: (own[label], -label))
                for child in graph.successors(node)
                if below[child] & set(own)
            }
            evidence[node] = max(own.get(node, 0.0), 1 - math.prod(1 - own[label] for label in best))
        for node in present:
            out[image, node] = (max(evidence[d] for d in below[node] & present), node in own)
    return dict(sorted(out.items()))


@st.composite
def problems(draw):
    n = draw(st.integers(1, 10))
    ids = draw(st.permutations([f"{i:02d}" for i in range(n)]))
    pairs = [(a, b) for a in range(n) for b in range(a)]
    tree = draw(st.booleans())
    chosen = draw(st.lists(st.sampled_from(pairs), unique_by=(lambda e: e[0]) if tree else None)) if pairs else []
    edges = [Edge(ids[a], ids[b]) for a, b in dict.fromkeys(chosen)]
    taxonomy = build_taxonomy([Category(i) for i in ids], edges, origin="t")
    keys = st.tuples(st.integers(0, 4), st.integers(0, n - 1))
    probability = st.sampled_from([0.0, 0.25, 0.5, 0.5000001, 1.0]) | st.floats(0, 1, width=32)
    labels = draw(st.dictionaries(keys, probability, max_size=25))
    return taxonomy, [(image, label, p) for (image, label), p in labels.items()], tree


@given(problems(), st.sampled_from([1, 3, 1000]))
def test_expansion_is_that_of_the_slow_reference_whatever_the_chunks(problem, chunk):
    taxonomy, rows, _ = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expansion, "CHUNK_LABELS", chunk)
        result = expand_labels(*columns(rows), ancestor_closure(taxonomy))
    expected = slow_expand(taxonomy, rows)
    assert list(zip(result.image_index.tolist(), result.label.tolist(), strict=True)) == list(expected)
    assert result.asserted.tolist() == [asserted for _, asserted in expected.values()]
    np.testing.assert_allclose(result.probability, [p for p, _ in expected.values()], rtol=1e-6, atol=1e-12)


@given(problems())
def test_no_category_is_below_one_of_its_descendants_and_none_is_lowered(problem):
    taxonomy, rows, _ = problem
    closure = ancestor_closure(taxonomy)
    result = expand_labels(*columns(rows), closure)
    found = dict(zip(zip(result.image_index, result.label, strict=True), result.probability, strict=True))
    for (image, label), p in found.items():
        assert all(found[image, ancestor] >= p for ancestor in closure.of(label))
    assert all(found[image, label] >= np.float32(p) for image, label, p in rows)
    assert result.asserted.sum() == len(rows)


@given(problems())
def test_in_a_tree_the_product_runs_over_all_child_subtrees(problem):
    taxonomy, rows, tree = problem
    if not tree:
        return
    closure = ancestor_closure(taxonomy)
    result = expand_labels(*columns(rows), closure)
    own = {(image, label): np.float64(np.float32(p)) for image, label, p in rows}
    for image, label, p in zip(result.image_index, result.label, result.probability, strict=True):
        best = [
            max((q for (i, d), q in own.items() if i == image and child in closure.with_self.of(d)), default=0.0)
            for child in taxonomy.children.of(label)
        ]
        assert p >= np.float32(max(own.get((image, label), 0.0), 1 - math.prod(1 - q for q in best))) - 1e-6
