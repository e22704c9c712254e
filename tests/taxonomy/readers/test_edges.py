"""Tables of edges and of categories: CSV and TSV."""

import pytest

from openjft.taxonomy import Category, Edge, ReadOptions, TaxonomyError, UnknownCategoryError, read_draft, read_taxonomy


def parents(taxonomy):
    return {
        category_id: [taxonomy.ids[p] for p in taxonomy.parents.of(label)]
        for label, category_id in enumerate(taxonomy.ids)
    }


def test_edges_are_read_with_names_explicit_roots_and_lines(write):
    path = write('child,parent,child_name\ndog,animal,"dog, domestic"\n\nanimal,,Animal\nrock,,\n')
    draft = read_draft(path)
    assert draft.categories == (
        Category("dog", "dog, domestic", line=2),
        Category("animal", "Animal", line=4),
        Category("rock", line=5),
    )
    assert draft.edges == (Edge("dog", "animal", 2),)
    taxonomy = read_taxonomy(path)
    assert parents(taxonomy) == {"animal": [], "dog": ["animal"], "rock": []}
    assert taxonomy.names == ("Animal", "dog, domestic", "rock")


def test_a_parent_that_has_no_row_of_its_own_is_a_category_without_a_line(write):
    assert read_draft(write("child,parent\nb,a\n")).categories == (Category("b", line=2), Category("a"))


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ("fine_id,fine,coarse\n7,dog,animals\n", [Category("dog", "", (), None, ("7",), 2), Category("animals")]),
        ("Child;Parent\ndog;animals\n", [Category("dog", line=2), Category("animals")]),
        ("parent_id\tchild_id\tweight\nanimals\tdog\t0.5\n", [Category("dog", line=2), Category("animals")]),
        ("subclass,superclass\ndog,animals\n", [Category("dog", line=2), Category("animals")]),
        ("category,supercategory\ndog,animals\n", [Category("dog", line=2), Category("animals")]),
        ("category,subcategory\nanimals,dog\n", [Category("dog", line=2), Category("animals")]),
        ("hyponym\thypernym\ndog\tanimals\n", [Category("dog", line=2), Category("animals")]),
        ("broader,narrower\nanimals,dog\n", [Category("dog", line=2), Category("animals")]),
        ("child,parent,child_id\ndog,animals,n1\n", [Category("dog", aliases=("n1",), line=2), Category("animals")]),
    ],
)
def test_the_usual_names_of_the_two_columns_are_known_and_other_columns_passed_over(write, text, categories):
    draft = read_draft(write(text))
    assert list(draft.categories) == categories
    assert draft.edges == (Edge("dog", "animals", 2),)


def test_categories_are_read_with_several_parents_and_all_that_is_told_of_them(write):
    text = (
        "id\tname\tparents\tsynonyms\taliases\tdefinition\n"
        'd\tdog\tc|p\thound|cur\tn1|7\t"man\'s" friend\n'
        "c\tcanine\t\t\t\t\n"
        "p\t\t\t\t\t\n"
    )
    draft = read_draft(write(text), "edges")
    assert draft.categories == (
        Category("d", "dog", ("hound", "cur"), '"man\'s" friend', ("n1", "7"), 2),
        Category("c", "canine", line=3),
        Category("p", line=4),
    )
    assert draft.edges == (Edge("d", "c", 2), Edge("d", "p", 2))


def test_one_parent_a_row_may_be_called_parent_or_parent_id(write):
    for column in ("parent", "parent_id", "Parents"):
        draft = read_draft(write(f"ID,Name,{column}\nd,Dog,a\na,Animal,\n"))
        assert draft.edges == (Edge("d", "a", 2),)
        assert draft.categories[0].name == "Dog"


def test_repeated_edges_roots_and_categories_are_kept_for_the_checks(write):
    draft = read_draft(write("child,parent\nb,a\nb,a\na,\na,\n"))
    assert [edge.line for edge in draft.edges] == [2, 3]
    assert [(category.id, category.line) for category in draft.categories] == [("b", 2), ("a", 4), ("a", 5)]
    draft = read_draft(write("id,name,parents\na,x,\na,y,\n"))
    assert [(category.id, category.line) for category in draft.categories] == [("a", 2), ("a", 3)]


def test_a_quoted_field_over_several_lines_keeps_the_line_where_its_row_begins(write):
    draft = read_draft(write('id,name,parents,definition\na,A,,"one\ntwo"\nb,B,a,\n'))
    assert [category.line for category in draft.categories] == [2, 4]
    assert draft.categories[0].definition == "one\ntwo"


def test_names_come_from_a_file_apart(write):
    names = write("id,name\na,Animal\nother,Other\n", "names.csv")
    draft = read_draft(write("child,parent,child_name\nb,a,Dog\n"), options=ReadOptions(names=names))
    assert [category.name for category in draft.categories] == ["Dog", "Animal"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("a,Animal,x\n", r"names.csv:1: expected an id and a name, found 3 fields. Quote a name that holds the delim"),
        ("a,Animal\na,Beast\n", r"names.csv:2: 'a' is named 'Beast' here and 'Animal' before. Remove one of the rows"),
    ],
)
def test_a_wrong_file_of_names_is_an_error(write, names, message):
    path = write(names, "names.csv")
    with pytest.raises(TaxonomyError, match=message):
        read_draft(write("child,parent\nb,a\n"), options=ReadOptions(names=path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dog,animal\ncat,animal\n",
            (
                "{path}: expected the columns id,name,parents, or one of the pairs child,parent; child_id,parent_id; "
                "fine,coarse; subclass,superclass; category,supercategory; subcategory,category; hyponym,hypernym; "
                "narrower,broader; found dog,animal. Name them so in the first line, or add that line"
            ),
        ),
        (
            "child,parent\nb,a\nc\n",
            "{path}:3: expected 2 fields (child, parent), found 1. Quote a field that holds the delimiter",
        ),
        ("child,parent\n,a\n", "{path}:2: expected an id in `child`, found none. Fill it in, or remove the row"),
        ("child,child,parent\nb,b,a\n", "{path}:1: expected each column once, found child, child, parent"),
        (
            "child,parent,child_name\nb,a,B\nb,c,BB\n",
            "{path}:3: category 'b' is named 'BB' here and 'B' before. Choose one name",
        ),
        (
            'child,parent\nb,"a\nc,a\n',
            (
                "{path}:2: expected a row of a table, found unexpected end of data. Close the quotes, or double those "
                "inside a field"
            ),
        ),
        ("", "{path}: expected a hierarchy, found an empty file"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_the_line(write, text, message):
    path = write(text)
    with pytest.raises(TaxonomyError) as caught:
        read_draft(path, "edges")
    assert str(caught.value) == message.format(path=path)


def test_unknown_parents_name_the_line(write):
    path = write("id,name,parents\ndog,,animl\nanimal,,\n", "n.csv")
    with pytest.raises(UnknownCategoryError, match=r"n\.csv:2: .*no category 'animl'.*'animal'"):
        read_taxonomy(path)


def test_a_table_without_a_header_is_not_guessed(write):
    for text in ("dog,animal\ncat,animal\nanimal,thing\n", "dog\tanimal\ncat\tanimal\n", "n1,n2\nn3,n2\nn2,n0\n"):
        with pytest.raises(TaxonomyError, match="expected a hierarchy of one of these formats:"):
            read_draft(write(text))
