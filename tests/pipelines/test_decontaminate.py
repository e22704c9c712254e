from __future__ import annotations

import json
import pickle

import numpy as np
import PIL.Image
import pytest

from openjft.dedup import OVERLAPS, EvalSetError
from openjft.loaders.decoding import encode_jpeg, resize_image
from openjft.loaders.tar import TarWriter
from openjft.pipelines.config import Decontaminate, Embed, EvalSet, Fetch
from openjft.pipelines.decontaminate import OverlapStage
from openjft.pipelines.embed import EmbedStage
from openjft.pipelines.engine import UnitResult, fingerprint, run_unit
from openjft.pipelines.storage import Store, bucket_file

FETCH = Fetch(size=64)


def photo(seed, height=90, width=120):
    rng = np.random.default_rng(seed)
    out = np.full((height, width, 3), 128.0)
    for cells, strength in ((3, 60), (6, 40), (12, 25)):
        noise = PIL.Image.fromarray(rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8))
        layer = np.asarray(noise.resize((width, height), PIL.Image.Resampling.BICUBIC))
        out += (layer.astype(float) - 127.5) / 127.5 * strength
    return np.clip(out, 0, 255).astype(np.uint8)


def key(n):
    return bytes([n] * 16)


def coco(folder, seeds):
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").mkdir()
    for seed in seeds:
        PIL.Image.fromarray(photo(seed)).save(folder / f"val2017/{seed:012d}.jpg", quality=95)
    images = [{"id": seed, "file_name": f"{seed:012d}.jpg"} for seed in seeds]
    (folder / "annotations/instances_val2017.json").write_text(json.dumps({"images": images}))
    return EvalSet(name="coco-val", format="coco", root=str(folder), annotations="annotations/instances_val2017.json")


def plain_folder(folder, seeds, name="mine"):
    folder.mkdir()
    for seed in seeds:
        PIL.Image.fromarray(photo(seed)).save(folder / f"{seed}.png")
    return EvalSet(name=name, format="folder", root=str(folder))


def stage(*eval_sets, **more):
    return OverlapStage(Embed(), Decontaminate(planted_per_transform=3, **more), eval_sets, FETCH, 17, 1)


def store_with(folder, images):
    """A store whose one bucket has those training images, embedded."""
    store = Store(str(folder))
    with store.writing(bucket_file("images", 0, 1, "tar")) as sink:
        writer = TarWriter(sink)
        for n, pixels in sorted(images.items()):
            data = encode_jpeg(resize_image(pixels, size=FETCH.size, mode="squash"), quality=90)
            writer.add(f"{key(n).hex()}.jpg", data)
        writer.close()
    run_unit(EmbedStage(Embed(), 1), 0, store, "fp")
    return store


def run(made, store):
    made.prepare(store)
    account = run_unit(made, 0, store, "fp")
    made.finish(store, account)
    return account, store.read_table("overlaps/00000-of-00001.parquet")


def test_copies_of_eval_images_are_named_with_their_view_and_verified(tmp_path):
    sets = coco(tmp_path / "coco", [100, 101, 102]), plain_folder(tmp_path / "mine", [200, 201])
    images = {1: photo(1), 2: photo(101), 3: photo(200)[:, ::-1], 4: photo(102)[:72, :96], 5: photo(5)}
    account, table = run(stage(*sets), store_with(tmp_path / "out", images))
    assert table.schema == OVERLAPS
    rows = table.to_pylist()
    assert [(r["image_key"], r["eval_set"], r["eval_id"], r["view"]) for r in rows] == [
        (key(2), "coco-val", "101", "identity"),
        (key(3), "mine", "200.png", "mirror"),
        (key(4), "coco-val", "102", "crop80-top-left"),
    ]
    assert all(r["verified"] and r["ssim"] > 0.8 and r["similarity"] > 0.9 for r in rows)
    assert (account.rows_in, account.rows_out, account.rejects) == (5, 2, {"overlap": 3})
    assert account.counters == {
        "pairs": 3,
        "verified_pairs": 3,
        "full_k_queries": 0,
        "pairs.coco-val": 2,
        "pairs.mine": 1,
    }


def test_the_summary_and_the_planted_recall_are_written(tmp_path):
    sets = (coco(tmp_path / "coco", [100, 101, 102, 103]),)
    store = store_with(tmp_path / "out", {1: photo(101), 2: photo(101), 3: photo(9)})
    run(stage(*sets), store)
    (summary,) = store.read_json("evalsets/summary.json")["sets"]
    assert summary == {"name": "coco-val", "images": 4, "undecodable": 0, "hit": 1, "verified": 1, "pairs": 2}
    recall = {r["transform"]: r for r in store.read_json("evalsets/planted.json")["recall"]}
    assert recall["none"]["found"] == recall["none"]["total"] == 3
    assert recall["mirror"]["found"] == 3
    assert 0 < recall["mirror"]["low"] < recall["mirror"]["high"] == 1


