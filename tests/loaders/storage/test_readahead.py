from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from openjft.loaders import LoaderError
from openjft.loaders.order import BLOCK, WINDOW
from openjft.loaders.readahead import check_cache
from openjft.loaders.storage.cache import ChunkCache, ChunkRef
from openjft.loaders.storage.readahead import ReadAhead

CHUNK = 100
WAIT_S = 30  # only a failing test waits this long


class Near:
    """A source that writes down what is fetched; `gate` holds fetches up."""

    ahead_bytes = 10**9

    def __init__(self, *, fails=()) -> None:
        self.fetched, self.fails = [], set(fails)
        self.gate = threading.Event()
        self.gate.set()

    def chunks(self, shard, offset, size):
        numbers = range(offset // CHUNK, (offset + size - 1) // CHUNK + 1)
        return [ChunkRef(f"file{shard}", number, CHUNK) for number in numbers]

    def fetch(self, shard, ref):
        assert ref.file == f"file{shard}"
        self.gate.wait(WAIT_S)
        self.fetched.append((shard, ref.number))
        if (shard, ref.number) in self.fails:
            raise OSError("the network")


def announce(ahead: ReadAhead, *samples: tuple[int, int, int]) -> None:
    ahead.will_need(*np.array(samples, np.int64).reshape(-1, 3).T)


def until(condition) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def start():
    """start(source, threads=1, ahead_bytes=...) -> ReadAhead, closed at the end."""
    made = []

    def make(source, *, threads=1, ahead_bytes=10**6) -> ReadAhead:
        made.append(ReadAhead(source, threads=threads, ahead_bytes=ahead_bytes))
        return made[-1]

    yield make
    for ahead in made:
        ahead.close()


def test_each_chunk_is_fetched_once_and_in_the_order_of_use(start):
    near = Near()
    ahead = start(near)
    announce(ahead, (1, 250, 10), (0, 0, 10), (1, 290, 20))  # the last lies in two
    announce(ahead, (0, 90, 5), (1, 310, 5), (0, 500, 10))
    until(lambda: len(near.fetched) == 4)
    ahead.used()
    announce(ahead, (0, 501, 3), (2, 0, 1))
    until(lambda: len(near.fetched) == 5)
    assert near.fetched == [(1, 2), (0, 0), (1, 3), (0, 5), (2, 0)]


def test_many_threads_fetch_each_chunk_once(start):
    near = Near()
    ahead = start(near, threads=8)
    for batch in range(20):
        announce(ahead, *[(number % 3, number * CHUNK, 10) for number in range(batch, batch + 30)])
    until(lambda: len(near.fetched) >= 49)
    ahead.close()
    assert sorted(near.fetched) == sorted((number % 3, number) for number in range(49))


@pytest.mark.parametrize("threads", [1, 4])
def test_no_more_than_the_bound_is_fetched_before_it_is_used(start, threads):
    near = Near()
    ahead = start(near, threads=threads, ahead_bytes=5 * CHUNK + 50)
    for batch in range(10):
        announce(ahead, (0, 2 * batch * CHUNK, 2 * CHUNK))
    for used in range(8):
        until(lambda used=used: len(near.fetched) == min(2 * used + 5, 20))
        assert ahead.bytes_ahead == 5 * CHUNK
        ahead.used()


def test_one_chunk_is_fetched_however_small_the_bound(start):
    near = Near()
    ahead = start(near, ahead_bytes=1)
    announce(ahead, (0, 0, 10), (0, 100, 10))
    announce(ahead, (0, 200, 10))
    until(lambda: near.fetched)
    assert ahead.bytes_ahead == CHUNK
    ahead.used()
    until(lambda: near.fetched == [(0, 0), (0, 2)])  # the other one was read meanwhile


def test_a_chunk_is_asked_for_again_when_it_is_needed_long_after(start):
    near = Near()
    ahead = start(near)
    for _ in range(2):
        announce(ahead, (0, 0, 10))
        until(lambda: not ahead._queue and ahead._ahead)
        ahead.used()
    assert near.fetched == [(0, 0), (0, 0)]  # the cache knows whether it has it still


def test_what_is_read_before_it_is_announced_is_not_fetched(start):
    near = Near()
    ahead = start(near)
    ahead.used()
    announce(ahead, (0, 0, 10))
    announce(ahead, (0, 100, 10))
    until(lambda: near.fetched)
    assert near.fetched == [(0, 1)]


def test_a_chunk_that_cannot_be_fetched_holds_up_no_other(start):
    near = Near(fails=[(0, 0)])
    ahead = start(near, ahead_bytes=CHUNK)
    announce(ahead, (0, 0, 10), (0, 100, 10))
    until(lambda: len(near.fetched) == 2)
    assert near.fetched == [(0, 0), (0, 1)]


def test_closing_ends_what_has_not_begun_and_does_not_hang():
    near = Near()
    near.gate.clear()
    ahead = ReadAhead(near, threads=2, ahead_bytes=10**6)
    announce(ahead, *[(0, number * CHUNK, 1) for number in range(50)])
    until(lambda: ahead.bytes_ahead == 2 * CHUNK)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    until(lambda: ahead._closed)
    near.gate.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert len(near.fetched) == 2
    full = ReadAhead(near, threads=2, ahead_bytes=1)
    announce(full, (1, 0, 1), (1, 100, 1))
    until(lambda: len(near.fetched) == 3)
    full.close()  # one thread waits for room, the other for work


class Index:
    def __init__(self, samples: int, size: int) -> None:
        self.num_samples = samples
        self.offsets, self.sizes = np.arange(samples) * size, np.full(samples, size)


class Large(Near):
    """30 KB a sample."""

    uniform, num_samples = True, 10**7

    def locate(self, numbers):
        return numbers // 10_000, numbers % 10_000

    def index(self, _shard):
        return Index(10_000, 30_000)


def test_a_cache_that_does_not_hold_two_windows_is_refused_with_the_number_to_give(tmp_path):
    source = Large()

    def cache(gb: float) -> ChunkCache:
        return ChunkCache(tmp_path, max_bytes=round(gb * 1e9), chunk_bytes=1_000_000)

    needed = 2 * WINDOW * (BLOCK * 30_000 + 1_000_000) / 1e9
    with pytest.raises(LoaderError, match=r"two windows of 65,536 samples of 30\.0 KB.*give cache_gb 4\.061"):
        check_cache(source, cache(needed - 0.001))
    check_cache(source, cache(needed + 0.001))
    # Of 8 processes on two machines, the 4 of one machine read half of each window.
    check_cache(source, cache(needed / 2 + 0.001), world_size=8, sharing=4)
    source.uniform = False
    with pytest.raises(LoaderError, match="two windows"):
        check_cache(source, cache(needed / 2 + 0.001), world_size=8, sharing=4)
    source.num_samples = 10_000  # all of it fits
    check_cache(source, cache(0.31))
    source.num_samples, source.ahead_bytes = 10**7, 0  # nothing is read from afar
    check_cache(source, cache(0.01))
