"""The figures of a hierarchy, and looking around in it."""

import hypothesis.strategies as st
import networkx as nx
import pytest
from hypothesis import given

from openjft.taxonomy import Branch, Category, Edge, UnknownCategoryError, build_taxonomy, find_category, statistics
from openjft.taxonomy.find import count_paths_to_roots, paths_to_roots, reach


def build(ids, edges=()):
    return build_taxonomy([Category(i) for i in ids], [Edge(*edge) for edge in edges], origin="t")


def test_the_figures_of_a_small_hierarchy(animals):
    figures = statistics(animals)
    assert (figures.categories, figures.edges, figures.roots, figures.leaves, figures.orphans) == (8, 8, 1, 4, 0)
    assert (figures.depth, figures.mean_leaf_depth) == (3, (3 + 3 + 3 + 1) / 4)
    assert (figures.largest_fan_out, figures.largest_fan_out_of) == (2, "animal")
    assert (figures.several_parents, figures.most_parents, figures.most_parents_of) == (1, 2, "dog")
    assert (figures.mean_ancestors, figures.max_ancestors, figures.closure_pairs) == (16 / 8, 4, 16)
    assert figures.shared_names == 1  # hound
    assert figures.levels == (1, 2, 2, 3)


def test_named_branches_are_measured_in_the_order_in_which_they_are_asked_for(animals):
    figures = statistics(animals, branches=["Domestic Animal", "canine", "dog"])
    assert figures.branches == (
        Branch("domestic", "domestic animal", 2, 2, 2),
        Branch("canine", "canine", 2, 2, 2),
        Branch("dog", "dog", 0, 0, 3),
    )
    with pytest.raises(UnknownCategoryError, match="found 'dgo'"):
        statistics(animals, branches=["dgo"])


def test_without_names_the_largest_branches_are_taken_below_those_that_hold_nearly_all():
    ids = ["top", "most", *(f"{k}{i}" for k, size in (("x", 4), ("y", 3), ("z", 2)) for i in range(size)), "rest"]
    edges = [("most", "top"), ("rest", "top"), ("x0", "most"), ("y0", "most"), ("z0", "most")]
    edges += [(f"{k}{i}", f"{k}0") for k, size in (("x", 4), ("y", 3), ("z", 2)) for i in range(1, size)]
    figures = statistics(build(ids, edges))
    assert [(branch.id, branch.below) for branch in figures.branches] == [("x0", 3), ("y0", 2), ("z0", 1)]


def test_of_a_forest_the_largest_trees_are_taken_ten_at_most():
    ids = [f"{tree:02d}-{i}" for tree in range(12) for i in range(tree + 1)]
    edges = [(i, f"{i[:2]}-0") for i in ids if not i.endswith("-0")]
    figures = statistics(build(ids, edges))
    assert [branch.below for branch in figures.branches] == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert figures.orphans == 1


def test_a_flat_tree_is_its_own_branch():
    assert [b.id for b in statistics(build("abc", [("b", "a"), ("c", "a")])).branches] == ["a"]


def test_a_plain_list_has_no_branches_and_nothing_that_is_largest():
    figures = statistics(build("abc"))
    assert (figures.branches, figures.largest_fan_out_of, figures.most_parents_of) == ((), None, None)
    assert (figures.depth, figures.orphans, figures.levels) == (0, 0, (3,))


@pytest.mark.parametrize("text", ["dog", "DOG", "domestic animal", "beast"])
def test_a_category_is_found_by_id_name_or_synonym(animals, text):
    assert animals.ids[find_category(animals, text)] in {"dog", "domestic", "animal"}


def test_an_alias_finds_its_category():
    taxonomy = build_taxonomy([Category("a", aliases=("7",))], [], origin="t")
    assert find_category(taxonomy, "7") == 0


def test_a_name_of_several_categories_is_answered_with_their_ids(animals):
    with pytest.raises(UnknownCategoryError) as caught:
        find_category(animals, "HOUND")
    assert str(caught.value) == (
        "'HOUND' is the name of 2 categories. Give the id of the one that is meant:\n  dog (dog)\n  wolf (wolf)"
    )


def test_an_unknown_name_is_answered_with_the_closest(animals):
    with pytest.raises(UnknownCategoryError, match=r"found 'wolff'\. Did you mean 'wolf'\?"):
        find_category(animals, "wolff")


@given(st.data())
def test_what_a_walk_comes_to_and_how_far_it_is_are_those_of_networkx(data):
    ids = [f"c{i:02d}" for i in range(10)]
    possible = [(ids[a], ids[b]) for a in range(10) for b in range(a)]
    taxonomy = build(ids, data.draw(st.lists(st.sampled_from(possible), unique=True)))
    start, most = data.draw(st.sampled_from(range(10))), data.draw(st.sampled_from([None, 1, 2]))
    graph = taxonomy.to_networkx()
    for lists, edges in ((taxonomy.children, graph), (taxonomy.parents, graph.reverse())):
        labels, distances = reach(lists, start, most=most)
        found = {ids[label]: distance for label, distance in zip(labels.tolist(), distances.tolist(), strict=True)}
        assert found | {ids[start]: 0} == nx.single_source_shortest_path_length(edges, ids[start], cutoff=most)
        assert distances.tolist() == sorted(distances.tolist())
    ways = [
        path
        for root in taxonomy.roots.tolist()
        for path in (nx.all_simple_paths(graph, ids[root], ids[start]) if root != start else [[ids[start]]])
    ]
    assert count_paths_to_roots(taxonomy, start) == len(ways)
    shown = [[ids[label] for label in reversed(path)] for path in paths_to_roots(taxonomy, start, most=1000)]
    assert sorted(shown) == sorted(ways)


def test_a_tower_of_diamonds_has_more_ways_than_can_be_walked_and_they_are_counted():
    edges = [
        edge
        for i in range(80)
        for edge in ((f"b{i}", f"a{i}"), (f"c{i}", f"a{i}"), (f"a{i + 1}", f"b{i}"), (f"a{i + 1}", f"c{i}"))
    ]
    taxonomy = build(sorted({i for edge in edges for i in edge}), edges)
    lowest = taxonomy.index_of("a80")
    assert count_paths_to_roots(taxonomy, lowest) == 2**80
    assert len(paths_to_roots(taxonomy, lowest, most=3)) == 3
