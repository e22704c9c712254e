"""Cycles become one category each: nothing that a label may name is lost, and all else keeps its place."""

import hypothesis.strategies as st
import networkx as nx
import pytest
from hypothesis import given

from openjft.taxonomy import (
    Category,
    Collapsed,
    Draft,
    Edge,
    TaxonomyError,
    ancestor_closure,
    build_draft,
    build_mended,
    collapse_cycles,
)


def draft(categories, edges):
    made = [c if isinstance(c, Category) else Category(c) for c in categories]
    return Draft(tuple(made), tuple(Edge(*edge) for edge in edges), "f.csv")


def test_a_cycle_becomes_its_first_listed_member_with_the_names_and_ids_of_the_others():
    mended, collapsed = collapse_cycles(
        draft(
            [
                Category("n9", "animal"),
                Category("n2", "dog", ("hound",), None, ("x2",)),
                Category("n1", "cur", ("dog", "mutt"), "a mongrel", ("x1",)),
                Category("n3"),
                Category("n4", "puppy"),
            ],
            [("n1", "n2", 2), ("n2", "n3", 3), ("n3", "n1", 4), ("n1", "n9", 5), ("n4", "n3", 6)],
        )
    )
    assert mended.categories == (
        Category("n9", "animal"),
        Category("n2", "dog", ("hound", "cur", "mutt", "n3"), "a mongrel", ("x2", "n1", "x1", "n3")),
        Category("n4", "puppy"),
    )
    assert mended.edges == (Edge("n2", "n9", 5), Edge("n4", "n2", 6))
    removed = Edge("n1", "n2", 2), Edge("n2", "n3", 3), Edge("n3", "n1", 4)
    assert collapsed == [Collapsed("n2", ("n1", "n3"), removed, ())]
    taxonomy = build_draft(mended)
    assert {taxonomy.index_of(text) for text in ("n1", "n2", "n3", "x1", "x2")} == {0}


def test_edges_that_collapsing_makes_double_are_left_out_and_told():
    mended, collapsed = collapse_cycles(
        draft("abcd", [("a", "b", 2), ("b", "a", 3), ("c", "a", 4), ("c", "b", 5), ("a", "d", 6), ("b", "d", 7)])
    )
    assert mended.edges == (Edge("c", "a", 4), Edge("a", "d", 6))
    assert collapsed[0].doubled == (Edge("c", "b", 5), Edge("b", "d", 7))


def test_an_edge_that_the_file_itself_repeats_stays_a_mistake():
    twice = draft("abc", [("a", "b", 2), ("b", "a", 3), ("c", "b", 4), ("c", "b", 5)])
    assert collapse_cycles(twice)[0].edges == (Edge("c", "a", 4), Edge("c", "a", 5))
    with pytest.raises(TaxonomyError) as caught:
        build_mended(twice, collapse=True)
    assert str(caught.value) == "f.csv:5: the edge 'c' -> 'b' stands twice (first in line 4). Remove one of them"


def test_an_edge_to_itself_is_removed():
    mended, collapsed = collapse_cycles(draft("ab", [("a", "a", 2), ("b", "a", 3), ("a", "a", 4)]))
    assert mended.edges == (Edge("b", "a", 3),)
    assert collapsed == [Collapsed("a", (), (Edge("a", "a", 2), Edge("a", "a", 4)), ())]


def test_an_edge_from_a_cycles_member_to_itself_goes_with_the_cycle():
    mended, collapsed = collapse_cycles(draft("ab", [("a", "b", 2), ("b", "b", 3), ("b", "a", 4)]))
    assert mended.edges == ()
    assert collapsed == [Collapsed("a", ("b",), (Edge("a", "b", 2), Edge("b", "b", 3), Edge("b", "a", 4)), ())]


def test_two_cycles_in_a_row_become_two_categories():
    mended, collapsed = collapse_cycles(draft("abcd", [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c")]))
    assert [(item.survivor, item.merged) for item in collapsed] == [("a", ("b",)), ("c", ("d",))]
    assert mended.edges == (Edge("a", "c"),)


def test_a_draft_without_a_cycle_is_left_as_it_is():
    sound = draft("ab", [("a", "b")])
    assert collapse_cycles(sound) == (sound, [])
    assert build_mended(sound, collapse=True).collapsed == ()


def test_repeated_rows_and_unknown_ids_stay_for_the_checks():
    wrong = draft("abab", [("a", "b"), ("b", "a"), ("a", "zz"), ("zz", "a")])
    mended, _ = collapse_cycles(wrong)
    assert [category.id for category in mended.categories] == ["a", "a", "b"]
    assert mended.edges == (Edge("a", "zz"), Edge("zz", "a"))
    with pytest.raises(TaxonomyError, match="category 'a' stands twice"):
        build_mended(wrong, collapse=True)


pairs = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40, unique=True)


@given(pairs)
def test_whatever_the_edges_the_result_is_sound_and_no_id_or_ancestor_is_lost(edges):
    ids = [f"c{i}" for i in range(12)]
    built = build_mended(draft(ids, [(ids[a], ids[b]) for a, b in edges]), collapse=True)
    taxonomy, closure = built.taxonomy, ancestor_closure(built.taxonomy)
    graph = nx.DiGraph(edges)
    graph.add_nodes_from(range(12))
    same = {frozenset(ids[i] for i in part) for part in nx.strongly_connected_components(graph)}
    labels = [taxonomy.index_of(text) for text in ids]
    assert {frozenset(i for i, label in zip(ids, labels, strict=True) if label == own) for own in labels} == same
    for i in range(12):
        expected = {labels[j] for j in nx.descendants(graph, i)} - {labels[i]}  # edges go up
        assert set(closure.of(labels[i]).tolist()) == expected


@given(pairs)
def test_every_edge_is_kept_removed_or_doubled(edges):
    ids = [f"c{i}" for i in range(12)]
    before = draft(ids, [(ids[a], ids[b], line) for line, (a, b) in enumerate(edges)])
    mended, collapsed = collapse_cycles(before)
    lines = [edge.line for edge in mended.edges]
    lines += [edge.line for item in collapsed for edge in (*item.removed, *item.doubled)]
    assert sorted(lines) == list(range(len(edges)))
    assert len(mended.categories) + sum(len(item.merged) for item in collapsed) == 12
