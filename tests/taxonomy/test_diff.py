"""What changed between two hierarchies, matched by id or alias."""

from openjft.taxonomy import Category, Draft, Edge, build_draft, build_mended, build_taxonomy
from openjft.taxonomy.diff import diff


def build(categories, edges=()):
    made = [c if isinstance(c, Category) else Category(c) for c in categories]
    return build_taxonomy(made, [Edge(*edge) for edge in edges], origin="t")


def test_a_hierarchy_does_not_differ_from_itself(animals):
    same = diff(animals, animals)
    assert same.equal
    assert same.same == animals.num_categories


def test_added_and_removed_categories_are_listed_by_id_and_name():
    difference = diff(build([Category("a"), Category("b", "bee")]), build([Category("a"), Category("c", "sea")]))
    assert difference.only_a == (("b", "bee"),)
    assert difference.only_b == (("c", "sea"),)
    assert difference.same == 1
    assert not difference.equal


def test_names_definitions_synonyms_and_aliases_are_compared():
    a = build([Category("a", "x", ("s",), "old", ("1",)), Category("b")])
    b = build([Category("a", "y", ("s", "t"), "new", ("1", "2")), Category("b")])
    difference = diff(a, b)
    assert difference.renamed == (("a", "name", "x", "y"),)
    assert difference.changed == (
        ("a", "definition", "old", "new"),
        ("a", "synonyms", ("s",), ("s", "t")),
        ("a", "aliases", ("1",), ("1", "2")),
    )
    assert difference.same == 1


def test_a_move_tells_the_parents_that_came_and_went():
    a = build("abcde", [("e", "a"), ("e", "b"), ("d", "a")])
    b = build("abce", [("e", "b"), ("e", "c")])
    assert diff(a, b).moved == (("e", "e", ("c",), ("a",)),)
    b = build("bcde", [("e", "b"), ("e", "c")])
    assert diff(a, b).moved == (("d", "d", (), ("a",)), ("e", "e", ("c",), ("a",)))


def test_a_new_id_is_no_new_category_where_an_alias_tells_the_old_one():
    a = build([Category("old", "thing"), "top", "low"], [("old", "top"), ("low", "old")])
    b = build([Category("new", "thing", aliases=("old",)), "top", "low"], [("new", "top"), ("low", "new")])
    for one, two, ids in ((a, b, ("old", "new")), (b, a, ("new", "old"))):
        difference = diff(one, two)
        assert difference.new_ids == (ids,)
        assert difference.moved == difference.only_a == difference.only_b == ()
        assert difference.same == 2


def test_what_collapsing_merged_is_told_as_merged_and_the_other_way_round_as_split():
    draft = Draft(tuple(map(Category, "abcd")), (Edge("a", "b"), Edge("b", "a"), Edge("c", "b"), Edge("a", "d")), "t")
    collapsed = build_mended(draft, collapse=True).taxonomy
    apart = build_draft(Draft(draft.categories, (Edge("a", "b"), Edge("c", "b"), Edge("b", "d")), "t"))
    there, back = diff(apart, collapsed), diff(collapsed, apart)
    assert there.merged == (("b", "a"),)
    assert there.moved == (("a", "a", ("d",), ()),)  # c was below b, which is a now: no move
    assert back.split == (("b", "a"),)
    assert there.only_a == there.only_b == back.only_a == back.only_b == ()
