"""Graphs as JSON: node-link, adjacency, nested."""

import json

import networkx as nx
import pytest

from openjft.taxonomy import Category, Edge, ReadOptions, TaxonomyError, read_draft, read_taxonomy

NODES = [
    {"id": "dog", "name": "Dog", "synonyms": ["hound"], "definition": "a canine", "aliases": ["n1"], "label": 3},
    {"id": "animal", "name": None},
]
CATEGORIES = (Category("dog", "Dog", ("hound",), "a canine", ("n1",)), Category("animal"))


def test_node_link_keeps_all_that_is_told_under_edges_or_links(write):
    for key in ("edges", "links"):
        graph = {"directed": True, "graph": {}, "nodes": NODES, key: [{"source": "animal", "target": "dog"}]}
        draft = read_draft(write(json.dumps(graph)))
        assert draft.categories == CATEGORIES
        assert draft.edges == (Edge("dog", "animal"),)


def test_node_link_of_networkx_is_read(write, animals):
    data = nx.node_link_data(animals.to_networkx(), edges="edges")
    taxonomy = read_taxonomy(write(json.dumps(data)))
    assert (taxonomy.ids, taxonomy.names) == (animals.ids, animals.names)
    assert taxonomy.parents.values.tolist() == animals.parents.values.tolist()
    assert taxonomy.parents.offsets.tolist() == animals.parents.offsets.tolist()


def test_adjacency_tells_the_children_of_each_parent_and_keeps_what_is_told_twice(write):
    draft = read_draft(write('{"animal": ["dog", "cat", "dog"], "dog": []}'))
    assert [category.id for category in draft.categories] == ["animal", "dog", "cat"]
    assert draft.edges == (Edge("dog", "animal"), Edge("cat", "animal"), Edge("dog", "animal"))


def test_edges_from_child_to_parent_are_turned_round_on_request(write):
    options = ReadOptions(reverse=True)
    graph = {"nodes": [{"id": "dog"}, {"id": "animal"}], "links": [{"source": "dog", "target": "animal"}]}
    assert read_draft(write(json.dumps(graph)), options=options).edges == (Edge("dog", "animal"),)
    assert read_draft(write('{"dog": ["animal"]}'), options=options).edges == (Edge("dog", "animal"),)


def test_nested_objects_merge_the_places_of_a_category_with_several_parents(write):
    dog = {"id": "dog", "name": "Dog", "children": [{"id": "poodle"}]}
    tree = [
        {"id": "animal", "name": "Animal", "children": [{"id": "dog"}]},
        {"id": "pet", "children": [dog, {"name": "cat", "synonyms": ["kitty"]}]},
    ]
    draft = read_draft(write(json.dumps(tree)))
    assert draft.categories == (
        Category("animal", "Animal"),
        Category("dog", "Dog"),
        Category("pet"),
        Category("poodle"),
        Category("cat", "cat", ("kitty",)),
    )
    assert draft.edges == (Edge("dog", "animal"), Edge("dog", "pet"), Edge("poodle", "dog"), Edge("cat", "pet"))
    assert read_draft(write(json.dumps(tree[0]))).edges == (Edge("dog", "animal"),)


def test_a_deep_tree_is_read_without_recursion(write):
    text = "".join(f'{{"id": "{i}", "children": [' for i in range(400)) + "]}" * 400
    assert len(read_draft(write(text)).edges) == 399


