from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import filelock
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.loaders import LoaderError
from openjft.loaders.storage import cache as cache_module
from openjft.loaders.storage.cache import ChunkCache, ChunkRef, file_hash
from openjft.loaders.storage.cached import CachedFile
from openjft.loaders.storage.chunks import BLOCK, DamagedChunkError, entry_size, header, read_part
from openjft.loaders.storage.options import CacheOptions

CHUNK = 40_000
ENTRY = entry_size(CHUNK)
FILE = file_hash("place", "name", "1")


def content(number: int) -> bytes:
    return np.random.default_rng(number).bytes(CHUNK)


def ref(number: int) -> ChunkRef:
    return ChunkRef(FILE, number, CHUNK)


def held(folder: Path) -> int:
    """Bytes of all entries, and of what is being written."""
    total = 0
    for part in folder.glob("[0-9a-f][0-9a-f]"):
        for entry in os.scandir(part):
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                continue
    return total


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*.chunk"))


class Far:
    """A file far away, that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.reads = data, []

    def read_at(self, size: int, offset: int) -> bytes:
        self.reads.append((size, offset))
        return self.data[offset : offset + size]

    def size(self) -> int:
        return len(self.data)

    def version(self) -> str:
        return "1"


@pytest.fixture
def cache(tmp_path):
    return ChunkCache(tmp_path / "cache", max_bytes=4 * ENTRY, chunk_bytes=CHUNK)


@given(data=st.data(), length=st.integers(1, 5 * BLOCK))
def test_any_part_of_an_entry_is_what_was_written_and_damage_in_its_blocks_is_found(tmp_path_factory, data, length):
    payload = np.random.default_rng(length).bytes(length)
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    whole = bytearray(header(payload) + payload)
    assert len(whole) == entry_size(length)
    path = tmp_path_factory.getbasetemp() / "part.chunk"

    def part() -> bytes:
        path.write_bytes(whole)
        with path.open("rb") as source:
            return read_part(source.fileno(), length, start, stop)

    assert part() == payload[start:stop]
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    first = len(whole) - length + start // BLOCK * BLOCK
    last = len(whole) - length + -(-stop // BLOCK) * BLOCK
    if at < len(whole) - length or first <= at < last:
        with pytest.raises(DamagedChunkError):
            part()
    else:
        assert part() == payload[start:stop]


def test_parts_of_a_file_are_its_bytes_and_each_chunk_is_fetched_once(cache):
    far = Far(np.random.default_rng(5).bytes(3 * CHUNK + 17))
    file = CachedFile(cache, FILE, far.size(), lambda: far)
    rng = np.random.default_rng(1)
    for offset in rng.integers(0, far.size() + 50, 200).tolist():
        size = int(rng.integers(0, 2 * CHUNK))
        assert file.read_at(size, offset) == far.data[offset : offset + size]
    assert sorted(far.reads) == [(17, 3 * CHUNK), (CHUNK, 0), (CHUNK, CHUNK), (CHUNK, 2 * CHUNK)]
    stats = cache.stats
    assert (stats.misses, stats.fetched_bytes, stats.damaged, stats.note) == (4, far.size(), 0, None)
    assert stats.hits >= 200


def damage_payload(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-CHUNK // 2] ^= 1
    path.write_bytes(data)


def damage_header(path: Path) -> None:
    path.write_bytes(b"X" + path.read_bytes()[1:])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: ENTRY // 2])


@pytest.mark.parametrize("harm", [damage_payload, damage_header, truncate, Path.unlink])
def test_a_damaged_or_vanished_entry_is_fetched_anew(cache, harm):
    fetched = []

    def fetch() -> bytes:
        fetched.append(1)
        return content(0)

    cache.get(ref(0), 0, 10, fetch)
    (path,) = entries(cache.folder)
    harm(path)
    for _ in range(2):
        assert cache.get(ref(0), 0, CHUNK, fetch) == content(0)
    assert len(fetched) == 2
    assert cache.stats.damaged == (harm is not Path.unlink)


def test_many_threads_that_want_a_chunk_wait_for_one_fetch(cache):
    fetched, go = [], threading.Event()

    def fetch() -> bytes:
        fetched.append(1)
        go.wait()
        return content(0)

    with ThreadPoolExecutor(12) as pool:
        parts = [pool.submit(cache.get, ref(0), i, i + 5, fetch) for i in range(12)]
        while cache.stats.waits < 11:
            time.sleep(0.001)
        go.set()
        assert [part.result() for part in parts] == [content(0)[i : i + 5] for i in range(12)]
    assert len(fetched) == 1
    assert (cache.stats.misses, cache.stats.waits) == (1, 11)


def test_a_fetch_that_fails_is_tried_again_by_the_next_reader(cache):
    def fail() -> bytes:
        raise OSError("the network")

    with pytest.raises(OSError, match="the network"):
        cache.get(ref(0), 0, 5, fail)
    assert cache.get(ref(0), 0, 5, lambda: content(0)) == content(0)[:5]


def test_less_than_a_chunk_is_given_and_not_kept(cache):
    assert cache.get(ref(0), 0, 50, lambda: b"short") == b"short"
    assert entries(cache.folder) == []


def test_the_entries_used_last_stay(cache):
    for number in range(4):
        cache.get(ref(number), 0, 1, lambda number=number: content(number))
        past = time.time() - 1_000 + number
        os.utime(cache.folder / FILE[:2] / ref(number).name, (past, past))
    fresh = ChunkCache(cache.folder, max_bytes=cache.max_bytes, chunk_bytes=CHUNK)
    fresh.get(ref(0), 0, 1, lambda: b"")  # is there
    fresh.get(ref(4), 0, 1, lambda: content(4))
    assert [path.name for path in entries(cache.folder)] == [ref(number).name for number in (0, 2, 3, 4)]
    assert fresh.stats.evicted_bytes == ENTRY


class Watch:
    """Looks at the folder again and again: the most that it ever held.

    Under the lock, since a listing is no moment: it may see a file that goes and then the one that takes its room.
    """

    def __init__(self, folder: Path) -> None:
        self.most, self._folder, self._end = 0, folder, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.is_set():
            with filelock.FileLock(self._folder / "lock"):
                self.most = max(self.most, held(self._folder))
            time.sleep(0.001)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def test_the_bound_holds_at_every_moment_under_many_threads(cache):
    def work(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 12, 40).tolist():
            assert cache.get(ref(number), 7, 900, lambda number=number: content(number)) == content(number)[7:900]

    with Watch(cache.folder) as watch, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 2 * ENTRY <= watch.most <= cache.max_bytes
    assert cache.stats.evicted_bytes > 0
    assert cache.stats.note is None
    assert not list(cache.folder.glob("??/.tmp-*"))


def test_the_bound_holds_for_two_processes_together(cache):
    code = """
        import sys, numpy as np
        from openjft.loaders.storage.cache import ChunkCache, ChunkRef
        cache = ChunkCache(sys.argv[1], max_bytes=int(sys.argv[2]), chunk_bytes=40_000)
        for number in np.random.default_rng(int(sys.argv[3])).integers(0, 12, 150).tolist():
            data = np.random.default_rng(number).bytes(40_000)
            assert cache.get(ChunkRef(sys.argv[4], number, 40_000), 3, 9, lambda: data) == data[3:9]
        assert cache.stats.note is None and cache.stats.evicted_bytes > 0
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(cache.folder), str(cache.max_bytes)]
    with Watch(cache.folder) as watch:
        running = [subprocess.Popen([*command, seed, FILE]) for seed in ("1", "2")]
        assert [process.wait() for process in running] == [0, 0]
    assert 2 * ENTRY <= watch.most <= cache.max_bytes


