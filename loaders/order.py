"""The order of an epoch: a permutation of the samples that is a pure function of (seed, epoch, position).

No generator is advanced, nothing depends on ranks, workers or what was read before: anyone can say offline which
sample stands at which position. Samples lie in hash order on storage, so blocks of neighbours are already random
draws; the shuffle has two levels so that reading stays local:

1. Blocks of `block` neighbouring samples are put in a random order.
2. Within each window of `window` blocks, the samples are put in a random order.

So at any time the reader works on at most `window` blocks (64 x 1,024 samples of 30 KB: 2 GB, on few shards), and a
dataset of up to one window is shuffled whole. Both levels sort by a hash (splitmix64, Steele et al. 2014) of the
position; unlike NumPy's generators, whose streams may change with a release, it stays the same for good (a test pins
it).
Memory: 16 bytes for each block (300M samples: 5 MB) and 8 for each sample of a window.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK = 1_024
WINDOW = 64

Int64s = npt.NDArray[np.int64]
_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BLOCKS, _SAMPLES = 1, 2  # levels


def splitmix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of splitmix64 on each of (n,) uint64, a bijection of 64-bit words."""
    z = values + np.uint64(_GAMMA)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX_2)
    return z ^ (z >> np.uint64(31))


def permutation(size: int, *key: int) -> Int64s:
    """(size,) int64: a permutation of [0, size) drawn by the integers of `key`."""
    state = np.zeros(1, np.uint64)
    for part in key:
        state = splitmix64(state ^ np.uint64(part & _MASK))
    # Two rounds: keys that differ in a few bits must not give ranks that go along with each other.
    drawn = splitmix64(splitmix64(np.arange(size, dtype=np.uint64)) ^ state)
    return np.argsort(drawn, kind="stable").astype(np.int64, copy=False)


class SampleOrder:
    """The samples of one epoch in the order in which they are seen.

    Args:
        num_samples: n.
        seed: of the draw.
        epoch: from 0 on.
        shuffle: False gives the order on storage.
        block: neighbouring samples that move together at the first level.
        window: blocks whose samples are mixed at the second level.
    """

    def __init__(
        self, num_samples: int, *, seed: int, epoch: int, shuffle: bool = True, block: int = BLOCK, window: int = WINDOW
    ) -> None:
        self.num_samples, self.seed, self.epoch, self.shuffle = num_samples, seed, epoch, shuffle
        self.block, self.window_samples = block, block * window
        if shuffle:
            count = -(-num_samples // block)
            self._blocks = permutation(count, seed, epoch, _BLOCKS)
            lengths = np.full(count, block, np.int64)
            lengths[self._blocks * block + block > num_samples] = num_samples % block  # the last block may be short
            self._ends = np.cumsum(lengths)
        self._window = functools.lru_cache(maxsize=2)(self._window_of)

    def at(self, positions: Int64s) -> Int64s:
        """The samples at some positions.

        Args:
            positions: (m,) int64 in [0, n), any order.

        Returns:
            (m,) int64 numbers of samples in [0, n), as they lie on storage.
        """
        if not self.shuffle or len(positions) == 0:
            return positions
        windows = positions // self.window_samples
        mixed = np.empty_like(positions)
        for window in np.unique(windows):
            here = windows == window
            start = int(window) * self.window_samples
            mixed[here] = start + self._window(int(window))[positions[here] - start]
        slots = np.searchsorted(self._ends, mixed, side="right")
        back = self._ends[slots] - mixed  # samples from here to the end of the block, itself among them
        ids = self._blocks[slots]
        ends = np.minimum((ids + 1) * self.block, self.num_samples)
        return np.asarray(ends - back, np.int64)

    def _window_of(self, window: int) -> Int64s:
        size = min(self.window_samples, self.num_samples - window * self.window_samples)
        return permutation(size, self.seed, self.epoch, _SAMPLES, window)


def rank_slice(
    step: int, *, batch_size: int, num_samples: int, rank: int, world_size: int, unit: int = 1
) -> tuple[int, int]:
    """The positions [start, end) that a rank takes of a global batch.

    Ranks take neighbouring slices, the first ranks not larger than the last by more than one unit; put together in
    rank order they are the global batch, whatever the number of ranks. A unit is a group of neighbouring positions
    that no border parts, counted from the batch's start (the last may be short): what is computed for each group is
    then the same for any number of ranks.
    """
    start = step * batch_size
    size = min(batch_size, num_samples - start)
    units = -(-size // unit)
    first, last = rank * units // world_size, (rank + 1) * units // world_size
    return start + min(first * unit, size), start + min(last * unit, size)


class SampleStep(NamedTuple):
    """A step of a training, counted over all epochs: which epoch it belongs to, and its number there."""

    epoch: int
    step: int


def step_of(step: int, steps_per_epoch: int) -> SampleStep:
    """The epoch, and the step in it, of step number `step` of a training.

    Raises:
        ValueError: an epoch has no steps, or the step is negative.
    """
    if steps_per_epoch < 1 or step < 0:
        raise ValueError(f"expected a step of 0 or more in epochs of 1 or more, found {step} of {steps_per_epoch}")
    return SampleStep(*divmod(step, steps_per_epoch))
