"""Batches from a dataset: read at random, decoded in parallel into one array, in an order that can be told beforehand.

In: a `Source`, as a `Dataset` is one. Out: `Batch` after `Batch`, uint8 images and CSR labels in host memory. Batch b
of an epoch is the slice [b * B, (b + 1) * B) of `SampleOrder`, B the global batch size, and each rank takes its part
of it, so the stream of global batches is one and the same for any number of ranks and threads, and going on at step k
needs no state but k.

One thread plans (which samples, where they lie, their labels), N threads read and decode (simplejpeg releases the
GIL), and `read_ahead` batches are under way at most. Nothing here knows torch; the crop, mirror and normalisation
belong on the device.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from openjft.taxonomy.csr import offsets_of

from .buffers import Buffers
from .dataset import Int64s
from .decoding import DecodeError
from .errors import DatasetError, LoaderError
from .images import Pixels, decode_any_into, decode_into
from .order import SampleOrder, rank_slice
from .plan import BatchPlan, plan_batch
from .source import Source

# Images of one task: at 0.7 to 1.5 ms an image long enough that handing it over costs nothing, short enough that the
# threads end a batch together.
TASK_IMAGES: Final = 8
READ_AHEAD: Final = 3

OnError = Literal["raise", "skip"]


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Images and labels of n samples, in the order of the epoch.

    Attributes:
        images: (n, h, w, 3) uint8 RGB.
        keys: (n, 16) uint8 image keys.
        label_values: (nnz,) int32 label ids; those of image i are `[label_offsets[i]:label_offsets[i + 1]]`.
        label_offsets: (n + 1,) int64.
        label_probabilities: (nnz,) float32.
        label_asserted: (nnz,) bool; False: inferred through the hierarchy.
        label_from: (nnz,) int32 asserted label that each comes from, itself where asserted.
        negative_values: (q,) int32 verified negatives, by `negative_offsets` as the labels are.
        negative_offsets: (n + 1,) int64.
        epoch: that it belongs to.
        step: its number in the epoch.
        slots: (n,) int64 place of each sample in the global batch, before anything was skipped.
    """

    images: Pixels
    keys: npt.NDArray[np.uint8]
    label_values: npt.NDArray[np.int32]
    label_offsets: Int64s
    label_probabilities: npt.NDArray[np.float32]
    label_asserted: npt.NDArray[np.bool_]
    label_from: npt.NDArray[np.int32]
    negative_values: npt.NDArray[np.int32]
    negative_offsets: Int64s
    epoch: int = 0
    step: int = 0
    slots: Int64s = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.images)


@dataclasses.dataclass
class EpochAccount:
    """What became of a rank's samples: planned = seen + skipped by reason + not yet reached.

    `dropped` counts the samples of the last, partial global batch that `drop_last` leaves out, over all ranks.
    """

    planned: int
    dropped: int
    seen: int = 0
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)


