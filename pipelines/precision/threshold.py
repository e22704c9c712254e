"""The threshold: most labels at a mean probability of at least the target. METHODS.md, section 1.

In: the probability and count of each pattern. Out: one global threshold on the probability. Probabilities are
whole millionths, so that sums are exact integers, equal ones are kept or dropped together, and the last bits of a
fit on another machine do not move a label. Floors for each class and certificates come with a later issue.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

from openjft.pipelines.errors import PipelineError

from .model import Floats
from .patterns import Int64s

STEPS: Final = 1_000_000


def to_steps(probability: Floats) -> Int64s:
    """(m,) probabilities as whole millionths."""
    return np.rint(probability * STEPS).astype(np.int64)


def from_steps(steps: Int64s) -> npt.NDArray[np.float32]:
    """(m,) float32 probabilities of whole millionths, as the build's files hold them."""
    return (steps / STEPS).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Threshold:
    """What is kept: probabilities of at least `steps` millionths.

    Attributes:
        steps: the least probability kept, in millionths.
        kept: how many labels.
        expected_precision: their mean probability.
    """

    steps: int
    kept: int
    expected_precision: float

    @property
    def probability(self) -> float:
        """The least probability kept."""
        return self.steps / STEPS


def find_threshold(steps: Int64s, counts: Int64s, target: float) -> Threshold | None:
    """The lowest threshold at which the labels kept reach the target; None where the best pattern does not.

    Args:
        steps: (m,) probability of each pattern, in millionths.
        counts: (m,) int64 labels of each pattern; sums up to 9e12 are exact.
        target: mean probability wanted, in [0, 1].
    """
    values, group = np.unique(-steps, return_inverse=True)  # falling; equal probabilities together
    labels = np.zeros(len(values), np.int64)
    np.add.at(labels, group, counts)
    kept, total = np.cumsum(labels), np.cumsum(labels * -values)
    # The mean over a prefix only falls as it grows, so those that reach the target are the first ones.
    enough = int(np.count_nonzero((kept > 0) & (total >= kept * round(target * STEPS))))
    if not enough:
        return None
    last = enough - 1
    return Threshold(int(-values[last]), int(kept[last]), float(total[last] / kept[last] / STEPS))


def choose_threshold(steps: Int64s, counts: Int64s, target: float) -> Threshold:
    """`find_threshold`, where none is an error.

    Raises:
        PipelineError: the target cannot be reached; says what can.
    """
    found = find_threshold(steps, counts, target)
    if found is None:
        best, total = steps.max(), counts.sum()
        number = counts[steps == best].sum()
        raise PipelineError(
            f"precision: expected labels with a mean probability of at least {target:g} (precision.target), found that "
            f"the best reachable is {best / STEPS:.3f}, for {number:,} of {total:,} labels. "
            "Lower precision.target, or add a source that tells right from wrong"
        )
    return found
