"""Top-1 and top-5 of a classifier, with intervals, on all images and on the clean ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openjft.loaders.errors import LoaderError
from openjft.loaders.evaluation.clean import BeforeAfter, before_after_many
from openjft.loaders.evaluation.ranking import Times

_Z: Final = 1.959963984540054  # of 95 %, two-sided
TOPS: Final = (1, 5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proportion:
    """A share of `total` images, with its 95 % interval."""

    value: float
    low: float
    high: float
    correct: int
    total: int

    def text(self) -> str:
        """For people."""
        return f"{self.value:.2%} (95 %: {self.low:.2%} to {self.high:.2%}; {self.correct:,} of {self.total:,})"


def wilson(correct: int, total: int) -> Proportion:
    """Wilson's score interval (Wilson 1927), which stays in [0, 1] and holds for few images as well."""
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"expected 0 <= correct <= total and images, found {correct} of {total}")
    share, z = correct / total, _Z * _Z / total
    middle = (share + z / 2) / (1 + z)
    half = _Z * math.sqrt(share * (1 - share) / total + z / (4 * total)) / (1 + z)
    low = 0.0 if correct == 0 else middle - half
    high = 1.0 if correct == total else middle + half
    return Proportion(value=share, low=low, high=high, correct=correct, total=total)


def true_ranks(scores: Tensor, labels: Tensor) -> npt.NDArray[np.int64]:
    """How many classes stand before each image's own, (n,); of equal scores the smaller class stands first.

    Args:
        scores: (n, c).
        labels: (n,) int64.

    Raises:
        LoaderError: a score is NaN.
    """
    if bool(torch.isnan(scores).any()):
        raise LoaderError("expected scores, found NaN: the training diverged, or the weights are damaged; lower lr")
    own = scores.gather(1, labels[:, None])
    before = (scores == own) & (torch.arange(scores.shape[1], device=scores.device) < labels[:, None])
    ranks: npt.NDArray[np.int64] = ((scores > own) | before).sum(1).cpu().numpy()
    return ranks


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleanAccuracy:
    """Top-1 and top-5 on the images of one list against all that were scored."""

    clean_list: str
    num_images: int
    num_clean: int
    num_removed: int
    unknown_ids: int
    top1: BeforeAfter
    top5: BeforeAfter

    def named(self, k: int) -> list[tuple[str, BeforeAfter]]:
        """The values by name."""
        return [("top-1", self.top1), ("top-5", self.top5)]


def compare_clean(
    ranks: npt.NDArray[np.int64],
    clean: npt.NDArray[np.bool_],
    *,
    path: Path,
    unknown: int,
    seed: int,
    resamples: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> CleanAccuracy:
    """The values on the clean images beside those on all.

    Args:
        ranks: (n,) of `true_ranks`.
        clean: (n,) which are listed.
        path: of the list.
        unknown: ids of the list that name no image.
        seed: of the resamples.
        resamples: bootstrap resamples, and random removals.
        on_progress: called with resamples done and in all.

    Raises:
        LoaderError: none of the images is listed.
    """
    if not clean.any():
        raise LoaderError(f"{path}: expected images among the {len(clean):,} that were scored, found none in the list")
    hits = np.stack([ranks < top for top in TOPS]).astype(np.float64)

    def values(times: Times) -> Sequence[float]:
        total = times.sum()
        return (hits @ times / total).tolist() if total else [math.nan] * len(TOPS)

    top1, top5 = before_after_many(values, len(clean), clean, seed=seed, resamples=resamples, on_progress=on_progress)
    return CleanAccuracy(
        clean_list=str(path),
        num_images=len(clean),
        num_clean=int(clean.sum()),
        num_removed=int((~clean).sum()),
        unknown_ids=unknown,
        top1=top1,
        top5=top5,
    )
