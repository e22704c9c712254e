"""Ways to tell right labels from wrong ones, from counting votes to ours: the rows of METHODS.md, section 1.

In: a `Problem`, the evidence of a synthetic web, its states and gold, and what the filter makes of them. Out, by each
of `METHODS`: a number for every candidate, higher is likelier right; a probability where the method claims one.
`bench_precision.py` measures them.

Only `ceiling` looks at truth beyond the gold; it is no method but what any could reach on this evidence, about.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from precision_fit import Scored, score_web
from scipy.optimize import minimize
from synthetic_web import SOURCES, SyntheticWeb

from openjft.pipelines.precision.bins import FIRST_FIRED, NO_OPPORTUNITY
from openjft.pipelines.precision.em import starting_probability
from openjft.pipelines.precision.lr1 import one_hot
from openjft.pipelines.precision.model import AdditiveModel, logit, sigmoid
from openjft.pipelines.precision.patterns import PatternTable, count_patterns

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TARGET: Final = 0.80
RELIABILITY: Final = 0.5  # of one page or domain, in the noisy-or that is not fitted
MAX_RELIABILITY: Final = 0.999
MAX_STRENGTH: Final = 20.0  # of -log(1 - reliability)
DAWID_SKENE_ROUNDS: Final = 200
ENCODING_FOLDS: Final = 5
SHRINKAGE: Final = 20.0  # rows that the siblings of a class count for, in the encoding of the ceiling
SPLIT_SEED: Final = 17
_PARTS: Final = {
    "links": ("rows", "domains", "support", "statements"),
    "clicks": ("clicks", "impressions", "exposure"),
    "score": ("score",),
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a method may look at.

    Attributes:
        table: n candidates in the columns of `evidence_schema`.
        fit: states, gold rows, and log-odds by the filter's own models.
        truth: (n,) bool; beyond the gold it is for the ceiling alone.
    """

    table: pa.Table
    fit: Scored
    truth: Bools

    @classmethod
    def from_web(cls, web: SyntheticWeb, *, gold: int, seed: int) -> Problem:
        """That of a synthetic web, with a uniform sample of so many candidates as gold."""
        return cls(web.evidence(), score_web(web, gold=gold, seed=seed), web.correct)

    @property
    def gold_correct(self) -> Bools:
        """(m,) truth of the gold."""
        return self.truth[self.fit.gold]

    @property
    def num_states(self) -> list[int]:
        """Of each source."""
        return [source.num_states for source in self.fit.bins]

    @property
    def first_states(self) -> npt.NDArray[np.int64]:
        """(sources,) where the states of each source begin, when they are laid side by side."""
        return np.cumsum([0, *self.num_states[:-1]])

    def column(self, source: str, part: str) -> Floats:
        """(n,) float64 of one column of a source; NaN for null."""
        found: Floats = self.table[f"{source}.{part}"].to_numpy().astype(np.float64)
        return found

    def looked(self, source: int) -> Bools:
        """(n,) whether the source had an opportunity."""
        found: Bools = (self.table["opportunity"].to_numpy() >> np.uint64(source) & np.uint64(1)).astype(bool)
        return found


# -- without gold ---------------------------------------------------------------------------------------------


def best_raw_score(problem: Problem) -> Floats:
    """The largest number that any source gives: pages, clicks, or the classifier's score."""
    best = np.full(problem.table.num_rows, -np.inf)
    for source in SOURCES:
        part = {"links": "rows", "clicks": "clicks", "score": "score"}[source.kind]
        best = np.fmax(best, problem.column(source.name, part))
    return best


def noisy_or(problem: Problem, *, count: str) -> Floats:
    """1 - product of (1 - r) over all votes: each page or domain with one r, click rate and score as they are.

    Args:
        problem: the evidence.
        count: column with the votes of linking sources, 'rows' for raw pages or 'domains'.
    """
    unsaid = np.zeros(problem.table.num_rows)  # log of the product
    for source in SOURCES:
        if source.kind == "links":
            unsaid += problem.column(source.name, count) * np.log1p(-RELIABILITY)
            continue
        if source.kind == "clicks":
            rate = problem.column(source.name, "clicks") / np.maximum(problem.column(source.name, "impressions"), 1)
        else:
            rate = sigmoid(np.nan_to_num(problem.column(source.name, "score"), nan=-np.inf))
        unsaid += np.log1p(-np.minimum(rate, MAX_RELIABILITY))
    return -np.expm1(unsaid)


