"""Whole data sets from afar: a web server, and a real S3 server."""

from __future__ import annotations

import pickle
import shutil
import threading

import numpy as np
import pytest

from openjft.loaders import Dataset, DatasetError, Loader, verify_dataset
from openjft.loaders.evaluation import evaluate
from openjft.loaders.open import open_source
from openjft.loaders.storage import http
from openjft.loaders.storage.cache import ChunkCache
from openjft.loaders.storage.chunks import entry_size
from openjft.loaders.training import train

CHUNK = 8_192


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 61, 3, 64, 0, shards=3)


@pytest.fixture
def site(make_site, folder, tmp_path):
    return make_site(shutil.copytree(folder, tmp_path / "served"))


@pytest.fixture
def cache(tmp_path, folder):
    """Holds less than half of the data set."""
    tars = sum(path.stat().st_size for path in folder.glob("shards/*.tar"))
    made = ChunkCache(tmp_path / "cache", max_bytes=10 * entry_size(CHUNK), chunk_bytes=CHUNK)
    assert made.max_bytes < tars / 2
    return made


def batches_of(source, epoch=1, **options):
    loader = Loader(source, batch_size=8, seed=3, num_threads=2, drop_last=False, **options)
    with loader.epoch(epoch) as batches:
        return [(b.keys.tobytes(), b.images.tobytes(), b.label_values.tobytes(), b.slots.tobytes()) for b in batches]


def tar_requests(site) -> list:
    return [asked for asked in site.asked if asked.path.endswith(".tar")]


def test_an_epoch_from_a_web_server_is_the_local_one(site, folder):
    assert batches_of(Dataset.open(site.url)) == batches_of(Dataset.open(folder))


@pytest.mark.parametrize("ahead_samples", [0, 16, 1_000])
def test_an_epoch_through_a_cache_smaller_than_the_data_set_is_the_local_one(site, folder, cache, ahead_samples):
    dataset = Dataset.open(site.url, cache=cache)
    for epoch in (0, 1):
        far = batches_of(dataset, epoch, ahead_samples=ahead_samples)
        assert far == batches_of(Dataset.open(folder), epoch)
    stats = cache.stats
    assert stats.evicted_bytes > 0
    assert (stats.damaged, stats.note) == (0, None)


def test_with_room_for_all_of_it_every_chunk_comes_once(site, folder, tmp_path):
    roomy = ChunkCache(tmp_path / "roomy", max_bytes=10**8, chunk_bytes=CHUNK)
    dataset = Dataset.open(site.url, cache=roomy)
    first = batches_of(dataset)
    asked = [(request.path, request.range) for request in tar_requests(site)]
    assert len(asked) == len(set(asked))
    assert all(int(first.partition("=")[2].partition("-")[0]) % CHUNK == 0 for _, first in asked)
    site.asked.clear()
    again = Dataset.open(site.url, cache=ChunkCache(tmp_path / "roomy", max_bytes=10**8, chunk_bytes=CHUNK))
    assert batches_of(again) == first == batches_of(Dataset.open(folder))
    assert {request.path for request in site.asked} == {"manifest.json"}  # indexes and tables are kept, too


def test_one_reader_without_threads_fetches_nothing_ahead(site, folder, cache):
    loader = Loader(Dataset.open(site.url, cache=cache), batch_size=4, seed=3, num_threads=0)
    local = Loader(Dataset.open(folder), batch_size=4, seed=3, num_threads=0)
    with loader.epoch(0) as far, local.epoch(0) as near:
        assert next(far).images.tobytes() == next(near).images.tobytes()
    assert cache.stats.waits == 0


def test_an_epoch_that_is_left_early_ends_its_threads(site, cache):
    loader = Loader(Dataset.open(site.url, cache=cache), batch_size=4, seed=3, num_threads=2)
    with loader.epoch(0) as batches:
        next(batches)
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("openjft-fetch", "openjft-ahead"))]


def test_a_new_version_of_a_data_set_does_not_meet_the_old_chunks(site, make_dataset, cache):
    old = batches_of(Dataset.open(site.url, cache=cache))
    shutil.rmtree(site.root)
    make_dataset(site.root, 61, 3, 64, 1, shards=3)
    new = batches_of(Dataset.open(site.url, cache=cache))
    assert new == batches_of(Dataset.open(site.root))
    assert new != old


def test_a_tar_of_another_size_than_the_manifest_says_is_an_error(site, cache):
    path = next(site.root.glob("shards/*.tar"))
    path.write_bytes(path.read_bytes() + bytes(512))
    with pytest.raises(DatasetError, match=rf"{path.name}: expected [0-9,]+ bytes, as the manifest says, found"):
        batches_of(Dataset.open(site.url, cache=cache))


def test_a_tar_that_is_missing_is_named(site, cache):
    path = next(site.root.glob("shards/*.tar"))
    path.unlink()
    for options in ({}, {"cache": cache}):
        with pytest.raises(DatasetError, match=rf"{site.url}/shards/{path.name}: expected a file .* found none"):
            batches_of(Dataset.open(site.url, **options))


