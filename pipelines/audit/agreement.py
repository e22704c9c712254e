"""Answers of one or more judges to the same labels: how far they agree, and what counts as right.

In: yes, no and unsure by judge. Out: the truth that the certificate is made with, and measures of agreement. A label
is right where every judge who answered says yes: 'unsure' counts as not right, and so does a label that nobody
answered. All of it can only lower what is certified.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

ANSWERS: Final = ("yes", "no", "unsure")


@dataclasses.dataclass(frozen=True)
class Judged:
    """Answers to n labels, in the order of the sample.

    Attributes:
        correct: (n,) bool, all who answered say yes, and somebody did.
        answered: (n,) bool, somebody answered.
        unsure: (n,) bool, somebody was unsure.
    """

    correct: npt.NDArray[np.bool_]
    answered: npt.NDArray[np.bool_]
    unsure: npt.NDArray[np.bool_]


def judge(ids: Sequence[str], answers: Sequence[Mapping[str, str]]) -> Judged:
    """What counts of some judges' answers.

    Args:
        ids: of the sample's labels.
        answers: of each judge, answer by id; ids of no label of the sample are not looked at.
    """
    given = [[each[id_] for each in answers if id_ in each] for id_ in ids]
    return Judged(
        np.array([bool(some) and all(answer == "yes" for answer in some) for some in given], bool),
        np.array([bool(some) for some in given], bool),
        np.array(["unsure" in some for some in given], bool),
    )


def agreement(answers: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """How far judges agree on the labels that two of them answered; the mean over pairs of judges. None for one judge.

    Cohen's kappa (1960) is agreement above chance: 1 for full, 0 for chance; None where all answers are the same, since
    chance alone would then agree.
    """
    pairs = []
    for a, b in itertools.combinations(answers, 2):
        both = sorted(a.keys() & b.keys())
        if both:
            table = np.zeros((len(ANSWERS), len(ANSWERS)), np.int64)
            for id_ in both:
                table[ANSWERS.index(a[id_]), ANSWERS.index(b[id_])] += 1
            pairs.append(table)
    if not pairs:
        return None
    kappas = [value for table in pairs if (value := cohen_kappa(table)) is not None]
    return {
        "pairs": len(pairs),
        "both": int(sum(table.sum() for table in pairs)),
        "raw": float(np.mean([np.trace(table) / table.sum() for table in pairs])),
        "kappa": float(np.mean(kappas)) if kappas else None,
        "answers": list(ANSWERS),
        "table": pairs[0].tolist() if len(pairs) == 1 else None,
    }


def cohen_kappa(table: npt.NDArray[np.int64]) -> float | None:
    """Cohen's kappa of a square table of counts; None where chance alone agrees always."""
    share = table / table.sum()
    chance = float(share.sum(axis=0) @ share.sum(axis=1))
    return None if chance >= 1 - 1e-12 else (float(np.trace(share)) - chance) / (1 - chance)
