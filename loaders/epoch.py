"""A running epoch: batches planned, read and decoded ahead of the consumer, every sample accounted for.

One thread plans (which samples, where they lie, their labels), N threads read and decode (the decoders release the
GIL), and `read_ahead` batches are under way at most, which bounds the memory. Without threads all of it happens in
`next`.

What goes wrong in a thread is raised in `next`, in the order of the samples. An epoch that is closed, or dropped before
its end, ends its threads. In a forked process there are none, so that only an epoch without threads goes on there.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

from .account import EpochAccount, SkippedSample, check_skipped
from .batch import Batch, batch_of, without
from .errors import LoaderError
from .fill import Bad, Filled, fill
from .plan import BatchPlan, plan_batch
from .readahead import EpochAhead, fetches
from .times import StageClock, StageTimes

if TYPE_CHECKING:
    from .loader import Loader

# Images of one task: at 0.7 to 1.5 ms an image long enough that handing it over costs nothing, short enough that the
# threads end a batch together.
TASK_IMAGES: Final = 8

T = TypeVar("T")


class EpochBatches(Iterator[Batch]):
    """The running epoch; `account` says what became of the samples so far, `times` what the time went to."""

    def __init__(self, loader: Loader, epoch: int, start_step: int) -> None:
        self._loader, self._epoch, self._process = loader, epoch, os.getpid()
        self._order = loader.order(epoch)
        self._steps = iter(range(start_step, loader.steps_per_epoch))
        self._pending: collections.deque[Future[_Underway]] = collections.deque()
        self._planner, self._workers = _executors(loader.num_threads)
        self._ahead = loader.read_ahead if loader.num_threads else 1
        self._clock = StageClock()
        steps = range(start_step, loader.steps_per_epoch)
        self._fetcher = None
        if loader.num_threads and loader.ahead_samples and fetches(loader.dataset):
            ahead = max(1, loader.ahead_samples // loader.batch_size)
            self._fetcher = EpochAhead(loader, loader.order(epoch), steps, ahead_steps=ahead)
        dropped = loader.num_samples % loader.batch_size if loader.drop_last else 0
        self.account = EpochAccount(planned=loader.planned(start_step), dropped=dropped)

    @property
    def times(self) -> StageTimes:
        """Seconds of each stage so far."""
        return self._clock.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        begin = time.perf_counter()
        self._check_process()
        try:
            while len(self._pending) < self._ahead and (step := next(self._steps, None)) is not None:
                self._pending.append(self._planner.submit(self._start, step))
            batch = self._account_for(self._pending.popleft().result()) if self._pending else None
        except BaseException:
            self.close()
            raise
        if batch is None:
            self.close()
            raise StopIteration
        if self._fetcher is not None:
            self._fetcher.used()
        self._clock.add(wait_s=time.perf_counter() - begin, batches=1)
        return batch

    def close(self) -> None:
        """Ends the threads; no further batches are given."""
        self._end(wait=True)

    def __del__(self) -> None:
        # Dropped in the middle. Maybe by one of the threads, which cannot wait for itself.
        if getattr(self, "account", None) is not None:
            self._end(wait=False)

    def _end(self, *, wait: bool) -> None:
        self._steps = iter(())
        self._pending.clear()
        if os.getpid() != self._process:
            return  # the threads are another process's
        if self._fetcher is not None:
            self._fetcher.close(wait=wait)
        # The planner first: it hands tasks to the others.
        self._planner.shutdown(wait=wait, cancel_futures=True)
        self._workers.shutdown(wait=wait, cancel_futures=True)

    def _check_process(self) -> None:
        if self._loader.num_threads and os.getpid() != self._process:
            raise LoaderError(
                f"epoch {self._epoch}: expected to be read by process {self._process}, which began it and has its "
                f"threads, found process {os.getpid()}; begin an epoch after the fork, or read with num_threads=0"
            )

    def _account_for(self, underway: _Underway) -> Batch:
        """The finished batch, its unusable samples taken out, counted and written down."""
        batch, plan, tasks = underway
        done = [task.result() for task in tasks]
        if not self._loader.decode:
            batch = dataclasses.replace(batch, encoded=tuple(data for part in done for data in part.encoded))
        bad = [item for part in done for item in part.bad]
        self.account.seen += len(batch) - len(bad)
        if not bad:
            return batch
        for item in bad:
            self.account.skipped[item.reason] = self.account.skipped.get(item.reason, 0) + 1
        ledger = self._loader.ledger
        if ledger is not None:
            ledger.write([_skipped(self._loader, batch, plan, item) for item in bad])
        check_skipped(self.account, self._loader.max_skipped, ledger=ledger.path if ledger is not None else None)
        return without(batch, [item.at for item in bad])

    def _start(self, step: int) -> _Underway:
        """Looks up the samples of a step and hands their reading to the pool; in the planner's thread."""
        loader, begin = self._loader, time.perf_counter()
        chosen = loader.rank_samples(self._order, step)
        plan = plan_batch(loader.dataset, chosen.numbers)
        n = len(plan.keys)
        images = loader.empty_images(n if loader.decode else 0)
        batch = batch_of(plan, images, chosen.slots, epoch=self._epoch, step=step)
        # Reading alone takes 10 us from a disk and 100 ms from far away: as large as two a thread allow.
        size = TASK_IMAGES if loader.decode else max(TASK_IMAGES, n // max(2 * loader.num_threads, 1))
        parts = [range(i, min(i + size, n)) for i in range(0, n, size)]
        self._clock.add(plan_s=time.perf_counter() - begin)
        tasks = [self._workers.submit(fill, loader, plan, images, part, self._clock) for part in parts]
        return _Underway(batch, plan, tasks)


class _Underway(NamedTuple):
    """A batch that is being filled, and its tasks."""

    batch: Batch
    plan: BatchPlan
    tasks: list[Future[Filled]]


class _InlineExecutor(Executor):
    """Does what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for, as an executor does
            done.set_exception(error)
        return done


def _executors(num_threads: int) -> tuple[Executor, Executor]:
    if num_threads == 0:
        inline = _InlineExecutor()
        return inline, inline
    return (
        ThreadPoolExecutor(1, thread_name_prefix="openjft-plan"),
        ThreadPoolExecutor(num_threads, thread_name_prefix="openjft-decode"),
    )


def _skipped(loader: Loader, batch: Batch, plan: BatchPlan, item: Bad) -> SkippedSample:
    return SkippedSample(
        epoch=batch.epoch,
        step=batch.step,
        slot=int(batch.slots[item.at]),
        key=plan.keys[item.at].tobytes().hex(),
        place=loader.dataset.place(int(plan.shards[item.at])),
        offset=int(plan.offsets[item.at]),
        reason=item.reason,
        detail=item.detail,
    )
