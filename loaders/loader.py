"""Batches from a dataset: read at random, decoded in parallel into one array, in an order that can be told beforehand.

In: a `Source`, as a `Dataset` is one. Out: `Batch` after `Batch`, uint8 images and CSR labels in host memory. Batch b
of an epoch is the slice [b * B, (b + 1) * B) of `SampleOrder`, B the global batch size, and each rank takes its part
of it, so the stream of global batches is one and the same for any number of ranks and threads, and going on at step k
needs no state but k.

Nothing here knows torch; the crop, mirror and normalisation belong on the device. What runs while batches are read is
in `epoch`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from .buffers import Buffers
from .epoch import EpochBatches
from .errors import LoaderError
from .images import Pixels
from .ledger import Ledger
from .order import BLOCK, WINDOW, SampleOrder, rank_slice
from .source import Int64s, Source
from .state import LoaderState

READ_AHEAD: Final = 3
MAX_SKIPPED: Final = 1e-3
MAX_PIXELS: Final = 100_000_000  # of an image of anyone; more is a bomb, or a map

OnError = Literal["raise", "skip"]


class RankSamples(NamedTuple):
    """A rank's samples of a step: the source's numbers (n,) int64, and their places in the global batch (n,) int64."""

    numbers: Int64s
    slots: Int64s


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
        unit: ranks take whole groups of so many neighbouring places of a global batch, so that what is computed for
            each group (batch norm's statistics) is the same for any number of ranks.
        num_threads: that read and decode; None: as many as there are cores for this process; 0: everything happens in
            the caller's thread, nothing ahead of it.
        subset: share of the dataset: its first part by key, or the part between two shares. Subsets that start at 0
            are nested, and a sample's membership depends on its key alone; of samples that show one picture, on that
            of their representative, so that all of them are in it or none.
        shuffle: False reads in key order.
        drop_last: leave out the last batch of an epoch when it is not full.
        decode: False gives the images as they are stored, in `Batch.encoded`.
        on_error: `raise` ends at a damaged sample with its shard and key; `skip` leaves it out of its batch
            and counts it. A missing file is an error either way.
        max_skipped: the most samples that this rank may leave out of what it reads of an epoch, below 1 as a share of
            them (and one at least), else as a count.
        ledger: folder in which each rank lists the samples that it left out; None keeps no list. The first epoch that
            is begun cuts off what a former run wrote from there on. A folder is for one stream of batches.
        check_sha256: compare each JPEG with the index's hash: finds bits that rotted and still decode.
        read_ahead: batches under way at most, which bounds the memory.
        ahead_samples: how far ahead the chunks of a cached source are fetched, in samples of the global batch; 0
            fetches when they are read.
        max_pixels: width x height of an image of anyone above which it is not decoded.

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
        decode: bool = True,
        on_error: OnError = "raise",
        max_skipped: float = MAX_SKIPPED,
        ledger: Path | None = None,
        check_sha256: bool = False,
        read_ahead: int = READ_AHEAD,
        ahead_samples: int = BLOCK * WINDOW,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        low, high = subset if isinstance(subset, tuple) else (0.0, subset)
        threads = num_threads if num_threads is not None else len(os.sched_getaffinity(0))
        _check_options(
            ("batch_size", batch_size, "at least world_size", batch_size >= world_size),
            (
                "unit",
                unit,
                f"at least 1, and world_size groups in a batch of {batch_size}",
                unit >= 1 and -(-batch_size // max(unit, 1)) >= world_size,
            ),
            ("rank", rank, f"in [0, world_size {world_size})", 0 <= rank < world_size),
            ("num_threads", threads, "0 or more", threads >= 0),
            ("subset", subset, "a share in (0, 1], or two rising ones", 0 <= low < high <= 1),
            ("read_ahead", read_ahead, "at least 1", read_ahead >= 1),
            ("image_size", image_size, "at least 1", image_size is None or image_size >= 1),
            ("max_skipped", max_skipped, "0 or more", max_skipped >= 0),
            ("ahead_samples", ahead_samples, "0 or more", ahead_samples >= 0),
            ("max_pixels", max_pixels, "at least 1", max_pixels >= 1),
            ("on_error", on_error, "'raise' or 'skip'", on_error in {"raise", "skip"}),
        )
        side = image_size if image_size is not None else dataset.image_size
        if side is None and not decode:
            side = 1  # no pixels are made
        if side is None:
            raise LoaderError(
                f"{dataset.root}: expected image_size, since the images differ in size or are not square; "
                "give the side that batches shall have"
            )
        self.dataset, self.batch_size, self.seed, self.image_size = dataset, batch_size, seed, side
        self.rank, self.world_size, self.unit, self.num_threads = rank, world_size, unit, threads
        self.shuffle, self.drop_last, self.decode = shuffle, drop_last, decode
        self.on_error, self.max_skipped, self.check_sha256 = on_error, max_skipped, check_sha256
        self.ledger = Ledger(Path(ledger), rank) if ledger is not None else None
        self._ledger_begun = False
        self.read_ahead, self.ahead_samples, self.max_pixels = read_ahead, ahead_samples, max_pixels
        self.low, self.high = low, high
        # A rank's largest batch; so many are under way, one is being used, one may be on its way to the device.
        groups = -(-batch_size // unit)
        most = -(-groups // world_size) * unit * side * side * 3
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

        A last, partial batch of fewer groups than ranks gives some ranks none.
        """
        return self.rank_samples(order, step).numbers

    def rank_samples(self, order: SampleOrder, step: int) -> RankSamples:
        """The samples of this rank's batch, and their places in the global batch.

        Where neighbours on storage are independent draws, a shuffled global batch is put in the order of storage
        before the ranks take their slices: which samples it holds stays the same, and each rank reads its own
        part of the storage (a window's blocks divided by the ranks) and not all of it.
        """
        first = step * self.batch_size
        start, end = self._slice(step)
        if not (self.shuffle and self.dataset.uniform):
            numbers = self._subset.numbers(order.at(np.arange(start, end, dtype=np.int64)))
        else:
            last = min(first + self.batch_size, self.num_samples)
            whole = self._subset.numbers(order.at(np.arange(first, last, dtype=np.int64)))
            numbers = np.sort(whole)[start - first : end - first]
        return RankSamples(numbers, np.arange(start - first, end - first, dtype=np.int64))

    def planned(self, start_step: int) -> int:
        """Samples of this rank from a step to the end of the epoch."""
        steps = range(start_step, self.steps_per_epoch)
        if not steps:
            return 0
        full, last = self._slice(steps[0]), self._slice(steps[-1])  # only the last may be partial
        return (full[1] - full[0]) * (len(steps) - 1) + last[1] - last[0]

    def _slice(self, step: int) -> tuple[int, int]:
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
            LoaderError: the step lies outside the epoch, or the ledger cannot be read.
        """
        if epoch < 0 or not 0 <= start_step <= self.steps_per_epoch:
            raise LoaderError(
                f"epoch {epoch}, start_step {start_step}: expected an epoch of 0 or more and a step in "
                f"[0, {self.steps_per_epoch}]"
            )
        if self.ledger is not None and not self._ledger_begun:
            self.ledger.begin(epoch=epoch, step=start_step, world_size=self.world_size)
            self._ledger_begun = True
        return EpochBatches(self, epoch, start_step)

    # -- going on ----------------------------------------------------------------------------------------------

    def state(self, epoch: int, step: int) -> LoaderState:
        """The state before batch `step` of an epoch: with it any number of ranks goes on from there, anywhere."""
        return LoaderState(
            epoch=epoch,
            step=step,
            seed=self.seed,
            batch_size=self.batch_size,
            num_samples=self.num_samples,
            low=self.low,
            high=self.high,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            fingerprint=self.dataset.fingerprint,
        )

    def check_state(self, state: LoaderState) -> None:
        """Raises `LoaderError`, with each difference, if a state is of another stream of batches than this loader's."""
        different = state.differences(self.state(state.epoch, state.step))
        if different:
            raise LoaderError(
                f"{self.dataset.root}: expected the stream of batches that the state is of, found another\n"
                + "\n".join(f"  {line}" for line in different)
                + "\nGive the former values to go on, or start anew"
            )

    def epoch_from(self, state: LoaderState) -> EpochBatches:
        """The rest of the epoch that a state stands in.

        Raises:
            LoaderError: the state is of another stream, or its step lies outside the epoch.
        """
        self.check_state(state)
        return self.epoch(state.epoch, state.step)


def _check_options(*options: tuple[str, object, str, bool]) -> None:
    for name, value, expected, good in options:
        if not good:
            raise LoaderError(f"Loader: {name}: expected {expected}, found {value!r}")
