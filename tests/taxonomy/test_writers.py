import json

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.taxonomy import Category, Edge, TaxonomyError, build_taxonomy, read_taxonomy
from openjft.taxonomy.readers.table import items, join_items
from openjft.taxonomy.writers import WRITERS, write_taxonomy

LOSSLESS = ("nodes.csv", "nodes.tsv", "graph.json", "graph.graphml", "nodes.parquet", "folder")
PACKED = ("nodes.csv.gz", "nodes.tsv.gz", "graph.json.gz", "graph.graphml.gz")
NASTY = [
    "a|b",
    "\\",
    "a\\|b\\\\",
    '"',
    '""quoted"',
    "a,b;c",
    "Ünïcødé \N{DOG FACE}",
    "\N{NEXT LINE}x"[1:],
    "#",
    "-1",
    "<&>",
    "x y",
    "null",
]
texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
    st.text('|\\",\n\t\r ab', min_size=1, max_size=8),
)
stripped = texts.map(str.strip).filter(bool)


@st.composite
def taxonomies(draw, texts=stripped):
    """Random DAGs: a category's parents are among those before it."""
    ids = draw(st.lists(texts, min_size=1, max_size=6, unique=True))
    aliases = iter(draw(st.lists(texts.filter(lambda text: text not in ids), max_size=4, unique=True)))
    categories, edges = [], []
    for i, category_id in enumerate(ids):
        synonyms = tuple(draw(st.lists(texts, max_size=2)))
        definition = draw(st.none() | texts)
        alias = tuple(a for a in [next(aliases, None)] if a is not None)
        categories.append(Category(category_id, draw(st.just("") | texts), synonyms, definition, alias))
        edges += [Edge(category_id, parent) for parent in ids[:i] if draw(st.booleans())]
    return build_taxonomy(categories, edges, origin="test")


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def can_hold(file, taxonomy):
    """TSV has no quotes; XML turns a carriage return into a line feed."""
    everything = [taxonomy.ids, taxonomy.names, taxonomy.definitions, *taxonomy.synonyms, *taxonomy.aliases]
    written = {character for column in everything for text in column for character in text or ""}
    return not written & {"nodes.tsv": set("\t\r\n"), "graph.graphml": {"\r"}}.get(file, set())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("written")


@pytest.mark.parametrize("file", LOSSLESS)
@given(taxonomy=taxonomies())
def test_what_is_read_has_the_fingerprint_of_what_was_written_or_the_text_is_refused(folder, file, taxonomy):
    path = str(folder / file)
    if can_hold(file, taxonomy):
        write_taxonomy(taxonomy, path)
        assert read_taxonomy(path).fingerprint() == taxonomy.fingerprint()
    else:
        with pytest.raises(TaxonomyError, match="expected texts without"):
            write_taxonomy(taxonomy, path)


@pytest.mark.parametrize("file", ["graph.json", "folder"])
@given(taxonomy=taxonomies(texts))
def test_json_and_datasets_keep_space_around_texts(folder, file, taxonomy):
    path = str(folder / file)
    write_taxonomy(taxonomy, path)
    assert read_taxonomy(path).fingerprint() == taxonomy.fingerprint()


@given(st.lists(stripped))
def test_items_takes_apart_what_join_items_joined(parts):
    assert items(join_items(parts)) == parts


def test_a_backslash_before_anything_else_is_itself():
    assert items(r"AC\DC | a\|b | c\\") == ["AC\\DC", "a|b", "c\\"]


def test_nodes_are_a_table_that_a_person_can_read(animals, tmp_path):
    write_taxonomy(animals, str(tmp_path / "a.csv"))
    text = (tmp_path / "a.csv").read_bytes().decode()
    assert text == (
        "id,name,parents,synonyms,definition,aliases\n"
        "animal,animal,entity,beast,a living thing that moves,\n"
        "canine,canine,animal,,,\n"
        "car,car,entity,,,\n"
        "cat,cat,domestic,,,\n"
        "dog,dog,canine|domestic,Hound,,\n"
        "domestic,domestic animal,animal,,,\n"
        "entity,entity,,,,\n"
        "wolf,wolf,canine,hound,,\n"
    )


def test_edges_keep_ids_names_and_roots_and_nothing_else(animals, tmp_path):
    path = str(tmp_path / "a.tsv")
    write_taxonomy(animals, path, "edges")
    rows = [line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines()]
    assert rows[:2] == [["child", "parent", "child_name"], ["animal", "entity", "animal"]]
    assert ["domestic", "animal", "domestic animal"] in rows
    assert ["entity", "", "entity"] in rows
    read = read_taxonomy(path)
    assert (read.ids, read.names) == (animals.ids, animals.names)
    assert np.array_equal(read.parents.values, animals.parents.values)
    assert not any(read.synonyms)
    assert not any(read.definitions)


def test_networkx_reads_the_json_and_the_graphml(animals, tmp_path):
    write_taxonomy(animals, str(tmp_path / "a.json"))
    write_taxonomy(animals, str(tmp_path / "a.graphml"))
    from_json = nx.node_link_graph(json.loads((tmp_path / "a.json").read_text()), edges="edges")
    from_graphml = nx.read_graphml(tmp_path / "a.graphml")
    expected = set(animals.to_networkx().edges)
    assert set(from_json.edges) == set(from_graphml.edges) == expected
    assert from_json.nodes["dog"] == {"name": "dog", "synonyms": ["Hound"], "definition": None, "aliases": []}
    assert from_graphml.nodes["animal"]["definition"] == "a living thing that moves"


