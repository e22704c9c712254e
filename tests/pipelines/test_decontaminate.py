from __future__ import annotations

import json
import pickle

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from openjft.dedup import OVERLAPS, Decisions, DedupError, EvalIndex, EvalSetError
from openjft.dedup.schema import VERDICTS
from openjft.loaders.decoding import encode_jpeg, resize_image
from openjft.loaders.tar import TarWriter
from openjft.pipelines.config import Decontaminate, Embed, EvalSet, Fetch
from openjft.pipelines.decontaminate import OverlapStage, VerdictStage
from openjft.pipelines.decontaminate.verdicts import judge
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
    more = {"remove_similarity": 0.7, **more}
    return OverlapStage(Embed(), Decontaminate(planted_per_transform=3, **more), eval_sets, FETCH, 17, 1)


def judged(store, *eval_sets, remove_from="train", decisions=()):
    """The stage after it, run on what `run` left; its table and the summary."""
    files = tuple(str(path) for path in decisions)
    made = VerdictStage(remove_from, tuple(s.name for s in eval_sets), files, "digest" if files else None, 1)
    made.prepare(store)
    account = run_unit(made, 0, store, "fp")
    made.finish(store, account)
    return store.read_table("verdicts/00000-of-00001.parquet"), store.read_json("evalsets/summary.json")


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


def review(path, reviewer="ann", **decisions):
    """A file of decisions on pairs (key number, set, id)."""
    entries = [
        {"image_key": key(n).hex(), "eval_set": name, "eval_id": id_, "decision": decision}
        for decision, pairs in decisions.items()
        for n, name, id_ in pairs
    ]
    head = {"format": "openjft-overlap-decisions", "version": 1, "build": "0" * 12, "reviewer": reviewer}
    path.write_text(json.dumps({**head, "decisions": entries}))
    return path


def test_copies_of_eval_images_are_named_with_view_transform_and_verdict(tmp_path):
    sets = coco(tmp_path / "coco", [100, 101, 102]), plain_folder(tmp_path / "mine", [200, 201])
    images = {1: photo(1), 2: photo(101), 3: photo(200)[:, ::-1], 4: photo(102)[:72, :96], 5: photo(5)}
    store = store_with(tmp_path / "out", images)
    account, table = run(stage(*sets), store)
    assert table.schema == OVERLAPS
    rows = table.to_pylist()
    assert [(r["image_key"], r["eval_set"], r["eval_id"], r["view"]) for r in rows] == [
        (key(2), "coco-val", "101", "identity"),
        (key(3), "mine", "200.png", "mirror"),
        (key(4), "coco-val", "102", "crop80-top-left"),
    ]
    assert all(r["verified"] and r["ssim"] > 0.8 and r["similarity"] > 0.9 for r in rows)
    assert all(r["score"] == r["similarity"] for r in rows)
    assert [r["transform"] for r in rows[:2]] == ["as it is", "mirrored"]
    assert "% of it" in rows[2]["transform"]
    assert (account.rows_in, account.rows_out) == (5, 5)
    assert account.counters["verified_pairs"] == account.counters["pairs"] == 3
    verdicts, summary = judged(store, *sets)
    assert verdicts.schema == VERDICTS
    assert verdicts["level"].to_pylist() == ["reported"] * 3
    assert verdicts["removed"].to_pylist() == [True] * 3
    assert [(s["name"], s["images"], s["hit"], s["overlap"], s["pairs"]) for s in summary["sets"]] == [
        ("coco-val", 3, 2, 2, 2),
        ("mine", 2, 1, 1, 1),
    ]
    assert summary["removed_images"] == summary["training_images"] == 3


def test_the_planted_recall_counts_what_would_be_removed_and_what_was_verified(tmp_path):
    sets = (coco(tmp_path / "coco", [100, 101, 102, 103]),)
    store = store_with(tmp_path / "out", {1: photo(101), 3: photo(9)})
    run(stage(*sets), store)
    recall = {r["transform"]: r for r in store.read_json("evalsets/planted.json")["recall"]}
    assert recall["none"]["found"] == recall["none"]["verified"] == recall["none"]["total"] == 3
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
    made = VerdictStage("train", (), (), None, 1)
    made.prepare(store)
    made.finish(store, run_unit(made, 0, store, "fp"))
    assert not store.exists("evalsets/summary.json")


def test_an_empty_bucket_has_no_overlaps(tmp_path):
    store = store_with(tmp_path / "out", {})
    account, table = run(stage(plain_folder(tmp_path / "mine", [1])), store)
    assert account.rows_in == table.num_rows == 0
    assert table.schema == OVERLAPS