NODE_LINK = '{{"nodes": {}, "links": {}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NODE_LINK.format('[{"id": 7}]', "[]"), "{path}: nodes[0].id: expected a string, found 7. Write it in quotes"),
        (NODE_LINK.format('["a"]', "[]"), '{path}: nodes[0]: expected an object, found "a"'),
        (NODE_LINK.format('{"id": "a"}', "[]"), "{path}: nodes: expected a list, found an object with the keys 'id'"),
        (NODE_LINK.format("[{}]", "[]"), "{path}: nodes[0]: expected a key `id`, found an empty object"),
        (
            NODE_LINK.format('[{"id": ""}]', "[]"),
            "{path}: nodes[0].id: expected the id of a category, found an empty string",
        ),
        (
            NODE_LINK.format('[{"id": "a", "synonyms": ["b", 1]}]', "[]"),
            "{path}: nodes[0].synonyms[1]: expected a string, found 1. Write it in quotes",
        ),
        (
            NODE_LINK.format('[{"id": "a", "definition": {}}]', "[]"),
            "{path}: nodes[0].definition: expected a string, found an empty object. Write it in quotes",
        ),
        (
            NODE_LINK.format('[{"id": "a"}]', '[{"source": "a", "target": 0}]'),
            "{path}: links[0].target: expected a string, found 0. Write it in quotes",
        ),
        (
            NODE_LINK.format('[{"id": "a"}]', '[{"source": "a"}]'),
            "{path}: links[0]: expected a key `target`, found an object with the keys 'source'",
        ),
        (
            '{"directed": false, "nodes": [], "edges": []}',
            (
                "{path}: directed: expected true, found false. An edge must tell the parent from the child: write a "
                "directed graph"
            ),
        ),
        (
            '{"nodes": [], "edges": [], "links": []}',
            "{path}: expected `edges` or `links`, found both. Remove one of them",
        ),
        (
            '{"a": ["b"],\n"c": [],\n"a": ["d"]}',
            (
                "{path}: expected each key once in an object, found 'a' twice (lines 1 and 3). Merge the two, "
                "or remove one"
            ),
        ),
        ('{"a": "b"}', "{path}: ['a']: expected a list, found \"b\""),
        ('{"a": ["b", null]}', "{path}: ['a'][1]: expected a string, found null. Write it in quotes"),
        (
            '{"id": "a", "children": [{"id": "b", "children": [3]}]}',
            "{path}: children[0].children[0]: expected an object, found 3",
        ),
        (
            '[{"id": "a", "children": []}, {"children": []}]',
            "{path}: [1]: expected an object with `id` or `name`, found an object with the keys 'children'",
        ),
        (
            '{"id": "a", "children": [{"id": "b", "name": "B"}, {"id": "b", "name": "C"}]}',
            "{path}: children[1]: category 'b' has the name 'C' here and 'B' before. Choose one",
        ),
        (
            "[1, 2]",
            (
                "{path}: expected `nodes` and `edges`, lists of children by their parent, or nested objects with "
                "`children`, found a list of 2"
            ),
        ),
        ('{"a": [NaN]}', "{path}: expected JSON, found NaN, which JSON does not have. Write null"),
        ('{"a": [-Infinity]}', "{path}: expected JSON, found -Infinity, which JSON does not have. Write null"),
        ('{"a": ["\\ud800"]}', "{path}: ['a'][0]: expected Unicode text, found half a surrogate pair in '\\ud800'"),
        ('{"\\ud800": ["a"]}', "{path}: a key: expected Unicode text, found half a surrogate pair in '\\ud800'"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_place(write, text, message):
    path = write(text)
    with pytest.raises(TaxonomyError) as caught:
        read_draft(path, "json_graph")
    assert str(caught.value) == message.format(path=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "found lists or objects nested too deeply to be read"),
        ('{"id": "a", "children": [' * 100_000, "found lists or objects nested too deeply to be read"),
        ('{"a": [' + "9" * 5000 + "]}", "found a number that is too long"),
        ('{"a": ["b"]', "t.txt:1: expected JSON, found Expecting ',' delimiter"),
        ('{"a": ["b"]}\n]', "t.txt:2: expected JSON, found Extra data"),
    ],
)
def test_what_breaks_a_parser_is_an_error_recognised_or_not(write, text, message):
    for format_ in ("auto", "json_graph", "open_images"):
        with pytest.raises(TaxonomyError, match=message):
            read_draft(write(text), format_)


def test_json_beyond_the_cap_is_not_parsed(write, monkeypatch):
    monkeypatch.setattr("openjft.taxonomy.readers.json_text.MAX_JSON_CHARS", 10)
    with pytest.raises(TaxonomyError, match="expected at most 10 characters of JSON, found 16"):
        read_draft(write('{"abcd": ["ef"]}'), "json_graph")
