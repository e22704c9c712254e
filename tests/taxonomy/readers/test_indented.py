import pytest

from openjft.taxonomy import Category, Edge, TaxonomyError, read_draft, read_taxonomy
from openjft.taxonomy.readers import READERS, Source

TEXT = """\
# what is sold
Animals
    Dogs
        Terriers

    Cats, large
    # not a level
Toys
    Dogs
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("indent", ["    ", " ", "\t"])
def test_the_id_is_the_path_whatever_the_indentation(tmp_path, indent):
    draft = read_draft(write(tmp_path / "shop.txt", TEXT.replace("    ", indent)))
    assert draft.categories == (
        Category("Animals", "Animals", line=2),
        Category("Animals > Dogs", "Dogs", line=3),
        Category("Animals > Dogs > Terriers", "Terriers", line=4),
        Category("Animals > Cats, large", "Cats, large", line=6),
        Category("Toys", "Toys", line=8),
        Category("Toys > Dogs", "Dogs", line=9),
    )
    assert draft.edges == (
        Edge("Animals > Dogs", "Animals", 3),
        Edge("Animals > Dogs > Terriers", "Animals > Dogs", 4),
        Edge("Animals > Cats, large", "Animals", 6),
        Edge("Toys > Dogs", "Toys", 9),
    )


def test_a_list_and_the_paths_that_it_means_are_the_same_hierarchy(tmp_path):
    paths = "Animals > Dogs > Terriers\nAnimals > Cats, large\nToys > Dogs\n"
    assert read_taxonomy(write(tmp_path / "a.txt", TEXT)) == read_taxonomy(write(tmp_path / "b.txt", paths), "paths")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n  b\n\tc\n", r"x\.txt:3: expected an indentation of 2 spaces a level, found '\\t'"),
        ("a\n\tb\n  c\n", r"x\.txt:3: expected an indentation of a tab a level, found '  '"),
        ("a\n \tb\n", r"x\.txt:2: expected an indentation of a space a level, found ' \\t'"),
        ("a\n  b\n   c\n", r"x\.txt:3: expected an indentation of 2 spaces a level, found '   '"),
        ("a\n\N{NO-BREAK SPACE}b\n", r"x\.txt:2: expected an indentation of a space a level"),
        ("a\n  b\n      c\n", r"x\.txt:3: expected 'c' at most one level below the line above it, found 2 levels more"),
        ("  a\nb\n", r"x\.txt:1: expected 'a' at most one level below .*found an indented first line"),
        ("a\n  b > c\n", r"x\.txt:2: expected a name without ' > '"),
        ("a\n  b\n  b\n", r"x\.txt:3: .*'a > b' stands twice"),
        ("# nothing\n", "at least one category"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    with pytest.raises(TaxonomyError, match=message):
        read_taxonomy(write(tmp_path / "x.txt", text), "indented")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dog\ncat\n",
        '{\n  "LabelName": "/m/0"\n}\n',
        '[\n  "dog"\n]\n',
        "<graphml>\n  <graph/>\n</graphml>\n",
        "animals:\n  - dog\n  - cat\n",
        "animals:\n  dog:\n    terrier\n",
        "- animals\n  - dogs\n",
        "def read():\n    return 1\n",
        "id\tname\tparents\na\t\t\n",
        "Animals > Dogs\n",
    ],
)
def test_other_files_are_not_recognised(tmp_path, text):
    assert not READERS["indented"].recognise(Source(write(tmp_path / "x.txt", text)))
    assert not READERS["indented"].recognise(Source(str(tmp_path)))


def test_a_wrong_indentation_is_an_error_and_not_a_list_of_names(tmp_path):
    with pytest.raises(TaxonomyError, match=r"x\.txt:3: expected an indentation of 2 spaces a level"):
        read_taxonomy(write(tmp_path / "x.txt", "a\n  b\n\tc\n"))
