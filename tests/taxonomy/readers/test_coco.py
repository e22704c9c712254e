"""COCO's categories, from JSON and CSV."""

import json

import pytest

from openjft.taxonomy import Category, Edge, TaxonomyError, read_draft

CATEGORIES = [
    {"supercategory": "person", "isthing": 1, "id": 1, "name": "person"},
    {"supercategory": "vehicle", "isthing": 1, "id": 2, "name": "bicycle"},
    {"supercategory": "vehicle", "isthing": 1, "id": 3, "name": "car"},
]
READ = [
    Category("person", "person", aliases=("1",)),
    Category("bicycle", "bicycle", aliases=("2",)),
    Category("car", "car", aliases=("3",)),
    Category("vehicle", "vehicle"),
]


def test_a_whole_annotations_file_a_list_and_a_csv_tell_the_same(write):
    note = 'the key \\"categories\\": [1] is no key'
    whole = f'{{"info": {{"note": "{note}"}}, "images": [], "categories": {json.dumps(CATEGORIES)}, "annotations": [1'
    for text in (whole + "]}", json.dumps(CATEGORIES)):
        draft = read_draft(write(text))
        assert list(draft.categories) == READ
        assert draft.edges == (Edge("bicycle", "vehicle"), Edge("car", "vehicle"))
    draft = read_draft(
        write("id,name,supercategory,isthing\n1,person,person,1\n2,bicycle,vehicle,1\n3,car,vehicle,1\n")
    )
    assert [category._replace(line=None) for category in draft.categories] == READ
    assert [category.line for category in draft.categories] == [2, 3, 4, 3]
    assert draft.edges == (Edge("bicycle", "vehicle", 3), Edge("car", "vehicle", 4))


def test_a_supercategory_that_is_a_category_is_one_and_none_makes_a_root(write):
    text = "id,name,supercategory\n,poodle,dog\n5,dog,\n6,rock,none\n"
    draft = read_draft(write(text))
    assert [category.id for category in draft.categories] == ["poodle", "dog", "rock"]
    assert draft.edges == (Edge("poodle", "dog", 2),)


def test_a_name_that_stands_twice_is_kept_for_the_checks(write):
    draft = read_draft(write("id,name,supercategory\n1,bat,animal\n2,bat,sports\n"))
    assert [category.line for category in draft.categories if category.id == "bat"] == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": []}', "{path}: expected one key `categories` with a list, found 0. Is it a file of COCO's anno"),
        ('{"categories": [], "x": {"categories": []}}', "{path}: expected one key `categories` with a list, found 2."),
        ('{"categories": [1]}', "{path}: categories[0]: expected an object, found 1"),
        ('{"categories": [{"id": 1}]}', "{path}: categories[0]: expected a key `name`, found an object with the keys"),
        (
            '{"categories": [{"id": 1.5, "name": "a"}]}',
            "{path}: categories[0].id: expected a string, found 1.5. Write it in quotes",
        ),
        (
            '{"categories": [{"id": true, "name": "a"}]}',
            "{path}: categories[0].id: expected a string, found true. Write it in quotes",
        ),
        (
            '{"categories": [{"id": 1, "name": "a", "supercategory": 2}]}',
            "{path}: categories[0].supercategory: expected a string, found 2. Write it in quotes",
        ),
        ('{"categories": [{"id": 1, "name": null}]}', "{path}: categories[0].name: expected a string, found null."),
        ('{"categories": [{"id": 1,', "{path}:1: expected JSON, found "),
        ("id,name,supercategory\n1,,animal\n", "{path}:2: expected a name, found none. Fill it in, or remove the row"),
        (
            "id,name\n1,a\n",
            "{path}: expected the columns id, name, supercategory, found id, name: supercategory missin",
        ),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_place(write, text, message):
    path = write(text)
    with pytest.raises(TaxonomyError) as caught:
        read_draft(path, "coco")
    assert str(caught.value).startswith(message.format(path=path))
