from __future__ import annotations

import hashlib
import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup.schema import DUPLICATES, VERDICTS
from openjft.loaders import Dataset, verify_dataset
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.schema import tar_file
from openjft.loaders.tar import TarWriter, read_tar
from openjft.pipelines.accounts import stage_accounts
from openjft.pipelines.config import parse_config
from openjft.pipelines.duplicates.files import LENT
from openjft.pipelines.duplicates.parts import write_parts
from openjft.pipelines.engine import Records, run_unit, start_stage
from openjft.pipelines.errors import StaleError
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.schema import CATALOG, EXPANDED, NEGATIVES
from openjft.pipelines.shard import ShardStage, dataset_config
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Category, Edge, build_taxonomy

BUCKETS = 3
IMAGES = 24


def taxonomy():
    leaves = [Category("cat"), Category("dog"), Category("zebra")]
    return build_taxonomy(
        [*leaves, Category("animal")], [Edge(leaf.id, "animal") for leaf in leaves], origin="four categories"
    )  # labels: animal 0, cat 1, dog 2, zebra 3


def key(i: int) -> bytes:
    return hashlib.blake2b(str(i).encode(), digest_size=16).digest()


def keys_of(bucket: int) -> list[bytes]:
    return sorted(k for i in range(IMAGES) if (k := key(i))[0] * BUCKETS >> 8 == bucket)


def picture(of: bytes) -> bytes:
    seed = int.from_bytes(of[:4], "big")
    return encode_jpeg(np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8), quality=90)


def lost(of: bytes) -> bool:
    """Every fifth image could not be fetched."""
    return of[1] % 5 == 0


def overlapping(of: bytes) -> bool:
    return of[2] % 4 == 0


def verdict_row(of: bytes, eval_id: str, *, removed: bool) -> dict:
    told = {"image_key": of, "eval_set": "coco", "eval_id": eval_id, "view": "identity"}
    judged = {"level": "removal" if removed else "listed", "overlap": False, "removed": removed}
    return {**told, "similarity": 0.9, "score": 0.9, "alike": False, "verified": False, **judged}


def write_inputs(store: Store) -> None:
    vocabulary, edges = taxonomy().to_tables()
    store.write_table("taxonomy/vocabulary.parquet", vocabulary)
    store.write_table("taxonomy/edges.parquet", edges)
    for bucket in range(BUCKETS):
        keys = keys_of(bucket)
        tar = io.BytesIO()
        writer = TarWriter(tar)
        catalog, expanded, overlaps = [], [], []
        for k in keys:
            if not lost(k):
                writer.add(f"{k.hex()}.jpg", picture(k))
            catalog.append(catalog_row(k))
            label = 1 + k[3] % 3
            for item, asserted in ((0, False), (label, True)):
                expanded.append((k, item, 0.25 + k[4] / 512, asserted, label))
            if overlapping(k):
                overlaps += [verdict_row(k, str(i), removed=True) for i in range(2)]
            else:
                overlaps.append(verdict_row(k, "0", removed=False))
        writer.close()
        store.write_bytes(bucket_file("images", bucket, BUCKETS, "tar"), tar.getvalue())
        store.write_table(bucket_file("catalog", bucket, BUCKETS), pa.Table.from_pylist(catalog, CATALOG))
        rows = [dict(zip(EXPANDED.names, row, strict=True)) for row in expanded]
        store.write_table(bucket_file("expanded", bucket, BUCKETS), pa.Table.from_pylist(rows, EXPANDED))
        store.write_table(bucket_file("verdicts", bucket, BUCKETS), pa.Table.from_pylist(overlaps, VERDICTS))


def denied(of: bytes) -> list[int]:
    """Of every other image a person denied the two other leaves; of every fourth its kept label, too."""
    label = 1 + of[3] % 3
    return [] if of[5] % 2 else [x for x in (1, 2, 3) if x != label or of[5] % 4 == 0]


