import pytest

from openjft.taxonomy import Category, Edge, ReadOptions, TaxonomyError, read_draft, read_taxonomy
from openjft.taxonomy.readers import READERS, Source

TREE = "n00002452 -1\nn00020827 -1\nn01900150 3\nn05220461 0\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_parents_are_lines_counted_from_0_and_names_stand_beside(tmp_path):
    write(tmp_path / "9k.names", "thing\nmatter\nhair\nbody part\n")
    write(tmp_path / "coco.names", "person\n")
    path = write(tmp_path / "9k.tree", TREE)
    draft = read_draft(path)
    assert draft.categories == (
        Category("n00002452", "thing", aliases=("0",), line=1),
        Category("n00020827", "matter", aliases=("1",), line=2),
        Category("n01900150", "hair", aliases=("2",), line=3),
        Category("n05220461", "body part", aliases=("3",), line=4),
    )
    assert draft.edges == (Edge("n01900150", "n05220461", 3), Edge("n05220461", "n00002452", 4))
    assert READERS["yolo9000"].recognise(Source(path))


def test_it_reads_without_names_and_with_names_from_elsewhere(tmp_path):
    path = write(tmp_path / "9k.tree", TREE)
    assert read_taxonomy(path).names[0] == "n00002452"
    names = write(tmp_path / "elsewhere.txt", "a, b\nc\nd\ne\n")
    assert read_draft(path, options=ReadOptions(names=names)).categories[0].name == "a, b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a -1\nb 2\n", r"x\.tree:2: expected the line of the parent in \[0, 2\).*found 2"),
        ("a -1\nb\n", r"x\.tree:2: expected an id and the line of its parent.*found 'b'"),
        ("a -1\nb -2\n", r"x\.tree:2: expected an id and the line of its parent"),
        ("a -1\na 0\n", r"x\.tree:2: .*'a' stands twice"),
        ("a 0\n", r"x\.tree:1: .*'a' is its own parent"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    with pytest.raises(TaxonomyError, match=message):
        read_taxonomy(write(tmp_path / "x.tree", text), "yolo9000")


def test_too_few_names_are_an_error_that_names_both_files(tmp_path):
    write(tmp_path / "9k.names", "thing\n")
    path = write(tmp_path / "9k.tree", TREE)
    with pytest.raises(
        TaxonomyError, match=r"9k\.names: expected a name for each of the 4 lines of .*9k\.tree, found 1"
    ):
        read_draft(path)


@pytest.mark.parametrize(
    "text", ["", "/a/airfield 0\n/a/alley 1\n", "dog\ncat\n", "n1 n2\n", "a -1\nb c\n", "child,parent\n"]
)
def test_other_files_are_not_recognised(tmp_path, text):
    assert not READERS["yolo9000"].recognise(Source(write(tmp_path / "x.txt", text)))
    assert not READERS["yolo9000"].recognise(Source(str(tmp_path)))
