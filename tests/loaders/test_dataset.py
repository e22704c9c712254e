from __future__ import annotations

import io
import json
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from openjft.loaders import Dataset, DatasetError
from openjft.loaders.decoding import decode_stored_jpeg
from openjft.loaders.schema import INDEX
from openjft.loaders.shard_index import IndexCache
from openjft.loaders.storage.folder import Folder
from openjft.loaders.tar import read_tar


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 40, 3, 32, 0, shards=3)


def test_an_opened_dataset_tells_what_it_holds(folder):
    dataset = Dataset.open(folder)
    assert (dataset.name, len(dataset), dataset.num_shards, dataset.num_categories) == ("tiny", 40, 3, 4)
    assert dataset.image_size == 32
    assert dataset.category_ids == ("c000", "c001", "c002", "root")
    assert dataset.category_names[3] == "everything"
    assert dataset.class_counts.tolist() == [*dataset.asserted_counts[:3].tolist(), 40]
    assert dataset.asserted_counts[3] == 0
    assert len(dataset.manifest_sha256) == 64


def test_samples_are_numbered_in_key_order_and_read_at_random(folder):
    dataset = Dataset.open(folder)
    samples = [dataset[i] for i in range(len(dataset))]
    keys = [sample.key for sample in samples]
    assert keys == sorted(set(keys))
    tars = [folder / f"shards/{shard.name}.tar" for shard in dataset.manifest.shards]
    members = [member for tar in tars for member in read_tar(io.BytesIO(tar.read_bytes()))]
    assert [(m.name, m.data) for m in members[::2]] == [(f"{s.key.hex()}.jpg", s.jpeg) for s in samples]
    assert decode_stored_jpeg(samples[7].jpeg).shape == (32, 32, 3)
    with pytest.raises(IndexError):
        dataset[40]


def test_json_and_index_say_the_same(folder):
    dataset = Dataset.open(folder)
    tar = folder / f"shards/{dataset.manifest.shards[0].name}.tar"
    members = list(read_tar(io.BytesIO(tar.read_bytes())))
    text = members[1].data
    value = json.loads(text)
    assert text == json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    sample = dataset[0]
    assert value["key"] == sample.key.hex()
    assert value["uri"] == f"http://example.org/{sample.key.hex()}.jpg"
    assert len(value["sha256"]) == 64
    assert [value[k] for k in ("width", "height", "original_width", "original_height")] == [32, 32, 64, 64]
    (asserted,), (inferred,) = value["labels"]["asserted"], value["labels"]["inferred"]
    assert (asserted["label"], asserted["id"]) == (sample.labels[0], f"c00{sample.labels[0]}")
    assert asserted["probability"] == pytest.approx(float(sample.probabilities[0]), abs=1e-6)
    assert inferred == {"from": asserted["id"], "id": "root", "label": 3, "probability": 0.987654}
    index = pq.read_table(folder / f"shards/{dataset.manifest.shards[0].name}.parquet")
    assert index.schema == INDEX
    at, size = index["json_offset"][0].as_py(), index["json_size"][0].as_py()
    assert tar.read_bytes()[at : at + size] == text


def test_reading_rows_gives_their_bytes_in_the_order_asked_for(folder):
    dataset = Dataset.open(folder)
    shards, rows = dataset.locate(np.arange(40))
    here = rows[shards == 1]
    assert dataset.read(1, here[::-1]) == [dataset[int(i)].jpeg for i in np.flatnonzero(shards == 1)[::-1]]


def test_a_uri_reads_as_a_path_does(folder):
    by_uri = Dataset.open(f"file://{folder}")
    by_path = Dataset.open(str(folder))
    assert by_uri.manifest_sha256 == by_path.manifest_sha256
    assert by_uri[5].jpeg == by_path[5].jpeg


def test_a_file_system_that_is_not_local_reads_the_same(folder, monkeypatch):
    class Remote(pafs.SubTreeFileSystem):
        """Not a LocalFileSystem, so the reader takes Arrow's way."""

    local = Dataset.open(folder)
    remote = Folder(str(folder))
    monkeypatch.setattr(remote._files, "_fs", Remote("/", pafs.LocalFileSystem()))
    monkeypatch.setattr(remote._files, "_base", str(folder).lstrip("/"))
    monkeypatch.setattr(remote._files, "local_path", None)
    dataset = Dataset(remote, local.manifest, local.manifest_sha256, index_cache_bytes=1)
    assert [dataset[i].jpeg for i in (0, 20, 39)] == [local[i].jpeg for i in (0, 20, 39)]
    assert remote.sizes(()) == local.folder.sizes(())


def test_a_dataset_pickles_as_its_place(folder):
    dataset = Dataset.open(folder, index_cache_bytes=123)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.manifest_sha256 == dataset.manifest_sha256
    assert copy[3].key == dataset[3].key


def test_indexes_are_dropped_above_the_cache(folder):
    dataset, read = Dataset.open(folder), []

    def read_index(shard):
        read.append(shard)
        return dataset.index(shard)

    two = sum(dataset.index(shard).nbytes for shard in (0, 1))
    cache = IndexCache(read_index, max_bytes=two)
    for shard in (0, 1, 0, 2, 0, 1):
        assert cache.get(shard) is dataset.index(shard)
    assert read == [0, 1, 2, 1]  # the one not used for longest went
    none = IndexCache(read_index, max_bytes=0)
    assert none.get(2) is none.get(2)


