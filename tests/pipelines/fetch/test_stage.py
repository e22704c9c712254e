"""The stage: a bucket's labels to its tar and catalog."""

import contextlib
import errno
import hashlib
import io
import logging
import pickle
import tarfile

import pyarrow as pa
import pytest
from PIL import Image

from openjft.pipelines.config import Fetch, parse_config
from openjft.pipelines.engine import run_unit
from openjft.pipelines.errors import StorageError
from openjft.pipelines.fetch import FetchStage, stage
from openjft.pipelines.fetch.convert import convert
from openjft.pipelines.keys import image_key
from openjft.pipelines.schema import CATALOG, FETCH_REASONS, LABELS
from openjft.pipelines.storage import Store

SETTINGS = {"size": 40, "allow_private": True, "backoff_s": 0.01, "timeout_s": 2, "max_bytes": 1_000_000}


def fetch_stage(**settings):
    return FetchStage(Fetch.model_validate({**SETTINGS, **settings}), 1)


def write_labels(store, uris, labels_each=2):
    rows = sorted((image_key(uri), label, uri, 0.9, 1) for uri in uris for label in range(labels_each))
    columns = zip(*rows, strict=True) if rows else [[] for _ in LABELS]
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, LABELS, strict=True)]
    store.write_table("labels/00000-of-00001.parquet", pa.table(arrays, schema=LABELS))


def run(folder, uris, the_stage):
    store = Store(str(folder))
    write_labels(store, uris)
    result = run_unit(the_stage, 0, store, "fp")
    tar = store.read_bytes("images/00000-of-00001.tar")
    return result, tar, store.read_table("catalog/00000-of-00001.parquet")


def members(tar):
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def test_every_image_is_stored_or_has_its_reason(server, pictures, dead_url, tmp_path):
    (tmp_path / "local.jpg").write_bytes(b"<html>")
    expected = {server.url(path): status for path, status in pictures.items()}
    expected |= {
        server.url("status/404"): "http_error",
        server.url("flaky/503/1/stage"): "ok",
        server.url("hop/2"): "ok",
        server.url("loop_/a"): "redirect_loop",
        server.url("trickle"): "timeout",
        server.url("endless"): "too_many_bytes",
        server.url("gzip"): "read_failed",
        server.url("robots?tag=noai"): "disallowed",
        dead_url: "connect_failed",
        f"file://{tmp_path}/local.jpg": "not_an_image",
        f"file://{tmp_path}/absent.jpg": "not_found",
        "file:///etc/hostname": "forbidden_path",
        "ftp://example.org/x.jpg": "forbidden_scheme",
    }
    result, tar, catalog = run(
        tmp_path / "out", expected, fetch_stage(retries=1, timeout_s=1, allow_paths=[str(tmp_path)])
    )
    found = dict(zip(catalog["uri"].to_pylist(), catalog["status"].to_pylist(), strict=True))
    assert found == expected
    assert catalog.schema.equals(CATALOG)
    assert catalog["image_key"].to_pylist() == sorted(image_key(uri) for uri in expected)

    ok = [uri for uri, status in expected.items() if status == "ok"]
    assert (result.rows_in, result.rows_out) == (len(expected), len(ok))
    assert sum(result.rejects.values()) == len(expected) - len(ok)
    assert set(result.rejects) <= set(FETCH_REASONS)
    stored = members(tar)
    assert list(stored) == sorted(image_key(uri).hex() + ".jpg" for uri in ok)
    assert {Image.open(io.BytesIO(data)).size for data in stored.values()} == {(40, 40)}
    assert result.counters["bytes_stored"] == sum(len(data) for data in stored.values())
    assert result.counters["retries"] == 3  # flaky, trickle, dead port
    assert result.counters["bytes_downloaded"] == sum(n or 0 for n in catalog["original_bytes"].to_pylist())


def test_a_body_longer_than_declared_is_never_a_picture(server, tmp_path):
    """Which of the two it is depends on whether the rest arrives in one piece with the start."""
    _, _, catalog = run(tmp_path, [server.url("short")], fetch_stage())
    assert catalog["status"][0].as_py() in {"truncated", "read_failed"}


def test_the_catalog_tells_the_original(server, make_jpeg, tmp_path):
    _, tar, catalog = run(
        tmp_path, [server.url("picture/5"), server.url("rotated.jpg"), server.url("cut.jpg")], fetch_stage()
    )
    rows = {row["uri"].rpartition("/")[2]: row for row in catalog.to_pylist()}
    data = make_jpeg(5)
    row = rows["5"]
    assert row["sha256"] == hashlib.sha256(data).digest()
    assert (row["original_bytes"], row["original_width"], row["original_height"]) == (len(data), 64, 48)
    assert (row["width"], row["height"], row["http_status"], row["attempts"]) == (40, 40, 200, 1)
    assert row["bytes"] == len(members(tar)[row["image_key"].hex() + ".jpg"])
    assert (rows["rotated.jpg"]["original_width"], rows["rotated.jpg"]["original_height"]) == (48, 64)
    cut = rows["cut.jpg"]
    assert (cut["status"], cut["bytes"], cut["width"]) == ("truncated", None, None)
    assert len(cut["sha256"]) == 32