def test_a_new_set_is_embedded_alone_and_one_no_longer_named_goes(tmp_path, monkeypatch):
    first, second = plain_folder(tmp_path / "a", [1, 2], "a"), plain_folder(tmp_path / "b", [3], "b")
    store = store_with(tmp_path / "out", {1: photo(1), 2: photo(3)})
    before = fingerprint(stage(first), [])
    run(stage(first), store)
    build, built = EvalIndex.build, []

    def counting(images, table, *args, **more):
        built.extend(table["eval_set"].to_pylist())
        return build(images, table, *args, **more)

    monkeypatch.setattr("openjft.dedup.EvalIndex.build", counting)
    assert fingerprint(stage(first, second), []) != before
    _, table = run(stage(first, second), store)
    assert built == ["b"]
    assert table["eval_set"].to_pylist() == ["a", "b"]
    _, table = run(stage(second), store)
    assert built == ["b"]
    assert table["eval_set"].to_pylist() == ["b"]
    assert not store.exists("evalsets/sets/a")


def test_a_new_set_is_searched_when_the_images_are_gone(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1, 2])
    store = store_with(tmp_path / "out", {1: photo(1), 2: photo(9)})
    store.delete("images")
    account, table = run(stage(eval_set), store)
    (row,) = table.to_pylist()
    assert (row["eval_id"], row["ssim"], row["transform"], row["verified"]) == ("1.png", None, None, False)
    assert account.counters["images_without_picture"] == 1
    verdicts, _ = judged(store, eval_set)
    assert verdicts["level"].to_pylist() == ["removal"]


@pytest.mark.parametrize("own", [True, False], ids=["the build's own images", "a folder"])
def test_scores_may_be_less_the_nearest_of_a_background(tmp_path, own):
    eval_set = plain_folder(tmp_path / "mine", [1, 2])
    store = store_with(tmp_path / "out", {n: photo(n) for n in (1, 2, *range(20, 40))})
    plain_folder(tmp_path / "background", range(300, 320))
    more = {} if own else {"background": str(tmp_path / "background")}
    _, table = run(stage(eval_set, normalise=True, remove_similarity=0.3, **more), store)
    copies = {r["eval_id"]: r for r in table.to_pylist() if r["verified"]}
    assert set(copies) == {"1.png", "2.png"}
    assert all(0.3 < r["score"] < r["similarity"] - 0.05 for r in copies.values())
    assert store.read_json("evalsets/thresholds.json")["normalised"] is True
    run(stage(eval_set), store)
    assert not store.exists("evalsets/background.npy")


def test_a_corrupt_eval_image_is_named_and_the_others_are_searched(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1, 2, 3])
    (tmp_path / "mine" / "2.png").write_bytes(b"<html>not found</html>")
    store = store_with(tmp_path / "out", {1: photo(3)})
    _, table = run(stage(eval_set), store)
    assert table["eval_id"].to_pylist() == ["3.png"]
    assert table["verified"].to_pylist() == [True]  # the pictures keep their places
    (bad,) = store.read_json("evalsets/sets/mine/set.json")["undecodable"]
    assert (bad["eval_id"], bad["reason"].split(":")[0]) == ("2.png", "not_an_image")
    _, summary = judged(store, eval_set)
    assert summary["sets"][0]["undecodable"] == 1
    lists = {p: store.read_bytes(f"evalsets/clean/mine/mine.{p}.txt").decode() for p in ("clean", "removed", "unknown")}
    assert lists == {"clean": "1.png\n", "removed": "3.png\n", "unknown": "2.png\n"}


def test_a_set_of_which_nothing_decodes_is_an_error(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "1.png").write_bytes(b"")
    store = store_with(tmp_path / "out", {})
    with pytest.raises(EvalSetError, match="none of 1 could be decoded"):
        stage(EvalSet(name="mine", format="folder", root=str(tmp_path / "mine"))).prepare(store)
    assert not store.exists("evalsets/sets.json")


def test_a_missing_eval_set_is_an_error_before_anything_runs(tmp_path):
    made = stage(EvalSet(name="mine", format="folder", root=str(tmp_path / "absent")))
    with pytest.raises(EvalSetError, match="expected a folder"):
        made.settings()


