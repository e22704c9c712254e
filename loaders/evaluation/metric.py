"""Class-weighted mean average precision over each image's k best classes (Chollet 2017, section 4.1).

T_i is the set of the k best classes of image i. AP_c ranks the images i with c in T_i by falling score (ties by
image key) and divides by *all* positives of c, so a positive outside its image's T_i is a miss. The mean over the
classes with positives is weighted by w_c = (f_c + alpha)^gamma. The paper's own weights are not public, so every
result carries the weights' hash and the unweighted value beside the weighted one.

Where a set's judgements are incomplete, an image is left out of the ranking of each class that is not judged for it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openjft.taxonomy import Csr

from .ranking import Ranking


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MeanAveragePrecision:
    """The value and what it was made of.

    `average_precision` is (c,) float64, NaN for classes without positives; `num_positives` (c,) int64;
    `class_weights` (c,) float64, and `weights_sha256` of their little-endian bytes.
    """

    weighted: float
    unweighted: float
    k: int
    num_images: int
    average_precision: npt.NDArray[np.float64]
    num_positives: npt.NDArray[np.int64]
    class_weights: npt.NDArray[np.float64]
    weights_sha256: str


def frequency_weights(
    class_counts: npt.NDArray[np.int64], num_images: int, *, alpha: float, gamma: float
) -> npt.NDArray[np.float64]:
    """(c,) weights (f_c + alpha)^gamma, f_c = the share of the images with class c; 0 in place of 0^negative."""
    base = class_counts.astype(np.float64) / max(num_images, 1) + alpha
    weights = np.zeros_like(base)
    np.power(base, gamma, out=weights, where=(base > 0) | (gamma >= 0))
    return weights


def mean_precision(
    average_precision: npt.NDArray[np.float64],
    num_positives: npt.NDArray[np.int64],
    class_weights: npt.NDArray[np.float64],
) -> tuple[float, float]:
    """Weighted and unweighted mean over the classes with positives; NaN where there are none, or all weigh 0."""
    present = num_positives > 0
    if not present.any():
        return float("nan"), float("nan")
    precision, weights = average_precision[present], class_weights[present]
    weighted = float(np.average(precision, weights=weights)) if (weights > 0).any() else float("nan")
    return weighted, float(np.mean(precision))


def weights_sha256(class_weights: npt.NDArray[np.float64]) -> str:
    """Hash that names a set of class weights."""
    return hashlib.sha256(np.ascontiguousarray(class_weights, "<f8").tobytes()).hexdigest()


def top_k_classes(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each image's k best classes, on the scores' device; of equal scores the smaller class id is taken.

    `torch.topk` leaves open which of equal scores it takes, and bfloat16 scores are often equal.

    Args:
        scores: (n, c) floating.
        k: at least 1; more than c counts as c.

    Returns:
        Classes (n, min(k, c)) int64 in rising order, and their scores.
    """
    n, num_classes = scores.shape
    k = min(k, num_classes)
    least = scores.topk(k, dim=1).values[:, -1:]
    above = scores > least
    equal = scores == least
    room = k - above.sum(1, keepdim=True)
    taken = above | (equal & (equal.cumsum(1) <= room))
    classes = taken.nonzero()[:, 1].view(n, k)
    return classes, scores.gather(1, classes)


class _Part(NamedTuple):
    """A batch's (n, k) best classes, their scores, whether the image has them, and whether that is known."""

    classes: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    positive: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.bool_]