def test_parquet_has_lists(animals, tmp_path):
    write_taxonomy(animals, str(tmp_path / "a.parquet"))
    dog = pq.read_table(tmp_path / "a.parquet").to_pylist()[4]
    assert dog == {
        "id": "dog",
        "name": "dog",
        "parents": ["canine", "domestic"],
        "synonyms": ["Hound"],
        "definition": None,
        "aliases": [],
    }


@pytest.mark.parametrize("file", PACKED)
def test_text_formats_are_gzipped_where_the_name_says_so(animals, tmp_path, file):
    write_taxonomy(animals, str(tmp_path / file))
    assert (tmp_path / file).read_bytes()[:2] == b"\x1f\x8b"
    assert read_taxonomy(str(tmp_path / file)) == animals


@pytest.mark.parametrize("file", LOSSLESS + PACKED)
def test_the_same_hierarchy_gives_the_same_bytes_and_leaves_nothing_else(animals, tmp_path, file):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_taxonomy(animals, str(tmp_path / folder / file))
        write_taxonomy(animals, str(tmp_path / folder / file))  # in the place of the first
        assert names_in(tmp_path / folder) == [file]
    first, second = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / folder).rglob("*")) if path.is_file()}
        for folder in ("a", "b")
    )
    assert first == second


def test_a_folder_with_other_things_is_not_touched(animals, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "edges.parquet").write_text("old")
    with pytest.raises(TaxonomyError, match=r"only vocabulary\.parquet and edges\.parquet, found notes\.txt\."):
        write_taxonomy(animals, str(tmp_path), "dataset")
    assert (tmp_path / "edges.parquet").read_text() == "old"
    assert names_in(tmp_path) == ["edges.parquet", "notes.txt"]


@pytest.mark.parametrize(
    ("file", "format_", "message"),
    [
        ("a.txt", "auto", r"expected one of the endings \.csv \(nodes\), \.tsv \(nodes\), \.json .*found '\.txt'"),
        ("a.gz", "auto", r"expected one of the endings .*found '\.gz'"),
        ("a.csv", "yaml", "expected a format among auto, nodes, edges, json, parquet, graphml, dataset, found 'yaml'"),
        ("a.parquet.gz", "auto", r"expected a name without '\.gz' for parquet"),
        ("none/a.csv", "auto", r"expected a folder .*none to write into, found none\. Make it first"),
        ("folder.csv", "auto", "expected a file or nothing there, found a folder"),
        ("file", "auto", "expected a folder or nothing there, found a file"),
        ("file/a.csv", "auto", "expected a folder .*file to write into"),
    ],
)
def test_a_wrong_place_or_format_is_an_error_that_tells_the_right_one(animals, tmp_path, file, format_, message):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TaxonomyError, match=message):
        write_taxonomy(animals, str(tmp_path / file), format_)
    assert names_in(tmp_path) == ["file", "folder.csv"]


def test_a_uri_is_refused(animals):
    with pytest.raises(TaxonomyError, match="expected a local path to write to, found a URI"):
        write_taxonomy(animals, "s3://bucket/a.csv")


def test_what_the_file_system_refuses_is_an_error_and_leaves_the_old_file(animals, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("old")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(TaxonomyError, match=r"a\.csv: cannot be written: .*No space left"):
        write_taxonomy(animals, str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_text() == "old"
    assert names_in(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("category", "file", "message"),
    [
        (
            Category("a", " a"),
            "t.csv",
            r"category 'a': expected texts with neither space around .*found ' a'.*as dataset",
        ),
        (Category("a", "b\n"), "t.parquet", "expected texts with neither space around .*in Parquet"),
        (Category("a", "b", ("",)), "t.graphml", "expected texts with neither .*in GraphML, found ''"),
        (Category("a", "b\tc"), "t.tsv", r"expected texts without tabs and line breaks in a TSV, found 'b\\tc'.*CSV"),
        (
            Category("a", "b\x01c"),
            "t.graphml",
            r"expected texts without control characters in GraphML, found 'b\\x01c'",
        ),
        (Category("a", "b", (), ""), "t.json", "expected a name and a definition, or null, in JSON, found ''"),
        (Category("a", "\ud800"), "t.csv", r"t\.csv: expected Unicode text, found half a surrogate pair"),
        (Category("a", "\ud800"), "folder", "expected Unicode text, found half a surrogate pair"),
    ],
)
def test_a_text_that_the_format_cannot_hold_is_an_error(tmp_path, category, file, message):
    taxonomy = build_taxonomy([category], [], origin="test")
    with pytest.raises(TaxonomyError, match=message):
        write_taxonomy(taxonomy, str(tmp_path / file))
    assert names_in(tmp_path) == []


def test_every_writer_says_what_it_writes():
    assert list(WRITERS) == ["nodes", "edges", "json", "parquet", "graphml", "dataset"]
    assert all(writer.what and writer.name == name for name, writer in WRITERS.items())
    assert "loses synonyms, definitions and aliases" in WRITERS["edges"].what
