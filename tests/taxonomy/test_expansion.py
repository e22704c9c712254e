import math
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import openjft.taxonomy
from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy, expand_labels, expand_negatives


def columns(rows):
    images, labels, probabilities = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(images, np.int64), np.array(labels, np.int32), np.array(probabilities, np.float32)


def expand(taxonomy, rows, **kwargs):
    """{(image, id): (probability, asserted)} of rows (image, id, probability)."""
    return {key: (p, asserted) for key, (p, asserted, _) in expand_with_origin(taxonomy, rows, **kwargs).items()}


def expand_with_origin(taxonomy, rows, **kwargs):
    """{(image, id): (probability, asserted, id that it comes from)} of rows (image, id, probability)."""
    given_columns = columns([(image, taxonomy.index_of(i), p) for image, i, p in rows])
    result = expand_labels(*given_columns, ancestor_closure(taxonomy), **kwargs)
    return {
        (image, taxonomy.ids[label]): (round(p, 6), asserted, taxonomy.ids[origin])
        for image, label, p, asserted, origin in zip(*(column.tolist() for column in result), strict=True)
    }


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


def test_a_surer_ancestor_and_a_way_around_it_are_two_pieces_of_evidence(animals):
    # dog is below canine and below domestic: animal's children have canine and dog as their best labels.
    found = expand(animals, [(0, "canine", 0.75), (0, "dog", 0.5)])
    assert found[0, "canine"] == (0.75, True)
    assert found[0, "domestic"] == (0.5, False)
    assert found[0, "animal"] == (0.875, False)
    # wolf is below canine alone, and says nothing that canine does not.
    found = expand(animals, [(0, "canine", 0.75), (0, "wolf", 0.5)])
    assert found[0, "animal"] == (0.75, False)


def test_each_row_names_the_surest_asserted_label_that_it_comes_from(animals):
    rows = [(0, "cat", 0.5), (0, "dog", 0.75), (0, "animal", 0.25), (1, "cat", 0.5), (1, "dog", 0.5), (2, "wolf", 0.1)]
    origin = {key: source for key, (_, _, source) in expand_with_origin(animals, rows).items()}
    assert origin == {
        (0, "animal"): "animal", (0, "canine"): "dog", (0, "cat"): "cat", (0, "dog"): "dog", (0, "domestic"): "dog",
        (0, "entity"): "dog",
        # as sure as each other: the smaller label
        (1, "animal"): "cat", (1, "canine"): "dog", (1, "cat"): "cat", (1, "dog"): "dog", (1, "domestic"): "cat",
        (1, "entity"): "cat",
        (2, "animal"): "wolf", (2, "canine"): "wolf", (2, "entity"): "wolf", (2, "wolf"): "wolf",
    }  # fmt: skip


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
    assert [column.dtype for column in result] == [np.int64, np.int32, np.float32, np.bool_, np.int32]
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
    """METHODS section 3, image by image and category by category: {(image, label): (p, asserted, from)}."""
    graph = nx.relabel_nodes(taxonomy.to_networkx(), {i: label for label, i in enumerate(taxonomy.ids)})
    below = {node: {node, *nx.descendants(graph, node)} for node in graph}
    out = {}
    for image in {image for image, _, _ in rows}:
        own = {label: np.float64(np.float32(p)) for i, label, p in rows if i == image}

        surest = {
            node: max(below[node] & set(own), key=lambda i, own=own: (own[i], -i))
            for node in graph
            if below[node] & set(own)
        }
        present = set(surest)
        evidence = {}
        for node in present:
            best = {surest[child] for child in graph.successors(node) if child in present}
            several = 1 - math.prod(1 - own[label] for label in sorted(best, key=lambda i: (-own[i], i)))
            evidence[node] = max(own.get(node, 0.0), own[min(best)] if len(best) == 1 else several)
        for node in present:
            p = max(evidence[d] for d in below[node] & present)
            out[image, node] = (np.float32(p), node in own, node if node in own else surest[node])
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


def as_dict(result):
    image, label, *rest = (column.tolist() for column in result)
    return dict(zip(zip(image, label, strict=True), zip(*rest, strict=True), strict=True))


@given(problems())
def test_expansion_is_that_of_the_slow_reference_to_the_bit(problem):
    taxonomy, rows, _ = problem
    result = expand_labels(*columns(rows), ancestor_closure(taxonomy))
    found, expected = as_dict(result), slow_expand(taxonomy, rows)
    assert list(found) == list(expected)
    assert found == expected