def dawid_skene(problem: Problem) -> Floats:
    """Two classes (Dawid and Skene 1979), as usually written, on the states; no opportunity is no answer."""
    table, starts = PatternTable.from_table(count_patterns(problem.fit.states)), problem.first_states
    counts, answers = table.counts.astype(np.float64), one_hot(table.states, problem.num_states)
    right = starting_probability(table.states, problem.fit.bins)
    model = AdditiveModel(0.0, ())
    for _ in range(DAWID_SKENE_ROUNDS):
        tallies = np.stack([answers.T @ (counts * (1 - right)), answers.T @ (counts * right)]) + 1.0
        tallies[:, starts + NO_OPPORTUNITY] = 0
        totals = np.add.reduceat(tallies, starts, axis=1)
        rates = tallies / np.repeat(totals, problem.num_states, axis=1)
        rates[:, starts + NO_OPPORTUNITY] = 1
        share = counts @ right / counts.sum()
        model = AdditiveModel(float(logit(share)), tuple(np.split(np.log(rates[1] / rates[0]), starts[1:])))
        before, right = right, model.probabilities(table.states)
        if np.abs(right - before).max() < 1e-6:
            break
    return model.probabilities(problem.fit.states)


# -- with gold ------------------------------------------------------------------------------------------------


def best_calibrated_source(problem: Problem) -> Floats:
    """Isotonic regression of each source's strength on gold; of all sources the one that keeps most of the gold."""
    gold, correct = problem.fit.gold, problem.gold_correct
    candidates = [_calibrated(*pair, gold, correct) for pair in _strengths(problem)]
    return max(candidates, key=lambda scores: kept_share(scores[gold], correct, TARGET))


def _strengths(problem: Problem) -> Iterator[tuple[Floats, Bools]]:
    """(strength, looked) of each source: domains, clicks for the exposure, or score."""
    for i, source in enumerate(SOURCES):
        looked = problem.looked(i)
        if source.kind == "links":
            yield problem.column(source.name, "domains"), looked
        elif source.kind == "clicks":
            yield problem.column(source.name, "clicks") / (problem.column(source.name, "exposure") + 1), looked
        else:
            yield problem.column(source.name, "score"), looked


def _calibrated(strength: Floats, looked: Bools, gold: npt.NDArray[np.int64], correct: Bools) -> Floats:
    """(n,) probabilities; where the source did not look, the gold's rate among such rows."""
    from sklearn.isotonic import IsotonicRegression

    seen = looked[gold]
    scores = np.full(len(strength), correct[~seen].mean() if not seen.all() else correct.mean())
    if seen.any():
        regression = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        regression.fit(strength[gold][seen], correct[seen])
        scores[looked] = regression.predict(strength[looked])
    return scores


def fitted_noisy_or(problem: Problem) -> Floats:
    """1 - (1 - leak) * product of (1 - r) over the sources that fired, r of each source and level by likelihood.

    With 1 - r = exp(-x) it is the sum of the x that counts; x >= 0, since no vote speaks against a label.
    """
    states, correct = problem.fit.states[problem.fit.gold], problem.gold_correct
    fired = np.concatenate([np.arange(source.num_states) >= FIRST_FIRED for source in problem.fit.bins])
    for start, source in zip(problem.first_states, problem.fit.bins, strict=True):
        fired[start + np.array(source.silent_states)] = False
    features = np.column_stack([np.ones(len(correct)), one_hot(states, problem.num_states)[:, fired]])

    def loss(x: Floats) -> tuple[float, Floats]:
        strength = features @ x + 1e-9
        likelihood = np.where(correct, np.log(-np.expm1(-strength)), -strength)
        slope = np.where(correct, 1 / np.expm1(strength), -1.0)
        return -float(likelihood.sum()), -(features.T @ slope)

    start = np.full(features.shape[1], 0.2)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, MAX_STRENGTH)] * len(start)).x
    weights = np.zeros(len(fired))
    weights[fired] = found[1:]
    model = AdditiveModel(float(found[0]), tuple(np.split(weights, problem.first_states[1:])))
    return -np.expm1(-model.log_odds(problem.fit.states))


def of_the_filter(problem: Problem, *, model: str) -> Floats:
    """Probabilities by one of the filter's own models: 'em' (without gold), 'lr1', 'lr1_prior', 'lr2'."""
    return sigmoid(problem.fit.log_odds[model])


# -- with the truth -------------------------------------------------------------------------------------------