class MapCollector:
    """Collects the scores of a stream of batches, keeping k classes an image (n * k * 10 bytes), then gives the value.

    Args:
        num_classes: c.
        k: classes of an image that count.
    """

    def __init__(self, num_classes: int, *, k: int = 100) -> None:
        if k < 1:
            raise ValueError(f"k: expected at least 1, found {k}")
        self.num_classes, self.k = num_classes, k
        self._num_images = 0
        self._num_positives = np.zeros(num_classes, np.int64)
        self._parts: list[_Part] = []
        self._keys: list[npt.NDArray[np.uint8] | None] = []
        self._labels: list[npt.NDArray[np.int64]] = []
        self._num_labels: list[npt.NDArray[np.int64]] = []
        self._ranking: Ranking | None = None

    def add(
        self,
        scores: Tensor,
        labels: Csr,
        keys: npt.NDArray[np.uint8] | None = None,
        judged: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Takes one batch.

        Args:
            scores: (n, c) floating, higher is more likely; any device.
            labels: the n images' true classes.
            keys: (n, 16) uint8 image keys, which order equal scores; None: the order of arrival does.
            judged: (n, c) which classes are known of which image. An image stands in no ranking of a class that is
                not judged for it, neither as right nor as wrong; it is among its k best classes all the same. None:
                all are.

        Raises:
            ValueError: shapes do not agree, a score is NaN, a label id is outside [0, c), or a label is not judged.
        """
        n = scores.shape[0]
        _check_batch(scores, labels, self.num_classes)
        _check_judged(judged, labels, scores.shape)
        classes, best = (t.cpu().numpy() for t in top_k_classes(scores, self.k))
        rows = np.repeat(np.arange(n), np.diff(labels.offsets))
        truth = np.sort(rows * self.num_classes + labels.values)
        codes = np.arange(n)[:, None] * self.num_classes + classes
        if len(truth):
            place = np.minimum(np.searchsorted(truth, codes), len(truth) - 1)
            positive = truth[place] == codes
        else:
            positive = np.zeros(codes.shape, np.bool_)
        counts = np.ones(codes.shape, np.bool_) if judged is None else np.take_along_axis(judged, classes, axis=1)
        self._parts.append(_Part(classes.astype(np.int32), best.astype(np.float32), positive, counts))
        self._keys.append(keys)
        self._ranking = None
        self._labels.append(labels.values.astype(np.int64))
        self._num_labels.append(np.diff(labels.offsets))
        self._num_images += n
        self._num_positives += np.bincount(labels.values, minlength=self.num_classes)

    def compute(self, class_weights: npt.NDArray[np.float64] | None = None) -> MeanAveragePrecision:
        """The value over all batches so far.

        Args:
            class_weights: (c,) float64, not negative; None weighs all classes alike.

        Raises:
            ValueError: a weight is negative or not finite, no class has positives, or all weights of classes with
                positives are 0.
        """
        weights = np.ones(self.num_classes) if class_weights is None else np.asarray(class_weights, np.float64)
        present = self._num_positives > 0
        _check_weights(weights, present)
        precision, _ = self.ranking().precision()
        weighted, unweighted = mean_precision(precision, self._num_positives, weights)
        return MeanAveragePrecision(
            weighted=weighted,
            unweighted=unweighted,
            k=self.k,
            num_images=self._num_images,
            average_precision=precision,
            num_positives=self._num_positives.copy(),
            class_weights=weights,
            weights_sha256=weights_sha256(weights),
        )

    def ranking(self) -> Ranking:
        """All images so far, ranked for each class, for values over some of them.

        Raises:
            ValueError: there is no image.
        """
        if self._ranking is not None:
            return self._ranking
        if not self._parts:
            raise ValueError("expected at least one image, found none")
        classes, scores, positive, counts = (np.concatenate([p[j] for p in self._parts]) for j in range(4))
        images = np.repeat(np.arange(self._num_images), np.concatenate(self._num_labels))
        labels = (images, np.concatenate(self._labels))
        self._ranking = Ranking.build(
            classes, scores, positive, self._key_ranks(), labels, self.num_classes, counts=counts
        )
        return self._ranking

    def keys(self) -> npt.NDArray[np.uint8]:
        """(n, 16) keys of all images so far, in the order of arrival; each batch must have come with its own."""
        return np.concatenate([key for key in self._keys if key is not None])

    def _key_ranks(self) -> npt.NDArray[np.int64]:
        """(n,) place of each image among the sorted keys."""
        if any(key is None for key in self._keys):
            return np.arange(self._num_images)
        keys = self.keys()
        ranks = np.empty(len(keys), np.int64)
        ranks[np.lexsort(keys.T[::-1])] = np.arange(len(keys))
        return ranks


def _check_batch(scores: Tensor, labels: Csr, num_classes: int) -> None:
    if scores.ndim != 2 or scores.shape[1] != num_classes:
        raise ValueError(f"scores: expected shape (n, {num_classes}), found {tuple(scores.shape)}")
    if len(labels.offsets) != scores.shape[0] + 1:
        raise ValueError(f"labels: expected {scores.shape[0]} + 1 offsets, found {len(labels.offsets)}")
    if bool(torch.isnan(scores).any()):
        raise ValueError("scores: expected numbers, found NaN; the network's weights are damaged")
    if len(labels.values) and (labels.values.min() < 0 or labels.values.max() >= num_classes):
        raise ValueError(
            f"labels: expected ids in [0, {num_classes}), found {labels.values.min()} to {labels.values.max()}"
        )


def _check_judged(judged: npt.NDArray[np.bool_] | None, labels: Csr, shape: tuple[int, ...]) -> None:
    if judged is None:
        return
    if judged.shape != tuple(shape) or judged.dtype != np.bool_:
        raise ValueError(f"judged: expected {tuple(shape)} bool, found {judged.shape} {judged.dtype}")
    rows = np.repeat(np.arange(len(judged)), np.diff(labels.offsets))
    wrong = int((~judged[rows, labels.values]).sum())
    if wrong:
        raise ValueError(f"judged: expected every label to be judged, found {wrong:,} that are not")


def _check_weights(weights: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]) -> None:
    if weights.shape != present.shape:
        raise ValueError(f"class_weights: expected shape {present.shape}, found {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("class_weights: expected finite numbers that are not negative")
    if not present.any():
        raise ValueError("labels: expected at least one label, found none; there is no precision to average")
    if not (weights[present] > 0).any():
        raise ValueError("class_weights: expected a weight above 0 among the classes with positives, found none")


def mean_average_precision_at_k(
    scores: npt.NDArray[np.float32],
    labels: Csr,
    *,
    k: int = 100,
    class_weights: npt.NDArray[np.float64] | None = None,
    keys: npt.NDArray[np.uint8] | None = None,
    judged: npt.NDArray[np.bool_] | None = None,
) -> float:
    """Class-weighted mAP over each image's k best classes (Chollet 2017, section 4.1).

    Args:
        scores: (n, c) float32, higher is more likely.
        labels: CSR of the n images' true class ids.
        k: classes of an image that count; positives outside them are misses.
        class_weights: (c,) float64, not negative; None weighs all classes alike.
        keys: (n, 16) uint8 image keys, which order equal scores; None: the order of the rows does.
        judged: (n, c) which classes are known of which image, as `MapCollector.add` has it; None: all are.

    Returns:
        A value in [0, 1].

    Raises:
        ValueError: a label id is outside [0, c), or all weights of classes present are 0.
    """
    collector = MapCollector(scores.shape[1], k=k)
    collector.add(torch.from_numpy(np.require(scores, requirements=["C", "W"])), labels, keys, judged)
    return collector.compute(class_weights).weighted
