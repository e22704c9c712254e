"""Edge lists and category lists in Parquet."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.taxonomy import Category, Edge, TaxonomyError, read_draft


def parquet(columns, **settings):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **settings)
    return out.getvalue()


def test_edges_are_read_with_their_rows_and_whole_numbers_as_ids(write):
    data = parquet({"parent": pa.array([1, None, 1]), "child": pa.array([3, 1, 2], pa.uint8()), "score": [0.5] * 3})
    draft = read_draft(write(data, "edges.pq"))
    assert draft.categories == (Category("3", line=1), Category("1", line=2), Category("2", line=3))
    assert draft.edges == (Edge("3", "1", 1), Edge("2", "1", 3))


def test_categories_are_read_with_lists_of_parents_and_with_strings_of_them(write):
    lists = {"id": ["d", "a|b", "c"], "name": ["Dog", None, ""], "parents": [["a|b", "c"], [], None]}
    draft = read_draft(write(parquet({**lists, "synonyms": [["x | y"], None, None]}), "lists.parquet"))
    assert draft.categories == (
        Category("d", "Dog", ("x | y",), line=1),
        Category("a|b", line=2),
        Category("c", line=3),
    )
    assert draft.edges == (Edge("d", "a|b", 1), Edge("d", "c", 1))
    strings = {"id": pa.array(["d", "a", "c"]).dictionary_encode(), "parents": ["a|c", "", None]}
    draft = read_draft(write(parquet(strings), "strings.parquet"))
    assert draft.edges == (Edge("d", "a", 1), Edge("d", "c", 1))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["x"], "b": ["y"]}, "t.parquet: expected the columns id,name,parents, or one of.*; found a, b. Rename"),
        (
            {"child": [0.5], "parent": ["a"]},
            "t.parquet: column 'child': expected strings or integers found double. Convert the column",
        ),
        (
            {"id": ["a"], "parents": [[0.5]]},
            "t.parquet: column 'parents': expected strings or integers, or lists of these, found list",
        ),
        ({"child": [["b"]], "parent": ["a"]}, "t.parquet: column 'child': expected strings or integers found list"),
        ({"child": [b"b"], "parent": ["a"]}, "t.parquet: column 'child': expected strings or integers found binary"),
        ({"child": [None], "parent": ["a"]}, "t.parquet:1: expected an id in `child`, found none. Fill it in"),
    ],
)
def test_wrong_columns_are_errors_that_name_them(write, columns, message):
    with pytest.raises(TaxonomyError, match=message):
        read_draft(write(parquet(columns), "t.parquet"))


def test_a_damaged_file_and_one_that_grows_without_end_are_errors(write, monkeypatch):
    data = parquet({"child": ["b"] * 100_000, "parent": ["a"] * 100_000})
    for broken in (data[:100] + data[-8:], b"PAR1PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1"):
        with pytest.raises(TaxonomyError, match=r"expected a Parquet file, found .* Is it whole\?"):
            read_draft(write(broken, "t.parquet"), "parquet")
    monkeypatch.setattr("openjft.taxonomy.readers.source.MAX_BYTES", len(data) + 100)
    with pytest.raises(TaxonomyError, match=r"expected at most .* bytes, found more"):
        read_draft(write(data, "t.parquet"))
