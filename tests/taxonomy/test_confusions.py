"""Names inside longer names of things that they are not."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy
from openjft.taxonomy.confusions import CONFUSIONS, find_confusions


def pairs(taxonomy, **options):
    table = find_confusions(taxonomy, **options)
    assert table.schema.equals(CONFUSIONS)
    return [(row["name"], row["inside_name"]) for row in table.to_pylist()]


def test_a_tortoise_stands_inside_the_tortoise_shell():
    categories = [
        Category("reptile"),
        Category("tortoise"),
        Category("shell"),
        Category("x", "tortoise-shell", ("Tortoise shell cat",)),
        Category("y", "giant tortoise"),
        Category("z", "tortoiseshell"),
    ]
    edges = [Edge("tortoise", "reptile"), Edge("y", "tortoise")]
    taxonomy = build_taxonomy(categories, edges, origin="test")
    assert pairs(taxonomy) == [
        ("shell", "Tortoise shell cat"),
        ("shell", "tortoise-shell"),
        ("tortoise", "Tortoise shell cat"),
        ("tortoise", "tortoise-shell"),
    ]
    assert pairs(taxonomy, closure=ancestor_closure(taxonomy)) == pairs(taxonomy)


def test_a_name_of_several_categories_confuses_only_where_none_of_them_is_kin():
    categories = [Category("crane.bird", "crane"), Category("crane.lift", "crane"), Category("z", "tower crane")]
    assert pairs(build_taxonomy(categories, [Edge("z", "crane.lift")], origin="test")) == []
    assert len(pairs(build_taxonomy(categories, [], origin="test"))) == 2


def test_a_taxonomy_without_long_names_has_no_confusion():
    assert pairs(build_taxonomy([Category("a b"), Category("c")], [], origin="test")) == []
    assert pairs(build_taxonomy([Category("!")], [], origin="test")) == []


WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(" ".join)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=2, unique=True), min_size=1, max_size=7), st.data())
def test_it_finds_what_a_slow_search_finds(names, data):
    categories = [Category(f"c{i}", own[0], tuple(own[1:])) for i, own in enumerate(names)]
    possible = list(itertools.combinations(range(len(names)), 2))
    chosen = data.draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    taxonomy = build_taxonomy(categories, [Edge(f"c{j}", f"c{i}") for i, j in chosen], origin="test")
    closure = ancestor_closure(taxonomy)

    def kin(a, b):
        return a == b or a in closure.of(b) or b in closure.of(a)

    expected = []
    for a, b in itertools.product(range(len(names)), repeat=2):
        for short, long in itertools.product(names[a], names[b]):
            if f" {short} " not in f" {long} " or len(short) >= len(long):
                continue
            if not any(kin(other, b) for other in range(len(names)) if short in names[other]):
                expected.append((a, short, b, long))
    found = find_confusions(taxonomy).to_pylist()
    assert [(r["label"], r["name"], r["inside_label"], r["inside_name"]) for r in found] == sorted(
        expected, key=lambda r: (r[0], r[2], r[1], r[3])
    )
