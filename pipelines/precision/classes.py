"""What the evidence says of a whole class: mean weights of each source, and the share of its candidates that are right.

In: counts of each class, `N[class, source, bin]` and `H[class, bin of lambda]`, and the hierarchy. Out: class means M
and class priors pi, both shrunk to the parent's, top-down (METHODS.md, section 1). A class of three candidates is taken
to be like its siblings until it shows otherwise.

- Means (Mundlak 1978, correlated random effects): `M[c,s] = (sum_b N[c,s,b] beta[s,b] + kappa M[parent,s]) / (N_c +
  kappa)`. A source that fires on everything of a class tells less there.
- Prior, by EM on the binned log-likelihood ratios: `pi_c <- (sum_b H[c,b] sigmoid(logit pi_c + lambda_b) + kappa'
  pi_parent) / (N_c + kappa')`, exact on the small table.

A parent's value is made from all candidates below it, each class once; a category that is itself the label of
candidates is shrunk to that value. Several parents: the mean of their values. Without parents: the mean of all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from openjft.taxonomy import Closure, Csr

from .model import Floats, logit, sigmoid
from .patterns import Int64s

KAPPA_MEANS: Final = 30.0
KAPPA_PRIOR: Final = 100.0
LAMBDA_BINS: Final = 64
_ITERATIONS: Final = 200
_TOLERANCE: Final = 1e-7
_EDGE: Final = 1e-4  # priors stay inside (0, 1)


def sums_below(closure: Closure, values: npt.NDArray[np.number]) -> Floats:
    """(c, k) sums of (c, k) values over each class and all classes below it, each once."""
    from scipy.sparse import csr_array

    below = closure.with_self
    n = below.num_lists
    ancestors = csr_array((np.ones(len(below.values)), below.values, below.offsets), shape=(n, n))
    summed: Floats = ancestors.T @ values.astype(np.float64)
    return summed


def by_depth(closure: Closure) -> Iterator[tuple[npt.NDArray[np.intp], Csr]]:
    """(classes, their parents) level by level from the roots: every parent comes before its children."""
    order = np.argsort(closure.depth, kind="stable")
    depth = closure.depth[order]
    starts = np.flatnonzero(np.diff(depth, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        level = order[start:stop]
        yield level, closure.parents.take(level)


def parent_values(values: Floats, parents: Csr, without: Floats) -> Floats:
    """(m, k) mean of the parents' values; `without` (k,) where there is no parent."""
    lengths = parents.lengths
    owner = np.repeat(np.arange(len(lengths)), lengths)
    total = np.zeros((len(lengths), values.shape[1]))
    np.add.at(total, owner, values[parents.values])
    mean: Floats = np.where(lengths[:, None] > 0, total / np.maximum(lengths, 1)[:, None], without)
    return mean


def class_means(weight_sums: Floats, counts: Int64s, closure: Closure, *, kappa: float = KAPPA_MEANS) -> Floats:
    """The mean weight of each source over each class's candidates, shrunk through the hierarchy.

    Args:
        weight_sums: (c, sources) sum over candidates of the weight of their state, `sum_b N[c,s,b] beta[s,b]`.
        counts: (c,) candidates of each class.
        closure: of the hierarchy.
        kappa: candidates that the parent's value counts for.

    Returns:
        (c, sources) float64; finite for classes without candidates too.
    """
    everything = weight_sums.sum(axis=0) / max(int(counts.sum()), 1)
    below = sums_below(closure, np.column_stack([weight_sums, counts]))
    branch = np.empty_like(weight_sums)
    above = np.empty_like(weight_sums)
    for level, up in by_depth(closure):
        above[level] = parent_values(branch, up, everything)
        branch[level] = (below[level, :-1] + kappa * above[level]) / (below[level, -1:] + kappa)
    inner = below[:, -1] > counts  # it has candidates below: its own are compared with the branch, not the parent
    towards = np.where(inner[:, None], branch, above)
    means: Floats = (weight_sums + kappa * towards) / (counts[:, None] + kappa)
    return means


