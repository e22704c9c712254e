import pytest

from openjft.taxonomy import Category, Edge, TaxonomyError, read_draft, read_taxonomy
from openjft.taxonomy.readers import READERS, Source

VERSION = "# Google_Product_Taxonomy_Version: 2021-09-21\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_googles_taxonomy_has_paths_as_ids(tmp_path):
    text = VERSION + "Animals & Pet Supplies\nAnimals & Pet Supplies > Live Animals\n"
    draft = read_draft(write(tmp_path / "taxonomy.en-US.txt", text))
    assert draft.categories == (
        Category("Animals & Pet Supplies", "Animals & Pet Supplies", line=2),
        Category("Animals & Pet Supplies > Live Animals", "Live Animals", line=3),
    )
    assert draft.edges == (Edge("Animals & Pet Supplies > Live Animals", "Animals & Pet Supplies", 3),)


def test_ids_in_front_are_ids_and_the_path_an_alias(tmp_path):
    text = VERSION + "3237 - Animals > Live Animals\n1 - Animals\n500096 - Animals > Live Animals > Cats/Dogs - Pets\n"
    draft = read_draft(write(tmp_path / "taxonomy-with-ids.en-US.txt", text))
    assert draft.categories == (
        Category("3237", "Live Animals", aliases=("Animals > Live Animals",), line=2),
        Category("1", "Animals", aliases=("Animals",), line=3),
        Category("500096", "Cats/Dogs - Pets", aliases=("Animals > Live Animals > Cats/Dogs - Pets",), line=4),
    )
    assert draft.edges == (Edge("3237", "1", 2), Edge("500096", "3237", 4))


def test_shopifys_ids_are_read(tmp_path):
    text = (
        "# Shopify Product Taxonomy - Categories: 2024-07\n"
        "gid://shopify/TaxonomyCategory/ap        : Animals\n"
        "gid://shopify/TaxonomyCategory/ap-1      : Animals > Live Animals\n"
    )
    draft = read_draft(write(tmp_path / "categories.txt", text))
    assert draft.categories[1][:2] == ("gid://shopify/TaxonomyCategory/ap-1", "Live Animals")
    assert draft.edges[0][:2] == ("gid://shopify/TaxonomyCategory/ap-1", "gid://shopify/TaxonomyCategory/ap")


def test_ancestors_without_a_line_are_made_once(tmp_path):
    draft = read_draft(write(tmp_path / "x.txt", "/Home/Garden/Tools\n/Home/Garden/Pots/\n/Home/Kitchen\n"))
    assert [(category.id, category.name, category.line) for category in draft.categories] == [
        ("/Home/Garden/Tools", "Tools", 1),
        ("/Home/Garden", "Garden", 1),
        ("/Home", "Home", 1),
        ("/Home/Garden/Pots", "Pots", 2),
        ("/Home/Kitchen", "Kitchen", 3),
    ]
    assert [edge[:2] for edge in draft.edges] == [
        ("/Home/Garden/Tools", "/Home/Garden"),
        ("/Home/Garden", "/Home"),
        ("/Home/Garden/Pots", "/Home/Garden"),
        ("/Home/Kitchen", "/Home"),
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("A > Monitors >27 inch\nA\n", {"A", "A > Monitors >27 inch"}),
        ("A>B\nA>C\n", {"A", "A>B", "A>C"}),
        ("A   >  B/C\n", {"A", "A > B/C"}),
        ("Home/Garden\nOffice\n", {"Home", "Home/Garden", "Office"}),
        ("Cables,Adapters\nCables,Adapters > USB\n", {"Cables,Adapters", "Cables,Adapters > USB"}),
        ("1 - A\n2 - B\n", {"1", "2"}),
    ],
)
def test_the_separator_is_told_from_names(tmp_path, text, ids):
    assert {category.id for category in read_draft(write(tmp_path / "x.txt", text), "paths").categories} == ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A > B\nA > > C\n", r"x\.txt:2: expected a name on each level, found 'A > > C'"),
        ("A > B\nA >\n", r"x\.txt:2: expected a name on each level, found 'A >'"),
        ("/A/B\n/A//C\n", r"x\.txt:2: expected a name on each level, found '/A//C'"),
        ("A>B\nA>\n", r"x\.txt:2: expected a name on each level, found 'A>'"),
        ("A > B\nA > B\n", r"x\.txt:2: .*'A > B' stands twice"),
        ("1 - A\n3 - A > B > C\n", r"x\.txt:2: expected a line with an id for the ancestor 'A > B', found none"),
        ("1 - A\n2 - A\n", r"x\.txt:2: expected one id for 'A', found '2' and before '1'"),
        ("1 - A\n2 - A > B\nA > C\n", "found lines with and without an id in front, as 'A > C'"),
        ("/A > B\n/A/C > D\n", "found both '>' and '/' at the beginning of every line"),
        ("/A/B\nA/C\n", "found lines with and without a '/' in front, as 'A/C'"),
        ("A\nB\n", "found neither '>' nor '/'"),
        ("# nothing\n", "found none"),
        ("id,path\n1,A > B\n", "found the header of a table: 'id,path'"),
        ("1\tA > B\n", "found a tab"),
        ("/a/airfield 0\n/b/beach 1\n", "found classes with their numbers"),
        ("/m/01g317\n/m/0bt9lr,Dog\n", "found MIDs of Open Images"),
        ("https://shop.example/a/b\n", "found 'https://shop.example/a/b'"),
    ],
)
def test_what_is_no_path_is_an_error(tmp_path, text, message):
    with pytest.raises(TaxonomyError, match=message):
        read_taxonomy(write(tmp_path / "x.txt", text), "paths")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dog\ncat\n",
        "tables/chairs\ncups\n",  # may be names
        "/m/01g317\n/m/0bt9lr\n",
        "/m/01g317,Person\n",
        "/a/airfield 0\n",
        '{"a": "b > c"}\n',
        "<a>b</a>\n",
        "child,parent\nb,a\n",
        "n00001740 n00001930\n",
        "Animals\n    Dogs\n",
        "dog,larger > smaller\ncat,a pet\nbird,a pet\n",
    ],
)
def test_other_files_are_not_recognised(tmp_path, text):
    assert not READERS["paths"].recognise(Source(write(tmp_path / "x.txt", text)))
    assert not READERS["paths"].recognise(Source(str(tmp_path)))