def test_a_full_disk_costs_the_cache_and_not_the_reading(cache, monkeypatch):
    far = Far(np.random.default_rng(5).bytes(4 * CHUNK))
    file = CachedFile(cache, FILE, far.size(), lambda: far)
    assert file.read_at(10, 5) == far.data[5:15]
    opened = Path.open

    def full(self, mode="r", *args, **kwargs):
        if mode == "r+b" and self.name.startswith(".tmp-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    assert file.read_at(10, CHUNK) == far.data[CHUNK : CHUNK + 10]
    assert cache.stats.note == f"{cache.folder}: nothing is kept in the cache any more: No space left on device"
    assert not list(cache.folder.glob("??/.tmp-*"))
    # No chunk is fetched for a few bytes any more, and none ahead of its use.
    far.reads.clear()
    assert file.read_at(10, 2 * CHUNK) == far.data[2 * CHUNK : 2 * CHUNK + 10]
    file.fetch(file.chunks(3 * CHUNK, 1)[0])
    assert far.reads == [(10, 2 * CHUNK)]


def test_what_a_dead_process_left_goes_and_what_is_not_ours_stays(cache):
    part = cache.folder / FILE[:2]
    part.mkdir(parents=True)
    left, fresh = (part / f".tmp-{FILE}-0000000{n}.77-1" for n in (1, 2))
    mine = part / "thesis.txt"
    for path in (left, fresh, mine):
        path.write_bytes(bytes(ENTRY))
    past = time.time() - cache_module.STALE_S - 1
    for path in (left, mine):
        os.utime(path, (past, past))
    for number in range(4):
        cache.get(ref(number), 0, 1, lambda number=number: content(number))
    assert not left.exists()
    assert fresh.exists()  # someone may be writing it, and it counts
    assert mine.exists()
    assert len(entries(cache.folder)) == 3


def test_a_lost_or_damaged_sum_is_made_anew(cache):
    for number in range(4):
        cache.get(ref(number), 0, 1, lambda number=number: content(number))
        (cache.folder / "usage").write_text("?" if number % 2 else "")
    assert held(cache.folder) <= cache.max_bytes
    assert len(entries(cache.folder)) >= 3


def test_a_cache_pickles_as_its_options(cache):
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.folder, copy.max_bytes, copy.chunk_bytes) == (cache.folder, cache.max_bytes, cache.chunk_bytes)


def test_names_in_the_folder_are_hashes(cache):
    cache.get(ChunkRef(file_hash("https://host/path", "shards/a.tar"), 0, CHUNK), 0, 1, lambda: content(0))
    names = [path.name for path in cache.folder.rglob("*")]
    assert not [name for name in names if "host" in name or "shards" in name]


def test_a_cache_without_room_for_two_chunks_is_refused(tmp_path):
    with pytest.raises(LoaderError, match="expected room for two chunks of 40,000 bytes or more, found 79,999 bytes"):
        ChunkCache(tmp_path, max_bytes=79_999, chunk_bytes=CHUNK)


def test_options_name_all_mistakes_at_once(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(LoaderError, match=r"2 mistakes\n  cache_gb: .*found nan\n  cache: expected a folder"):
        CacheOptions(cache=file, cache_gb=float("nan"))
    assert CacheOptions().open() is None
    made = CacheOptions(cache=tmp_path / "new", cache_gb=0.5).open()
    assert made is not None
    assert (made.folder, made.max_bytes) == (tmp_path / "new", 500_000_000)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LoaderError, match="expected a folder for the cache"):
        ChunkCache(tmp_path / "file" / "cache", max_bytes=4 * ENTRY, chunk_bytes=CHUNK)
