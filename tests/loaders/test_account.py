"""Every sample is accounted for: seen, left out with the reason and a line on disk, and not too many of them."""

from __future__ import annotations

import collections
import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders import (
    Dataset,
    DatasetError,
    Ledger,
    Loader,
    LoaderError,
    ShortReadError,
    SkippedSample,
    SkippedTooManyError,
    StageTimes,
)
from openjft.loaders.ledger import MAX_DETAIL_CHARS


@pytest.fixture
def folder(make_dataset, tmp_path):
    return make_dataset(tmp_path / "data", 40, 3, 32, 0, shards=2)


def damage(folder, rows):
    """Overwrites the pixels of some samples of the first shard; gives their keys in hex."""
    dataset = Dataset.open(folder)
    index, path = dataset.index(0), folder / f"shards/{dataset.manifest.shards[0].name}.tar"
    data = bytearray(path.read_bytes())
    for row in rows:
        start = int(index.offsets[row])
        data[start : start + int(index.sizes[row])] = b"\0" * int(index.sizes[row])
    path.write_bytes(data)
    return {index.keys[row].tobytes().hex() for row in rows}


@pytest.fixture(scope="module")
def bad_folder(make_dataset, tmp_path_factory):
    """40 samples of which six cannot be decoded, and their keys."""
    folder = make_dataset(tmp_path_factory.mktemp("bad") / "data", 40, 3, 32, 0, shards=2)
    return folder, damage(folder, [1, 5, 6, 11, 12, 19])


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_skipped_sample_is_written_down_and_counted(folder, tmp_path):
    bad = damage(folder, [1, 5, 6])
    loaders = [
        Loader(
            Dataset.open(folder), batch_size=8, seed=1, rank=rank, world_size=2, on_error="skip", max_skipped=0.5,
            ledger=tmp_path / "ledger",
        )
        for rank in (0, 1)
    ]  # fmt: skip
    epochs = [loader.epoch(4) for loader in loaders]
    seen = [key.tobytes().hex() for epoch in epochs for batch in epoch for key in batch.keys]
    ledgers = sorted((tmp_path / "ledger").iterdir())
    lines = [line for path in ledgers for line in lines_of(path)]
    assert {line["key"] for line in lines} == bad
    assert len(lines) == 3
    assert len(seen) + len(lines) == 40
    assert not bad & set(seen)
    for rank, epoch in enumerate(epochs):
        told = lines_of(path) if (path := tmp_path / f"ledger/skipped-rank0000{rank}.jsonl").exists() else []
        assert epoch.account.skipped == ({"decode_failed": len(told)} if told else {})
        assert epoch.account.planned == epoch.account.seen + len(told)
        assert epoch.account.remaining == 0
    line = lines[0]
    assert (line["epoch"], line["reason"]) == (4, "decode_failed")
    assert line["place"].endswith(".tar")
    assert line["offset"] > 0
    assert 0 <= line["slot"] < 8


def test_more_than_is_allowed_ends_the_reading_with_the_reasons(folder, tmp_path):
    damage(folder, range(20))
    loader = Loader(
        Dataset.open(folder), batch_size=4, seed=1, on_error="skip", max_skipped=3, ledger=tmp_path / "ledger"
    )
    with pytest.raises(
        SkippedTooManyError, match=r"could not be used \(\d+ decode_failed\), expected at most 3 of the 40"
    ):
        list(loader.epoch(0))
    assert len(lines_of(tmp_path / "ledger/skipped-rank00000.jsonl")) >= 4


@pytest.mark.parametrize(("limit", "fails"), [(0, True), (0.001, False), (1, False), (0.9, False)])
def test_a_share_allows_one_sample_and_zero_none(folder, limit, fails):
    damage(folder, [3])
    epoch = Loader(Dataset.open(folder), batch_size=8, seed=1, on_error="skip", max_skipped=limit).epoch(0)
    if fails:
        with pytest.raises(SkippedTooManyError):
            list(epoch)
    else:
        assert sum(len(batch) for batch in epoch) == 39


def test_a_missing_shard_is_an_error_and_no_thousand_skips(folder):
    dataset = Dataset.open(folder)
    (folder / f"shards/{dataset.manifest.shards[1].name}.tar").unlink()
    with pytest.raises(DatasetError, match="expected a file of the dataset, found none"):
        list(Loader(dataset, batch_size=8, seed=1, on_error="skip", max_skipped=1.0).epoch(0))


