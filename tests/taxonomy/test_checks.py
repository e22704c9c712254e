"""Every check names the line, and all mistakes are found at once."""

import pytest

from openjft.taxonomy import Category, CycleError, Draft, Edge, TaxonomyError, UnknownCategoryError, build_draft, check
from openjft.taxonomy.checks import find_errors


def draft(ids, edges=(), origin="f.csv"):
    categories = [c if isinstance(c, Category) else Category(c) for c in ids]
    return Draft(tuple(categories), tuple(Edge(*edge) for edge in edges), origin)


def found(a_draft):
    return [(finding.kind, str(finding)) for finding in check(a_draft)]


CASES = [
    (draft([]), "no_category", "f.csv: expected at least one category, found none. Is it the right file?"),
    (
        draft([Category("a", line=2), Category("", "thing", line=3)]),
        "empty_id",
        "f.csv:3: expected the id of a category, found none. Give it one, or remove the row",
    ),
    (
        draft([Category("a", line=2), Category("a", line=5)]),
        "duplicate_category",
        "f.csv:5: category 'a' stands twice (first in line 2). Remove one of the rows",
    ),
    (
        draft([Category("a", line=2), Category("a", line=5, file="g.csv")]),
        "duplicate_category",
        "g.csv:5: category 'a' stands twice (first in f.csv:2). Remove one of the rows",
    ),
    (
        draft([Category("a", line=2), Category("b", aliases=("a",), line=3)]),
        "duplicate_alias",
        (
            "f.csv:3: alias 'a' of category 'b' is the id of another category (line 2). An id means one "
            "category: remove the alias"
        ),
    ),
    (
        draft([Category("a", aliases=("x",), line=2), Category("b", aliases=("x",), line=3)]),
        "duplicate_alias",
        (
            "f.csv:3: alias 'x' of category 'b' is an alias of category 'a' too (line 2). An id means one "
            "category: remove the alias"
        ),
    ),
    (
        draft([Category("a", aliases=("a",), line=2)]),
        "duplicate_alias",
        "f.csv:2: alias 'a' of category 'a' is its own id. An id means one category: remove the alias",
    ),
    (draft("ab", [("a", "a", 7)]), "self_edge", "f.csv:7: category 'a' is its own parent. Remove this edge"),
    (
        draft(["dog", "animal"], [("dog", "animl", 4)]),
        "unknown_id",
        (
            "f.csv:4: expected the edge 'dog' -> 'animl' between known categories, found no category 'animl'. "
            "Did you mean 'animal'? Add a row for it, or remove the edge"
        ),
    ),
    (
        draft("ab", [("a", "b", 2), ("a", "b", 5)]),
        "duplicate_edge",
        "f.csv:5: the edge 'a' -> 'b' stands twice (first in line 2). Remove one of them",
    ),
    (
        draft([Category("n1", "cat"), "n2", "n3"], [("n2", "n3", 3), ("n1", "n2", 4), ("n3", "n1", 5)]),
        "cycle",
        (
            "f.csv:3: category n1 (cat) is its own ancestor via n1 (cat) -> n2 -> n3 -> n1 (cat) (lines 4, 3, 5). "
            "Remove one of these edges"
        ),
    ),
    (
        draft("ab", [("a", "b"), ("b", "a")]),
        "cycle",
        "f.csv: category a is its own ancestor via a -> b -> a. Remove one of these edges",
    ),
    (
        draft("ab", [("a", "b", 2), ("b", "a", 9, "g.csv")]),
        "cycle",
        "f.csv:2: category a is its own ancestor via a -> b -> a (f.csv:2, g.csv:9). Remove one of these edges",
    ),
    (
        draft([Category("a", "A"), "b", "c", "d", "e"], [("c", "a"), ("d", "b"), ("e", "b")]),
        "several_roots",
        "f.csv: 2 roots have children: b with 2 below, a (A) with 1 below",
    ),
    (
        draft(["a", "b", Category("c", "rock", line=4)], [("a", "b")]),
        "orphan",
        "f.csv:4: category c (rock) has no parent and no child",
    ),
    (
        draft([Category("a", "A", line=2), Category("b", line=3)], [("a", "b")]),
        "no_name",
        "f.csv:3: category 'b' has no name, unlike others: its id stands for it",
    ),
    (
        draft([Category("n1", "Crane", line=2), Category("n2", "hoist", ("crane", "CRANE"), line=3)]),
        "shared_name",
        "f.csv:2: 'crane' is the name of 2 categories: n1 (line 2), n2 (line 3)",
    ),
]


@pytest.mark.parametrize(("a_draft", "kind", "message"), CASES)
def test_a_check_names_the_place_what_was_found_and_what_to_do(a_draft, kind, message):
    assert (kind, message) in found(a_draft)


@pytest.mark.parametrize(("a_draft", "kind", "message"), CASES)
def test_errors_stop_the_build_with_the_same_words_and_notes_do_not(a_draft, kind, message):
    if not find_errors(a_draft):
        build_draft(a_draft)
        return
    classes = {"cycle": CycleError, "unknown_id": UnknownCategoryError}
    with pytest.raises(TaxonomyError) as caught:
        build_draft(a_draft)
    assert type(caught.value) is classes.get(kind, TaxonomyError)
    assert str(caught.value) == message


