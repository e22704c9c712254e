"""What was kept, as facts of the report: the threshold in force, and the classes whose labels are least sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from openjft.pipelines.precision.files import CLASS_SCORES_FILE
from openjft.pipelines.precision.keeping import KEPT_CLASSES_FILE, KEPT_FILE
from openjft.pipelines.precision.threshold import STEPS
from openjft.pipelines.schema import LABEL
from openjft.pipelines.storage import Store

WORST_MIN_KEPT: Final = 5  # labels of a class, below which its mean says nothing


def kept_facts(store: Store) -> dict[str, Any] | None:
    """What was kept, and by which threshold; None before it."""
    return store.read_json(KEPT_FILE) if store.exists(KEPT_FILE) else None


def worst_classes(store: Store, names: Sequence[str], number: int) -> list[dict[str, Any]]:
    """Classes whose kept labels have the least mean probability, the least first."""
    if not store.exists(KEPT_CLASSES_FILE) or not number:
        return []
    table = store.read_table(KEPT_CLASSES_FILE)
    kept, steps = table["kept"].to_numpy(), table["steps"].to_numpy()
    candidates = store.read_table(CLASS_SCORES_FILE, ["candidates"])["candidates"].to_numpy()
    mean = steps / np.maximum(kept, 1) / STEPS
    rows = np.flatnonzero(kept >= WORST_MIN_KEPT)
    rows = rows[np.lexsort((rows, mean[rows]))][:number]
    return [
        {
            LABEL: int(i),
            "name": names[i],
            "candidates": int(candidates[i]),
            "kept": int(kept[i]),
            "expected_precision": float(mean[i]),
        }
        for i in rows.tolist()
    ]