def test_a_tar_that_ends_early_loses_the_samples_behind_its_end(folder):
    dataset = Dataset.open(folder)
    index, path = dataset.index(1), folder / f"shards/{dataset.manifest.shards[1].name}.tar"
    path.write_bytes(path.read_bytes()[: int(index.offsets[10])])
    lost = int((index.offsets + index.sizes > index.offsets[10]).sum())
    with pytest.raises(ShortReadError, match="truncated"):
        list(Loader(dataset, batch_size=8, seed=1).epoch(0))
    epoch = Loader(Dataset.open(folder), batch_size=8, seed=1, on_error="skip", max_skipped=40).epoch(0)
    assert sum(len(batch) for batch in epoch) == 40 - lost
    assert epoch.account.skipped == {"short_read": lost}


def test_damaged_headers_lose_nothing_since_reads_go_by_the_index(folder):
    dataset = Dataset.open(folder)
    index, path = dataset.index(0), folder / f"shards/{dataset.manifest.shards[0].name}.tar"
    data = bytearray(path.read_bytes())
    for offset in index.offsets.tolist():
        data[offset - 512 : offset] = b"\xff" * 512
    path.write_bytes(data)
    assert sum(len(batch) for batch in Loader(Dataset.open(folder), batch_size=8, seed=1).epoch(0)) == 40


def sample(step, *, epoch=0, detail=""):
    return SkippedSample(
        epoch=epoch, step=step, slot=0, key="00", place="a.tar", offset=1, reason="size", detail=detail
    )


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_run_that_goes_on_cuts_off_what_it_will_see_again(tmp_path, world_size):
    """Of all ranks there were: each process its own, the first those of ranks that are no more."""
    for rank in range(3):
        Ledger(tmp_path, rank).write([sample(step, epoch=epoch) for epoch in (0, 1) for step in (2, 3)])
    path = tmp_path / "skipped-rank00001.jsonl"
    path.write_text(path.read_text() + '{"epoch": 0, "st')
    (tmp_path / "skipped-rank00001.jsonl.txt").write_text("another's")
    for rank in range(world_size):
        Ledger(tmp_path, rank).begin(epoch=1, step=3, world_size=world_size)
    for rank in range(3):
        lines = lines_of(tmp_path / f"skipped-rank0000{rank}.jsonl")
        assert [(line["epoch"], line["step"]) for line in lines] == [(0, 2), (0, 3), (1, 2)]
    assert (tmp_path / "skipped-rank00001.jsonl.txt").read_text() == "another's"


def test_a_process_leaves_the_ledgers_of_others_that_run_alone(tmp_path):
    for rank in range(2):
        Ledger(tmp_path, rank).write([sample(3)])
    Ledger(tmp_path, 1).begin(epoch=0, step=0, world_size=2)
    assert [len(lines_of(tmp_path / f"skipped-rank0000{rank}.jsonl")) for rank in (0, 1)] == [1, 0]


@settings(deadline=None, max_examples=15)
@given(
    stops=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.sampled_from([1, 2, 3])), max_size=4),
    seed=st.integers(0, 99),
)
def test_kills_leave_one_line_for_each_skipped_sample(bad_folder, tmp_path_factory, stops, seed):
    """Each run goes some steps, saves its step some steps before the kill, and another number of ranks goes on."""
    folder, bad = bad_folder
    dataset, ledger, step = Dataset.open(folder), tmp_path_factory.mktemp("ledger"), 0
    for done, lost, world in [*stops, (99, 0, 1)]:
        loaders = [
            Loader(
                dataset, batch_size=8, seed=seed, rank=rank, world_size=world, num_threads=0, on_error="skip",
                max_skipped=99, ledger=ledger,
            )
            for rank in range(world)
        ]  # fmt: skip
        steps = min(done, loaders[0].steps_per_epoch - step)
        for loader in loaders:
            with loader.epoch(0, step) as epoch:
                collections.deque(itertools.islice(epoch, steps), maxlen=0)
        step += max(0, steps - lost)
    assert step == 5
    lines = [line for path in ledger.iterdir() for line in lines_of(path)]
    assert sorted(line["key"] for line in lines) == sorted(bad)
    order = loaders[0].order(0)
    for line in lines:
        number = int(loaders[0].sample_numbers(order, line["step"])[line["slot"]])
        assert dataset[number].key.hex() == line["key"]


def test_what_strangers_write_cannot_break_a_line(tmp_path):
    Ledger(tmp_path).write([sample(0, detail="x\ny\x1b[31m" + "z" * 1_000)])
    text = (tmp_path / "skipped-rank00000.jsonl").read_text()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert len(json.loads(text)["detail"]) == MAX_DETAIL_CHARS


