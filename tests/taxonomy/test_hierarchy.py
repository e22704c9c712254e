import pickle

import numpy as np
import pyarrow as pa
import pytest

import openjft.taxonomy
from openjft.taxonomy import (
    EDGES,
    VOCABULARY,
    Category,
    CycleError,
    Edge,
    Taxonomy,
    TaxonomyError,
    UnknownCategoryError,
    build_taxonomy,
)


def names(taxonomy, labels):
    return [taxonomy.ids[label] for label in labels]


def build(edges, ids="abcdef"):
    return build_taxonomy([Category(i) for i in ids], [Edge(*e) for e in edges], origin="f.csv")


def test_the_public_surface_is_what_all_names():
    exported = {
        "EDGES", "READERS", "VOCABULARY", "WRITERS",
        "Category", "Closure", "Csr", "CycleError", "Draft", "Edge", "ExpandedLabels",
        "ReadOptions", "Reader", "Taxonomy", "TaxonomyError", "TaxonomyStatistics", "UnknownCategoryError", "Writer",
        "ancestor_closure", "build_draft", "build_taxonomy", "count_below", "csr_from_pairs", "expand_labels",
        "expand_negatives", "information_content", "read_draft", "read_taxonomy", "statistics", "write_taxonomy",
        "Branch", "Built", "Collapsed", "Finding", "build_mended", "check", "collapse_cycles", "find_category",
        "read_mended",
    }  # fmt: skip
    assert set(openjft.taxonomy.__all__) == exported
    assert all(hasattr(openjft.taxonomy, name) for name in exported)


def test_an_alias_finds_its_category_and_survives_the_tables():
    taxonomy = build_taxonomy([Category("b", aliases=("7", "x")), Category("a")], [], origin="f.csv")
    found = taxonomy.lookup_ids(pa.array(["7", "a", "x", "b", "8", None]))
    assert found.to_pylist() == [1, 0, 1, 1, None, None]
    again = Taxonomy.from_tables(*taxonomy.to_tables())
    assert again == taxonomy
    assert again.aliases == ((), ("7", "x"))
    assert again.index_of("7") == 1


def test_labels_are_positions_of_the_ids_in_bytes_order_whatever_the_order_of_the_file(animals):
    assert animals.ids == ("animal", "canine", "car", "cat", "dog", "domestic", "entity", "wolf")
    shuffled = build([("b", "a"), ("c", "b")], ids="cab")
    assert shuffled == build([("c", "b"), ("b", "a")], ids="abc")
    assert shuffled.ids == ("a", "b", "c")
    assert build([], ids=["é", "z", "Z"]).ids == ("Z", "z", "é")


def test_parents_and_children_are_sorted_lists(animals):
    dog = animals.index_of("dog")
    assert names(animals, animals.parents.of(dog)) == ["canine", "domestic"]
    assert names(animals, animals.children.of(animals.index_of("canine"))) == ["dog", "wolf"]
    assert names(animals, animals.roots) == ["entity"]
    assert animals.parents.values.dtype == np.int32
    assert animals.parents.offsets.dtype == np.int64


def test_depth_is_the_longest_path_from_a_root():
    taxonomy = build([("b", "a"), ("c", "b"), ("d", "c"), ("d", "a")], ids="abcde")
    assert taxonomy.depth().tolist() == [0, 1, 2, 3, 0]
    assert taxonomy.depth().dtype == np.int32


def test_an_unknown_id_is_an_error_that_suggests_the_closest(animals):
    with pytest.raises(UnknownCategoryError, match=r"found 'dogg'\. Did you mean 'dog'\?"):
        animals.index_of("dogg")


def test_a_name_given_for_an_id_is_answered_with_the_id(animals):
    with pytest.raises(UnknownCategoryError, match=r"Did you mean 'domestic', whose name that is\?"):
        animals.index_of("Domestic Animal")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_ids_are_looked_up_as_arrow_arrays_and_unknown_ones_are_null(animals, kind):
    ids = pa.array(["dog", None, "tortoise", "animal"], pa.string()).cast(kind)
    found = animals.lookup_ids(ids)
    assert found.type == pa.int32()
    assert found.to_pylist() == [4, None, None, 0]
    assert animals.lookup_ids(pa.chunked_array([ids, ids])).to_pylist() == [4, None, None, 0] * 2


def test_names_and_synonyms_are_looked_up_without_case_and_shared_ones_are_ambiguous(animals):
    names = pa.array(["Dog", "BEAST", "hound", "hounds", None, "domestic animal"])
    for values in (names, pa.chunked_array([names[:2], names[2:]])):
        labels, ambiguous = animals.lookup_names(values)
        assert labels.type == pa.int32()
        assert labels.to_pylist() == [4, 0, None, None, None, 5]
        assert ambiguous.tolist() == [False, False, True, False, False, False]


def test_a_name_that_one_category_bears_twice_is_not_ambiguous():
    taxonomy = build_taxonomy([Category("a", "Ass", ("ass", "ASS"))], [], origin="f")
    labels, ambiguous = taxonomy.lookup_names(pa.array(["ass"]))
    assert labels.to_pylist() == [0]
    assert not ambiguous.any()


