"""Answers of many judges of unequal skill, fused: what is true of each item, and how each judge errs.

In: (item, worker, answer) triples. Out: `Fused`, a probability of every class for every item and each worker's
confusion matrix. The model is Dawid and Skene's (1979) with two things added, without which it falls below a majority
vote where workers answered little:

- A worker's confusion matrix is drawn to that of all workers: Dirichlet priors with a common mean and a strength that
  is learned from how much workers differ (Minka 2000). Who answered three times is taken to be like the others.
- An item is easy or hard. On a hard one everybody errs more, by `HARDNESS` of the way to guessing: errors of
  different people on one item are not independent, and a plain model takes a shared error for a truth. (Whitehill et
  al. 2009 have a number for each item; two kinds are enough, and keep the tables small.)

Generalised EM on the posterior means, from the majority vote, items start as easy as their votes agree;
deterministic, and the same for any order of the answers. Answers may be more than classes ("unsure"): the first
`num_classes` answers name the classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import digamma

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

HARDNESS: Final = 0.7
EASY, HARD = 0, 1
_START_STRENGTH: Final = 10.0
_STRENGTH: Final = (0.05, 1e4)
_TOLERANCE: Final = 1e-5
_SMOOTHING: Final = 1.0


@dataclasses.dataclass(frozen=True)
class Answers:
    """n answers as numbers.

    Attributes:
        item, worker, answer: (n,) int64, dense from 0.
        num_items, num_workers, num_answers: how many there are; every item has an answer.
    """

    item: Int64s
    worker: Int64s
    answer: Int64s
    num_items: int
    num_workers: int
    num_answers: int

    def __post_init__(self) -> None:
        for name, values, size in (
            ("item", self.item, self.num_items),
            ("worker", self.worker, self.num_workers),
            ("answer", self.answer, self.num_answers),
        ):
            if len(values) != len(self.item) or (len(values) and not 0 <= values.min() <= values.max() < size):
                raise ValueError(f"{name}: expected {len(self.item)} numbers in [0, {size}), found others")
        if len(np.unique(self.item)) != self.num_items:
            raise ValueError(f"item: expected an answer to each of {self.num_items:,} items, found some without")

    @classmethod
    def of(
        cls, item: Sequence[str], worker: Sequence[str], answer: Sequence[str], answers: Sequence[str]
    ) -> tuple[Answers, list[str], list[str]]:
        """From texts.

        Args:
            item: (n,) what was judged.
            worker: (n,) by whom.
            answer: (n,) what was said, each among `answers`.
            answers: all possible answers; those that name classes first.

        Returns:
            (answers, items, workers): the names of items and workers in their order.

        Raises:
            ValueError: an answer is not among the possible ones.
        """
        found = pa.array(answer, pa.string())
        place = found.dictionary_encode()
        unknown = sorted(set(place.dictionary.to_pylist()) - set(answers))
        if unknown:
            raise ValueError(f"answer: expected one of {', '.join(answers)}, found {unknown[0]!r}")
        items, item_of = np.unique(np.asarray(item, object).astype(str), return_inverse=True)
        workers, worker_of = np.unique(np.asarray(worker, object).astype(str), return_inverse=True)
        number = {name: i for i, name in enumerate(answers)}
        said = np.array([number[text] for text in place.dictionary.to_pylist()], np.int64)
        answer_of = said[place.indices.to_numpy()] if len(found) else np.empty(0, np.int64)
        made = cls(item_of, worker_of, answer_of, len(items), len(workers), len(answers))
        return made, items.tolist(), workers.tolist()


@dataclasses.dataclass(frozen=True)
class Fused:
    """What follows from the answers.

    Attributes:
        posterior: (items, classes) probability of each class.
        hard: (items,) probability that the item is hard.
        confusion: (workers, classes, answers) share of each answer where the class is true, on easy items.
        class_share: (classes,).
        iterations: of EM.
        converged: whether the last step moved no probability by more than 1e-5.
    """

    posterior: Floats
    hard: Floats
    confusion: Floats
    class_share: Floats
    iterations: int
    converged: bool

    def error_rate(self, answers: Answers) -> Floats:
        """(workers,) share of each worker's answers that are probably wrong; answers that name no class are wrong."""
        classes = self.posterior.shape[1]
        right = np.where(
            answers.answer < classes,
            self.posterior[answers.item, np.minimum(answers.answer, classes - 1)],
            0.0,
        )
        total = np.bincount(answers.worker, minlength=answers.num_workers)
        return 1.0 - np.bincount(answers.worker, right, answers.num_workers) / np.maximum(total, 1)


def votes(answers: Answers, num_classes: int) -> Floats:
    """(items, classes) share of the votes of each class; equal where no answer names one."""
    names = answers.answer < num_classes
    place = answers.item[names] * num_classes + answers.answer[names]
    counts = np.bincount(place, minlength=answers.num_items * num_classes).reshape(-1, num_classes).astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares: Floats = np.where(total > 0, counts / np.maximum(total, 1), 1.0 / num_classes)
    return shares


