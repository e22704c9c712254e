"""A subset of a dataset's samples: a range of numbers, but for samples whose group belongs elsewhere.

In: the range of the samples whose own keys lie in a part of the hash space, and the samples whose group has another
key. Out: a translation of places in the subset into numbers of samples. Where no sample is moved, that is an addition.
Memory: the moved samples.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Subset:
    """The samples [first, stop) without those of `left_out`, and then those of `added`.

    Attributes:
        first: number of the first sample of the range.
        stop: end of the range, exclusive.
        left_out: rising numbers in the range, of samples whose group lies outside.
        added: rising numbers outside the range, of samples whose group lies inside.
    """

    first: int
    stop: int
    left_out: Int64s
    added: Int64s

    @property
    def num_samples(self) -> int:
        """Of the subset."""
        return self.stop - self.first - len(self.left_out) + len(self.added)

    def numbers(self, places: Int64s) -> Int64s:
        """The dataset's numbers of samples.

        Args:
            places: (m,) int64 in [0, num_samples), any order.

        Returns:
            (m,) int64, each place another one.
        """
        if not len(self.left_out) and not len(self.added):
            return places + self.first
        # So many samples of the range lie before each hole; a place moves on by the holes at or before it.
        before = self.left_out - self.first - np.arange(len(self.left_out))
        numbers = places + self.first + np.searchsorted(before, places, side="right")
        ranged = self.stop - self.first - len(self.left_out)
        tail = places >= ranged
        numbers[tail] = self.added[places[tail] - ranged]
        return np.asarray(numbers, np.int64)


def make_subset(first: int, stop: int, moved: Int64s, inside: npt.NDArray[np.bool_]) -> Subset:
    """The subset of a range.

    Args:
        first: number of the first sample whose own key lies in it.
        stop: end of these, exclusive.
        moved: (k,) rising numbers of the samples whose group has another key.
        inside: (k,) whether that key lies in it.
    """
    here = (moved >= first) & (moved < stop)
    return Subset(first, stop, moved[here & ~inside], moved[~here & inside])


@dataclasses.dataclass(frozen=True, eq=False)
class NumberSet:
    """A `SampleSet` of rising numbers, (m,) int64."""

    of: Int64s

    @property
    def num_samples(self) -> int:
        """How many."""
        return len(self.of)

    def numbers(self, places: Int64s) -> Int64s:
        """The numbers at some places."""
        return np.asarray(self.of[places], np.int64)


def heads_between(heads: npt.NDArray[np.uint64], low: float, high: float) -> npt.NDArray[np.bool_]:
    """(n,) bool whether places in the hash space, (n,) uint64, lie between two shares of it."""
    return _below(heads, hash_end(high)) & ~_below(heads, hash_end(low))


def hash_end(share: float) -> int:
    """The end of the first `share` of the space of 64-bit hashes; exclusive, so 2**64 for all of it."""
    return round(share * 2**64)


def _below(heads: npt.NDArray[np.uint64], end: int) -> npt.NDArray[np.bool_]:
    """(n,) bool; `end` may be 2**64, which no uint64 is."""
    return np.ones(len(heads), np.bool_) if end == 2**64 else heads < np.uint64(end)