def test_lookups_of_nothing_are_empty(animals):
    empty = pa.array([], pa.string())
    assert len(animals.lookup_ids(empty)) == 0
    labels, ambiguous = animals.lookup_names(empty)
    assert (len(labels), len(ambiguous)) == (0, 0)


def test_the_tables_give_the_hierarchy_back(animals):
    vocabulary, edges = animals.to_tables()
    assert vocabulary.schema == VOCABULARY
    assert edges.schema == EDGES
    again = Taxonomy.from_tables(vocabulary, edges)
    assert again == animals
    assert (again.names, again.synonyms, again.definitions) == (animals.names, animals.synonyms, animals.definitions)


def test_pickling_gives_the_hierarchy_back(animals):
    animals.lookup_ids(pa.array(["dog"]))
    assert pickle.loads(pickle.dumps(animals)) == animals


def edited(table, column, values):
    index = table.schema.get_field_index(column)
    return table.set_column(index, table.schema.field(column), pa.array(values, table.schema.field(column).type))


def test_tables_that_are_no_hierarchy_are_errors(animals):
    vocabulary, edges = animals.to_tables()
    with pytest.raises(TaxonomyError, match="id missing"):
        Taxonomy.from_tables(vocabulary.drop_columns("id"), edges)
    with pytest.raises(TaxonomyError, match="labels 0, 1, 2"):
        Taxonomy.from_tables(vocabulary.slice(1), edges)
    with pytest.raises(TaxonomyError, match="sorted and unique"):
        Taxonomy.from_tables(edited(vocabulary, "id", list("hgfedcba")), edges)
    with pytest.raises(TaxonomyError, match=r"labels in \[0, 8\)"):
        Taxonomy.from_tables(vocabulary, edited(edges, "parent", [99] * len(edges)))
    with pytest.raises(TaxonomyError, match="found one twice"):
        Taxonomy.from_tables(vocabulary, pa.concat_tables([edges, edges]))
    with pytest.raises(CycleError, match="animal -> entity -> animal"):
        Taxonomy.from_tables(vocabulary, pa.table({"child": [0, 6], "parent": [6, 0]}, schema=EDGES))


def test_the_fingerprint_covers_names_definitions_and_edges():
    def variant(name="n", synonyms=("s",), definition="d", edges=(("b", "a"),)):
        categories = [Category("a", name, synonyms, definition), Category("b")]
        return build_taxonomy(categories, [Edge(*e) for e in edges], origin="f").fingerprint()

    prints = [variant(), variant(name="m"), variant(synonyms=()), variant(definition=None), variant(edges=())]
    assert len(set(prints)) == 5
    assert variant() == prints[0]
    assert len(prints[0]) == 64


def test_networkx_sees_edges_from_parent_to_child(animals):
    graph = animals.to_networkx()
    assert set(graph.successors("animal")) == {"canine", "domestic"}
    assert graph.nodes["dog"] == {"label": 4, "name": "dog"}


def test_a_cycle_is_an_error_that_names_the_path():
    categories = [Category("n1", "cat"), Category("n2", "feline"), Category("n3"), Category("n4")]
    edges = [Edge("n1", "n2"), Edge("n2", "n3"), Edge("n3", "n1"), Edge("n4", "n1")]
    path = (
        r"f\.csv: category n1 \(cat\) is its own ancestor via n1 \(cat\) -> n2 \(feline\) -> n3 -> n1 \(cat\)\. Remove"
    )
    with pytest.raises(CycleError, match=path):
        build_taxonomy(categories, edges, origin="f.csv")


@pytest.mark.parametrize(
    ("edges", "kind", "message"),
    [
        ([("b", "a", 2), ("c", "bb", 3)], UnknownCategoryError, r"f\.csv:3: .*no category 'bb'\. Did you mean 'b'\?"),
        ([("a", "a", 7)], TaxonomyError, r"f\.csv:7: category 'a' is its own parent"),
        (
            [("b", "a", 2), ("b", "a", 5)],
            TaxonomyError,
            r"f\.csv:5: the edge 'b' -> 'a' stands twice \(first in line 2\)",
        ),
        ([("b", "a"), ("b", "a")], TaxonomyError, r"f\.csv: the edge 'b' -> 'a' stands twice\. Remove"),
    ],
)
def test_a_wrong_edge_is_an_error_that_names_the_line(edges, kind, message):
    with pytest.raises(kind, match=message):
        build(edges)


def test_a_repeated_an_empty_and_no_category_are_errors():
    with pytest.raises(TaxonomyError, match=r"f:3: category 'a' stands twice \(first in line 2\)"):
        build_taxonomy([Category("a", line=2), Category("a", line=3)], [], origin="f")
    with pytest.raises(TaxonomyError, match="f:2: expected the id"):
        build_taxonomy([Category("", line=2)], [], origin="f")
    with pytest.raises(TaxonomyError, match="expected at least one category"):
        build_taxonomy([], [], origin="f")
