"""Answers of many judges of unequal skill, fused: what is true of each item, and how each judge errs.

In: (item, worker, answer) triples. Out: `Fused`, a probability of every class for every item and each worker's
confusion matrix. Answers may be more than classes ("unsure"): the first `num_classes` answers name the classes.

Two models are fitted (`crowd_em`): Dawid and Skene's (1979) with each worker drawn to all workers, and the same with
items of two levels, hard ones on which everybody errs more. The probability is the mean of the two. Which one is right
cannot be told from the answers: where several people err on the same items, the first takes the shared error for a
class of its own (ZenCrowd: 82 % right, a majority vote 86 %, the second 92 %), and elsewhere the second explains away
what the first has rightly learned (ImageNet ReaL: 91 % right, the first 93 %); the evidence speaks for the second in
both. Where they contradict each other the mean is near one half, so a caller who asks for 0.9 gets what both say.

Fall-backs:
- No item has answers of two workers, as with one worker only, and nothing else is known of the items: errors cannot be
  seen, the probabilities are the votes, and `Fused.identified` is false. With two workers only, who was right where
  they differ rests on their shares of each answer; three are the least that can outvote one.
- An item with one answer: judged by what is known of the worker; an answer that names no class leaves the classes'
  shares. A worker with one answer: taken to be like the others.
- Every answer the same: that class everywhere.

A worker who answers an item twice counts twice. The result is the same to the last bit for any order of the answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .crowd_em import Levels, Population, expected_counts, fit, start_population

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_MODELS: Final[tuple[Levels, Levels]] = ("one", "halfway")
_HARD: Final = 1  # level of an item
_LEAST_PRIOR: Final = 1e-6  # no prior is certain


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
            if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
                raise ValueError(f"{name}: expected one column of whole numbers, found {values.dtype} {values.shape}")
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
            (answers, items, workers): the names of items and workers in their order, that of their characters.

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

    def sorted(self) -> Answers:
        """By item, worker and answer: floating-point sums then do not depend on the order in which answers came."""
        order = np.lexsort((self.answer, self.worker, self.item))
        return dataclasses.replace(self, item=self.item[order], worker=self.worker[order], answer=self.answer[order])

    def shared_items(self) -> int:
        """Items that two workers or more answered."""
        pairs = np.unique(self.item * self.num_workers + self.worker)
        return int((np.bincount(pairs // self.num_workers, minlength=self.num_items) > 1).sum())


@dataclasses.dataclass(frozen=True)
class Fused:
    """What follows from the answers.

    Attributes:
        posterior: (items, classes) probability of each class.
        hard: (items,) probability that the item is hard, by the second model.
        confusion: (workers, classes, answers) share of each answer where the class is true, drawn to all workers.
        class_share: (classes,) mean of the probabilities.
        identified: false where nothing could be learned of errors, and the posterior is the votes.
        iterations: of EM, the most of the two fits.
        converged: whether both fits came to rest.
    """

    posterior: Floats
    hard: Floats
    confusion: Floats
    class_share: Floats
    identified: bool
    iterations: int
    converged: bool

    def error_rate(self, answers: Answers) -> Floats:
        """(workers,) share of each worker's answers that are probably wrong; see `error_rates`, which finds more."""
        return _share_wrong(answers, self.posterior)


def votes(answers: Answers, num_classes: int) -> Floats:
    """(items, classes) share of the votes of each class; equal where no answer names one. Ties stay ties."""
    names = answers.answer < num_classes
    place = answers.item[names] * num_classes + answers.answer[names]
    counts = np.bincount(place, minlength=answers.num_items * num_classes).reshape(-1, num_classes).astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares: Floats = np.where(total > 0, counts / np.maximum(total, 1), 1.0 / num_classes)
    return shares


def fuse_answers(
    answers: Answers, *, num_classes: int, prior: Floats | None = None, max_iterations: int = 500
) -> Fused:
    """Fits both models.

    Args:
        answers: at least one.
        num_classes: at most `answers.num_answers`; the first answers name them.
        prior: (items, classes) probability of each class by something else than the answers, as a network's; None
            where nothing is known: then the classes' shares are estimated.
        max_iterations: EM stops here if it has not come to rest.

    Raises:
        ValueError: there are no answers, fewer than two classes, or the prior is none.
    """
    _check(answers, num_classes, prior)
    answers = answers.sorted()
    shares = votes(answers, num_classes)
    if prior is not None:
        prior = np.maximum(prior, _LEAST_PRIOR)
        prior /= prior.sum(axis=1, keepdims=True)
        shares = (shares + prior) / 2
    elif not answers.shared_items():
        confusion = _confusion(answers, shares, start_population(answers, shares, "one"))
        return Fused(shares, np.zeros(len(shares)), confusion, shares.mean(axis=0), False, 0, True)
    plain, levelled = (fit(answers, shares, levels, prior=prior, max_iterations=max_iterations) for levels in _MODELS)
    posterior = (plain.posterior + levelled.posterior) / 2
    return Fused(
        posterior,
        levelled.states[:, :, _HARD].sum(axis=1),
        _confusion(answers, posterior, plain.population),
        posterior.mean(axis=0),
        True,
        max(len(plain.bounds), len(levelled.bounds)),
        plain.converged and levelled.converged,
    )


def error_rates(answers: Answers, *, num_classes: int, max_iterations: int = 500) -> Floats:
    """(workers,) share of each worker's answers that are wrong, for thousands of items that have several answers each.

    The rows of hard items are free here ("free" in `crowd_em`), since `Fused.error_rate` is biased low: errors on one
    item are not independent. What the answers do say: if the workers are exchangeable and independent given the item
    (not given its class), with p_i(a) the item's rates, then three of them agree in A = mean of sum_a p_i(a)^3, and the
    share of right answers is at most mean of max_a p_i(a), which is at most A^(1/3). So 1 - A^(1/3) bounds the error
    from below, whatever the dependence. From above nothing does: an item on which all err alike looks like one on which
    all are right, and no model can tell.

    Args, Raises: as for `fuse_answers`. An answer that names no class is wrong.
    """
    _check(answers, num_classes, None)
    ordered = answers.sorted()
    found = fit(ordered, votes(ordered, num_classes), "free", max_iterations=max_iterations)
    return _share_wrong(answers, found.posterior)


def _check(answers: Answers, num_classes: int, prior: Floats | None) -> None:
    if not len(answers.item):
        raise ValueError("expected answers to fuse, found none")
    if not 2 <= num_classes <= answers.num_answers:
        raise ValueError(f"num_classes: expected 2 to {answers.num_answers} (the answers), found {num_classes}")
    shape = (answers.num_items, num_classes)
    if prior is not None and (prior.shape != shape or not np.isfinite(prior).all() or prior.min() < 0):
        raise ValueError(f"prior: expected probabilities of shape {shape}, found shape {prior.shape} or none of these")


def _confusion(answers: Answers, posterior: Floats, population: Population) -> Floats:
    """(workers, classes, answers) mean rates given the items' classes."""
    strength = population.concentration
    counts = expected_counts(answers, posterior[:, :, None])[..., 0]
    rates: Floats = (counts + strength * population.rows[..., 0]) / (counts.sum(axis=2, keepdims=True) + strength)
    return rates


def _share_wrong(answers: Answers, posterior: Floats) -> Floats:
    classes = posterior.shape[1]
    right = np.where(answers.answer < classes, posterior[answers.item, np.minimum(answers.answer, classes - 1)], 0.0)
    total = np.bincount(answers.worker, minlength=answers.num_workers)
    return 1.0 - np.bincount(answers.worker, right, answers.num_workers) / np.maximum(total, 1)
