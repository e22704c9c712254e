"""How many pairs of different images reach a score: the tail of non-duplicate pairs, and what it says of a whole build.

Peaks over threshold (Pickands 1975; METHODS.md section 4), in the *angle* theta = arccos(score). Above a high level u,

    exponential:  expected false pairs(t) = N_q N_r zeta_u exp(-(theta_u - theta_t) / sigma)
    power:        expected false pairs(t) = N_q N_r zeta_u (theta_t / theta_u)^a

with zeta_u the share of all pairs above u. Both are generalised Pareto tails with a fixed shape: xi = 0, and the xi
whose end is at score 1, which is exact for vectors that are uniform on a sphere. A free shape lies between the two but
for noise, and its noise makes a hundredfold extrapolation miss by more than a factor 2 in half of the draws.
Weight-free descriptors follow the first form, networks the second (benchmarks/RESULTS.md). The interval spans both.

In: the best score of each sampled (query, reference) pair above some level. Out: a `Tail`, its interval by resampling
*queries*, since the pairs of one query are no independent draws. Pairs that are copies must be left out by the caller:
a tail that holds them says that copies are chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from .errors import DedupError

Float64 = npt.NDArray[np.float64]
TailForm = Literal["exponential", "power"]
# Pairs above u, where there are as many; at most a hundredth of all pairs, lest u lies where no tail is yet.
EXCEEDANCES: Final[Mapping[TailForm, int]] = {"exponential": 1000, "power": 500}
MAX_SHARE: Final = 0.01
MIN_EXCEEDANCES: Final = 50  # below, a fit says nothing
RESAMPLES: Final = 400
CONFIDENCE: Final = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
    """A fitted tail.

    Attributes:
        form: the descriptor's.
        level: u, a score.
        rate: zeta_u, the share of all sampled pairs above it.
        scale: sigma, in radians, of the exponential form.
        exponent: a, of the power form.
        exceedances: pairs above u that were fitted.
        queries: sampled.
        references: each query was compared with.
        resampled: (RESAMPLES, 3) float64: rate, scale and exponent of each resample of the queries.
    """

    form: TailForm
    level: float
    rate: float
    scale: float
    exponent: float
    exceedances: int
    queries: int
    references: int
    resampled: Float64

    def expected(self, score: npt.ArrayLike, pairs: float) -> Float64:
        """Expected number of false pairs at `score` or above among `pairs`; below u NaN, for there the fit is mute."""
        scores = np.asarray(score, np.float64)
        share = self._shares(scores, self.scale, self.exponent)[self.form]
        out: Float64 = np.where(scores >= self.level, pairs * self.rate * share, np.nan)
        return out

    def interval(
        self, score: npt.ArrayLike, pairs: float, *, confidence: float = CONFIDENCE
    ) -> tuple[Float64, Float64]:
        """(low, high) of the expected number: percentiles of the resamples, the wider end of the two forms."""
        scores = np.atleast_1d(np.asarray(score, np.float64))
        rate, scale, exponent = (column[:, None] for column in self.resampled.T)
        tails = [50 * (1 - confidence), 50 * (1 + confidence)]
        shares = self._shares(scores[None, :], scale, exponent).values()
        ends = [np.percentile(pairs * rate * share, tails, axis=0) for share in shares]
        return np.minimum(ends[0][0], ends[1][0]), np.maximum(ends[0][1], ends[1][1])

    def _shares(self, score: Float64, scale: Any, exponent: Any) -> dict[TailForm, Float64]:
        """Of the pairs above u, how many reach a score: by each form."""
        angle, level = _angle(score), float(_angle(self.level))
        return {"exponential": np.exp(-(level - angle) / scale), "power": (angle / level) ** exponent}

    def score_at(self, expected: float, pairs: float) -> float:
        """The least score at which no more than `expected` of `pairs` are expected; u at least, 1 at most."""
        wanted = expected / (pairs * self.rate) if pairs else np.inf
        if wanted >= 1:
            return self.level
        level = float(_angle(self.level))
        by_form = {"power": level * wanted ** (1 / self.exponent), "exponential": level + self.scale * np.log(wanted)}
        return float(np.cos(max(0.0, by_form[self.form])))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `from_json` and for reports."""
        return {**dataclasses.asdict(self), "resampled": self.resampled.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**{**value, "resampled": np.asarray(value["resampled"], np.float64)})


def fit_tail(
    scores: npt.ArrayLike,
    query: npt.ArrayLike,
    *,
    queries: int,
    references: int,
    form: TailForm,
    exceedances: int | None = None,
    seed: int = 0,
) -> Tail:
    """Fits the tail of the highest scores.

    Args:
        scores: (n,) of pairs that are no copies, all those above some level.
        query: (n,) int, which query each pair is of.
        queries: how many were sampled, those without a pair here counted.
        references: how many eval images each was compared with.
        form: of the tail.
        exceedances: how many of the pairs are fitted, the highest ones; None: as is best for the form.
        seed: of the resampling.

    Raises:
        DedupError: fewer than MIN_EXCEEDANCES scores, or all of them equal.
    """
    values, owner = np.asarray(scores, np.float64), np.asarray(query, np.int64)
    order = np.lexsort((owner, -values))
    values, owner = values[order], owner[order]
    # u is a score of the sample: the one after the last that is fitted.
    count = min(exceedances or EXCEEDANCES[form], len(values) - 1)
    if count < MIN_EXCEEDANCES or values[0] <= values[count]:
        raise DedupError(
            f"expected {MIN_EXCEEDANCES} scores of different images above a level for the tail's fit, found "
            f"{max(count, 0)} of {queries:,} queries against {references:,} images: too few images to tell how often "
            "different ones look alike. Set decontaminate.remove_similarity, or take a larger background"
        )
    level = float(values[count])
    below = float(_angle(level)) - _angle(values[:count])
    # Equal to the level or to 1 would be infinitely far in logarithms.
    ratio = np.log(float(_angle(level)) / np.maximum(_angle(values[:count]), 1e-6))
    pairs = float(queries) * references
    weights = _weights(owner[:count], queries, seed)
    total = weights.sum(axis=1)
    resampled = np.stack([total / pairs, weights @ below / total, total / (weights @ ratio)], axis=1)
    scale, exponent = float(below.mean()), 1 / float(ratio.mean())
    return Tail(form, level, count / pairs, scale, exponent, count, queries, references, resampled)


def _angle(score: npt.ArrayLike) -> Float64:
    """arccos; radians."""
    out: Float64 = np.arccos(np.clip(np.asarray(score, np.float64), -1, 1))
    return out


def _weights(owner: npt.NDArray[np.int64], queries: int, seed: int) -> Float64:
    """(RESAMPLES, n): how often the query of each pair is drawn; queries without a pair here only thin them out."""
    owners, place = np.unique(owner, return_inverse=True)
    share = np.full(len(owners) + 1, 1 / queries)
    share[-1] = max(0.0, 1 - len(owners) / queries)
    drawn = np.random.default_rng(seed).multinomial(queries, share, size=RESAMPLES)[:, :-1][:, place].astype(np.float64)
    drawn[drawn.sum(axis=1) == 0] = 1.0  # of a very small sample nothing was drawn
    return drawn
