"""The two thresholds of decontamination, from the tail of pairs of different images.

Removal is loose: a wrong removal costs one image of millions, a miss soils a benchmark. It lies where a stated share
of the training images would be removed wrongly. Reporting is strict: published counts hold only pairs that were
verified and whose score is so high that few false ones can be among them. Below removal pairs are *listed*, so that a
verified copy is not missed for its score, and an auditor can see what another threshold would do.

In: a sample of queries against all eval images. Out: `Thresholds`, with the expected false pairs over the whole range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from .background import Background
from .errors import DedupError
from .index import EvalIndex, Matches
from .resample import Float32
from .tail import EXCEEDANCES, MAX_SHARE, MIN_EXCEEDANCES, Float64, Tail, TailForm, fit_tail

# Of different pairs that are this near, how many pass the verification at most: 2 of 6,500 other shots of one scene did
# (benchmarks/RESULTS.md), so with 95 % confidence fewer than one in 900; twice that.
FALSE_VERIFIED: Final = 0.002
DEFAULT_MARGIN: Final = 0.1  # below the descriptor's own threshold pairs are listed, where no tail could be fitted
CURVE_POINTS: Final = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """The nearest pairs of some queries: who knows which of them are copies takes those out before the fit.

    Attributes:
        matches: best view of each pair above `floor`, neighbours unlimited.
        queries: how many were searched.
        floor: score above which the sample is complete.
    """

    matches: Matches
    queries: int
    floor: float


def sample_pairs(
    index: EvalIndex,
    vectors: Float32,
    *,
    background: Background | None = None,
    wanted: int = 2 * max(EXCEEDANCES.values()),
) -> Sample:
    """The `wanted` nearest (query, eval image) pairs of some queries, or a few more or less.

    The best pairs of a tenth of the queries are among them, and of half of them at most: below, different images are.
    """
    usual = np.zeros(len(vectors), np.float32) if background is None else background.usual(vectors)
    best = np.sort(index.searcher.top(vectors, 1)[:, 0] - usual)[::-1]
    if not len(best) or not len(index.rows):
        return Sample(index.search(vectors[:0], min_score=1.0, neighbours=1), len(vectors), 1.0)
    floor = float(best[min(max(wanted, len(best) // 10), len(best) // 2)])
    matches = index.search(vectors, min_score=floor, neighbours=index.images.num_rows, background=background)
    return Sample(matches, len(vectors), floor)


def fit_tails(
    sample: Sample, copies: npt.NDArray[np.bool_], *, references: int, form: TailForm, seed: int
) -> tuple[Tail | None, Tail | None]:
    """(of images, of pairs): the tail of each query's best score, and that of all pairs; None where too few are left.

    Args:
        sample: of `sample_pairs`.
        copies: (pairs,) which of them are copies; they are left out.
        references: eval images.
        form: of the descriptor's tails.
        seed: of the resampling.
    """
    query, score = sample.matches.query_index[~copies], sample.matches.score[~copies].astype(np.float64)
    order = np.lexsort((-score, query))
    first = np.ones(len(query), bool)
    first[1:] = query[order][1:] != query[order][:-1]
    tails: list[Tail | None] = []
    for chosen, others in ((order[first], 1), (order, references)):
        # Of the images' best scores half at most: near the floor the sample holds what just passed it.
        most = len(chosen) // 2 if others == 1 else int(MAX_SHARE * sample.queries * references)
        count = max(MIN_EXCEEDANCES, min(EXCEEDANCES[form], most))
        try:
            tail = fit_tail(
                score[chosen],
                query[chosen],
                queries=sample.queries,
                references=others,
                form=form,
                exceedances=count,
                seed=seed,
            )
        except DedupError:
            tail = None
        tails.append(tail)
    return tails[0], tails[1]


def listed_score(sample: Sample, copies: npt.NDArray[np.bool_], *, share: float) -> float | None:
    """The score that the best pair of `share` of the queries reaches without being a copy; None of an empty sample.

    No fit is needed for so common a thing: it is read off the sample.
    """
    query, score = sample.matches.query_index[~copies], sample.matches.score[~copies]
    if not len(query):
        return None
    best = np.full(sample.queries, -np.inf, np.float32)
    np.maximum.at(best, query, score)
    at = float(np.sort(best)[::-1][min(int(share * sample.queries), sample.queries - 1)])
    return max(at, sample.floor)


@dataclasses.dataclass(frozen=True, eq=False)
class Thresholds:
    """Scores at which a pair is listed, removes its training image, and is published; and what they rest on.

    Attributes:
        remove: loose.
        listed: looser.
        report: strict; None until the pairs are known.
        how: of `remove`: "tail", "configured" or "default" (the descriptor's own, since no tail could be fitted).
        normalised: whether scores are less the background.
        queries: training images.
        references: eval images.
        images: tail of each query's best score.
        pairs: tail of all pairs.
    """

    remove: float
    listed: float
    report: float | None
    how: str
    normalised: bool
    queries: int
    references: int
    images: Tail | None
    pairs: Tail | None

    def curve(self) -> list[list[float]]:
        """[score, expected false pairs, low, high] from `listed` to 1; empty without a tail."""
        if self.pairs is None:
            return []
        scores = np.linspace(max(self.listed, self.pairs.level), 1.0, CURVE_POINTS)
        total = float(self.queries) * self.references
        low, high = self.pairs.interval(scores, total)
        rows = np.stack([scores, self.pairs.expected(scores, total), low, high], axis=1)
        out: list[list[float]] = rows.tolist()
        return out

    def expected_pairs(self, score: npt.ArrayLike) -> tuple[Float64, Float64, Float64] | None:
        """(expected, low, high) false pairs at scores, from the level of the fit on; None without a tail."""
        if self.pairs is None:
            return None
        scores = np.maximum(np.atleast_1d(np.asarray(score, np.float64)), self.pairs.level)
        total = float(self.queries) * self.references
        return self.pairs.expected(scores, total), *self.pairs.interval(scores, total)

    def to_json(self) -> dict[str, Any]:
        """For a report; `false_at` says what is expected at each threshold: [pairs, low, high]."""
        marks = {"remove": self.remove, "listed": self.listed, "report": self.report}
        false_at = {}
        for name, mark in marks.items():
            found = None if mark is None else self.expected_pairs(mark)
            false_at[name] = None if found is None else [float(part[0]) for part in found]
        wrong = None
        if self.images is not None:
            at = max(self.remove, self.images.level)
            low, high = self.images.interval(at, self.queries)
            wrong = [float(self.images.expected(at, self.queries)), float(low[0]), float(high[0])]
        return {
            **marks,
            "how": self.how,
            "normalised": self.normalised,
            "queries": self.queries,
            "references": self.references,
            "pairs": self.queries * self.references,
            "false_at": false_at,
            "images_wrongly_removed": wrong,
            "tail_images": self.images and self.images.to_json(),
            "tail_pairs": self.pairs and self.pairs.to_json(),
            "curve": self.curve(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        images, pairs = (value[name] and Tail.from_json(value[name]) for name in ("tail_images", "tail_pairs"))
        names = ("remove", "listed", "report", "how", "normalised", "queries", "references")
        return cls(**{name: value[name] for name in names}, images=images, pairs=pairs)


def choose_thresholds(
    images: Tail | None,
    pairs: Tail | None,
    *,
    queries: int,
    references: int,
    false_removals: float,
    default: float,
    configured: float | None,
    normalised: bool,
    listed: float | None = None,
) -> Thresholds:
    """The removal threshold and the one below it.

    Args:
        images: tail of each query's best score.
        pairs: tail of all pairs.
        queries: training images.
        references: eval images.
        false_removals: share of the training images that may be removed wrongly.
        default: the descriptor's own threshold, for where there is no tail.
        configured: the user's, which goes before all.
        normalised: whether scores are less the background.
        listed: of `listed_score`; None: somewhat below removal.
    """
    fitted = images.score_at(false_removals * queries, queries) if images else None
    how, remove = ("default", default) if fitted is None else ("tail", fitted)
    if configured is not None:
        how, remove = "configured", configured
    loose = remove - DEFAULT_MARGIN if listed is None else listed
    return Thresholds(remove, min(loose, remove), None, how, normalised, queries, references, images, pairs)


def report_threshold(
    thresholds: Thresholds, scores: Float32, verified: npt.NDArray[np.bool_], *, false_reports: float
) -> float:
    """The least score from which on the published pairs are false with `false_reports` at most, by expectation.

    Of the different pairs at that score the verification lets FALSE_VERIFIED pass at most; the upper end of the tail's
    interval is taken. Without a tail it is the removal threshold.

    Args:
        thresholds: of the build.
        scores: (n,) of all listed pairs.
        verified: (n,) which of them passed.
        false_reports: share.
    """
    sure = np.sort(scores[verified])
    expected = thresholds.expected_pairs(sure) if len(sure) else None
    if expected is None:
        return thresholds.remove
    at_or_above = np.arange(len(sure), 0, -1)
    passing = expected[2] * FALSE_VERIFIED <= false_reports * at_or_above
    # From the strict end: the first score at which it fails ends the walk.
    failing = np.flatnonzero(~passing)
    start = int(failing[-1]) + 1 if len(failing) else 0
    return float(sure[start]) if start < len(sure) else 1.0
