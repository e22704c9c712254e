import gzip
import json

import pytest

from openjft.taxonomy import CycleError, TaxonomyError, UnknownCategoryError, read_taxonomy


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def parents(taxonomy):
    return {
        category_id: [taxonomy.ids[p] for p in taxonomy.parents.of(label)]
        for label, category_id in enumerate(taxonomy.ids)
    }


def test_edges_are_read_with_names_and_explicit_roots(tmp_path):
    path = write(tmp_path / "e.csv", 'child,parent,child_name\ndog,animal,"dog, domestic"\nanimal,,Animal\nrock,,\n')
    taxonomy = read_taxonomy(path)
    assert parents(taxonomy) == {"animal": [], "dog": ["animal"], "rock": []}
    assert taxonomy.names == ("Animal", "dog, domestic", "rock")


def test_nodes_are_read_with_several_parents(tmp_path):
    text = (
        "id\tname\tparents\tsynonyms\tdefinition\n"
        'd\tdog\tc|p\thound|cur\t"man\'s" friend\n'
        "c\tcanine\t\t\t\n"
        "p\tpet\t\t\t\n"
    )
    taxonomy = read_taxonomy(write(tmp_path / "n.tsv", text), "edges")
    assert parents(taxonomy) == {"c": [], "d": ["c", "p"], "p": []}
    assert taxonomy.synonyms[1] == ("hound", "cur")
    assert taxonomy.definitions == (None, '"man\'s" friend', None)


def test_a_gzipped_file_with_a_byte_order_mark_and_windows_lines_reads_alike(tmp_path):
    plain = write(tmp_path / "e.csv", "child,parent\nb,a\n")
    packed = tmp_path / "e.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbfchild,parent\r\nb,a\r\n\r\n"))
    assert read_taxonomy(str(packed)) == read_taxonomy(plain)


OEWN_HEADER = "oewn_id\twnid_pwn30\tlexfile\thypernyms\tinstance_hypernyms\tmembers\tdefinition\n"
OEWN = (
    OEWN_HEADER
    + "1-n\tn01\tnoun.Tops\t\t\tentity\tthat which is\n"
    + "2-n\t\tnoun.animal\t1-n\t\tdog|domestic dog\t\n"
    + '3-n\tn03\tnoun.animal\t2-n\t1-n\tLaika\t"first" in orbit\n'
)


def test_oewn_takes_the_wordnet_id_where_there_is_one_and_both_kinds_of_parents(tmp_path):
    (tmp_path / "nouns.tsv.gz").write_bytes(gzip.compress(OEWN.encode()))
    taxonomy = read_taxonomy(str(tmp_path))
    assert parents(taxonomy) == {"2-n": ["n01"], "n01": [], "n03": ["2-n", "n01"]}
    assert taxonomy.names == ("dog", "entity", "Laika")
    assert taxonomy.synonyms == (("domestic dog",), (), ())
    assert taxonomy.definitions == (None, "that which is", '"first" in orbit')


OPEN_IMAGES = {
    "LabelName": "/m/0",
    "Subcategory": [
        {"LabelName": "/m/toy", "Subcategory": [{"LabelName": "/m/bear", "Subcategory": [{"LabelName": "/m/x"}]}]},
        {"LabelName": "/m/animal", "Part": [{"LabelName": "/m/leg"}], "Subcategory": [
            {"LabelName": "/m/bear", "Subcategory": [{"LabelName": "/m/x"}]}]},
    ],
}  # fmt: skip


def test_open_images_merges_repeated_subtrees_leaves_parts_out_and_takes_names_from_beside(tmp_path):
    write(tmp_path / "class-descriptions-boxable.csv", '/m/bear,Bear\n"/m/toy","Toy, plaything"\n')
    taxonomy = read_taxonomy(write(tmp_path / "hierarchy.json", json.dumps(OPEN_IMAGES)))
    assert parents(taxonomy) == {
        "/m/0": [],
        "/m/animal": ["/m/0"],
        "/m/bear": ["/m/animal", "/m/toy"],
        "/m/toy": ["/m/0"],
        "/m/x": ["/m/bear"],
    }
    assert taxonomy.names == ("/m/0", "/m/animal", "Bear", "Toy, plaything", "/m/x")


