from __future__ import annotations

import collections
import shutil
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.loaders import Batch, Dataset, DatasetError, Loader, LoaderError
from openjft.loaders.decoding import decode_stored_jpeg, resize_image


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 61, 3, 32, 0, shards=3)


@pytest.fixture(scope="module")
def dataset(folder):
    return Dataset.open(folder)


VALUES = (
    "images", "keys", "slots", "label_values", "label_probabilities", "label_asserted", "label_from", "negative_values",
)  # fmt: skip
OFFSETS = ("label_offsets", "negative_offsets")


def keys_of(batches) -> list[bytes]:
    return [key.tobytes() for batch in batches for key in batch.keys]


def same(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in (*VALUES, *OFFSETS))


def joined(parts: list[Batch]) -> Batch:
    values = {n: np.concatenate([getattr(p, n) for p in parts]) for n in VALUES}
    lengths = {n: np.concatenate([np.diff(getattr(p, n)) for p in parts]) for n in OFFSETS}
    return Batch(**values, **{n: np.concatenate([[0], np.cumsum(part)]) for n, part in lengths.items()})


def test_an_epoch_gives_every_sample_once_with_its_pixels_and_labels(dataset):
    loader = Loader(dataset, batch_size=7, seed=1, num_threads=2, drop_last=False)
    with loader.epoch(0) as epoch:
        batches = list(epoch)
    assert [len(b) for b in batches] == [7] * 8 + [5]
    assert [(b.epoch, b.step) for b in batches] == [(0, i) for i in range(9)]
    samples = {dataset[i].key: dataset[i] for i in range(len(dataset))}
    assert collections.Counter(keys_of(batches)) == dict.fromkeys(samples, 1)
    for batch in batches:
        assert batch.images.dtype == np.uint8
        assert batch.label_values.dtype == np.int32
        assert batch.label_offsets.dtype == np.int64
        assert batch.label_probabilities.dtype == np.float32
        for i, key in enumerate(batch.keys):
            sample = samples[key.tobytes()]
            part = slice(batch.label_offsets[i], batch.label_offsets[i + 1])
            assert np.array_equal(batch.images[i], decode_stored_jpeg(sample.jpeg))
            assert np.array_equal(batch.label_values[part], sample.labels)
            assert np.array_equal(batch.label_probabilities[part], sample.probabilities)
            assert np.array_equal(batch.label_asserted[part], sample.asserted)
            assert np.array_equal(batch.label_from[part], sample.from_labels)
            part = slice(batch.negative_offsets[i], batch.negative_offsets[i + 1])
            assert np.array_equal(batch.negative_values[part], sample.negatives)
    assert epoch.account.planned == epoch.account.seen == 61
    assert epoch.account.dropped == 0


def test_the_last_partial_batch_is_dropped_and_counted(dataset):
    loader = Loader(dataset, batch_size=8, seed=1)
    epoch = loader.epoch(0)
    assert len(list(epoch)) == loader.steps_per_epoch == 7
    assert (epoch.account.planned, epoch.account.seen, epoch.account.dropped) == (56, 56, 5)


@pytest.mark.parametrize("threads", [0, 2, 4])
@pytest.mark.parametrize("read_ahead", [1, 5])
def test_the_stream_does_not_depend_on_threads(dataset, threads, read_ahead):
    one = Loader(dataset, batch_size=9, seed=5, num_threads=1)
    many = Loader(dataset, batch_size=9, seed=5, num_threads=threads, read_ahead=read_ahead)
    pairs = list(zip(one.epoch(2), many.epoch(2), strict=True))
    assert len(pairs) == 6
    assert all(same(a, b) for a, b in pairs)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_put_together_give_the_stream_of_one(dataset, world_size, drop_last):
    def loader(rank, world):
        return Loader(dataset, batch_size=10, seed=5, rank=rank, world_size=world, drop_last=drop_last)

    whole = list(loader(0, 1).epoch(1))
    parts = [list(loader(rank, world_size).epoch(1)) for rank in range(world_size)]
    assert {len(part) for part in parts} == {len(whole)}  # no rank waits for another at the end
    for step, batch in enumerate(whole):
        assert same(joined([part[step] for part in parts]), batch)


@pytest.mark.parametrize("start", [0, 1, 4, 6])
def test_going_on_at_a_step_gives_the_tail(dataset, start):
    loader = Loader(dataset, batch_size=10, seed=5)
    tail = list(loader.epoch(3, start_step=start))
    whole = list(loader.epoch(3))
    assert len(tail) == len(whole) - start
    assert all(same(a, b) for a, b in zip(tail, whole[start:], strict=True))
    assert loader.planned(start) == 10 * len(tail)


def test_the_order_can_be_told_without_reading(dataset):
    loader = Loader(dataset, batch_size=10, seed=5, rank=1, world_size=2)
    order = loader.order(4)
    told = [[dataset[int(n)].key for n in loader.sample_numbers(order, s)] for s in range(loader.steps_per_epoch)]
    assert told == [keys_of([batch]) for batch in loader.epoch(4)]


