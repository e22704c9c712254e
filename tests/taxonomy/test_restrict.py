"""A hierarchy cut down to a list keeps the listed categories, all above them, and the edges between."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from openjft.taxonomy import Category, Draft, Edge, TaxonomyError, UnknownCategoryError, build_mended, build_taxonomy
from openjft.taxonomy.restrict import restrict, unknown_ids


def edges(taxonomy):
    return {
        (category_id, taxonomy.ids[parent])
        for label, category_id in enumerate(taxonomy.ids)
        for parent in taxonomy.parents.of(label).tolist()
    }


def test_the_listed_categories_and_their_ancestors_stay(animals):
    cut = restrict(animals, ["dog", "dog"])
    assert cut.ids == ("animal", "canine", "dog", "domestic", "entity")
    assert edges(cut) == {
        ("animal", "entity"), ("canine", "animal"), ("domestic", "animal"), ("dog", "canine"), ("dog", "domestic"),
    }  # fmt: skip
    assert cut.names[3] == "domestic animal"
    assert cut.synonyms[2] == ("Hound",)
    assert cut.definitions[0] == "a living thing that moves"


def test_without_ancestors_only_the_listed_categories_stay(animals):
    cut = restrict(animals, ["wolf", "entity", "canine"], ancestors=False)
    assert edges(cut) == {("wolf", "canine")}
    assert cut.ids == ("canine", "entity", "wolf")


def test_an_alias_stands_for_its_category():
    taxonomy = build_taxonomy([Category("a", aliases=("7",)), Category("b")], [Edge("a", "b")], origin="f")
    assert restrict(taxonomy, ["7"]).ids == ("a", "b")
    assert restrict(taxonomy, ["7"]).aliases == (("7",), ())


def test_unknown_ids_are_an_error_with_their_number_and_the_first_few(animals):
    ids = ["dog", *(f"x{i}" for i in range(7)), "x0"]
    with pytest.raises(UnknownCategoryError) as caught:
        restrict(animals, ids)
    assert str(caught.value) == (
        "expected ids of the hierarchy's 8 categories, found 7 of 8 unknown: 'x0', 'x1', 'x2', 'x3', 'x4' and 2 more. "
        "Remove them from the list, or let them be ignored"
    )
    assert unknown_ids(animals, ids) == ("x0", "x1", "x2", "x3", "x4", "x5", "x6")
    assert restrict(animals, ids, missing="ignore") == restrict(animals, ["dog"])


@pytest.mark.parametrize("ids", [["x"], []])
def test_a_list_of_another_hierarchy_is_an_error_even_where_unknown_ids_are_ignored(animals, ids):
    with pytest.raises(
        TaxonomyError, match=r"such as 'animal'\), found none of them among .* Is it the list of another"
    ):
        restrict(animals, ids, missing="ignore")


def test_a_draft_is_cut_down_after_its_cycles_are_collapsed():
    draft = Draft((Category("a"), Category("b"), Category("c")), (Edge("a", "b"), Edge("b", "a"), Edge("a", "c")), "f")
    built = build_mended(draft, collapse=True, only=["b", "zz"])
    assert built.taxonomy.ids == ("a", "c")
    assert built.unknown == ("zz",)
    assert [item.merged for item in built.collapsed] == [("b",)]


@given(st.data())
def test_all_that_is_above_a_listed_category_stays_and_nothing_else(data):
    ids = [f"c{i:02d}" for i in range(10)]
    possible = [(ids[a], ids[b]) for a in range(10) for b in range(a)]
    chosen = data.draw(st.lists(st.sampled_from(possible), unique=True))
    taxonomy = build_taxonomy(map(Category, ids), [Edge(*pair) for pair in chosen], origin="t")
    listed = data.draw(st.lists(st.sampled_from(ids), min_size=1))
    kept = set(listed)
    while more := {parent for child, parent in chosen if child in kept} - kept:
        kept |= more
    cut = restrict(taxonomy, listed)
    assert set(cut.ids) == kept
    assert edges(cut) == {pair for pair in chosen if set(pair) <= kept}