class Loader:
    """Batches of a dataset, epoch by epoch.

    Args:
        dataset: to read from.
        batch_size: images of a global batch, over all ranks.
        seed: of the order.
        image_size: side of the images in a batch, pixels. None: as stored, for which all must be squares of one
            size. Images of another size are cut to their middle square and resized.
        rank: of this process, in [0, world_size).
        world_size: processes that share each global batch.
        unit: ranks take whole groups of so many neighbouring slots of the global batch.
        num_threads: that read and decode; None: as many as there are cores for this process.
        subset: share of the dataset: its first part by key, or the part between two shares. Subsets that start at 0
            are nested, and a sample's membership depends on its key alone; of samples that show one picture, on that
            of their representative, so that all of them are in it or none.
        shuffle: False reads in key order.
        drop_last: leave out the last batch of an epoch when it is not full.
        on_error: `raise` ends at a damaged sample with its shard and key; `skip` leaves it out of its batch
            and counts it.
        check_sha256: compare each JPEG with the index's hash: finds bits that rotted and still decode.
        read_ahead: batches under way at most, which bounds the memory.

    Raises:
        LoaderError: the values do not fit each other or the dataset.
    """

    def __init__(
        self,
        dataset: Source,
        *,
        batch_size: int,
        seed: int,
        image_size: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        unit: int = 1,
        num_threads: int | None = None,
        subset: float | tuple[float, float] = 1.0,
        shuffle: bool = True,
        drop_last: bool = True,
        on_error: OnError = "raise",
        check_sha256: bool = False,
        read_ahead: int = READ_AHEAD,
    ) -> None:
        low, high = subset if isinstance(subset, tuple) else (0.0, subset)
        threads = num_threads if num_threads is not None else len(os.sched_getaffinity(0))
        _check_options(
            ("unit", unit, "at least 1", unit >= 1),
            (
                "batch_size",
                batch_size,
                f"at least a group of {unit} for each of {world_size} ranks",
                -(-batch_size // max(unit, 1)) >= world_size,
            ),
            ("rank", rank, f"in [0, world_size {world_size})", 0 <= rank < world_size),
            ("num_threads", threads, "at least 1", threads >= 1),
            ("subset", subset, "a share in (0, 1], or two rising ones", 0 <= low < high <= 1),
            ("read_ahead", read_ahead, "at least 1", read_ahead >= 1),
            ("image_size", image_size, "at least 1", image_size is None or image_size >= 1),
            ("on_error", on_error, "'raise' or 'skip'", on_error in {"raise", "skip"}),
        )
        side = image_size if image_size is not None else dataset.image_size
        if side is None:
            raise LoaderError(
                f"{dataset.root}: expected image_size, since the images differ in size or are not square; "
                "give the side that batches shall have"
            )
        self.dataset, self.batch_size, self.seed, self.image_size = dataset, batch_size, seed, side
        self.rank, self.world_size, self.unit, self.num_threads = rank, world_size, unit, threads
        self.shuffle, self.drop_last, self.on_error = shuffle, drop_last, on_error
        self.check_sha256, self.read_ahead = check_sha256, read_ahead
        # A rank's largest batch; so many are under way, one is being used, one may be on its way to the device.
        most = -(-batch_size // unit // world_size) * unit * side * side * 3
        self._buffers = Buffers(most, keep=read_ahead + 2)
        self._subset = dataset.subset(low, high)
        self.num_samples = self._subset.num_samples

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the same on all ranks."""
        full, rest = divmod(self.num_samples, self.batch_size)
        return full if self.drop_last or rest == 0 else full + 1

    def order(self, epoch: int) -> SampleOrder:
        """The order of an epoch; its numbers are places in the subset, which `sample_numbers` translates."""
        return SampleOrder(self.num_samples, seed=self.seed, epoch=epoch, shuffle=self.shuffle)

    def sample_numbers(self, order: SampleOrder, step: int) -> Int64s:
        """The dataset's numbers of the samples of this rank's batch, (n,) int64; no image is read for it.

        A last, partial batch of fewer images than ranks gives some ranks none.
        """
        start, end = self.slice_of(step)
        return self._subset.numbers(order.at(np.arange(start, end, dtype=np.int64)))

    def planned(self, start_step: int) -> int:
        """Samples of this rank from a step to the end of the epoch."""
        steps = range(start_step, self.steps_per_epoch)
        if not steps:
            return 0
        full, last = self.slice_of(steps[0]), self.slice_of(steps[-1])  # only the last may be partial
        return (full[1] - full[0]) * (len(steps) - 1) + last[1] - last[0]

    def slice_of(self, step: int) -> tuple[int, int]:
        """This rank's positions [start, end) in the epoch."""
        return rank_slice(
            step,
            batch_size=self.batch_size,
            num_samples=self.num_samples,
            rank=self.rank,
            world_size=self.world_size,
            unit=self.unit,
        )

    def empty_images(self, n: int) -> Pixels:
        """(n, h, w, 3) uint8, uninitialised; its memory is used again when it is gone."""
        return self._buffers.empty((n, self.image_size, self.image_size, 3))

    def epoch(self, epoch: int, start_step: int = 0) -> EpochBatches:
        """The batches of an epoch from a step on; close it (or use it in a `with`) to end early.

        Raises:
            LoaderError: the step lies outside the epoch.
        """
        if epoch < 0 or not 0 <= start_step <= self.steps_per_epoch:
            raise LoaderError(
                f"epoch {epoch}, start_step {start_step}: expected an epoch of 0 or more and a step in "
                f"[0, {self.steps_per_epoch}]"
            )
        return EpochBatches(self, epoch, start_step)


def _check_options(*options: tuple[str, object, str, bool]) -> None:
    for name, value, expected, good in options:
        if not good:
            raise LoaderError(f"Loader: {name}: expected {expected}, found {value!r}")


class EpochBatches(Iterator[Batch]):
    """The running epoch; `account` says what became of the samples so far."""

    def __init__(self, loader: Loader, epoch: int, start_step: int) -> None:
        self._loader, self._epoch = loader, epoch
        self._order = loader.order(epoch)
        self._steps = iter(range(start_step, loader.steps_per_epoch))
        self._pending: collections.deque[Future[_Underway]] = collections.deque()
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="openjft-plan")
        self._decoders = ThreadPoolExecutor(loader.num_threads, thread_name_prefix="openjft-decode")
        dropped = loader.num_samples % loader.batch_size if loader.drop_last else 0
        self.account = EpochAccount(planned=loader.planned(start_step), dropped=dropped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        while len(self._pending) < self._loader.read_ahead and (step := next(self._steps, None)) is not None:
            self._pending.append(self._planner.submit(self._start, step))
        if not self._pending:
            self.close()
            raise StopIteration
        try:
            batch, tasks = self._pending.popleft().result()
            bad: dict[int, str] = {}
            for task in tasks:
                bad.update(task.result())
        except BaseException:
            self.close()
            raise
        self.account.seen += len(batch) - len(bad)
        for reason in bad.values():
            self.account.skipped[reason] = self.account.skipped.get(reason, 0) + 1
        return _without(batch, sorted(bad)) if bad else batch

    def close(self) -> None:
        """Ends the threads; no further batches are given."""
        self._steps = iter(())
        self._pending.clear()
        # The planner first: it hands tasks to the decoders.
        self._planner.shutdown(wait=True, cancel_futures=True)
        self._decoders.shutdown(wait=True, cancel_futures=True)

    def _start(self, step: int) -> _Underway:
        """Looks up the samples of a step and hands their decoding to the pool; in the planner's thread."""
        loader = self._loader
        plan = plan_batch(loader.dataset, loader.sample_numbers(self._order, step))
        n = len(plan.keys)
        images = loader.empty_images(n)
        batch = Batch(
            images,
            plan.keys,
            plan.label_values,
            plan.label_offsets,
            plan.label_probabilities,
            plan.label_asserted,
            plan.label_from,
            plan.negative_values,
            plan.negative_offsets,
            self._epoch,
            step,
            np.arange(*loader.slice_of(step), dtype=np.int64) - step * loader.batch_size,
        )
        tasks = [range(i, min(i + TASK_IMAGES, n)) for i in range(0, n, TASK_IMAGES)]
        return _Underway(batch, [self._decoders.submit(_fill, loader, plan, images, part) for part in tasks])


class _Underway(NamedTuple):
    """A batch that is being filled; each task gives position in the batch -> reason of what cannot be used."""

    batch: Batch
    tasks: list[Future[dict[int, str]]]


def _fill(loader: Loader, plan: BatchPlan, images: Pixels, part: range) -> dict[int, str]:
    """Reads and decodes a part of a batch; in a decoder's thread."""
    bad: dict[int, str] = {}
    for i in part:
        shard = int(plan.shards[i])
        try:
            data = loader.dataset.read_bytes(shard, int(plan.offsets[i]), int(plan.sizes[i]))
            shape = plan.shapes[i] if loader.dataset.stored else None
            _decode(data, images[i], shape, plan.sha256[i].tobytes() if loader.check_sha256 else None)
        except _BadSample as error:
            if loader.on_error == "raise":
                place = loader.dataset.place(shard)
                raise DatasetError(
                    f"{place}: sample {plan.keys[i].tobytes().hex()}: {error}; fetch the tar again, or go on "
                    "without such samples with on_error='skip'"
                ) from error
            bad[i] = error.reason
    return bad


class _BadSample(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _decode(data: bytes, out: Pixels, shape: Int64s | None, sha256: bytes | None) -> None:
    if sha256 is not None and hashlib.sha256(data).digest() != sha256:
        raise _BadSample("sha256", "the JPEG's sha256 is not the index's")
    try:
        if shape is None:
            decode_any_into(data, out, max_pixels=100_000_000)
        else:
            decode_into(data, out, size=(int(shape[0]), int(shape[1])))
    except DecodeError as error:
        raise _BadSample(error.reason, str(error)) from error
    except ValueError as error:
        raise _BadSample("size", str(error)) from error


def _without(batch: Batch, bad: list[int]) -> Batch:
    """The batch without some of its images."""
    keep = np.setdiff1d(np.arange(len(batch)), bad)
    kept = np.isin(np.arange(len(batch)), keep)
    lengths, negative_lengths = np.diff(batch.label_offsets), np.diff(batch.negative_offsets)
    labels = np.repeat(kept, lengths)
    return dataclasses.replace(
        batch,
        images=batch.images[keep],
        slots=batch.slots[keep],
        keys=batch.keys[keep],
        label_values=batch.label_values[labels],
        label_offsets=offsets_of(lengths[keep]),
        label_probabilities=batch.label_probabilities[labels],
        label_asserted=batch.label_asserted[labels],
        label_from=batch.label_from[labels],
        negative_values=batch.negative_values[np.repeat(kept, negative_lengths)],
        negative_offsets=offsets_of(negative_lengths[keep]),
    )
