"""Open Images' hierarchy JSON, by MID and by name."""

import json

import pytest

from openjft.taxonomy import Edge, ReadOptions, TaxonomyError, read_draft, read_taxonomy

BEAR = {"LabelName": "/m/bear", "Subcategory": [{"LabelName": "/m/x"}]}
HIERARCHY = {
    "LabelName": "/m/0",
    "Subcategory": [
        {"LabelName": "/m/toy", "Subcategory": [BEAR]},
        {"LabelName": "/m/animal", "Part": [{"LabelName": "/m/leg"}], "Subcategory": [BEAR]},
    ],
}
EDGES = (
    Edge("/m/toy", "/m/0"),
    Edge("/m/bear", "/m/toy"),
    Edge("/m/x", "/m/bear"),
    Edge("/m/animal", "/m/0"),
    Edge("/m/bear", "/m/animal"),
)


def test_repeated_subtrees_are_merged_and_a_category_that_is_only_a_part_is_kept_without_an_edge(write):
    draft = read_draft(write(json.dumps(HIERARCHY)))
    assert [category.id for category in draft.categories] == [
        "/m/0",
        "/m/toy",
        "/m/bear",
        "/m/x",
        "/m/animal",
        "/m/leg",
    ]
    assert draft.edges == EDGES


def test_parts_are_edges_on_request(write):
    draft = read_draft(write(json.dumps(HIERARCHY)), options=ReadOptions(parts=True))
    assert set(draft.edges) == {*EDGES, Edge("/m/leg", "/m/animal")}


def test_a_child_twice_in_one_list_is_kept_for_the_checks(write):
    twice = {"LabelName": "a", "Subcategory": [{"LabelName": "b"}, {"LabelName": "b"}]}
    assert read_draft(write(json.dumps(twice))).edges == (Edge("b", "a"), Edge("b", "a"))


@pytest.mark.parametrize(
    "names",
    [
        ("class-descriptions-boxable.csv", '/m/bear,Bear\n"/m/toy","Toy, plaything"\n/m/none,None\n'),
        ("oidv6-class-descriptions.csv", 'LabelName,DisplayName\n/m/bear,Bear\n/m/toy,"Toy, plaything"\n'),
        ("dict_mid_to_name.csv", '"/m/bear","Bear"\r\n"/m/toy","Toy, plaything"\r\n'),
    ],
)
def test_names_come_from_the_class_descriptions_beside_it(write, tmp_path, names):
    write(names[1], names[0])
    write(json.dumps(HIERARCHY), "hierarchy.json")
    taxonomy = read_taxonomy(str(tmp_path))  # the folder: the names are no second hierarchy
    assert dict(zip(taxonomy.ids, taxonomy.names, strict=True)) == {
        "/m/0": "/m/0", "/m/animal": "/m/animal", "/m/bear": "Bear", "/m/leg": "/m/leg", "/m/toy": "Toy, plaything",
        "/m/x": "/m/x",
    }  # fmt: skip


def test_names_that_are_given_go_before_those_beside_it(write):
    write("/m/bear,Bear\n/m/toy,Toy\n", "class-descriptions.csv")
    given = write("/m/bear\tOurs\n", "given.tsv")
    taxonomy = read_taxonomy(write(json.dumps(HIERARCHY)), options=ReadOptions(names=given))
    assert taxonomy.names[taxonomy.index_of("/m/bear")] == "Ours"
    assert taxonomy.names[taxonomy.index_of("/m/toy")] == "/m/toy"


def test_the_older_file_by_name_is_read(write):
    leaf = {"name": "Coin", "size": 1000}
    text = json.dumps({"name": "Entity", "children": [leaf, {"name": "Toy", "children": [leaf]}]})
    draft = read_draft(write(text))
    assert [category.id for category in draft.categories] == ["Entity", "Coin", "Toy"]
    assert draft.edges == (Edge("Coin", "Entity"), Edge("Toy", "Entity"), Edge("Coin", "Toy"))
    assert read_draft(write(text), "open_images") == draft


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "child,parent\nb,a\n",
            "{path}:1: expected JSON, found Expecting value: line 1 column 1 (char 0). Is the file whole?",
        ),
        (
            '["a"]',
            (
                "{path}: expected an object with `LabelName` and `Subcategory`, or with `name` and `children`, found a "
                "list of 1. Is it another format?"
            ),
        ),
        ('{"LabelName": "a", "Subcategory": [3]}', "{path}: Subcategory[0]: expected an object, found 3"),
        ('{"LabelName": "a", "Subcategory": {}}', "{path}: $.Subcategory: expected a list, found an empty object"),
        (
            '{"LabelName": "a", "Subcategory": [{"LabelName": "b", "Part": [{"Name": "c"}]}]}',
            "{path}: Subcategory[0].Part[0]: expected an object with `LabelName`, found an object with the keys 'Name'",
        ),
        (
            '{"LabelName": "a", "Part": [{"LabelName": 5}]}',
            "{path}: Part[0].LabelName: expected a string, found 5. Write it in quotes",
        ),
        (
            '{"LabelName": "a", "Part": [{"LabelName": ""}]}',
            "{path}: Part[0].LabelName: expected the id of a category, found an empty string",
        ),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_place(write, text, message):
    path = write(text)
    with pytest.raises(TaxonomyError) as caught:
        read_draft(path, "open_images")
    assert str(caught.value) == message.format(path=path)