def ceiling(problem: Problem) -> Floats:
    """Boosted trees on a random half of the truth, with what each class is like; only the other half is judged."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    n = problem.table.num_rows
    rng = np.random.default_rng(SPLIT_SEED)
    half = rng.random(n) < 0.5
    columns = [*_row_features(problem), *_class_features(problem, half, rng)]
    features = np.column_stack([column.astype(np.float32) for column in columns])
    trees = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.12, min_samples_leaf=100, early_stopping=False, random_state=SPLIT_SEED
    )
    trees.fit(features[half], problem.truth[half])
    scores = np.full(n, np.nan)
    scores[~half] = trees.predict_proba(features[~half])[:, 1]
    return scores


def _row_features(problem: Problem) -> Iterator[Floats]:
    """Every column of the evidence that tells something of its own, NaN where the source did not look."""
    for i, source in enumerate(SOURCES):
        looked, known = problem.looked(i), []
        for part in _PARTS[source.kind]:
            values = problem.column(source.name, part)[looked]
            if len(np.unique(values)) < 2 or any(np.array_equal(values, other) for other in known):
                continue
            known.append(values)
            spread = np.full(len(looked), np.nan)
            spread[looked] = values
            yield spread


def _class_features(problem: Problem, half: Bools, rng: np.random.Generator) -> Iterator[Floats]:
    """What the rows of a class have in the mean, its size, and its share of right labels among the half's rows.

    The shares for rows of the half come from its other folds, so that no row sees its own truth.
    """
    label, classes = problem.fit.label, problem.fit.closure.num_categories
    rows = np.bincount(label, minlength=classes)
    yield rows[label].astype(np.float64)
    for values in _row_features(problem):
        told = ~np.isnan(values)
        seen = np.bincount(label[told], minlength=classes)
        total = np.bincount(label[told], values[told], classes)
        yield (total / np.maximum(seen, 1))[label]
    fold = np.where(half, rng.integers(ENCODING_FOLDS, size=len(half)), ENCODING_FOLDS)
    parents = problem.fit.closure.parents
    above = np.array([parents.of(c)[0] if len(parents.of(c)) else -1 for c in range(classes)])
    share = np.empty(len(label))
    for i in range(ENCODING_FOLDS + 1):
        others = half & (fold != i)
        share[fold == i] = _class_shares(label[others], problem.truth[others], above)[label[fold == i]]
    yield share


def _class_shares(label: npt.NDArray[np.int32], correct: Bools, parent: npt.NDArray[np.integer]) -> Floats:
    """(c,) share of right labels of each class, drawn to that of its siblings; `parent` is -1 for none."""
    rows = np.bincount(label, minlength=len(parent)).astype(np.float64)
    right = np.bincount(label, correct, len(parent))
    has = parent >= 0
    siblings, right_siblings = (np.bincount(parent[has], v[has], len(parent))[parent] * has for v in (rows, right))
    above = (right_siblings + SHRINKAGE * correct.mean()) / (siblings + SHRINKAGE)
    shares: Floats = (right + SHRINKAGE * above) / (rows + SHRINKAGE)
    return shares


# -- the measure, which one of them needs to choose by ---------------------------------------------------------


def kept_share(scores: Floats, correct: Bools, target: float) -> float:
    """Share of the rows in the largest prefix by falling score with a true precision of the target; ties together.

    Args:
        scores: (n,) without NaN.
        correct: (n,) bool.
        target: precision wanted.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(correct[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    good = ends[right[ends] >= target * (ends + 1) - 1e-9]
    return (int(good[-1]) + 1) / len(scores) if len(good) else 0.0


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to score candidates.

    Attributes:
        scores: gives (n,) float64; NaN for rows that are not to be judged.
        probability: whether they claim to be probabilities.
        in_methods: the shares kept that METHODS.md has, for its seeds 0 to 2 and without classifier; None: not told.
    """

    scores: Callable[[Problem], Floats]
    probability: bool = True
    in_methods: tuple[float | None, ...] = (None,) * 4


METHODS: Final = {
    "best raw score": Method(best_raw_score, probability=False, in_methods=(0.000, 0.000, 0.000, 0.000)),
    "noisy-or, raw pages": Method(functools.partial(noisy_or, count="rows"), in_methods=(0.004, 0.005, 0.005, 0.001)),
    "noisy-or, by domain": Method(
        functools.partial(noisy_or, count="domains"), in_methods=(0.086, 0.157, 0.173, 0.007)
    ),
    "best isotonic-calibrated source": Method(best_calibrated_source, in_methods=(None, 0.290, 0.306, 0.074)),
    "Dawid-Skene EM, binned, no gold": Method(dawid_skene, in_methods=(0.184, 0.254, 0.250, 0.004)),
    "OpenJFT without gold (EM, unseen pairs missing)": Method(functools.partial(of_the_filter, model="em")),
    "noisy-or fitted on gold": Method(fitted_noisy_or, in_methods=(0.287, 0.365, 0.381, 0.122)),
    "logistic regression on bins (LR1)": Method(
        functools.partial(of_the_filter, model="lr1"), in_methods=(0.312, 0.379, 0.393, 0.096)
    ),
    "LR1 + class prior": Method(
        functools.partial(of_the_filter, model="lr1_prior"), in_methods=(0.332, 0.391, 0.407, 0.154)
    ),
    "LR1 + class means + prior (LR2)": Method(
        functools.partial(of_the_filter, model="lr2"), in_methods=(0.378, 0.433, 0.458, 0.191)
    ),
    "ceiling (trees on half of the truth)": Method(ceiling, in_methods=(0.437, 0.487, 0.507, 0.323)),
}
LR1, LR2 = "logistic regression on bins (LR1)", "LR1 + class means + prior (LR2)"
