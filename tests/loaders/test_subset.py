"""Subsets: ranges of keys, in which samples that show one picture stay together."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.loaders import Dataset, DatasetError, Loader, NewSample, verify_dataset
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.schema import GROUPS, INDEX, INDEX_2
from openjft.loaders.subset import make_subset
from openjft.loaders.verify_shard import Counts
from openjft.loaders.writer import DatasetFacts, class_counts, finish_dataset, moved_samples, write_shard
from openjft.taxonomy import Category, build_taxonomy

N, SHARDS = 60, 3
JPEG = encode_jpeg(np.full((16, 16, 3), 99, np.uint8), quality=90)
KEYS = sorted(hashlib.blake2b(str(i).encode(), digest_size=16).digest() for i in range(N))
ABSENT = bytes([77] * 16)  # a representative that is not shipped
# Three groups over all shards; one has no representative here, one is of neighbours.
GROUP = dict.fromkeys([KEYS[2], KEYS[30], KEYS[58]], KEYS[58])
GROUP |= dict.fromkeys([KEYS[5], KEYS[40], KEYS[41]], ABSENT)
GROUP |= dict.fromkeys([KEYS[10], KEYS[11]], KEYS[10])


def write(folder, group):
    def to(path, data):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    taxonomy = build_taxonomy([Category("c")], [], origin="test")
    summaries, moved, first = [], [], 0
    counts = Counts(np.zeros(1, np.int64), np.zeros(1, np.int64))
    for shard in range(SHARDS):
        mine = [key for key in KEYS if key[0] * SHARDS >> 8 == shard]
        samples = [
            NewSample(key, JPEG, 16, 16, [0], [0.5], [True], [0], "u", bytes(32), 16, 16, (), group.get(key))
            for key in mine
        ]
        summary, table = write_shard(f"toy-{shard:06d}", samples, ["c"], to)
        summaries.append(summary)
        moved.append(moved_samples(table, first))
        first += len(mine)
        counts = Counts(*(a + b for a, b in zip(counts, class_counts(table, 1), strict=True)))
    vocabulary, edges = taxonomy.to_tables()
    facts = DatasetFacts(
        name="toy", image_mode="squash", image_size=16, vocabulary=vocabulary, edges=edges, counts=counts,
        groups=pa.concat_tables(moved),
    )  # fmt: skip
    finish_dataset(summaries, facts, to)
    return folder


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    return write(tmp_path_factory.mktemp("grouped"), GROUP)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write(tmp_path_factory.mktemp("plain"), {})


def place(key):
    return int.from_bytes(key[:8], "big")


def members(dataset, low, high):
    subset = dataset.subset(low, high)
    numbers = subset.numbers(np.arange(subset.num_samples)).tolist()
    assert len(set(numbers)) == subset.num_samples
    return {KEYS[number] for number in numbers}


SHARES = (0.0, 1e-9, 0.05, 0.2, 77 / 256, 0.31, 0.5, 0.8, 0.97, 1.0)


def test_a_sample_is_in_a_subset_when_its_representatives_key_is(grouped):
    dataset = Dataset.open(grouped)
    for low in SHARES:
        for high in SHARES:
            if low <= high:
                expected = {k for k in KEYS if round(low * 2**64) <= place(GROUP.get(k, k)) < round(high * 2**64)}
                assert members(dataset, low, high) == expected


def test_subsets_are_nested_and_never_tear_a_group_apart(grouped):
    dataset = Dataset.open(grouped)
    before: set[bytes] = set()
    for share in SHARES:
        now = members(dataset, 0, share)
        assert before <= now
        for leader in set(GROUP.values()):
            group = {k for k, g in GROUP.items() if g == leader}
            assert group <= now or not group & now
        before = now
    assert before == set(KEYS)


def test_two_parts_make_the_whole(grouped):
    dataset = Dataset.open(grouped)
    assert members(dataset, 0, 0.31) | members(dataset, 0.31, 1) == set(KEYS)
    assert not members(dataset, 0, 0.31) & members(dataset, 0.31, 1)


def test_without_groups_a_subset_is_the_range_that_it_always_was(plain):
    dataset = Dataset.open(plain)
    assert not (plain / "groups.parquet").exists()
    for share in SHARES:
        subset = dataset.subset(0, share)
        assert subset.num_samples == dataset.prefix(share)
        assert subset.numbers(np.arange(subset.num_samples)).tolist() == list(range(dataset.prefix(share)))
    assert dataset[3].group == KEYS[3]


@given(
    st.integers(0, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))),
    st.dictionaries(st.integers(0, 29), st.booleans()),
)
def test_places_become_the_numbers_of_the_obvious_list(sizes, moved):
    n, *ends = sizes
    first, stop = sorted(ends)
    moved = {number: inside for number, inside in moved.items() if number < n}
    numbers = sorted(moved)
    subset = make_subset(first, stop, np.array(numbers, np.int64), np.array([moved[i] for i in numbers], np.bool_))
    expected = [i for i in range(first, stop) if moved.get(i, True)]
    expected += [i for i in numbers if moved[i] and not first <= i < stop]
    assert subset.num_samples == len(expected)
    assert subset.numbers(np.arange(len(expected))[::-1]).tolist() == expected[::-1]


def test_the_loader_gives_every_sample_of_a_subset_once(grouped):
    dataset = Dataset.open(grouped)
    loader = Loader(dataset, batch_size=7, seed=1, subset=0.31, drop_last=False, num_threads=1)
    seen = [key.tobytes() for batch in loader.epoch(0) for key in batch.keys]
    assert len(seen) == len(set(seen)) == loader.num_samples
    assert set(seen) == members(dataset, 0, 0.31)


def test_a_dataset_with_groups_passes_and_tells_them(grouped):
    assert verify_dataset(str(grouped)).samples == N
    dataset = Dataset.open(grouped)
    assert [dataset[i].group for i in range(N)] == [GROUP.get(k, k) for k in KEYS]
    assert pq.read_table(grouped / "groups.parquet")["number"].to_pylist() == [2, 5, 11, 30, 40, 41]


def damaged(grouped, tmp_path, change):
    folder = shutil.copytree(grouped, tmp_path / "copy")
    path = folder / "groups.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return folder


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["group"]), "expected the columns"),
        (lambda t: t.take(pa.array([1, 0])), "rising numbers"),
        (lambda t: t.set_column(0, GROUPS.field(0), pa.array([-1, 5, 11, 30, 40, 41])), "rising numbers"),
        (lambda t: t.set_column(0, GROUPS.field(0), pa.array([2, 5, 11, 30, 40, 999])), r"in \[0, 60\)"),
    ],
)
def test_a_damaged_file_of_groups_is_refused(grouped, tmp_path, change, message):
    with pytest.raises(DatasetError, match=rf"groups\.parquet: .*{message}"):
        Dataset.open(damaged(grouped, tmp_path, change)).subset(0, 1)


def test_a_file_of_groups_that_is_not_the_shards_is_found(grouped, tmp_path):
    from tests.loaders.test_verify import sign

    folder = damaged(grouped, tmp_path, lambda t: t.slice(1))
    sign(folder)
    with pytest.raises(DatasetError, match="expected the 6 samples whose group has another key"):
        verify_dataset(str(folder))


def test_a_dataset_of_version_2_has_no_groups(plain, tmp_path):
    from tests.loaders.test_verify import edit_manifest, sign

    folder = shutil.copytree(plain, tmp_path / "old")
    for path in (folder / "shards").glob("*.parquet"):
        pq.write_table(pq.read_table(path).select(INDEX_2.names).cast(INDEX_2), path)
    sign(folder)
    edit_manifest(folder, lambda m: m.update(version=2))
    assert verify_dataset(str(folder)).samples == N
    dataset = Dataset.open(folder)
    assert dataset[7].group == KEYS[7]
    assert dataset.subset(0, 0.5).num_samples == dataset.prefix(0.5)
    assert pq.read_schema(plain / "shards/toy-000000.parquet") == INDEX
