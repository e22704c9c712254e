"""The hierarchy of a finished dataset."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.taxonomy import Category, Edge, Taxonomy, TaxonomyError, build_taxonomy, read_draft, read_taxonomy


@pytest.fixture
def taxonomy() -> Taxonomy:
    categories = [
        Category("n02", " dog|hound ", ("a,b", 'c"d', ""), "one\ntwo", ("7", "m|2")),
        Category("n01", "animal", (), ""),
        Category("n00"),
    ]
    return build_taxonomy(categories, [Edge("n02", "n01"), Edge("n02", "n00")], origin="test")


def save(taxonomy, folder):
    folder.mkdir(parents=True)
    vocabulary, edges = taxonomy.to_tables()
    pq.write_table(vocabulary, folder / "vocabulary.parquet")
    pq.write_table(edges, folder / "edges.parquet")


def test_a_dataset_its_taxonomy_folder_and_its_files_are_read_exactly_as_they_were(tmp_path, taxonomy):
    save(taxonomy, tmp_path / "dataset/taxonomy")
    folder = tmp_path / "dataset"
    (folder / "manifest.json").write_text("{}")
    for path in (
        folder,
        folder / "taxonomy",
        folder / "taxonomy/vocabulary.parquet",
        folder / "taxonomy/edges.parquet",
    ):
        assert read_taxonomy(str(path)).fingerprint() == taxonomy.fingerprint()
        assert read_taxonomy(str(path), "dataset") == taxonomy


def test_the_draft_names_file_and_row(tmp_path, taxonomy):
    save(taxonomy, tmp_path / "t")
    draft = read_draft(str(tmp_path / "t"))
    assert draft.place(draft.categories[1]) == f"{tmp_path}/t/vocabulary.parquet:2"
    assert draft.place(draft.edges[0]) == f"{tmp_path}/t/edges.parquet:1"


def test_a_finished_dataset_of_this_package_is_read(tmp_path, make_dataset):
    folder = make_dataset(tmp_path / "data", n=4, classes=3)
    assert read_taxonomy(str(folder)).ids == ("c000", "c001", "c002", "root")


def edit(path, change):
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "vocabulary",
            lambda t: t.drop_columns(["aliases"]),
            "vocabulary.parquet: expected the columns .*: aliases mis",
        ),
        ("vocabulary", lambda t: t.slice(1), "vocabulary.parquet: expected the labels 0, 1, 2, ... in order"),
        (
            "vocabulary",
            lambda t: t.set_column(0, "label", pa.array(["0", "x", "2"])),
            "vocabulary.parquet: expected the columns of a dataset's file, found",
        ),
        (
            "vocabulary",
            lambda t: pa.table(t.columns, t.schema.names).set_column(1, "id", pa.array(["a", None, "c"])),
            "vocabulary.parquet: expected no nulls in id, found some",
        ),
        (
            "edges",
            lambda t: pa.table({"child": pa.array([2, 2], pa.int32()), "parent": pa.array([0, 3], pa.int32())}),
            r"edges.parquet:2: expected labels in \[0, 3\), found the edge \[2, 3\]. Are both files of one dataset",
        ),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, taxonomy, file, change, message):
    save(taxonomy, tmp_path / "t")
    edit(tmp_path / f"t/{file}.parquet", change)
    with pytest.raises(TaxonomyError, match=message):
        read_draft(str(tmp_path / "t"))


def test_a_folder_without_the_files_is_an_error(tmp_path):
    (tmp_path / "e.csv").write_text("child,parent\nb,a\n")
    with pytest.raises(TaxonomyError, match=r"expected a folder with vocabulary\.parquet and edges\.parquet"):
        read_draft(str(tmp_path), "dataset")
