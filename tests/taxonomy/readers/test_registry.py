"""Choice of the reader, folders, and files that are none."""

import contextlib
import gzip
import json
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openjft.taxonomy import READERS, CycleError, TaxonomyError, read_draft, read_taxonomy
from openjft.taxonomy.readers import Source

GRAPHML = '<?xml version="1.0"?>\n<!-- a --><graphml><graph edgedefault="directed"><node id="a"/></graph></graphml>'
COCO = [{"id": 1, "name": "dog", "supercategory": "animal"}]
# One file and more of each format; those of Parquet are made elsewhere.
SAMPLES = [
    ("oewn", "oewn_id\twnid_pwn30\tlexfile\thypernyms\tinstance_hypernyms\tmembers\tdefinition\n1-n\tn01\t\t\t\te\t\n"),
    ("edges", "child,parent\nb,a\n"),
    ("edges", "id;name;parents\nb;B;\n"),
    ("edges", "fine_id,fine,coarse\n0,apple,fruit\n"),
    ("coco", "id,name,supercategory,isthing\n1,person,person,1\n"),
    ("coco", json.dumps({"info": {}, "categories": COCO, "annotations": [{"id": 1}]})),
    ("coco", json.dumps(COCO)),
    ("open_images", '{"LabelName": "/m/0", "Subcategory": [{"LabelName": "/m/1"}]}'),
    ("open_images", '{"name": "Entity", "children": [{"name": "Coin", "size": 1000}]}'),
    ("json_graph", '{"nodes": [{"id": "a"}], "links": []}'),
    ("json_graph", '{"nodes": [{"id": "a"}], "edges": []}'),
    ("json_graph", '{"animal": ["dog", "cat"], "dog": []}'),
    ("json_graph", '{"name": "Entity", "children": [{"name": "Coin"}]}'),
    ("json_graph", '[{"id": "a", "children": []}]'),
    ("graphml", GRAPHML),
    ("flat", "class\naeroplane\nbicycle\n"),
    ("flat", "index80,name\n0,person\n1,bicycle\n"),
    ("flat", "/a/airfield 0\n/a/airplane_cabin 1\n"),
    ("flat", '"/g/1172hxxrk","traditional sport"\n"/m/0abc","dog"\n'),
    ("flat", "dog\ntraffic light\n"),
    ("tencent", "category_index\tcategory_id\tindex_of_parent_category\tcategory name\n0\tn01\t-1\tthing\n"),
    ("imagenet", "n01440764\nn01443537\n"),
    ("imagenet", "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish\n"),
    ("imagenet", "n00001740 n00001930\nn00001740 n00002137\n"),
    ("yolo9000", "n00001740 -1\nn00001930 0\nn00002137 0\n"),
    ("indented", "animal\n  dog\n    poodle\n  cat\n"),
    ("paths", "Animals\nAnimals > Dogs\nAnimals > Dogs > Poodles\n"),
]


@pytest.mark.parametrize(("format_", "text"), SAMPLES)
def test_a_file_is_recognised_by_its_own_reader_alone(write, format_, text):
    path = write(text, "no_ending")
    assert [name for name, reader in READERS.items() if reader.recognise(Source(path))] == [format_]
    assert read_draft(path) == read_draft(path, format_)
    packed = write(gzip.compress(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()), "packed")
    assert [name for name, reader in READERS.items() if reader.recognise(Source(packed))] == [format_]


def test_every_format_has_a_sample_here_or_is_parquet():
    assert {format_ for format_, _ in SAMPLES} | {"parquet", "dataset"} == set(READERS)


def test_no_reader_recognises_noise_an_empty_file_a_truncated_one_or_a_folder_of_others(write, tmp_path):
    rng = random.Random(0)
    truncated = gzip.compress(b"child,parent\n" * 1000)[:30]
    for content in (
        rng.randbytes(300),
        rng.randbytes(70_000),
        b"",
        b"\n \n",
        b"\xff\xd8\xff\xe0",
        truncated,
        b"[[[[",
        b"{",
    ):
        source = Source(write(content, "noise"))
        assert not any(reader.recognise(source) for reader in READERS.values())
    assert not any(reader.recognise(Source(str(tmp_path))) for reader in READERS.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.binary(max_size=40)
    | st.text('{}[]",:|\t\n ;>/ab01-<', max_size=40).map(str.encode)
    | st.sampled_from([text for _, text in SAMPLES]).flatmap(
        lambda text: st.integers(0, len(text)).map(lambda end: text[:end].encode())
    )
)
@example(b'""')
def test_any_bytes_are_a_hierarchy_or_a_taxonomy_error(write, content):
    path = write(content, "any")
    source = Source(path)
    for name, reader in READERS.items():
        assert reader.recognise(source) in {True, False}
        with contextlib.suppress(TaxonomyError):
            read_draft(path, name)