def test_prefixes_are_nested_and_follow_the_keys_alone(folder):
    dataset = Dataset.open(folder)
    heads = [int.from_bytes(dataset[i].key[:8], "big") for i in range(40)]
    for share in (0.0, 1e-9, 0.1, 1 / 3, 0.5, heads[20] / 2**64, 0.9999, 1.0):
        assert dataset.prefix(share) == sum(head < round(share * 2**64) for head in heads)
    with pytest.raises(ValueError, match="share"):
        dataset.prefix(1.5)


def test_empty_shards_are_read_as_such(make_dataset, tmp_path):
    dataset = Dataset.open(make_dataset(tmp_path, 3, shards=16))
    assert len(dataset) == 3
    assert sum(shard.samples == 0 for shard in dataset.manifest.shards) >= 13
    assert dataset.index(next(i for i, s in enumerate(dataset.manifest.shards) if not s.samples)).num_samples == 0
    keys = [dataset[i].key for i in range(3)]
    assert keys == sorted(keys)
    assert [dataset.prefix(share) for share in (0.0, 1.0)] == [0, 3]


def test_a_folder_without_a_manifest_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"manifest\.json: expected a file of the dataset, found none"):
        Dataset.open(tmp_path)


def test_an_unknown_scheme_is_named():
    with pytest.raises(DatasetError, match=r"nope://x: expected a local path, an address"):
        Dataset.open("nope://x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="other"), "expected format 'openjft-dataset', found 'other'"),
        (lambda m: m.update(version=99), "expected format version 3, found 99; read it with"),
        (lambda m: m.update(version=1), "found 1; it was written by an older OpenJFT: build it again"),
        (lambda m: m.pop("num_samples"), "expected the fields"),
        (lambda m: m.update(num_samples="40"), "num_samples: expected int, found '40'"),
        (lambda m: m.update(num_samples=-1), "expected 0 or more"),
        (lambda m: m.update(num_samples=41), "num_samples: expected 40, the sum of its shards, found 41"),
        (lambda m: m.update(num_shards=4), "num_shards: expected 3"),
        (lambda m: m.update(shards=[1]), "ShardEntry: expected the fields"),
        (lambda m: m["shards"][0].update(name="../x"), "expected a name of letters"),
        (lambda m: m["shards"][0].update(first_key="zz"), "hex digits, found 'zz'"),
        (lambda m: m["shards"][0].update(first_key=None), "hex digits, found None"),
        (lambda m: m["files"][0].update(path="../../etc/passwd"), "expected a path inside the dataset"),
        (lambda m: m["files"].reverse(), "expected paths sorted"),
        (lambda m: m["image"].update(size=True), "image.*expected|size: expected int"),
    ],
)
def test_a_damaged_manifest_is_refused_with_the_field(folder, tmp_path, change, message):
    copy = shutil.copytree(folder, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=message):
        Dataset.open(copy)


def test_a_manifest_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b"\xff\x00<html>")
    with pytest.raises(DatasetError, match="expected JSON"):
        Dataset.open(tmp_path)


def with_index(folder, target, change):
    copy = shutil.copytree(folder, target)
    path = next((copy / "shards").glob("*-000000.parquet"))
    pq.write_table(change(pq.read_table(path)), path)
    return Dataset.open(copy)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.slice(1), "rows as in the manifest"),
        (lambda t: t.drop_columns(["sha256"]), "expected the columns"),
        (lambda t: t.set_column(1, "offset", t["offset"].cast(pa.float64())), "expected the columns"),
        (
            lambda t: t.set_column(8, INDEX.field("labels"), pa.array([[1]] * t.num_rows, INDEX.field("labels").type)),
            "of one length in each row",
        ),
    ],
)
def test_a_damaged_index_is_refused(folder, tmp_path, change, message):
    with pytest.raises(DatasetError, match=message):
        with_index(folder, tmp_path / "copy", change)[0]


@pytest.mark.usefixtures("unsealed")
def test_an_index_that_is_no_parquet_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    next((copy / "shards").glob("*-000000.parquet")).write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(DatasetError, match="expected a Parquet file"):
        Dataset.open(copy)[0]


@pytest.mark.usefixtures("unsealed")
def test_an_index_that_points_past_the_tar_is_refused(folder, tmp_path):
    dataset = with_index(
        folder,
        tmp_path / "copy",
        lambda t: t.set_column(1, INDEX.field("offset"), pa.array([10**12] * t.num_rows, pa.int64())),
    )
    with pytest.raises(DatasetError, match="found 0: the tar is truncated"):
        dataset[0]


@pytest.mark.usefixtures("unsealed")
def test_an_index_with_a_size_out_of_reason_allocates_nothing(folder, tmp_path):
    dataset = with_index(
        folder,
        tmp_path / "copy",
        lambda t: t.set_column(2, INDEX.field("size"), pa.array([2**31 - 1] * t.num_rows, pa.int32())),
    )
    with pytest.raises(DatasetError, match="expected a sane place"):
        dataset[0]


@pytest.mark.parametrize("name", ["shards/tiny-000001.parquet", "class_counts.parquet", "taxonomy/vocabulary.parquet"])
def test_a_table_that_is_not_the_manifests_is_refused(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "copy")
    table = pq.read_table(copy / name)
    pq.write_table(table, copy / name, compression="none")  # the same rows in other bytes
    dataset = Dataset.open(copy)
    with pytest.raises(DatasetError, match=rf"{name}: expected sha256 [0-9a-f]{{64}}, as in the manifest"):
        _ = dataset.index(1), dataset.class_counts, dataset.taxonomy