def class_priors(
    hist: Int64s, log_ratio: Floats, overall: float, closure: Closure, *, kappa: float = KAPPA_PRIOR
) -> Floats:
    """The share of each class's candidates that are right, by EM, shrunk through the hierarchy.

    Args:
        hist: (c, bins) candidates of each class by their log-likelihood ratio.
        log_ratio: (bins,) the ratio that stands for each bin: log-odds minus the log-odds of all candidates.
        overall: share of all candidates that are right.
        closure: of the hierarchy.
        kappa: candidates that the parent's value counts for.

    Returns:
        (c,) float64 inside (0, 1).
    """
    below = sums_below(closure, hist)
    branch, above = np.empty((len(hist), 1)), np.empty((len(hist), 1))
    for level, up in by_depth(closure):
        above[level] = parent_values(branch, up, np.array([overall]))
        branch[level, 0] = _priors(below[level], log_ratio, above[level, 0], kappa)
    inner = below.sum(axis=1) > hist.sum(axis=1)
    towards = np.where(inner, branch[:, 0], above[:, 0])
    return _priors(hist.astype(np.float64), log_ratio, towards, kappa)


def _priors(hist: Floats, log_ratio: Floats, towards: Floats, kappa: float) -> Floats:
    """EM for (m, bins) histograms at once, each drawn to its value of `towards` (m,)."""
    total = hist.sum(axis=1) + kappa
    prior = np.clip(towards, _EDGE, 1 - _EDGE)
    for _ in range(_ITERATIONS):
        right = (hist * sigmoid(logit(prior)[:, None] + log_ratio)).sum(axis=1)
        new = np.clip((right + kappa * towards) / total, _EDGE, 1 - _EDGE)
        moved = float(np.abs(new - prior).max(initial=0.0))
        prior = new
        if moved < _TOLERANCE:
            break
    return prior


@dataclasses.dataclass(frozen=True)
class RatioBins:
    """Bins over the log-likelihood ratio: `edges` (bins - 1,) rising, `middle` (bins,) the mean ratio of each."""

    edges: Floats
    middle: Floats

    def of(self, log_ratio: Floats) -> npt.NDArray[np.intp]:
        """(n,) bin of each ratio."""
        return np.searchsorted(self.edges, log_ratio, side="right")


def ratio_bins(log_ratio: Floats, counts: Int64s, num_bins: int = LAMBDA_BINS) -> RatioBins:
    """At most so many bins with near-equal numbers of candidates.

    Args:
        log_ratio: (m,) of each pattern, at least one.
        counts: (m,) candidates of each.
        num_bins: at most so many.
    """
    order = np.argsort(log_ratio, kind="stable")
    sorted_ratio, sorted_counts = log_ratio[order], counts[order]
    middle = np.cumsum(sorted_counts) - sorted_counts / 2
    part = np.minimum((middle / sorted_counts.sum() * num_bins).astype(np.int64), num_bins - 1)
    ends = np.flatnonzero(np.diff(part) > 0)
    # Edges lie between the ratios, so that the last bits of a sum do not move a pattern.
    edges = np.unique((sorted_ratio[ends] + sorted_ratio[ends + 1]) / 2)
    bins = RatioBins(edges, np.zeros(len(edges) + 1))
    of = bins.of(sorted_ratio)
    weight = np.bincount(of, sorted_counts, len(edges) + 1)
    mean = np.bincount(of, sorted_counts * sorted_ratio, len(edges) + 1) / np.maximum(weight, 1)
    return RatioBins(edges, mean)


def weight_sums(state_counts: Sequence[Int64s], weights: Sequence[Floats]) -> Floats:
    """(c, sources) `sum_b N[c,s,b] beta[s,b]`, from (c, states of s) counts and (states of s,) weights of each s."""
    return np.stack([counts @ beta for counts, beta in zip(state_counts, weights, strict=True)], axis=1)