def test_open_images_reads_without_names(tmp_path):
    taxonomy = read_taxonomy(write(tmp_path / "hierarchy.json", json.dumps(OPEN_IMAGES)), "open_images")
    assert taxonomy.names == taxonomy.ids


@pytest.mark.parametrize(
    ("text", "format_", "message"),
    [
        ("", "auto", "empty file"),
        ("a,b\n1,2\n", "auto", "expected a hierarchy: a table with the columns child,parent"),
        ("a,b\n1,2\n", "edges", "expected the columns child,parent or id,name,parents, found a,b"),
        ("child,parent\nb,a\n", "oewn", "oewn_id, .* missing"),
        ("child,parent\nb,a\n", "open_images", "expected the Open Images hierarchy as JSON"),
        ('{"name": "Entity", "children": []}', "auto", "expected objects with a `LabelName`"),
        ('{"LabelName": "a", "Subcategory": [3]}', "auto", "expected objects with a `LabelName`.*found 3"),
        ("[" * 200_000, "auto", "expected the Open Images hierarchy as JSON"),
        ("child,parent\nb,a\nc\n", "auto", r"t\.csv:3: expected 2 fields \(child, parent\), found 1"),
        ("child,parent\n,a\n", "auto", r"t\.csv:2: expected an id in `child`"),
        ("child,child,parent\nb,b,a\n", "auto", "expected each column once"),
        (
            "child,parent,child_name\nb,a,B\nb,c,BB\n",
            "auto",
            r"t\.csv:3: category 'b' is named 'BB' here and 'B' before",
        ),
        ("child,parent\nb,a\nb,a\n", "auto", r"t\.csv:3: the edge 'b' -> 'a' stands twice \(first in line 2\)"),
        ("id,name,parents\nb,,a|a\na,,\n", "auto", r"t\.csv:2: the edge 'b' -> 'a' stands twice"),
        ("id,name,parents\na,,\na,,\n", "auto", r"t\.csv:3: category 'a' stands twice \(first in line 2\)"),
        ("child,parent\n", "auto", "at least one category"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_what_was_expected(tmp_path, text, format_, message):
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(TaxonomyError, match=message) as caught:
        read_taxonomy(path, format_)
    assert path in str(caught.value)


def test_unknown_parents_and_cycles_name_the_file(tmp_path):
    path = write(tmp_path / "n.csv", "id,name,parents\ndog,,animl\nanimal,,\n")
    with pytest.raises(UnknownCategoryError, match=r"n\.csv:2: .*no category 'animl'\. Did you mean 'animal'"):
        read_taxonomy(path)
    path = write(tmp_path / "c.csv", "child,parent\na,b\nb,c\nc,a\n")
    with pytest.raises(CycleError, match=r"c\.csv: category a is its own ancestor via a -> b -> c -> a"):
        read_taxonomy(path)


def test_a_missing_file_a_truncated_gzip_and_bytes_that_are_no_text_are_errors(tmp_path):
    with pytest.raises(TaxonomyError, match="found nothing there"):
        read_taxonomy(str(tmp_path / "none.csv"))
    whole = gzip.compress(OEWN.encode())
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaxonomyError, match="cannot be read to its end"):
        read_taxonomy(str(tmp_path / "cut.tsv.gz"))
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(TaxonomyError, match="expected text in UTF-8"):
        read_taxonomy(str(tmp_path / "picture.csv"))
    with pytest.raises(TaxonomyError, match="URI that pyarrow knows"):
        read_taxonomy("nosuch://bucket/file.csv")


def test_a_folder_with_several_hierarchies_is_an_error_that_lists_them(tmp_path):
    for name in ("b.csv", "a.json", "class-descriptions.csv", "notes.md"):
        write(tmp_path / name, "child,parent\nb,a\n")
    with pytest.raises(TaxonomyError, match=r"found a\.json, b\.csv\. Name the file"):
        read_taxonomy(str(tmp_path))


def test_a_file_uri_reads_as_its_path(tmp_path):
    path = write(tmp_path / "e.csv", "child,parent\nb,a\n")
    assert read_taxonomy(f"file://{path}") == read_taxonomy(path)


def test_no_more_than_the_cap_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("openjft.taxonomy.readers.source.MAX_BYTES", 1000)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"child,parent\n" + b"\n" * 100_000))
    with pytest.raises(TaxonomyError, match="expected at most 1,000 bytes"):
        read_taxonomy(str(tmp_path / "bomb.csv.gz"))