def test_a_file_of_no_format_is_an_error_that_lists_them(write):
    path = write("a,b\n1,2\n")
    with pytest.raises(TaxonomyError) as caught:
        read_draft(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: expected a hierarchy of one of these formats:"
    assert lines[1:-1] == [f"  {reader.name}: {reader.what}" for reader in READERS.values()]
    assert lines[-1] == "Found the first line 'a,b'. Give --format (taxonomy.format) for that reader's own message"


def test_an_unknown_format_is_an_error_that_lists_them(write):
    with pytest.raises(TaxonomyError, match=f"among auto, {', '.join(READERS)}, found 'wordnet'"):
        read_draft(write("child,parent\nb,a\n"), "wordnet")


def test_a_missing_file_a_truncated_gzip_and_bytes_that_are_no_text_are_errors(write, tmp_path):
    with pytest.raises(TaxonomyError, match="found nothing there"):
        read_draft(str(tmp_path / "none.csv"))
    whole = gzip.compress(random.Random(0).randbytes(1000))
    with pytest.raises(TaxonomyError, match="cannot be read to its end"):
        read_draft(write(whole[: len(whole) // 2], "cut.tsv.gz"))
    with pytest.raises(TaxonomyError, match="expected text in UTF-8"):
        read_draft(write(b"\xff\xd8\xff\xe0", "picture.csv"))
    with pytest.raises(TaxonomyError, match="URI that pyarrow knows"):
        read_draft("nosuch://bucket/file.csv")


def test_a_folder_with_several_hierarchies_or_none_is_an_error_that_lists_what_is_there(write, tmp_path):
    write("notes", "notes.md")
    with pytest.raises(TaxonomyError, match=r"found none among notes\.md\. Name the file"):
        read_draft(str(tmp_path))
    for name in ("b.csv", "a.json.gz", "class-descriptions.csv"):
        write("child,parent\nb,a\n", name)
    with pytest.raises(TaxonomyError, match=r"found a\.json\.gz, b\.csv\. Name the file"):
        read_draft(str(tmp_path))


def test_class_descriptions_alone_in_a_folder_are_read(write, tmp_path):
    write("/m/01,Dog\n/m/02,Cat\n", "class-descriptions.csv")
    assert [category.name for category in read_draft(str(tmp_path)).categories] == ["Dog", "Cat"]


def test_a_file_uri_reads_as_its_path(write):
    path = write("child,parent\nb,a\n")
    assert read_taxonomy(f"file://{path}") == read_taxonomy(path)


def test_no_more_than_the_cap_is_unpacked(write, monkeypatch):
    monkeypatch.setattr("openjft.taxonomy.readers.source.MAX_BYTES", 1000)
    with pytest.raises(TaxonomyError, match="expected at most 1,000 bytes"):
        read_draft(write(gzip.compress(b"child,parent\n" + b"\n" * 100_000), "bomb.csv.gz"))


def test_a_cycle_is_an_error_that_names_the_file_and_is_collapsed_on_request(write):
    path = write("child,parent\na,b\nb,c\nc,a\nd,a\n", "c.csv")
    with pytest.raises(CycleError, match=r"c\.csv.*: .*a -> b -> c -> a"):
        read_taxonomy(path)
    assert read_taxonomy(path, collapse=True).num_categories == 2


def test_only_listed_categories_and_their_ancestors_are_kept(write):
    ids = write("# what we sell\ndog\n", "ids.txt")
    taxonomy = read_taxonomy(write("child,parent\ndog,animal\ncat,animal\n"), only=ids)
    assert taxonomy.ids == ("animal", "dog")