@given(problems(), st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_rows_and_the_images_of_a_call_change_no_bit(problem, random, cut):
    taxonomy, rows, _ = problem
    closure = ancestor_closure(taxonomy)
    whole = expand_labels(*columns(rows), closure)
    shuffled = random.sample(rows, len(rows))
    parts = [
        expand_labels(*columns([row for row in shuffled if (row[0] < cut) == first]), closure)
        for first in (True, False)
    ]
    for column, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(column, np.concatenate(pieces))


@given(problems(), st.data())
def test_leaving_ancestors_out_takes_their_rows_and_nothing_else(problem, data):
    taxonomy, rows, _ = problem
    closure = ancestor_closure(taxonomy)
    n = taxonomy.num_categories
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    everything, some = (expand_labels(*columns(rows), closure, keep=mask) for mask in (None, keep))
    stays = everything.asserted | keep[everything.label]
    for column, fewer in zip(everything, some, strict=True):
        np.testing.assert_array_equal(column[stays], fewer)


@pytest.mark.parametrize("many", [63, 64, 65, 200])
def test_images_of_many_labels_are_those_of_the_slow_reference(many):
    rng = np.random.default_rng(many)
    n = 300
    edges = {(c, int(rng.integers(c))) for c in range(1, n) for _ in range(1 + (c % 7 == 0))}
    taxonomy = build_taxonomy(
        [Category(f"{i:03d}") for i in range(n)], [Edge(f"{c:03d}", f"{p:03d}") for c, p in sorted(edges)], origin="t"
    )
    p = np.round(rng.random((2, n)), 1).astype(np.float32)  # many are as sure as each other
    rows = [(image, int(i), float(p[image, i])) for image in (0, 1) for i in rng.permutation(n)[:many]]
    assert as_dict(expand_labels(*columns(rows), ancestor_closure(taxonomy))) == slow_expand(taxonomy, rows)


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


def test_what_is_no_animal_is_no_dog(animals):
    image, label = (
        np.array(column) for column in ([5, 2, 5], [animals.index_of(i) for i in ("wolf", "cat", "canine")])
    )
    images, labels = expand_negatives(image, label, ancestor_closure(animals))
    found = [(i, animals.ids[n]) for i, n in zip(images.tolist(), labels.tolist(), strict=True)]
    assert found == [(2, "cat"), (5, "canine"), (5, "dog"), (5, "wolf")]
    assert (images.dtype, labels.dtype) == (np.int64, np.int32)


@given(problems())
def test_negatives_are_those_of_the_slow_reference(problem):
    taxonomy, rows, _ = problem
    image, label, _ = columns([*rows, *rows[:3]])  # some twice
    graph = taxonomy.to_networkx()
    expected = {
        (i, taxonomy.index_of(below))
        for i, n in zip(image.tolist(), label.tolist(), strict=True)
        for below in (taxonomy.ids[n], *nx.descendants(graph, taxonomy.ids[n]))
    }
    images, labels = expand_negatives(image, label, ancestor_closure(taxonomy))
    assert list(zip(images.tolist(), labels.tolist(), strict=True)) == sorted(expected)


def test_negatives_out_of_range_are_refused(animals):
    closure = ancestor_closure(animals)
    with pytest.raises(ValueError, match=r"labels in \[0, 8\)"):
        expand_negatives(np.array([0]), np.array([8]), closure)
    with pytest.raises(ValueError, match="two columns of one length"):
        expand_negatives(np.array([0, 1]), np.array([4]), closure)


def test_columns_may_be_views_of_other_arrays(animals):
    closure = ancestor_closure(animals)
    image, label, probability = columns([(0, 3, 0.5), (0, 5, 0.25), (1, 5, 0.5), (2, 1, 0.5)])
    padded = [np.repeat(column, 2)[::2] for column in (image, label, probability)]
    read_only = [column.copy() for column in (image, label, probability)]
    for column in read_only:
        column.setflags(write=False)
    expected = expand_labels(image, label, probability, closure)
    for given_columns in (padded, read_only):
        for column, same in zip(expected, expand_labels(*given_columns, closure), strict=True):
            np.testing.assert_array_equal(column, same)


def test_importing_the_taxonomy_or_the_loader_does_not_import_numba():
    code = "import sys, openjft.taxonomy, openjft.loaders; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_numba_the_error_says_what_to_install(animals, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for module in ("_kernels", "_compiled"):
        monkeypatch.delitem(sys.modules, f"openjft.taxonomy.{module}", raising=False)
        monkeypatch.delattr(openjft.taxonomy, module, raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"needs numba.*pip install 'openjft\[pipeline\]'") as caught:
        expand(animals, [(0, "dog", 0.5)])
    assert caught.value.name == "numba"


def test_where_no_cache_can_be_written_the_kernels_are_compiled_all_the_same(monkeypatch):
    from numba.core import caching

    from openjft.taxonomy._compiled import compiled

    refused = []

    def no_place(*args):
        refused.append(args)
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(caching.FunctionCache, "__init__", no_place)
    add_one = compiled("int64(int64)")(lambda x: x + 1)
    assert add_one(41) == 42
    assert len(refused) == 1