def test_pairs_go_by_image_then_falling_similarity_then_set_and_id(tmp_path):
    sets = plain_folder(tmp_path / "b", [7], "b"), plain_folder(tmp_path / "a", [7], "a")
    changed = (photo(7) * 0.8).astype(np.uint8)
    PIL.Image.fromarray(changed).save(tmp_path / "a" / "other.png")
    store = store_with(tmp_path / "out", {2: photo(7), 1: photo(7)})
    _, table = run(stage(*sets), store)
    pairs = [(r["image_key"], r["eval_set"], r["eval_id"]) for r in table.to_pylist()]
    assert pairs == [(key(n), s, i) for n in (1, 2) for s, i in (("a", "7.png"), ("b", "7.png"), ("a", "other.png"))]
    _, table = run(stage(*sets, neighbours=1), store)
    assert table.num_rows == 2


def test_without_eval_sets_nothing_overlaps(tmp_path):
    store = store_with(tmp_path / "out", {1: photo(1), 2: photo(2)})
    account, table = run(stage(), store)
    assert (account.rows_in, account.rows_out) == (2, 2)
    assert table.num_rows == 0
    assert table.schema == OVERLAPS
    assert store.read_json("evalsets/summary.json")["sets"] == []


def test_an_empty_bucket_has_no_overlaps(tmp_path):
    store = store_with(tmp_path / "out", {})
    account, table = run(stage(plain_folder(tmp_path / "mine", [1])), store)
    assert account.rows_in == table.num_rows == 0
    assert table.schema == OVERLAPS


def test_the_index_is_built_once_and_again_when_the_set_changes(tmp_path, monkeypatch):
    made = stage(plain_folder(tmp_path / "mine", [1, 2]))
    store = store_with(tmp_path / "out", {1: photo(1), 2: photo(3)})
    before = fingerprint(made, [])
    account, _ = run(made, store)
    assert account.rejects == {"overlap": 1}
    index = store.read_bytes("evalsets/index/vectors.npy")

    def fail(*args, **kwargs):
        raise AssertionError("built again")

    with monkeypatch.context() as patch:
        patch.setattr("openjft.dedup.EvalIndex.build", fail)
        made.prepare(store)
    PIL.Image.fromarray(photo(3)).save(tmp_path / "mine" / "3.png")
    assert fingerprint(made, []) != before
    account, _ = run(made, store)
    assert account.rejects == {"overlap": 2}
    assert store.read_bytes("evalsets/index/vectors.npy") != index


def test_a_corrupt_eval_image_is_named_and_the_others_are_searched(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1, 2, 3])
    (tmp_path / "mine" / "2.png").write_bytes(b"<html>not found</html>")
    store = store_with(tmp_path / "out", {1: photo(3)})
    _, table = run(stage(eval_set), store)
    assert table["eval_id"].to_pylist() == ["3.png"]
    assert table["verified"].to_pylist() == [True]  # the thumbnails keep their places
    (bad,) = store.read_json("evalsets/images.json")["undecodable"]
    assert (bad["eval_set"], bad["eval_id"], bad["reason"].split(":")[0]) == ("mine", "2.png", "not_an_image")
    assert store.read_json("evalsets/summary.json")["sets"][0]["undecodable"] == 1


def test_a_set_of_which_nothing_decodes_is_an_error(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "1.png").write_bytes(b"")
    store = store_with(tmp_path / "out", {})
    with pytest.raises(EvalSetError, match="none of 1 could be decoded"):
        stage(EvalSet(name="mine", format="folder", root=str(tmp_path / "mine"))).prepare(store)
    assert not store.exists("evalsets/images.json")


def test_a_missing_eval_set_is_an_error_before_anything_runs(tmp_path):
    made = stage(EvalSet(name="mine", format="folder", root=str(tmp_path / "absent")))
    with pytest.raises(EvalSetError, match="expected a folder"):
        made.settings()


def test_equal_input_gives_equal_bytes(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1, 2])
    written = []
    for name in ("a", "b"):
        store = store_with(tmp_path / name, {1: photo(1), 2: photo(2), 3: photo(9)})
        run(stage(eval_set), store)
        names = store.list_files("overlaps") + store.list_files("evalsets", recursive=True)
        written.append({name: store.read_bytes(name) for name in names})
    assert written[0] == written[1]


def test_removing_or_not_makes_no_overlap_stale_but_a_threshold_does(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1])
    prints = [fingerprint(stage(eval_set, **more), []) for more in ({}, {"remove": False}, {"remove_similarity": 0.9})]
    assert prints[0] == prints[1] != prints[2]


def test_the_stage_pickles_and_counts_every_image(tmp_path):
    made = stage(plain_folder(tmp_path / "mine", [1]))
    assert pickle.loads(pickle.dumps(made)) == made
    assert isinstance(run(made, store_with(tmp_path / "out", {1: photo(1)}))[0], UnitResult)
