"""GraphML, compared with what NetworkX writes."""

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openjft.taxonomy import Category, Edge, ReadOptions, TaxonomyError, read_draft, read_taxonomy

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
KEYS = (
    '<key id="d0" for="node" attr.name="name" attr.type="string"/>\n'
    '<key id="d1" for="node" attr.name="synonyms" attr.type="string"/>\n'
    '<key id="d2" for="node" attr.name="label" attr.type="long"/>\n'
    '<key id="d3" for="edge" attr.name="name" attr.type="string"/>\n'
)
GRAPH = (
    '<graph edgedefault="directed">\n'
    '<node id="dog"><data key="d0">Dog &amp;\n co</data><data key="d1">hound|cur</data><data key="d2">7</data></node>\n'
    '<node id="animal"/>\n'
    '<edge source="animal" target="dog"><data key="d3">is a</data></edge>\n'
    "</graph>\n</graphml>\n"
)


def test_nodes_and_edges_are_read_with_their_lines(write):
    draft = read_draft(write(HEAD + KEYS + GRAPH))
    assert draft.categories == (Category("dog", "Dog &\n co", ("hound", "cur"), line=8), Category("animal", line=10))
    assert draft.edges == (Edge("dog", "animal", 11),)
    assert read_draft(write(HEAD + KEYS + GRAPH), options=ReadOptions(reverse=True)).edges == (
        Edge("animal", "dog", 11),
    )


def test_a_label_of_type_string_is_the_name_where_there_is_none(write):
    text = HEAD + (
        '<key id="l" for="node" attr.name="label" attr.type="string"/>'
        '<graph edgedefault="directed"><node id="a"><data key="l">Animal</data></node></graph></graphml>'
    )
    assert read_draft(write(text)).categories == (Category("a", "Animal", line=3),)


def test_what_networkx_writes_of_a_hierarchy_is_read(write, tmp_path, animals):
    nx.write_graphml(animals.to_networkx(), tmp_path / "animals.xml")
    taxonomy = read_taxonomy(str(tmp_path / "animals.xml"))
    assert (taxonomy.ids, taxonomy.names) == (animals.ids, animals.names)
    assert taxonomy.parents.values.tolist() == animals.parents.values.tolist()


texts = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.tuples(texts, texts), max_size=10))
def test_any_graph_of_networkx_is_read_as_networkx_reads_it(write, tmp_path, pairs):
    graph = nx.DiGraph(pairs)
    nx.write_graphml(graph, tmp_path / "g.graphml")
    expected = nx.read_graphml(tmp_path / "g.graphml")
    draft = read_draft(str(tmp_path / "g.graphml"))
    assert [category.id for category in draft.categories] == list(expected.nodes)
    assert {(edge.parent, edge.child) for edge in draft.edges} == set(expected.edges)
    assert len(draft.edges) == expected.number_of_edges()


def test_what_networkx_would_mend_in_silence_is_kept_for_the_checks(write):
    text = HEAD + (
        '<graph edgedefault="directed">\n<node id="a"/>\n<node id="a"/>\n'
        '<edge source="a" target="b"/>\n<edge source="a" target="b"/>\n</graph></graphml>'
    )
    draft = read_draft(write(text))
    assert [(category.id, category.line) for category in draft.categories] == [("a", 4), ("a", 5)]
    assert draft.edges == (Edge("b", "a", 6), Edge("b", "a", 7))


BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE graphml [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>\n<graphml>&b;</graphml>'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "{path}: expected GraphML without a DTD or entities, found DTDForbidden. Remove the DOCTYPE"),
        (
            '<!DOCTYPE graphml SYSTEM "file:///etc/passwd">\n<graphml/>',
            "{path}: expected GraphML without a DTD or entities, found DTDForbidden. Remove the DOCTYPE",
        ),
        (HEAD + "<graph>", "{path}:3: expected GraphML, found no element found. Is the file whole?"),
        ("a,b", "{path}:1: expected GraphML, found syntax error. Is the file whole?"),
        (HEAD + "</graphml>", "{path}: expected one graph, found 0. Is it GraphML?"),
        (HEAD + "<graph/>\n<graph/></graphml>", "{path}: expected one graph, found 2. Is it GraphML?"),
        (HEAD + '<graph><node name="a"/></graph></graphml>', "{path}:3: expected the attribute `id`, found name"),
        (
            HEAD + '<graph>\n<edge source="a"/></graph></graphml>',
            "{path}:4: expected the attribute `target`, found source",
        ),
        (
            HEAD + '<graph edgedefault="undirected">\n<edge source="a" target="b"/></graph></graphml>',
            "{path}:4: expected a directed edge from 'a' to 'b', found one without a direction",
        ),
        (
            HEAD + '<graph><node id="a"><graph/></node></graph></graphml>',
            "{path}:3: expected one flat graph, found a graph within a node. Write its nodes beside the others",
        ),
        (
            HEAD + "<graph><hyperedge/></graph></graphml>",
            "{path}:3: expected edges of two nodes, found a hyperedge. Write it as edges",
        ),
        (
            '<?xml version="1.0" encoding="none"?>\n<graphml/>',
            "{path}: expected GraphML, found unknown encoding: none. Write it in UTF-8",
        ),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_line(write, text, message):
    path = write(text)
    with pytest.raises(TaxonomyError) as caught:
        read_draft(path, "graphml")
    assert str(caught.value) == message.format(path=path)
