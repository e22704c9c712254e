"""The certificate's groups and classes: branches of the hierarchy by size of class, and every single class.

In: the judged labels of a sample, and all candidates by class and probability. Out: rows for certificate.json. What a
group is, and where its walk starts and ends, follows from the candidates alone, before anybody has judged; a group
with candidates of which none was judged has a row like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from openjft.pipelines.config import Config
from openjft.pipelines.precision.files import CLASS_SCORES_FILE
from openjft.pipelines.precision.keeping import SIZE_BANDS
from openjft.pipelines.precision.scoring import BY_CLASS, CLASS_BINS
from openjft.pipelines.precision.threshold import STEPS
from openjft.pipelines.schema import LABEL
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Closure, Taxonomy

from .certificate import Certificate, Int64s, class_intervals
from .groups import GroupResult, certify_groups, first_thresholds

MIN_BRANCHES: Final = 4  # where the hierarchy is first as wide as that, its branches are the groups


class Candidates:
    """All candidates of a build by class and probability: what groups and classes are made from."""

    def __init__(
        self, config: Config, store: Store, account: Mapping[str, Any], taxonomy: Taxonomy, closure: Closure
    ) -> None:
        self.config, self.store, self.account = config, store, account
        self.taxonomy, self.closure = taxonomy, closure
        self.candidates = store.read_table(CLASS_SCORES_FILE, ["candidates"])["candidates"].to_numpy()
        n, width = config.build.buckets, CLASS_BINS + 1
        self.counts, self.sums = (np.zeros((len(self.candidates), width), np.int64) for _ in range(2))
        for bucket in range(n):
            table = store.read_table(bucket_file(BY_CLASS, bucket, n))
            at = (table[LABEL].to_numpy(), table["bin"].to_numpy())
            self.counts[at] += table["count"].to_numpy()
            self.sums[at] += table["steps"].to_numpy()

    def above(self, steps: int) -> tuple[Int64s, Int64s]:
        """((c,) candidates of each class at or above a threshold, to half a hundredth, (c,) their millionths)."""
        first = steps * CLASS_BINS // STEPS
        return self.counts[:, first:].sum(axis=1), self.sums[:, first:].sum(axis=1)


def branches(closure: Closure, depth: int | None) -> Int64s:
    """(c,) the branch of each class: its ancestor (or itself) at a depth, the least label of several; -1 for none.

    Args:
        closure: of the hierarchy.
        depth: of the branches; None: the least at which there are `MIN_BRANCHES` categories, else the roots.
    """
    if depth is None:
        at = np.bincount(closure.depth)
        wide = np.flatnonzero(at >= MIN_BRANCHES)
        depth = int(wide[0]) if len(wide) else 0
    whole = closure.with_self
    owner = np.repeat(np.arange(whole.num_lists), whole.lengths)
    there = closure.depth[whole.values] == depth
    found = np.full(whole.num_lists, np.iinfo(np.int64).max)
    np.minimum.at(found, owner[there], whole.values[there])
    return np.where(found == np.iinfo(np.int64).max, -1, found)


def size_bands(candidates: Int64s) -> Int64s:
    """(c,) index in SIZE_BANDS of each class."""
    return np.searchsorted([low for low, _ in SIZE_BANDS[1:]], candidates, side="right").astype(np.int64)


def group_rows(
    context: Candidates,
    labels: npt.NDArray[np.int32],
    steps: Int64s,
    correct: npt.NDArray[np.bool_],
    grid: Int64s,
    found: Certificate,
) -> list[dict[str, Any]]:
    """Branches by size of class, at the certified threshold, the most judged first; none where nothing is certified."""
    if found.steps is None:
        return []
    branch, size = branches(context.closure, context.config.audit.group_depth), size_bands(context.candidates)
    of_class = (branch + 1) * len(SIZE_BANDS) + size
    # Every group with candidates that could be kept, judged or not.
    names = np.unique(of_class[context.above(int(grid[-1]))[0] > 0])
    group = np.searchsorted(names, of_class)
    expected = np.zeros((len(names), len(grid)))
    for j, threshold in enumerate(grid.tolist()):
        above = context.above(int(threshold))[0]
        expected[:, j] = np.bincount(np.minimum(group, len(names) - 1), above, len(names))
    expected *= len(labels) / max(float(expected[:, -1].sum()), 1.0)
    # Thresholds looser than the filter's own are not claimed for groups: their walks end there.
    end = min(int(np.searchsorted(-grid, -context.account["plug_in"])), len(grid) - 1)
    at = int(np.flatnonzero(grid == found.steps)[0])
    results = certify_groups(
        group[labels],
        steps,
        correct,
        grid,
        first_thresholds(expected, context.config.audit.min_judged / 2),
        end=end,
        target=context.account["target"],
        delta=context.account["delta"],
    )
    rows = [
        _group_row(context.taxonomy, int(name), result, at, end)
        for name, result in zip(names.tolist(), results, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["n"], row["name"]))


def _group_row(taxonomy: Taxonomy, name: int, result: GroupResult, at: int, end: int) -> dict[str, Any]:
    branch, band = divmod(name, len(SIZE_BANDS))
    n, k = int(result.n[at]), int(result.k[at])
    low, high = result.interval(at)
    certified = result.certified(at)
    why = "not shown"
    if at > end:
        why = "looser than the filter's own threshold, which groups are not tested at"
    elif not result.enough_judged(at):
        why = "too few could be judged"
    return {
        "name": _group_name(taxonomy, branch - 1, band),
        "n": n,
        "k": k,
        "interval": {"precision": k / n if n else None, "low": low, "high": high},
        "certified": certified,
        "why": "" if certified else why,
    }


def _group_name(taxonomy: Taxonomy, branch: int, band: int) -> str:
    low, high = SIZE_BANDS[band]
    size = f"{low:,} and more" if high is None else f"under {high:,}" if not low else f"{low:,} to {high - 1:,}"
    return f"{'(no branch)' if branch < 0 else taxonomy.names[branch]}, classes of {size}"


def class_rows(
    context: Candidates,
    labels: npt.NDArray[np.int32],
    steps: Int64s,
    correct: npt.NDArray[np.bool_],
    found: Certificate,
) -> list[dict[str, Any]]:
    """What is to be believed of every class with kept labels, the least precise first."""
    threshold = found.steps if found.steps is not None else context.account["plug_in"]
    kept, sums = context.above(threshold)
    inside = steps >= threshold
    n = len(kept)
    judged = np.bincount(labels[inside], minlength=n)
    right = np.bincount(labels[inside & correct], minlength=n)
    used = np.flatnonzero(kept)
    model = sums[used] / kept[used] / STEPS
    mean, low, high = class_intervals(model, judged[used], right[used])
    order = np.lexsort((used, mean))
    return [
        {
            LABEL: int(used[i]),
            "id": context.taxonomy.ids[used[i]],
            "name": context.taxonomy.names[used[i]],
            "kept": int(kept[used[i]]),
            "judged": int(judged[used[i]]),
            "correct": int(right[used[i]]),
            "model_mean": float(model[i]),
            "mean": float(mean[i]),
            "low": float(low[i]),
            "high": float(high[i]),
        }
        for i in order.tolist()
    ]
