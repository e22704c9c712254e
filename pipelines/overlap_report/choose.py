"""Which pairs stand on the page, where there are more than it can hold, and what of the others the counts need.

In: all pairs. Out: the rows that are shown, by rule and never by chance; and for each evaluation image of the others
the best score of each kind of pair. Counts ask only whether an image has a pair of a kind at a score or above, so
these stand for all that is left out, and the page's counts are of all pairs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup.schema import KEY, LEVELS

from .model import Thresholds

KIND: Final = ("eval_set", "eval_id", "verified", "decision")


def shown_rows(pairs: pa.Table, thresholds: Thresholds, max_pairs: int) -> npt.NDArray[np.int64]:
    """Rows that the page shows, rising: the highest level first, in it those nearest to a threshold.

    Ties go by key, evaluation set and evaluation image.
    """
    if pairs.num_rows <= max_pairs:
        return np.arange(pairs.num_rows)
    score = pairs["score"].to_numpy().astype(np.float64)
    distance = np.minimum(abs(score - thresholds.remove), abs(score - thresholds.report))
    names = ["eval_set", "eval_id"]
    columns = {
        "rank": pc.index_in(pairs["level"], value_set=pa.array(LEVELS)),
        "distance": pa.array(distance),
        # Arrow sorts no binaries of fixed length.
        KEY: pairs[KEY].cast(pa.binary()),
        **{name: pairs[name] for name in names},
    }
    order = pc.sort_indices(pa.table(columns), [(name, "ascending") for name in ("rank", "distance", KEY, *names)])
    return np.sort(order.to_numpy()[:max_pairs].astype(np.int64))


def left_out(pairs: pa.Table, shown: npt.NDArray[np.int64]) -> pa.Table:
    """KIND and the best score of each kind, of all rows that are not shown; in rising order of KIND."""
    others = np.ones(pairs.num_rows, np.bool_)
    others[shown] = False
    rest = pairs.select([*KIND, "score"]).filter(pa.array(others))
    best = rest.group_by(list(KIND)).aggregate([("score", "max")]).rename_columns([*KIND, "score"])
    return best.sort_by([(name, "ascending") for name in KIND])