@pytest.mark.parametrize("small", [http.SMALL_BYTES, 1_000])
def test_verify_reads_a_web_server_and_names_what_is_wrong(site, folder, monkeypatch, small):
    monkeypatch.setattr(http, "SMALL_BYTES", small)
    assert verify_dataset(site.url) == verify_dataset(folder)
    tar = sorted(site.root.glob("shards/*.tar"))[1]
    data = bytearray(tar.read_bytes())
    data[1_000] ^= 255
    tar.write_bytes(data)
    with pytest.raises(DatasetError, match=tar.name):
        verify_dataset(site.url)
    tar.unlink()
    with pytest.raises(DatasetError, match=rf"{tar.name}: expected a file, as the manifest lists it, found none"):
        verify_dataset(site.url)


def test_a_data_set_pickles_with_its_secrets_and_its_cache_and_shows_no_secrets(site, cache):
    dataset = Dataset.open(f"http://me:SECRET1@{site.host}?sig=SECRET2", cache=cache)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[5].jpeg == dataset[5].jpeg
    assert copy.folder.cache.folder == cache.folder
    assert all("SECRET2" in asked.query and asked.authorization for asked in site.asked)
    assert "SECRET" not in f"{dataset!r} {dataset.root} {dataset.place(0)}"


def test_the_cache_of_a_signed_address_serves_the_next_signature(site, tmp_path):
    roomy = ChunkCache(tmp_path / "roomy", max_bytes=10**8, chunk_bytes=CHUNK)
    first = batches_of(Dataset.open(f"{site.url}?sig=monday", cache=roomy))
    site.asked.clear()
    assert batches_of(Dataset.open(f"{site.url}?sig=tuesday", cache=roomy)) == first
    assert tar_requests(site) == []


def test_a_local_data_set_passes_the_cache_by(folder, cache):
    dataset = Dataset.open(folder, cache=cache)
    batches_of(dataset)
    assert list(cache.folder.rglob("*.chunk")) == []
    assert dataset.ahead_bytes == 0
    assert dataset.folder.cache is None


def test_open_source_takes_an_address_and_a_cache(site, folder, cache):
    source = open_source(site.url, cache=cache)
    assert source.fingerprint == Dataset.open(folder).fingerprint
    assert cache.stats.misses == 0
    source.index(0)
    assert cache.stats.misses > 0


# -- S3 ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3_server():
    """A real S3 server in this process."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def bucket(s3_server, folder, monkeypatch):
    """The URI of the data set in a bucket; credentials are in the environment."""
    import boto3

    host, port = s3_server
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="images")
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "images", f"toy/{path.relative_to(folder)}")
    client.close()
    return f"s3://images/toy?endpoint_override={host}:{port}&scheme=http"


def test_a_data_set_on_s3_is_verified_and_read_as_the_local_one(bucket, folder, cache):
    assert verify_dataset(bucket) == verify_dataset(folder)
    expected = batches_of(Dataset.open(folder))
    assert batches_of(Dataset.open(bucket)) == expected
    assert batches_of(Dataset.open(bucket, cache=cache)) == expected
    assert cache.stats.evicted_bytes > 0
    with pytest.raises(DatasetError, match=r"s3://images/other/manifest\.json: expected a file .* found none"):
        Dataset.open(bucket.replace("toy", "other"))


def test_keys_in_an_s3_address_are_not_shown(bucket):
    with_keys = bucket.replace("s3://", "s3://KEYID:SECRET@")
    dataset = Dataset.open(with_keys)
    assert "SECRET" not in f"{dataset!r} {dataset.place(0)}"
    for wrong in (with_keys.replace("toy", "none"), with_keys + "&nonsense=SECRET"):
        with pytest.raises(DatasetError, match=r"s3://images") as caught:
            Dataset.open(wrong)
        assert "SECRET" not in str(caught.value)


def test_arrays_of_both_kinds_of_reading_agree(site, folder):
    near, far = Dataset.open(folder), Dataset.open(site.url)
    assert np.array_equal(near.class_counts, far.class_counts)
    assert near.subset(0.0, 0.5).num_samples == far.subset(0.0, 0.5).num_samples


@pytest.mark.usefixtures("tiny_network")
def test_a_network_is_scored_from_afar_as_here_and_a_cache_asks_for_each_chunk_once(
    train_options, evaluate_options, make_site, dataset_folder, tmp_path
):
    train(train_options(steps=1, holdout=0.25))
    site = make_site(shutil.copytree(dataset_folder, tmp_path / "served"))
    here = evaluate(evaluate_options(split="holdout"))
    without = evaluate(evaluate_options(split="holdout", data=site.url))
    assert len(tar_requests(site)) == here.num_images
    site.asked.clear()
    cached = {"split": "holdout", "data": site.url, "cache": tmp_path / "cache", "cache_gb": 0.1}
    first = evaluate(evaluate_options(**cached))
    assert len(tar_requests(site)) == 1  # the held-out images lie in the last of two tars
    again = evaluate(evaluate_options(**cached))
    assert len(tar_requests(site)) == 1
    assert here.map_at_k == without.map_at_k == first.map_at_k == again.map_at_k
