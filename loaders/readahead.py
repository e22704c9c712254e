"""Brings the chunks that the next batches lie in near, in the order in which they will be used.

The order of samples is known for as long as one likes, so nothing is guessed: a thread walks the steps ahead of the
consumer, finds the chunks that each one touches, and hands those not asked for before to a few fetching threads.
Samples are mixed within a window of blocks (`order`), so the first batch of a window touches nearly all of its chunks:
the walk is a window ahead, and a window's chunks arrive while the one before is used.

Memory: the numbers of the chunks asked for in the last two windows. Nothing happens for a source that fetches nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from .source import Fetching

if TYPE_CHECKING:
    from .loader import Loader
    from .order import SampleOrder
    from .source import Source
    from .storage.cache import ChunkRef

FETCHERS: Final = 16  # at 20 ms a request and 8 MiB a chunk that is 6 GB/s, more than the network has
_REMEMBERED: Final = 1 << 16  # chunks: 512 GiB of shards


class ReadAhead:
    """Fetches for one epoch of one loader; `used` says how far the consumer is, `close` ends it.

    Args:
        loader: whose steps.
        order: of the epoch.
        steps: that will be read, rising.
        ahead_steps: how far to walk before the consumer.
    """

    def __init__(self, loader: Loader, order: SampleOrder, steps: range, *, ahead_steps: int) -> None:
        self._loader, self._order, self._steps = loader, order, steps
        self._room = threading.Semaphore(ahead_steps)
        self._flying = threading.Semaphore(FETCHERS * 2)
        self._ending = threading.Event()
        self._asked: OrderedDict[ChunkRef, None] = OrderedDict()
        self._pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="openjft-fetch")
        self._walker = threading.Thread(target=self._walk, name="openjft-ahead", daemon=True)
        self._walker.start()

    def used(self) -> None:
        """The consumer has taken a batch."""
        self._room.release()

    def close(self) -> None:
        """Ends the walk and what is not yet being fetched."""
        self._ending.set()
        self._room.release()
        self._flying.release()
        self._walker.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _walk(self) -> None:
        for step in self._steps:
            self._room.acquire()
            if self._ending.is_set():
                return
            try:
                wanted = list(self._wanted(step))
            except Exception:  # noqa: BLE001 - the reader meets the same error, at its place, and tells it
                return
            for shard, ref in wanted:
                self._flying.acquire()
                if self._ending.is_set():
                    return
                self._pool.submit(self._fetch, shard, ref).add_done_callback(self._landed)

    def _wanted(self, step: int) -> Iterable[tuple[int, ChunkRef]]:
        """The chunks of a step that were not asked for lately, by place on storage."""
        source = self._loader.dataset
        assert isinstance(source, Fetching)
        shards, rows = source.locate(self._loader.sample_numbers(self._order, step))
        for shard, row in zip(shards.tolist(), rows.tolist(), strict=True):
            index = source.index(shard)
            for ref in source.chunks(shard, int(index.offsets[row]), int(index.sizes[row])):
                if ref not in self._asked:
                    self._asked[ref] = None
                    if len(self._asked) > _REMEMBERED:
                        self._asked.popitem(last=False)
                    yield shard, ref

    def _fetch(self, shard: int, ref: ChunkRef) -> None:
        source = self._loader.dataset
        assert isinstance(source, Fetching)
        source.fetch(shard, ref)

    def _landed(self, _done: Future[None]) -> None:
        """An error is the reader's to tell: it will ask for the chunk itself."""
        self._flying.release()


def fetches(source: Source) -> bool:
    """Whether a source's first sample lies in a chunk that would have to be fetched."""
    if not isinstance(source, Fetching) or source.num_samples == 0:
        return False
    index = source.index(0)
    return index.num_samples > 0 and bool(source.chunks(0, int(index.offsets[0]), int(index.sizes[0])))
