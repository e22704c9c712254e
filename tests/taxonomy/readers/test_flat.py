"""Lists of names without a hierarchy."""

import pytest

from openjft.taxonomy import Category, TaxonomyError, read_draft

AIRFIELD = Category("/a/airfield", "airfield", aliases=("0",), line=1)
OUTDOOR = Category("/a/apartment_building/outdoor", "apartment building, outdoor", aliases=("8",), line=2)


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ("class\naeroplane\n\ndiningtable\n", [Category("aeroplane", "aeroplane", line=2),
                                               Category("diningtable", "diningtable", line=4)]),
        ("index80,name\n0,person\n1,dog\n", [Category("person", "person", aliases=("0",), line=2),
                                                       Category("dog", "dog", aliases=("1",), line=3)]),
        ("LabelName,DisplayName\n/m/04_sv,Motorcycle\n", [Category("/m/04_sv", "Motorcycle", line=2)]),
        ('"/m/bear","Bear"\n/g/11x,"Toy, plaything"\n/m/x,7up\n', [Category("/m/bear", "Bear", line=1),
                                                           Category("/g/11x", "Toy, plaything", line=2),
                                                           Category("/m/x", "7up", line=3)]),
        ("Q1\tuniverse\nQ2\tEarth\n", [Category("Q1", "universe", line=1), Category("Q2", "Earth", line=2)]),
        ("0,person\n1,bicycle\n", [Category("person", "person", aliases=("0",), line=1),
                                   Category("bicycle", "bicycle", aliases=("1",), line=2)]),
        ("/a/airfield 0\n/a/apartment_building/outdoor 8\n", [AIRFIELD, OUTDOOR]),
        ("dog\r\ntraffic light\r\nSt. Bernard (dog)\r\n", [Category("dog", "dog", line=1),
                                                         Category("traffic light", "traffic light", line=2),
                                                         Category("St. Bernard (dog)", "St. Bernard (dog)", line=3)]),
    ],
)  # fmt: skip
def test_lists_of_names_are_recognised_and_every_category_is_a_root(write, text, categories):
    draft = read_draft(write(text))
    assert list(draft.categories) == categories
    assert draft.edges == ()


@pytest.mark.parametrize(
    "text",
    [
        "It is a long story.\nIt began, as all do, with a dog.\n",
        "# Dogs\n\n- poodle\n- beagle\n",
        "dog\n",  # one line may be anything
        "dog\ndog\n",
        "animal dog\nanimal cat\n",  # parent and child?
        "dog animal\nanimal thing\n",
        "dog\tanimal\ncat\tanimal\n",
        "c1\tanimal\nc2\tanimal\nc3\tanimal\n",  # so many children of one parent
        "n1,n2\nn2,n3\n",
        "1 2\n3 4\n",
        "key: value\nother: value\n",
        "/a/airfield 1\n/a/airplane 1\n",
        "name,count,url\ndog,1,x\n",
    ],
)
def test_what_may_be_something_else_is_not_recognised(write, text):
    with pytest.raises(TaxonomyError, match="flat: lists of names without a hierarchy"):
        read_draft(write(text))


def test_a_person_may_say_that_it_is_a_list_of_names(write):
    draft = read_draft(write("tench, Tinca tinca\n\ndog\n"), "flat")
    assert [(category.id, category.line) for category in draft.categories] == [("tench, Tinca tinca", 1), ("dog", 3)]


def test_repeated_names_are_kept_for_the_checks(write):
    draft = read_draft(write("name\ncrane\ncrane\n"))
    assert [category.line for category in draft.categories] == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "/a/airfield 1\n/a/airplane 1\n",
            (
                "{path}: expected an index of its own after each category, found some twice. Is it the list of "
                "categories, or a list of their properties?"
            ),
        ),
        ("index,name\n0,dog\n1\n", "{path}:3: expected 2 fields, found 1. Mend the row"),
        (
            "dog\nanimal\tcat\n",
            (
                "{path}:2: expected one name a line, or an id with a digit and a name, found 'animal\\tcat'. Name the "
                "columns in the first line: id, tab, name"
            ),
        ),
    ],
)
def test_a_wrong_list_is_an_error(write, text, message):
    path = write(text)
    with pytest.raises(TaxonomyError) as caught:
        read_draft(path, "flat")
    assert str(caught.value) == message.format(path=path)