def test_a_ledger_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LoaderError, match="the ledger of skipped samples could not be written"):
        Ledger(tmp_path / "file").write([sample(0)])


@pytest.mark.parametrize("threads", [0, 2])
def test_stage_times_add_up(folder, threads):
    dataset = Dataset.open(folder)
    epoch = Loader(dataset, batch_size=8, seed=1, num_threads=threads).epoch(0)
    start = time.perf_counter()
    batches = 0
    for _ in epoch:
        batches += 1
    wall, times = time.perf_counter() - start, epoch.times
    assert (times.batches, times.samples) == (batches, 40) == (5, 40)
    assert times.read_bytes == sum(int(dataset.index(shard).sizes.sum()) for shard in (0, 1))
    assert 0 < times.wait_s <= wall
    assert min(times.plan_s, times.read_s, times.decode_s) > 0
    assert 0 < times.share_waiting(wall) <= 1
    if threads == 0:
        assert times.plan_s + times.read_s + times.decode_s <= times.wait_s
    assert (times - times) == StageTimes()
    assert json.dumps(times.to_json())


def test_encoded_images_are_the_bytes_of_the_shards(folder):
    dataset = Dataset.open(folder)
    jpegs = {dataset[i].key: dataset[i].jpeg for i in range(40)}
    for batch in Loader(dataset, batch_size=8, seed=1, decode=False).epoch(0):
        assert batch.images.shape[0] == 0
        assert len(batch) == len(batch.encoded) == 8
        for key, data in zip(batch.keys, batch.encoded, strict=True):
            assert jpegs[key.tobytes()] == data


def test_encoded_images_are_checked_too_and_bad_ones_left_out(folder):
    bad = damage(folder, [2])
    epoch = Loader(Dataset.open(folder), batch_size=40, seed=1, decode=False, check_sha256=True, on_error="skip").epoch(
        0
    )
    (batch,) = epoch
    assert epoch.account.skipped == {"sha256": 1}
    assert len(batch.encoded) == len(batch.keys) == 39
    assert bad.isdisjoint(key.tobytes().hex() for key in batch.keys)


class Foreign:
    """A dataset whose images are anyone's."""

    stored = uniform = False

    def __init__(self, dataset, images):
        self._dataset, self._images = dataset, images

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def read_bytes(self, _shard, offset, _size):
        return self._images[offset % len(self._images)]


def test_an_empty_file_is_left_out_and_said(folder):
    epoch = Loader(
        Foreign(Dataset.open(folder), [b""]), batch_size=8, seed=0, image_size=24, on_error="skip", max_skipped=8
    ).epoch(0)
    assert len(next(epoch)) == 0
    assert epoch.account.skipped == {"empty": 8}
    with pytest.raises(DatasetError, match=r"\.tar: sample [0-9a-f]{32}: 0 bytes"):
        next(Loader(Foreign(Dataset.open(folder), [b""]), batch_size=8, seed=0, image_size=24).epoch(0))


def test_an_error_of_ours_says_at_which_sample(folder):
    class Broken(Foreign):
        def read_bytes(self, _shard, _offset, _size):
            raise RuntimeError("out of order")

    for threads in (0, 2):
        epoch = Loader(Broken(Dataset.open(folder), []), batch_size=8, seed=0, num_threads=threads).epoch(0)
        with pytest.raises(RuntimeError, match="out of order") as caught:
            next(epoch)
        assert any(".tar: sample " in note for note in caught.value.__notes__)
        assert list(epoch) == []


def test_images_of_anyone_are_decoded_cut_and_resized(folder):
    import io

    from PIL import Image

    images = []
    for mode, size, kind in (("RGB", (80, 40), "PNG"), ("L", (40, 90), "JPEG"), ("RGB", (50, 50), "WEBP")):
        sink = io.BytesIO()
        Image.new(mode, size, 200 if mode == "L" else (200, 200, 200)).save(sink, kind)
        images.append(sink.getvalue())
    loader = Loader(Foreign(Dataset.open(folder), images), batch_size=8, seed=0, image_size=24)
    batch = next(loader.epoch(0))
    assert batch.images.shape == (8, 24, 24, 3)
    assert np.abs(batch.images.astype(int) - 200).max() <= 2
    bomb = Loader(
        Foreign(Dataset.open(folder), images), batch_size=8, seed=0, image_size=24, max_pixels=100, on_error="skip"
    )
    with pytest.raises(SkippedTooManyError, match="too_many_pixels"):
        list(bomb.epoch(0))
