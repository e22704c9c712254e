import numpy as np
import pytest

from openjft.taxonomy import Category, Edge, TaxonomyError, UnknownCategoryError, build_taxonomy
from openjft.taxonomy.readers.id_list import parse_ids, read_ids
from openjft.taxonomy.roles import keep_mask, resolve, resolve_known, wordnet_roles

# Labels: n01 animal 0, n02 pet 1, n03 darling 2, n04 dog 3
TAXONOMY = build_taxonomy(
    [
        Category("n01", "animal", ("beast",)),
        Category("n02", "pet", definition="an animal kept for company", aliases=("oewn-2",)),
        Category("n03", "darling", ("pet",), "a special loved one"),
        Category("n04", "dog"),
    ],
    [Edge("n02", "n01"), Edge("n04", "n02")],
    origin="test",
)


def test_a_list_is_read_without_its_comments(tmp_path):
    path = tmp_path / "roles.txt"
    path.write_text("# roles\nn02\tpet\tsomebody's\n\n  causal agent   # acts\n/m/0#1\nn02\n", encoding="utf-8-sig")
    assert read_ids(str(path)) == ("n02", "causal agent", "/m/0#1")


@pytest.mark.parametrize("text", ["# nothing\n", "\n\n# still nothing"])
def test_a_list_without_ids_is_an_error(tmp_path, text):
    path = tmp_path / "roles.txt"
    path.write_text(text)
    with pytest.raises(TaxonomyError, match=r"roles\.txt: expected one id a line, found none"):
        read_ids(str(path))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(TaxonomyError, match=r"none\.txt"):
        read_ids(str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("entries", "labels"),
    [
        ([], []),
        (["n04", "n01"], [0, 3]),
        (["oewn-2"], [1]),
        (["Beast", "n01", "DOG"], [0, 3]),
    ],
)
def test_ids_aliases_and_names_become_sorted_labels(entries, labels):
    found = resolve(TAXONOMY, entries)
    assert found.dtype == np.int32
    assert found.tolist() == labels


def test_all_mistakes_are_told_with_what_may_be_meant():
    with pytest.raises(UnknownCategoryError) as caught:
        resolve(TAXONOMY, ["n04", "PET", "n05", "anmal", "?"], origin="roles.txt")
    assert str(caught.value) == (
        "roles.txt: expected ids, aliases or unambiguous names of the 4 categories; 4 of 5 entries are none:\n"
        "  'PET' is the name of several categories. Give one of 'n02' (an animal kept for company), "
        "'n03' (a special loved one)\n"
        "  'n05' is no category. Did you mean 'n04'?\n"
        "  'anmal' is no category. Did you mean 'animal'?\n"
        "  '?' is no category."
    )


def test_a_long_list_of_mistakes_is_cut():
    with pytest.raises(UnknownCategoryError, match=r"(?s)30 of 30 .* and 20 more"):
        resolve(TAXONOMY, [f"unknown-{i}" for i in range(30)])


def test_of_a_list_for_a_larger_hierarchy_the_known_ids_count():
    assert resolve_known(TAXONOMY, ["n09", "oewn-2"]).tolist() == [1]
    assert resolve_known(TAXONOMY, []).tolist() == []
    with pytest.raises(UnknownCategoryError, match="found none of the 2 ids"):
        resolve_known(TAXONOMY, ["n09", "pet"])


def test_what_is_dropped_is_not_kept():
    assert keep_mask(4, np.array([1]), np.array([1, 3])).tolist() == [True, False, True, False]
    assert keep_mask(2).all()


def test_the_list_for_wordnet_holds_wordnet_ids_once_each_with_a_name_and_a_reason():
    ids = wordnet_roles()
    assert 30 <= len(ids) <= 80
    assert all(len(i) == 9 and i[0] == "n" and i[1:].isdigit() for i in ids)
    assert {"n00007347", "n03076708", "n01318894"} <= set(ids)  # causal agent, commodity, pet
    from importlib import resources

    text = resources.files("openjft.taxonomy").joinpath("wordnet_roles.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    assert all(len(row) == 3 and all(row) for row in rows)
    assert len(rows) == len(ids) == len(parse_ids(text))