def test_vectors_that_are_not_numbers_are_refused(tmp_path):
    store = store_with(tmp_path / "out", {1: photo(1)})
    table = store.read_table("embeddings/00000-of-00001.parquet")
    vectors = np.full((1, 170), np.nan, np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=table.schema.field("vector").type)
    store.write_table("embeddings/00000-of-00001.parquet", table.set_column(1, table.schema.field("vector"), column))
    with pytest.raises(DedupError, match="found NaN or infinity in row 0"):
        run(stage(plain_folder(tmp_path / "mine", [1])), store)


def test_equal_input_gives_equal_bytes(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1, 2])
    written = []
    for name in ("a", "b"):
        store = store_with(tmp_path / name, {1: photo(1), 2: photo(2), 3: photo(9)})
        run(stage(eval_set), store)
        judged(store, eval_set)
        folders = ("overlaps", "verdicts", "evalsets")
        names = [n for f in folders for n in store.list_files(f, recursive=True) if "/_done/" not in n]
        written.append({name: store.read_bytes(name) for name in names})
    assert written[0] == written[1]


def test_what_becomes_of_overlaps_makes_no_search_stale_but_a_threshold_does(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1])
    changes = ({}, {"remove_from": "eval"}, {"decisions": ("x.json",)}, {"remove_similarity": 0.9})
    prints = [fingerprint(stage(eval_set, **more), []) for more in changes]
    assert prints[0] == prints[1] == prints[2] != prints[3]


def test_a_review_confirms_and_refutes(tmp_path):
    eval_set = plain_folder(tmp_path / "mine", [1, 2, 3])
    store = store_with(tmp_path / "out", {1: photo(1), 2: photo(2), 9: photo(9)})
    run(stage(eval_set, remove_similarity=0.8), store)
    assert judged(store, eval_set)[0]["removed"].to_pylist() == [True, True]
    file = review(tmp_path / "ann.json", different=[(1, "mine", "1.png")], copy=[(2, "mine", "2.png")])
    verdicts, summary = judged(store, eval_set, decisions=[file])
    rows = [(r["decision"], r["overlap"], r["removed"]) for r in verdicts.to_pylist()]
    assert rows == [("different", False, False), ("copy", True, True)]
    assert summary["sets"][0]["hit"] == 1
    assert store.read_bytes("evalsets/clean/mine/mine.clean.txt") == b"1.png\n3.png\n"


@pytest.mark.parametrize("remove_from", ["eval", "none"])
def test_training_images_stay_where_nothing_is_removed_from_them(tmp_path, remove_from):
    eval_set = plain_folder(tmp_path / "mine", [1, 2])
    store = store_with(tmp_path / "out", {1: photo(1)})
    run(stage(eval_set), store)
    verdicts, summary = judged(store, eval_set, remove_from=remove_from)
    assert verdicts["removed"].to_pylist() == [False]
    assert summary["sets"][0]["overlap"] == 1
    assert store.read_bytes("evalsets/clean/mine/mine.clean.txt") == b"2.png\n"


def test_levels_follow_thresholds_verification_and_decisions():
    rows = [(0.9, True, True), (0.9, False, False), (0.6, True, True), (0.6, True, False), (0.75, False, False)]
    rows += [(0.6, False, False)]
    n = len(rows)
    table = pa.table(
        {
            "image_key": pa.array([key(i) for i in range(n)], pa.binary(16)),
            "eval_set": ["s"] * n, "eval_id": [str(i) for i in range(n)], "view": ["identity"] * n,
            "similarity": [s for s, _, _ in rows], "score": [s for s, _, _ in rows], "ssim": [0.9] * n,
            "ssim_low": [0.9] * n, "transform": ["as it is"] * n, "alike": [a for _, a, _ in rows],
            "verified": [v for _, _, v in rows],
        },
        schema=OVERLAPS,
    )  # fmt: skip
    out = judge(table, 0.7, 0.8, Decisions(), "train")
    assert out["level"].to_pylist() == ["reported", "removal", "removal", "removal", "removal", "listed"]
    assert out["overlap"].to_pylist() == [True] + [False] * 5
    assert out["removed"].to_pylist() == [True] * 5 + [False]


def test_the_stages_pickle(tmp_path):
    made = stage(plain_folder(tmp_path / "mine", [1]))
    assert pickle.loads(pickle.dumps(made)) == made
    assert isinstance(run(made, store_with(tmp_path / "out", {1: photo(1)}))[0], UnitResult)
    verdicts = VerdictStage("train", ("mine",), (), None, 1)
    assert pickle.loads(pickle.dumps(verdicts)) == verdicts