def write_negatives(store: Store) -> None:
    for bucket in range(BUCKETS):
        rows = [(k, label, 1) for k in keys_of(bucket) for label in denied(k)]
        table = pa.Table.from_pylist([dict(zip(NEGATIVES.names, row, strict=True)) for row in rows], NEGATIVES)
        store.write_table(bucket_file("negatives", bucket, BUCKETS), table)


def catalog_row(k: bytes) -> dict:
    row = {"image_key": k, "uri": f"http://example.org/{k.hex()}.jpg?ü", "attempts": 1}
    if lost(k):
        return row | {"status": "timeout"}
    sizes = {"original_width": 32, "original_height": 48, "width": 16, "height": 16}
    return row | sizes | {"status": "ok", "sha256": hashlib.sha256(k).digest(), "bytes": len(picture(k))}


def stage(**changes) -> ShardStage:
    fields = {
        "dataset_name": "toy",
        "num_buckets": BUCKETS,
        "image_mode": "squash",
        "image_size": 16,
        "config_text": '{"build": {"name": "toy"}}',
    }
    return ShardStage(**(fields | changes))


def run(the_stage: ShardStage, store: Store, order=range(BUCKETS)):
    start_stage(the_stage, store, "fp")
    for unit in order:
        run_unit(the_stage, unit, store, "fp")
    records = Records(the_stage, store, "fp")
    records.refresh()
    the_stage.finish(store, records.total())
    return records.total()


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(str(tmp_path))
    write_inputs(store)
    return store


def contents(store: Store) -> dict[str, bytes]:
    return {path: store.read_bytes(path) for path in store.list_files("dataset", recursive=True)}


def test_the_dataset_holds_the_fetched_images_that_overlap_no_benchmark(store, tmp_path):
    account = run(stage(), store)
    fetched = [k for b in range(BUCKETS) for k in keys_of(b) if not lost(k)]
    kept = [k for k in fetched if not overlapping(k)]
    assert 0 < len(kept) < len(fetched) < IMAGES
    assert account.rows_in == len(fetched)
    assert account.rows_out == len(kept)
    assert account.rejects == {"no_label": 0, "overlap": len(fetched) - len(kept), "duplicate": 0}
    dataset = Dataset.open(tmp_path / "dataset")
    assert [dataset[i].key for i in range(len(dataset))] == kept
    for i, k in enumerate(kept):
        sample = dataset[i]
        assert sample.jpeg == picture(k)
        assert sample.labels.tolist() == [0, 1 + k[3] % 3]
        assert sample.asserted.tolist() == [False, True]
        assert sample.probabilities.tolist() == [0.25 + k[4] / 512] * 2
    assert verify_dataset(str(tmp_path / "dataset")).samples == len(kept)


def test_verified_negatives_and_origins_go_into_the_shards(store, tmp_path):
    write_negatives(store)
    account = run(stage(), store)
    dataset = Dataset.open(tmp_path / "dataset")
    told = 0
    for i in range(len(dataset)):
        sample = dataset[i]
        label = 1 + sample.key[3] % 3
        assert sample.from_labels.tolist() == [label, label]
        assert sample.negatives.tolist() == [x for x in denied(sample.key) if x != label]  # a kept label stays one
        told += len(sample.negatives)
    assert account.counters["negatives"] == dataset.manifest.verified_negatives == told > 0
    assert f"denied {told:,} labels" in (tmp_path / "dataset/README.md").read_text()
    assert verify_dataset(str(tmp_path / "dataset")).samples == account.rows_out
    members = read_tar(io.BytesIO(store.read_bytes(f"dataset/{tar_file(dataset.manifest.shards[0].name)}")))
    for member in members:
        if member.name.endswith(".json"):
            value = json.loads(member.data)
            negatives = [item["label"] for item in value.get("negatives", [])]
            assert negatives == [
                x for x in denied(bytes.fromhex(value["key"])) if x != 1 + int(value["key"][6:8], 16) % 3
            ]
            assert ("negatives" in value) == bool(negatives)
            assert value["labels"]["inferred"][0]["from"] == value["labels"]["asserted"][0]["id"]