def fuse_answers(answers: Answers, *, num_classes: int, max_iterations: int = 500) -> Fused:
    """Fits the model.

    Args:
        answers: at least one.
        num_classes: at most `answers.num_answers`; the first answers name them.
        max_iterations: EM stops here if it has not come to rest.

    Raises:
        ValueError: there are no answers, or fewer than two classes.
    """
    if not len(answers.item):
        raise ValueError("expected answers to fuse, found none")
    if not 2 <= num_classes <= answers.num_answers:
        raise ValueError(f"num_classes: expected 2 to {answers.num_answers} (the answers), found {num_classes}")
    share = votes(answers, num_classes)
    easy = _agreement(answers, num_classes)[:, None]
    kinds = np.stack([share * easy, share * (1 - easy)], axis=2)  # (items, classes, easy or hard)
    counts = _counts(answers, kinds)
    mean = _normalised(counts[..., EASY].sum(axis=0) + 0.1)
    strength = np.full(2, _START_STRENGTH)
    converged, iteration = False, 0
    while iteration < max_iterations and not converged:
        iteration += 1
        counts = _counts(answers, kinds)
        for _ in range(5 if iteration == 1 else 2):
            mean, strength = _hyper(counts, mean, strength)
        log_rates = _log_rates(counts, mean, strength)
        new = _responsibilities(answers, kinds, log_rates)
        converged = bool(np.abs(new - kinds).max() < _TOLERANCE)
        kinds = new
    confusion = _posterior_mean(counts[..., EASY], mean, strength[EASY])
    class_share = kinds.sum(axis=(0, 2)) / answers.num_items
    return Fused(kinds.sum(axis=2), kinds[..., HARD].sum(axis=1), confusion, class_share, iteration, converged)


def _counts(answers: Answers, kinds: Floats) -> Floats:
    """(workers, classes, answers, 2) expected number of each answer by class and kind of the item."""
    classes = kinds.shape[1]
    cell = answers.worker * answers.num_answers + answers.answer
    flat = kinds.reshape(len(kinds), -1)[answers.item]
    size = answers.num_workers * answers.num_answers
    summed = np.stack([np.bincount(cell, column, size) for column in flat.T], axis=1)
    table = summed.astype(np.float64).reshape(answers.num_workers, answers.num_answers, classes, 2)
    return np.moveaxis(table, 1, 2)


def _agreement(answers: Answers, num_classes: int) -> Floats:
    """(items,) share of the pairs of votes on an item that agree, drawn to that of all items as if by one pair more."""
    names = answers.answer < num_classes
    place = answers.item[names] * num_classes + answers.answer[names]
    counts = np.bincount(place, minlength=answers.num_items * num_classes).reshape(-1, num_classes).astype(np.float64)
    total = counts.sum(axis=1)
    same, pairs = (counts * (counts - 1)).sum(axis=1), total * (total - 1)
    mean = same.sum() / pairs.sum() if pairs.any() else 0.5
    rate: Floats = (same + mean) / (pairs + 1)
    return rate


def _normalised(table: Floats) -> Floats:
    total: Floats = table / table.sum(axis=-1, keepdims=True)
    return total


def _hard_mean(mean: Floats) -> Floats:
    hard: Floats = (1 - HARDNESS) * mean + HARDNESS / mean.shape[1]
    return hard


def _hyper(counts: Floats, mean: Floats, strength: Floats) -> tuple[Floats, Floats]:
    """A step of Minka's (2000) fixed point: the common mean from the easy items, a strength for each kind."""
    alpha = strength[EASY] * mean
    tables = alpha * (digamma(counts[..., EASY] + alpha) - digamma(alpha)).sum(axis=0)
    mean = _normalised(tables + _SMOOTHING / mean.shape[1])
    found = np.empty(2)
    for kind, centre in ((EASY, mean), (HARD, _hard_mean(mean))):
        n, s = counts[..., kind], strength[kind]
        above = (centre * (digamma(n + s * centre) - digamma(s * centre)).sum(axis=0)).sum()
        below = (digamma(n.sum(axis=2) + s) - digamma(s)).sum()
        found[kind] = np.clip(s * (above + 1e-9) / (below + 1e-9), *_STRENGTH)
    return mean, found


def _posterior_mean(counts: Floats, mean: Floats, strength: float) -> Floats:
    """(workers, classes, answers) rates, drawn to the common mean."""
    rates: Floats = (counts + strength * mean) / (counts.sum(axis=2, keepdims=True) + strength)
    return rates


def _log_rates(counts: Floats, mean: Floats, strength: Floats) -> Floats:
    """(workers, answers, classes, 2) log rates of the answers."""
    rates = [
        _posterior_mean(counts[..., kind], centre, strength[kind])
        for kind, centre in ((EASY, mean), (HARD, _hard_mean(mean)))
    ]
    logs: Floats = np.log(np.moveaxis(np.stack(rates, axis=3), 1, 2))
    return logs


def _responsibilities(answers: Answers, kinds: Floats, log_rates: Floats) -> Floats:
    """(items, classes, 2) the E-step; class and kind of an item are independent before its answers."""
    classes = kinds.shape[1]
    total = kinds.sum(axis=0) + 1
    share = total / total.sum()
    prior = np.log(share.sum(axis=1)[:, None] * share.sum(axis=0)[None])
    flat = log_rates[answers.worker, answers.answer].reshape(len(answers.item), -1)
    joint = np.stack([np.bincount(answers.item, column, answers.num_items) for column in flat.T], axis=1)
    joint = joint + prior.ravel()
    joint = np.exp(joint - joint.max(axis=1, keepdims=True))
    found: Floats = (joint / joint.sum(axis=1, keepdims=True)).reshape(-1, classes, 2)
    return found