def test_equal_answers_give_equal_bytes(server, tmp_path):
    uris = [server.url(f"picture/{i}") for i in range(60)] + [server.url("page.jpg"), server.url("status/404")]
    slow = run(tmp_path / "a", uris, fetch_stage(concurrency=1))
    fast = run(tmp_path / "b", uris, fetch_stage(concurrency=32, per_host=8))
    assert slow[0] == fast[0]
    assert slow[1] == fast[1]
    names = ["images/00000-of-00001.tar", "catalog/00000-of-00001.parquet"]
    assert [Store(str(tmp_path / "a")).read_bytes(n) for n in names] == [
        Store(str(tmp_path / "b")).read_bytes(n) for n in names
    ]


def test_a_bucket_without_labels_gives_empty_files(tmp_path):
    result, tar, catalog = run(tmp_path, [], fetch_stage())
    assert (result.rows_in, catalog.num_rows, members(tar)) == (0, 0, {})


def test_private_addresses_are_refused_by_default(server, tmp_path):
    _, _, catalog = run(tmp_path, [server.url("ok.jpg")], fetch_stage(allow_private=False))
    assert catalog["status"].to_pylist() == ["private_address"]


@pytest.mark.parametrize(("mode", "size"), [("shorter_side", (53, 40)), ("center_crop", (40, 40))])
def test_resize_modes(server, tmp_path, mode, size):
    _, tar, _ = run(tmp_path, [server.url("ok.jpg")], fetch_stage(resize=mode))
    assert Image.open(io.BytesIO(next(iter(members(tar).values())))).size == size


def test_a_bug_costs_one_image_and_is_logged_once(server, tmp_path, monkeypatch, caplog):
    def broken(data, settings):
        raise TypeError("a bug")

    monkeypatch.setattr(stage, "convert", broken)
    with caplog.at_level(logging.WARNING):
        result, _, catalog = run(tmp_path, [server.url(f"picture/{i}") for i in range(5)], fetch_stage())
    assert result.rejects == {"decode_failed": 5}
    assert set(catalog["detail"].to_pylist()) == {"TypeError: a bug"}
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


def test_nothing_unforeseen_happens_with_what_the_server_sends(server, pictures, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="openjft"):
        run(tmp_path, [server.url(path) for path in pictures], fetch_stage())
    assert caplog.records == []


def test_a_full_disk_ends_the_unit_and_leaves_nothing(server, tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    write_labels(store, [server.url(f"picture/{i}") for i in range(30)])
    real = Store.writing

    class Full:
        def __init__(self, sink):
            self.sink, self.left = sink, 4000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.sink.write(data)

    @contextlib.contextmanager
    def writing(self, relative):
        with real(self, relative) as sink:
            yield Full(sink) if relative.startswith("images/") else sink

    monkeypatch.setattr(Store, "writing", writing)
    with pytest.raises(StorageError, match="no space left"):
        run_unit(fetch_stage(), 0, store, "fp")
    assert not list((tmp_path / "images").glob("*"))
    assert not (tmp_path / "catalog").exists()


def test_only_what_decides_on_a_picture_is_in_the_fingerprint():
    plain = fetch_stage().settings()
    assert fetch_stage(timeout_s=9, retries=7, concurrency=3, user_agent="x").settings() == plain
    assert fetch_stage(size=41).settings() != plain
    assert fetch_stage(respect_noai=False).settings() != plain


def test_the_stage_pickles_and_comes_from_a_configuration(tmp_path):
    config = parse_config(
        {
            "inputs": [{"path": "tars/x-*.tar", "format": "webdataset", "source": "s"}],
            "sources": [{"name": "s"}],
            "taxonomy": {"path": "t.csv"},
            "ingest": {"allowed_schemes": ["http", "tar"]},
        },
        base=tmp_path,
    )
    made = FetchStage.from_config(config)
    assert (made.allowed_schemes, made.tar_paths) == (("http", "tar"), (str(tmp_path / "tars"),))
    assert made.num_units() == config.build.buckets
    assert pickle.loads(pickle.dumps(made)) == made


def test_conversion_alone_is_a_pure_function(make_jpeg):
    settings = Fetch.model_validate(SETTINGS)
    assert convert(make_jpeg(1), settings) == convert(make_jpeg(1), settings)