def test_each_json_tells_where_its_image_came_from(store):
    run(stage(), store)
    for bucket in range(BUCKETS):
        members = list(read_tar(io.BytesIO(store.read_bytes(f"dataset/shards/toy-{bucket:06d}.tar"))))
        assert [m.name.partition(".")[2] for m in members] == ["jpg", "json"] * (len(members) // 2)
        for member in members[1::2]:
            value = json.loads(member.data)
            k = bytes.fromhex(value["key"])
            assert member.name == f"{value['key']}.json"
            assert value["uri"] == f"http://example.org/{value['key']}.jpg?ü"
            assert value["sha256"] == hashlib.sha256(k).hexdigest()
            assert [value[x] for x in ("original_width", "original_height", "width", "height")] == [32, 48, 16, 16]
            assert value["labels"]["inferred"][0]["id"] == "animal"
            assert value["labels"]["asserted"][0]["id"] == ("cat", "dog", "zebra")[k[3] % 3]


def test_the_manifest_accounts_for_every_file_and_every_stage(store, tmp_path):
    store.write_json("images/_stage.json", {"fingerprint": "now"})
    for unit, fingerprint in ((0, "now"), (1, "now"), (2, "former")):
        record = {"rows_in": 9, "rows_out": 7, "rejects": {"timeout": 2, "empty": 0}, "counters": {"retries": unit}}
        store.write_json(f"images/_done/{unit:05d}.json", record | {"fingerprint": fingerprint})
    account = run(stage(), store)
    manifest = json.loads((tmp_path / "dataset/manifest.json").read_text())
    assert manifest["stages"] == [
        {"stage": "images", "rows": "images", "rows_in": 18, "rows_out": 14, "rejects": {"timeout": 4}},
        {
            "stage": "shards",
            "rows": "images",
            "rows_in": account.rows_in,
            "rows_out": account.rows_out,
            "rejects": {"overlap": account.rejects["overlap"]},
        },
    ]
    assert [a.stage for a in stage_accounts(store)] == ["images", "shards"]
    told = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    found = {p.removeprefix("dataset/"): hashlib.sha256(data).hexdigest() for p, data in contents(store).items()}
    del found["manifest.json"]
    assert told == found
    assert list(told) == sorted(told)
    assert manifest["num_samples"] == account.rows_out
    assert manifest["asserted_labels"] == manifest["inferred_labels"] == account.rows_out
    assert manifest["image"]["min_width"] == manifest["image"]["max_height"] == 16
    counts = Dataset.open(tmp_path / "dataset").class_counts
    assert counts[0] == counts[1:].sum() == account.rows_out


def test_the_same_input_gives_the_same_bytes_in_any_order_and_place(store, tmp_path_factory):
    run(stage(), store)
    other = Store(str(tmp_path_factory.mktemp("other")))
    write_inputs(other)
    run(stage(), other, order=(2, 0, 1))
    assert contents(store) == contents(other)
    before = contents(store)
    run(stage(), store)
    assert contents(store) == before
    assert len(before) == 2 * BUCKETS + 7


def test_nothing_of_this_machine_is_shipped(store, tmp_path):
    run(stage(), store)
    for path, data in contents(store).items():
        assert str(tmp_path).encode() not in data, path


def test_what_killed_workers_left_half_written_is_removed(store, tmp_path):
    (tmp_path / "dataset/shards").mkdir(parents=True)
    (tmp_path / "dataset/shards/.tmp-toy-000000.tar-123").write_bytes(b"half")
    store.write_json("shards/_stage.json", {"fingerprint": "fp"})
    run(stage(), store)
    assert verify_dataset(str(tmp_path / "dataset")).shards == BUCKETS


def test_pairs_that_remove_nothing_leave_their_images_in(store):
    for bucket in range(BUCKETS):
        path = bucket_file("verdicts", bucket, BUCKETS)
        table = store.read_table(path)
        place = table.schema.get_field_index("removed")
        kept = pa.array([False] * table.num_rows)
        store.write_table(path, table.set_column(place, VERDICTS.field("removed"), kept))
    account = run(stage(), store)
    assert account.rows_out == account.rows_in


def write_duplicates(store: Store, groups: dict[bytes, bytes], *, keep_all: bool = False) -> None:
    """duplicates/ of image -> representative."""
    for bucket in range(BUCKETS):
        rows = [(k, groups[k], "near", 0.9, keep_all or groups[k] == k) for k in keys_of(bucket) if k in groups]
        table = pa.Table.from_pylist([dict(zip(DUPLICATES.names, row, strict=True)) for row in rows], DUPLICATES)
        store.write_table(bucket_file("duplicates", bucket, BUCKETS), table)


def shipped_keys() -> list[bytes]:
    return [k for b in range(BUCKETS) for k in keys_of(b) if not lost(k) and not overlapping(k)]


def test_of_a_group_of_duplicates_the_representative_is_shipped(store, tmp_path):
    first, second, third, *_ = shipped_keys()
    write_duplicates(store, {first: second, second: second, third: second})
    account = run(stage(), store)
    assert account.rejects["duplicate"] == 2
    dataset = Dataset.open(tmp_path / "dataset")
    samples = {s.key: s for s in (dataset[i] for i in range(len(dataset)))}
    assert samples.keys() == set(shipped_keys()) - {first, third}
    assert all(s.group == s.key for s in samples.values())
    verify_dataset(str(tmp_path / "dataset"))
    assert not store.exists("dataset/groups.parquet")


def test_duplicates_do_not_take_the_place_of_a_representative_that_overlaps(store, tmp_path):
    evil = next(k for b in range(BUCKETS) for k in keys_of(b) if not lost(k) and overlapping(k))
    first, second, *_ = shipped_keys()
    write_duplicates(store, {first: evil, second: evil, evil: evil})
    account = run(stage(), store)
    assert account.rejects["duplicate"] == 2
    dataset = Dataset.open(tmp_path / "dataset")
    assert not {first, second, evil} & {dataset[i].key for i in range(len(dataset))}


def test_kept_duplicates_carry_their_group_and_their_subsets_hold_all_or_none(store, tmp_path):
    keys = shipped_keys()
    groups = dict.fromkeys([keys[0], keys[5], keys[-1]], keys[5]) | dict.fromkeys([keys[1], keys[-2]], keys[-2])
    write_duplicates(store, groups, keep_all=True)
    account = run(stage(), store)
    assert account.rejects["duplicate"] == 0
    dataset = Dataset.open(tmp_path / "dataset")
    assert [dataset[i].group for i in range(len(dataset))] == [groups.get(k, k) for k in keys]
    verify_dataset(str(tmp_path / "dataset"))
    for share in (0.0, 0.2, 0.5, 0.8, 1.0):
        subset = dataset.subset(0, share)
        found = {dataset[int(i)].key for i in subset.numbers(np.arange(subset.num_samples))}
        assert found == {k for k in keys if int.from_bytes(groups.get(k, k)[:8], "big") < round(share * 2**64)}
    _, text, *_ = read_tar(io.BytesIO(store.read_bytes("dataset/shards/toy-000000.tar")))
    assert json.loads(text.data)["group"] == keys[5].hex()


def test_labels_lent_by_duplicates_are_merged_unless_a_person_denied_them(store, tmp_path):
    write_negatives(store)
    first = next(k for k in shipped_keys() if denied(k) and 1 + k[3] % 3 not in denied(k))
    other = next(k for k in shipped_keys() if k != first)
    write_duplicates(store, {first: first, other: first})
    mine, refused = 1 + first[3] % 3, denied(first)[0]
    lent = [(first, mine, 0.99, True, mine), (first, refused, 0.9, True, refused), (first, 0, 0.9, False, refused)]
    table = pa.Table.from_pylist([dict(zip(LENT.names, row, strict=True)) for row in lent], LENT)
    write_parts(
        store, bucket_file("duplicates/lent", 1, BUCKETS, "arrow"), buckets_of(table["image_key"], BUCKETS), table
    )
    run(stage(), store)
    dataset = Dataset.open(tmp_path / "dataset")
    sample = next(s for s in (dataset[i] for i in range(len(dataset))) if s.key == first)
    assert sample.labels.tolist() == [0, mine]
    assert sample.probabilities.tolist() == [np.float32(0.25 + first[4] / 512), np.float32(0.99)]
    assert sample.negatives.tolist() == denied(first)
    verify_dataset(str(tmp_path / "dataset"))


def test_an_image_without_labels_is_counted(store):
    path = bucket_file("expanded", 0, BUCKETS)
    table = store.read_table(path)
    fetched = next(k for k in keys_of(0) if not lost(k) and not overlapping(k))
    store.write_table(path, table.filter(pa.array([k != fetched for k in table["image_key"].to_pylist()])))
    assert run(stage(), store).rejects["no_label"] == 1


@pytest.mark.parametrize("change", ["drop", "add"])
def test_images_that_are_not_the_catalogs_are_refused(store, change):
    path = bucket_file("images", 1, BUCKETS, "tar")
    members = [(m.name, m.data) for m in read_tar(io.BytesIO(store.read_bytes(path)))]
    members = members[:-1] if change == "drop" else [*members, ("f" * 32 + ".jpg", b"")]
    tar = io.BytesIO()
    writer = TarWriter(tar)
    for name, data in members:
        writer.add(name, data)
    writer.close()
    store.write_bytes(path, tar.getvalue())
    with pytest.raises(StaleError, match="as in the catalog, found"):
        run(stage(), store)


def test_empty_buckets_give_empty_shards(tmp_path):
    store = Store(str(tmp_path))
    write_inputs(store)
    for bucket in range(BUCKETS):
        for name, schema in (("catalog", CATALOG), ("expanded", EXPANDED), ("verdicts", VERDICTS)):
            store.write_table(bucket_file(name, bucket, BUCKETS), schema.empty_table())
        tar = io.BytesIO()
        TarWriter(tar).close()
        store.write_bytes(bucket_file("images", bucket, BUCKETS, "tar"), tar.getvalue())
    assert run(stage(), store).rows_in == 0
    assert verify_dataset(str(tmp_path / "dataset")).samples == 0
    assert Dataset.open(tmp_path / "dataset").image_size is None


MINIMAL = {
    "inputs": [{"path": "pairs/*.parquet", "source": "alt"}],
    "sources": [{"name": "alt"}],
    "taxonomy": {"path": "s3://user:secret@bucket/categories.csv?token=1"},
}


def config_of(base, **sections):
    return parse_config(MINIMAL | sections, base=base)


def test_the_shipped_configuration_says_what_and_not_where_or_how_fast(tmp_path):
    shipped = dataset_config(config_of(tmp_path, fetch={"allow_paths": ["pics"]}))
    assert shipped["inputs"][0]["path"] == "*.parquet"
    assert shipped["taxonomy"]["path"] == "s3://bucket/categories.csv"
    assert shipped["fetch"]["allow_paths"] == ["pics"]
    assert shipped["fetch"]["size"] == 340
    assert "output" not in shipped["build"]
    assert not {"runner", "report"} & set(shipped)
    other = config_of(
        tmp_path / "elsewhere",
        build={"output": "there"},
        runner={"workers": 7},
        fetch={"concurrency": 3, "allow_paths": ["pics"]},
        report={"examples": 1},
        shard={"max_reject_share": 0.5},
    )
    assert dataset_config(other) == shipped
    assert json.dumps(shipped).count(str(tmp_path)) == 0


def test_the_stage_of_a_configuration_pickles_and_depends_on_what_it_writes(tmp_path):
    made = ShardStage.from_config(config_of(tmp_path, shard={"max_reject_share": 0.5}))
    assert pickle.loads(pickle.dumps(made)) == made
    assert made.max_reject_share() == 0.5
    assert made.outputs() == ("shards", "dataset")
    assert made.settings() == ShardStage.from_config(config_of(tmp_path)).settings()
    smaller = ShardStage.from_config(config_of(tmp_path, fetch={"size": 99}))
    assert made.settings() != smaller.settings()
