"""The overlap report of a build's folder: what is read, what is shown, and what may be missing."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup.schema import EVAL_IMAGES, VERDICTS
from openjft.loaders.decoding import decode_stored_jpeg, encode_jpeg, resize_image
from openjft.loaders.tar import TarWriter
from openjft.pipelines.config import parse_config
from openjft.pipelines.evalsets.files import SETS_FILE, set_folder
from openjft.pipelines.evalsets.pictures import PICTURES_FILE, PLACES_FILE, PictureWriter
from openjft.pipelines.evalsets.stored import INDEX, Made, SetHeader
from openjft.pipelines.overlap_report import gather_report, write_overlap_report
from openjft.pipelines.schema import LABELS
from openjft.pipelines.storage import Store, bucket_file

BUCKETS = 2


def key(n: int) -> bytes:
    """Rising with n; 1 to 127 lie in the first bucket of two, 128 to 255 in the second."""
    return bytes([n] * 16)


@pytest.fixture
def build(tmp_path, draw):
    """A build of four pairs in two buckets; its store, and its configuration with any changes."""
    rng = np.random.default_rng(0)
    scenes = {name: draw.drawn(rng, 90)[:60] for name in ("a", "b")}
    store = Store(str(tmp_path / "out"))
    pairs = [
        draw.pair(0, 0.95, image_key=key(1), eval_id="a", level="reported", removed=True, overlap=True),
        draw.pair(0, 0.81, image_key=key(3), eval_id="b", level="removal", removed=True, transform="mirrored"),
        draw.pair(0, 0.56, image_key=key(3), eval_id="a", decision="different"),
        draw.pair(0, 0.92, image_key=key(200), eval_id="b", level="reported", removed=True, overlap=True),
    ]
    table = draw.table(pairs).select(VERDICTS.names)
    for bucket, part in enumerate((table.slice(0, 3), table.slice(3))):
        store.write_table(bucket_file("verdicts", bucket, BUCKETS), part)
    _images(store, {1: scenes["a"], 3: scenes["b"], 200: scenes["b"][:, ::-1]})
    _labels(store)
    _eval_set(store, dict(enumerate(scenes.values())))
    _evalsets(store)

    def config(**report):
        data = {
            "build": {"output": "out", "buckets": BUCKETS, "name": "small"}, "report": report,
            "inputs": [{"path": "x.csv", "source": "s"}], "sources": [{"name": "s"}], "taxonomy": {"path": "unused"},
            "eval_sets": [{"name": "own", "format": "folder", "root": "evals"}],
        }  # fmt: skip
        return parse_config(data, base=tmp_path)

    return store, config


def _images(store: Store, pixels: dict[int, np.ndarray]) -> None:
    for bucket in range(BUCKETS):
        with store.writing(bucket_file("images", bucket, BUCKETS, "tar")) as sink:
            writer = TarWriter(sink)
            for n, image in pixels.items():
                if (n >= 128) == bucket:
                    framed = resize_image(image, size=340, mode="squash")
                    writer.add(f"{key(n).hex()}.jpg", encode_jpeg(framed, quality=90))
            writer.close()


def _labels(store: Store) -> None:
    rows = [(1, 0, 0.7), (1, 1, 0.9), (2, 0, 0.5), (200, 2, 0.8)]
    for bucket in range(BUCKETS):
        mine = [
            {"image_key": key(n), "label": label, "uri": f"https://a.org/{n}", "probability": p, "sources": 1}
            for n, label, p in rows
            if (n >= 128) == bucket
        ]
        store.write_table(bucket_file("labels", bucket, BUCKETS), pa.Table.from_pylist(mine, LABELS))
    store.write_table("taxonomy/vocabulary.parquet", pa.table({"name": ["cat", "tabby", "<script>alert(1)</script>"]}))


def _eval_set(store: Store, pixels: dict[int, np.ndarray]) -> None:
    """The set "own" of the images a and b, as `evalsets.stored` lays it out; rows without pixels are undecodable."""
    folder = set_folder("own")
    images = pa.table([["own"] * 2, ["a", "b"], ["/data/a.png", "/data/b.png"]], schema=EVAL_IMAGES)
    store.write_table(f"{folder}/{INDEX}/images.parquet", images)
    with store.writing(f"{folder}/{PICTURES_FILE}") as sink:
        writer = PictureWriter(sink)
        list(writer.writing(iter(pixels.items())))
    with store.writing(f"{folder}/{PLACES_FILE}") as sink:
        np.save(sink, writer.places(2), allow_pickle=False)
    made = Made("0" * 64, ("identity", "mirror"), {})
    SetHeader("own", "0" * 64, made, "dct-1", 2, {}, (), {"format": "folder"}).write(store, folder)
    store.write_json(SETS_FILE, {"fingerprint": "0" * 64, "names": ["own"]})


def _evalsets(store: Store) -> None:
    recall = {"transform": "mirror", "found": 3, "verified": 2, "total": 4, "low": 0.2, "high": 0.99}
    sets = [{"name": "own", "format": "folder", "images": 2, "undecodable": 0, "hit": 2, "overlap": 2, "pairs": 4}]
    curve = [[0.9, 0.01, 0.0, 0.2], [0.6, 5.0, 3.0, 8.0]]
    store.write_json(
        "evalsets/summary.json",
        {
            "sets": sets, "verify_ssim": 0.8, "remove_ssim": 0.4, "remove_from": "eval", "embedder": "dct-1",
            "views": ["identity", "mirror"],
        },
    )  # fmt: skip
    store.write_json(
        "evalsets/thresholds.json",
        {"remove": 0.8, "report": 0.9, "listed": 0.55, "normalised": True, "pairs": 6, "curve": curve},
    )
    store.write_json("evalsets/planted.json", {"recall": [{**recall, "confidence": 0.95, "recall": 0.75}]})


def test_a_build_s_pairs_have_their_labels_addresses_and_pictures(build):
    store, config = build
    report = gather_report(config(), store)
    rows = report.pairs.to_pylist()
    assert [(row["image_key"], row["eval_id"]) for row in rows] == [
        (key(1), "a"), (key(3), "b"), (key(3), "a"), (key(200), "b"),
    ]  # fmt: skip
    assert [row["labels"] for row in rows] == [["tabby", "cat"], [], [], ["<script>alert(1)</script>"]]
    assert [row["uri"] for row in rows] == ["https://a.org/1", None, None, "https://a.org/200"]
    assert rows[0]["eval_path"].endswith("a.png")
    assert set(report.training_pictures) == {key(1), key(3), key(200)}
    assert set(report.eval_pictures) == {("own", "a"), ("own", "b")}


def test_both_pictures_of_a_pair_are_in_the_frame_of_the_training_images(build):
    store, config = build
    report = gather_report(config(), store)
    ours, theirs = (
        decode_stored_jpeg(p).astype(int) for p in (report.training_pictures[key(1)], report.eval_pictures["own", "a"])
    )
    assert ours.shape == theirs.shape == (212, 212, 3)
    assert abs(ours - theirs).mean() < 4


def test_facts_thresholds_and_recall_are_the_build_s(build):
    store, config = build
    report = gather_report(config(), store)
    assert (report.name, report.descriptor, report.views) == ("small", "dct-1", ("identity", "mirror"))
    assert (report.verify_ssim, report.remove_ssim, report.remove_from) == (0.8, 0.4, "eval")
    assert [(s.name, s.format, s.images, s.undecodable) for s in report.sets] == [("own", "folder", 2, 0)]
    assert (report.thresholds.remove, report.thresholds.report, report.thresholds.normalised) == (0.8, 0.9, True)
    assert [point.score for point in report.thresholds.curve] == [0.6, 0.9]
    assert [(r.transform, r.found, r.verified, r.total) for r in report.recall] == [("mirror", 3, 2, 4)]


def test_a_curve_of_one_score_is_one_point(build):
    store, config = build
    value = store.read_json("evalsets/thresholds.json")
    store.write_json("evalsets/thresholds.json", {**value, "curve": [[1.0, 0.0, 0.0, 0.0]] * 3})
    assert [point.score for point in gather_report(config(), store).thresholds.curve] == [1.0]


def test_the_digest_is_of_the_pairs_and_not_of_their_verdicts(build):
    store, config = build
    before = gather_report(config(), store).build
    path = bucket_file("verdicts", 1, BUCKETS)
    table = store.read_table(path)
    decided = table.set_column(table.schema.get_field_index("decision"), "decision", pa.array(["copy"]))
    store.write_table(path, decided.cast(VERDICTS))
    assert gather_report(config(), store).build == before
    store.write_table(path, table.slice(0, 0))
    assert gather_report(config(), store).build != before


def test_pictures_are_made_of_shown_pairs_only_and_counts_of_all(build, tmp_path):
    store, config = build
    report = gather_report(config(max_pairs=1), store)
    assert set(report.training_pictures) == {key(200)}  # reported, and nearer to its threshold than the other
    write_overlap_report(report, store)
    value = json.loads((tmp_path / "out/overlap_report/overlaps.json").read_text())
    assert value["pairs"] == 4
    assert value["sets"][0]["counts"]["report"]["found"] == 2


def test_pictures_of_evaluation_images_may_come_from_elsewhere(build, draw):
    store, config = build
    asked = []

    def picture(eval_set: str, eval_id: str) -> bytes | None:
        asked.append((eval_set, eval_id))
        return encode_jpeg(np.zeros((300, 100, 3), np.uint8), quality=80) if eval_id == "a" else b"no picture"

    report = gather_report(config(), store, eval_picture=picture)
    assert asked == [("own", "a"), ("own", "b")]
    assert list(report.eval_pictures) == [("own", "a")]
    assert decode_stored_jpeg(report.eval_pictures["own", "a"]).shape == (213, 71, 3)


def test_pictures_that_are_gone_leave_their_pairs_in_the_report(build, draw):
    store, config = build
    _eval_set(store, {1: draw.drawn(np.random.default_rng(1))})
    store.delete(bucket_file("images", 1, BUCKETS, "tar"))
    report = gather_report(config(), store)
    assert report.pairs.num_rows == 4
    assert list(report.eval_pictures) == [("own", "b")]
    assert set(report.training_pictures) == {key(1), key(3)}


@pytest.mark.parametrize(
    "missing", ["evalsets/summary.json", "evalsets/thresholds.json", "verdicts/00001-of-00002.parquet"]
)
def test_a_build_that_is_not_so_far_has_no_report(build, missing):
    store, config = build
    store.delete(missing)
    assert gather_report(config(), store) is None


def test_a_build_without_evaluation_sets_has_no_report(build):
    store, config = build
    assert gather_report(config().model_copy(update={"eval_sets": ()}), store) is None