def test_epochs_and_seeds_shuffle_differently_and_no_shuffle_is_key_order(dataset):
    streams = [
        tuple(keys_of(Loader(dataset, batch_size=7, seed=seed).epoch(epoch))) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len(set(streams)) == 4
    in_order = keys_of(Loader(dataset, batch_size=61, seed=0, shuffle=False).epoch(0))
    assert in_order == sorted(in_order)


def test_subsets_are_nested_prefixes_by_key(dataset):
    def subset(share):
        loader = Loader(dataset, batch_size=1, seed=0, subset=share)
        return set(keys_of(loader.epoch(0)))

    small, large, rest = subset(0.25), subset(0.5), subset((0.5, 1.0))
    assert small < large
    assert all(key[0] < 0x80 for key in large)
    assert all(key[0] >= 0x80 for key in rest)
    assert len(large) + len(rest) == 61


def test_images_of_other_sizes_are_cut_to_the_middle_and_resized(make_dataset, tmp_path):
    dataset = Dataset.open(make_dataset(tmp_path, 10, mixed=True))
    assert dataset.image_size is None
    with pytest.raises(LoaderError, match="expected image_size"):
        Loader(dataset, batch_size=5, seed=0)
    (batch,) = Loader(dataset, batch_size=10, seed=0, image_size=24, shuffle=False).epoch(0)
    assert batch.images.shape == (10, 24, 24, 3)
    for i in range(10):
        expected = resize_image(decode_stored_jpeg(dataset[i].jpeg), size=24, mode="center_crop")
        assert np.array_equal(batch.images[i], expected)


def damaged(folder, target, *, where: str):
    """A copy with one damaged sample; its key, and the dataset."""
    copy = shutil.copytree(folder, target)
    dataset = Dataset.open(copy)
    name = dataset.manifest.shards[1].name
    index = dataset.index(1)
    offset, size = int(index.offsets[2]), int(index.sizes[2])
    tar = copy / f"shards/{name}.tar"
    data = bytearray(tar.read_bytes())
    if where == "header":
        data[offset : offset + 4] = b"\0\0\0\0"
    elif where == "tail":
        data[offset + size // 2 : offset + size] = bytes(size - size // 2)
    elif where == "pixels":  # a bit that still decodes
        data[offset + size // 2] ^= 0x10
    elif where == "size":
        path = copy / f"shards/{name}.parquet"
        table = pq.read_table(path)
        widths = table["width"].to_pylist()
        widths[2] = 31
        pq.write_table(table.set_column(6, table.schema.field("width"), pa.array(widths, pa.int32())), path)
    tar.write_bytes(bytes(data))
    return index.keys[2].tobytes(), Dataset.open(copy)


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(
    ("where", "reason"),
    [("header", "decode_failed"), ("tail", "decode_failed"), ("size", "size"), ("pixels", "sha256")],
)
def test_a_damaged_sample_ends_the_epoch_with_its_shard_and_key_or_is_counted(folder, tmp_path, where, reason):
    key, dataset = damaged(folder, tmp_path / "copy", where=where)
    strict = Loader(dataset, batch_size=61, seed=0, check_sha256=where == "pixels")
    with pytest.raises(DatasetError, match=rf"tiny-000001\.tar: sample {key.hex()}: "):
        list(strict.epoch(0))
    lenient = Loader(dataset, batch_size=10, seed=0, drop_last=False, on_error="skip", check_sha256=where == "pixels")
    epoch = lenient.epoch(0)
    batches = list(epoch)
    assert epoch.account.skipped == {reason: 1}
    assert epoch.account.seen == 60 == epoch.account.planned - 1
    whole = list(Loader(Dataset.open(folder), batch_size=10, seed=0, drop_last=False).epoch(0))
    expected = [k for k in keys_of(whole) if k != key]
    assert keys_of(batches) == expected
    short = next(b for b, w in zip(batches, whole, strict=True) if len(b) != len(w))
    full = whole[short.step]
    keep = [i for i, k in enumerate(full.keys) if k.tobytes() != key]
    assert np.array_equal(short.images, full.images[keep])
    assert short.label_offsets.tolist() == (2 * np.arange(len(keep) + 1)).tolist()
    assert short.label_values.tolist() == full.label_values.reshape(-1, 2)[keep].ravel().tolist()


def test_a_missing_tar_ends_the_epoch_even_when_samples_may_be_skipped(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "shards/tiny-000001.tar").unlink()
    loader = Loader(Dataset.open(copy), batch_size=10, seed=0, on_error="skip")
    with pytest.raises(DatasetError, match=r"tiny-000001\.tar: expected a file of the dataset, found none"):
        list(loader.epoch(0))


def test_an_epoch_left_early_leaves_no_threads(dataset):
    with Loader(dataset, batch_size=5, seed=0, num_threads=3).epoch(0) as epoch:
        next(epoch)
    assert not [t for t in threading.enumerate() if t.name.startswith("openjft-")]
    assert list(epoch) == []


def test_batches_under_way_are_bounded(dataset):
    loader = Loader(dataset, batch_size=5, seed=0, num_threads=2, read_ahead=2)
    with loader.epoch(0) as epoch:
        next(epoch)
        assert len(epoch._pending) <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least world_size, found 0"),
        ({"batch_size": 1, "world_size": 2}, "batch_size"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, "rank: expected in"),
        ({"batch_size": 4, "num_threads": -1}, "num_threads"),
        ({"batch_size": 4, "unit": 3, "world_size": 3}, "unit: expected at least 1, and world_size groups"),
        ({"batch_size": 4, "max_skipped": -0.5}, "max_skipped"),
        ({"batch_size": 4, "subset": 0.0}, "subset"),
        ({"batch_size": 4, "subset": (0.5, 0.5)}, "subset"),
        ({"batch_size": 4, "image_size": 0}, "image_size"),
    ],
)
def test_options_that_cannot_be_are_refused(dataset, options, message):
    with pytest.raises(LoaderError, match=message):
        Loader(dataset, seed=0, **options)


@pytest.mark.parametrize(("epoch", "step"), [(-1, 0), (0, -1), (0, 99)])
def test_steps_outside_the_epoch_are_refused(dataset, epoch, step):
    with pytest.raises(LoaderError, match="expected an epoch of 0 or more and a step"):
        Loader(dataset, batch_size=8, seed=0).epoch(epoch, start_step=step)
