import pytest

from openjft.taxonomy import Category, Edge, TaxonomyError, read_draft, read_taxonomy
from openjft.taxonomy.readers import READERS, Source

HEADER = "category_index\tcategory_id\tindex_of_parent_category\tcategory name\n"
TEXT = HEADER + "0\tn00002684\t-1\tobject, physical object\n1\t/m/0bt9lr\t2\tdog\n2\tn00015388\t0\tanimal, beast\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_parents_go_by_index_and_the_index_is_an_alias(tmp_path):
    path = write(tmp_path / "dictionary_and_semantic_hierarchy.txt", TEXT)
    draft = read_draft(path)
    assert draft.categories == (
        Category("n00002684", "object", ("physical object",), aliases=("0",), line=2),
        Category("/m/0bt9lr", "dog", aliases=("1",), line=3),
        Category("n00015388", "animal", ("beast",), aliases=("2",), line=4),
    )
    assert draft.edges == (Edge("/m/0bt9lr", "n00015388", 3), Edge("n00015388", "n00002684", 4))
    taxonomy = read_taxonomy(path)
    assert taxonomy.ids[taxonomy.index_of("1")] == "/m/0bt9lr"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0\tn1\t7\ta\n", r"x\.txt:2: expected the category_index of a row, or -1, .* found '7'"),
        ("0\tn1\t\ta\n", r"x\.txt:2: expected the category_index of a row, or -1, .* found ''"),
        ("0\tn1\t-1\ta\n0\tn2\t-1\tb\n", r"x\.txt:3: expected each category_index once, found '0' for 'n2'"),
        ("0\tn1\t-1\ta\n1\tn1\t-1\tb\n", r"x\.txt:3: .*'n1' stands twice"),
        ("0\tn1\t0\ta\n", r"x\.txt:2: .*'n1' is its own parent"),
        ("0\tn1\t-1\n", r"x\.txt:2: expected 4 fields"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, rows, message):
    with pytest.raises(TaxonomyError, match=message):
        read_taxonomy(write(tmp_path / "x.txt", HEADER + rows))


def test_a_table_without_its_columns_is_another_format(tmp_path):
    path = write(tmp_path / "x.tsv", "child\tparent\nb\ta\n")
    assert not READERS["tencent"].recognise(Source(path))
    assert not READERS["tencent"].recognise(Source(str(tmp_path)))
    with pytest.raises(TaxonomyError, match=r"category_index, .* missing"):
        read_draft(path, "tencent")