def test_a_sound_hierarchy_has_no_findings():
    sound = draft([Category("a", "A"), Category("b", "B"), Category("c", "C")], [("b", "a"), ("c", "a"), ("c", "b")])
    assert check(sound) == []


def test_a_plain_list_has_neither_roots_nor_orphans_to_note():
    assert check(draft("abc")) == []


MANY = draft(
    [
        Category("a", line=2),
        Category("b", line=3),
        Category("c", line=6),
        Category("c", line=8),
        Category("d", line=9),
        Category("e", line=11),
    ],
    [("a", "b", 2), ("b", "a", 3), ("c", "zzz", 6), ("c", "c", 7), ("e", "d", 9), ("e", "d", 10), ("d", "e", 12)],
)


def test_all_errors_are_found_in_the_order_of_the_file():
    assert [(finding.kind, finding.place) for finding in check(MANY) if finding.severity == "error"] == [
        ("cycle", "f.csv:2"),
        ("unknown_id", "f.csv:6"),
        ("self_edge", "f.csv:7"),
        ("duplicate_category", "f.csv:8"),
        ("cycle", "f.csv:9"),
        ("duplicate_edge", "f.csv:10"),
    ]


def test_the_build_tells_the_first_error_and_how_to_see_the_others():
    with pytest.raises(CycleError) as caught:
        build_draft(MANY)
    assert str(caught.value) == (
        "f.csv:2: category a is its own ancestor via a -> b -> a (lines 2, 3). Remove one of these edges\n"
        "and 5 more mistakes; `openjft taxonomy check f.csv` lists them"
    )


def test_errors_go_file_by_file():
    two_files = draft(
        [Category("a", line=9), Category("b", line=8)], [("b", "x", 1, "g.csv"), ("a", "a", 2, "g.csv"), ("a", "y", 9)]
    )
    assert [finding.place for finding in find_errors(two_files)] == ["f.csv:9", "g.csv:1", "g.csv:2"]


def test_each_component_is_reported_once_with_its_shortest_cycle_and_its_size():
    knot = draft("abcdexy", [(*pair, i) for i, pair in enumerate(["ab", "bc", "cd", "da", "ca", "de", "ed", "xy"], 2)])
    assert [str(finding) for finding in find_errors(knot)] == [
        (
            "f.csv:2: category a is its own ancestor via a -> b -> c -> a (lines 2, 3, 6); 2 more categories lie "
            "on cycles with it. Remove one of these edges"
        )
    ]


def test_a_very_long_cycle_is_shown_in_part():
    ids = [f"c{i}" for i in range(1000)]
    ring = draft(ids, [(ids[i], ids[i - 1], i + 2) for i in range(1000)])
    (finding,) = find_errors(ring)
    assert "... 901 more ..." in finding.message
    assert len(finding.message) < 2000


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("N02", "n02"),  # another case
        ("old-2", "n02"),  # an alias, in another case
        ("Dog", "n02"),  # a name
        ("n0x2", "n02"),  # a letter too many
        ("0n2", "n02"),  # two letters swapped
        ("animal kingdom", "animal_kingdom"),
        ("zebra", None),
        ("", None),
    ],
)
def test_an_unknown_id_is_answered_with_what_may_be_meant(unknown, meant):
    categories = [Category("n02", "dog", aliases=("OLD-2",)), "animal_kingdom", "q"]
    (finding,) = [f for f in find_errors(draft(categories, [("q", unknown)])) if f.kind == "unknown_id"]
    hint = f"Did you mean {meant!r}? " if meant else ""
    assert f"found no category {unknown!r}. {hint}Add a row" in finding.message


def test_each_use_of_an_unknown_id_is_reported():
    errors = find_errors(draft("abc", [("a", "x", 2), ("b", "x", 3), ("x", "y", 4)]))
    assert [finding.place for finding in errors] == ["f.csv:2", "f.csv:3", "f.csv:4", "f.csv:4"]


def test_roots_are_counted_by_what_lies_below_each_diamonds_once():
    two = draft("abcdrsx", ["br", "cr", "db", "dc", "ds", "as", "xd"])
    (note,) = [finding for finding in check(two) if finding.kind == "several_roots"]
    assert note.message == "2 roots have children: r with 4 below, s with 3 below"


def test_a_name_of_very_many_categories_is_listed_in_part():
    (note,) = check(draft([Category(f"n{i:02d}", "crane") for i in range(25)]))
    assert note.message.endswith("n19, and 5 more")
    assert "25 categories" in note.message


def test_a_category_whose_only_edge_is_wrong_is_no_orphan():
    kinds = [finding.kind for finding in check(draft("abcd", [("a", "b"), ("c", "zzz"), ("d", "d")]))]
    assert kinds == ["unknown_id", "self_edge"]
