"""Stage `labels`: keeps the labels whose probability reaches the threshold.

In: evidence/, scores/, the threshold of precision.json or, where the build requires one, of the certificate. Out:
`labels/`, and at the end `labels/fit/classes.parquet` (label, kept, steps) and `labels/_kept.json`, what was kept of
the classes by their size. The order is that of the evidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.config import Config
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.keys import first_of_image
from openjft.pipelines.schema import KEY, LABEL, LABELS, URI
from openjft.pipelines.storage import Store, bucket_file

from .crossfit import proportion
from .files import CLASS_SCORES_FILE, EVIDENCE, GOLD_SCORES_FILE, STATES_FOLDER, SUMMARY_FILE, read_bins
from .patterns import Int64s, fired_bits, read_states
from .threshold import STEPS, to_steps

BY_CLASS: Final = "labels/by_class"
KEPT_CLASSES_FILE: Final = "labels/fit/classes.parquet"
KEPT_FILE: Final = "labels/_kept.json"
# By the number of a class's candidates; the first two are the paper's.
SIZE_BANDS: Final = ((0, 20), (20, 100), (100, 1_000), (1_000, 10_000), (10_000, None))


@dataclasses.dataclass(frozen=True)
class LabelsStage(Stage):
    """Keeps the labels that pass.

    `certified_steps` is the threshold of the certificate, in millionths, where the build requires one.
    """

    name: ClassVar[str] = "labels"
    section: ClassVar[str] = "precision"
    noun: ClassVar[str] = "labels"
    num_buckets: int
    allowed_reject_share: float = 1.0
    certified_steps: int | None = None

    @classmethod
    def from_config(cls, config: Config) -> LabelsStage:
        """The stage of a build; the driver adds the certificate."""
        return cls(config.build.buckets, config.precision.max_reject_share)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """The certificate's threshold; all else stands in the files of `scores`, which is upstream."""
        return {"buckets": self.num_buckets, "certified_steps": self.certified_steps}

    def max_reject_share(self) -> float:
        """As `precision.max_reject_share` allows."""
        return self.allowed_reject_share

    def thresholds(self, store: Store) -> Int64s:
        """(c,) least millionths of each class."""
        floors = store.read_table(CLASS_SCORES_FILE, ["floor"])["floor"].to_numpy()
        steps = self.certified_steps
        if steps is None:
            steps = round(store.read_json(SUMMARY_FILE)["threshold"] * STEPS)
        least: Int64s = np.maximum(floors, steps)
        return least

    def run(self, unit: int, store: Store) -> UnitResult:
        """Writes the labels of a bucket that pass."""
        path = bucket_file("scores", unit, self.num_buckets)
        scores = store.read_table(path)
        label = scores[LABEL].to_numpy()
        steps = to_steps(scores["probability"].to_numpy())
        least = self.thresholds(store)[label]
        keep = steps >= least
        rows = store.read_table(bucket_file(EVIDENCE, unit, self.num_buckets), [KEY, LABEL, URI])
        assert rows.num_rows == len(keep), f"{path} has {len(keep)} rows, evidence/ has {rows.num_rows}"
        kept = rows.filter(pa.array(keep))
        _, states, index = read_states(store, bucket_file(STATES_FOLDER, unit, self.num_buckets))
        bits = fired_bits(states, read_bins(store))[index[keep]]
        columns = [*kept.columns, scores["probability"].filter(pa.array(keep)), pa.array(bits, pa.uint64())]
        store.write_table(bucket_file(self.name, unit, self.num_buckets), pa.table(columns, schema=LABELS))
        store.write_table(bucket_file(BY_CLASS, unit, self.num_buckets), _by_class(label[keep], steps[keep]))
        images, with_label = num_images(rows[KEY]), num_images(kept[KEY])
        return UnitResult(
            rows_in=rows.num_rows,
            rows_out=kept.num_rows,
            rejects={"below_threshold": int((~keep).sum())},
            counters={"images": with_label, "images_without_label": images - with_label},
        )

    def finish(self, store: Store, account: UnitResult) -> None:
        """What was kept of each class, and by the size of the classes."""
        candidates = store.read_table(CLASS_SCORES_FILE, ["candidates"])["candidates"].to_numpy()
        kept, steps = (np.zeros(len(candidates), np.int64) for _ in range(2))
        for bucket in range(self.num_buckets):
            table = store.read_table(bucket_file(BY_CLASS, bucket, self.num_buckets))
            at = table[LABEL].to_numpy()
            kept[at] += table["kept"].to_numpy()
            steps[at] += table["steps"].to_numpy()
        columns = {LABEL: np.arange(len(kept), dtype=np.int32), "kept": kept, "steps": steps}
        store.write_table(KEPT_CLASSES_FILE, pa.table(columns))
        thresholds = self.thresholds(store)
        gold = _judged(store, thresholds)
        certified = self.certified_steps is not None
        value = {
            "by": "certificate" if certified else "model",
            "threshold": (self.certified_steps or 0) / STEPS
            if certified
            else store.read_json(SUMMARY_FILE)["threshold"],
            "candidates": int(candidates.sum()),
            "kept": int(kept.sum()),
            "expected_precision": float(steps.sum() / kept.sum() / STEPS) if kept.any() else None,
            "after": None if gold is None else proportion(gold[1]),
            "by_size": size_table(candidates, kept, steps, gold),
        }
        store.write_json(KEPT_FILE, value)


def _by_class(label: npt.NDArray[np.int32], steps: Int64s) -> pa.Table:
    kept = np.bincount(label)
    used = np.flatnonzero(kept)
    sums = np.zeros(len(kept), np.int64)
    np.add.at(sums, label, steps)
    return pa.table({LABEL: used.astype(np.int32), "kept": kept[used].astype(np.int64), "steps": sums[used]})


def _judged(store: Store, thresholds: Int64s) -> tuple[Int64s, Any] | None:
    """(label, correct) of the gold rows that are kept, by their cross-fitted probability; None without gold."""
    if not store.exists(GOLD_SCORES_FILE):
        return None
    gold = store.read_table(GOLD_SCORES_FILE)
    label = gold[LABEL].to_numpy()
    keep = gold["steps"].to_numpy() >= thresholds[label]
    return label[keep], gold["correct"].to_numpy(zero_copy_only=False)[keep]


def size_table(
    candidates: Int64s, kept: Int64s, steps: Int64s, gold: tuple[Int64s, Any] | None
) -> list[dict[str, Any]]:
    """Classes by their number of candidates: how many, what is kept of them, and how right that is.

    Args:
        candidates: (c,) of each class.
        kept: (c,) labels kept.
        steps: (c,) sum of their probabilities, in millionths.
        gold: label and truth of the gold rows kept; None without gold.
    """
    rows = []
    for low, high in SIZE_BANDS:
        inside = (candidates > 0) & (candidates >= low) & (candidates < (high or np.inf))
        number = int(kept[inside].sum())
        rows.append(
            {
                "from": low,
                "to": high,
                "classes": int(inside.sum()),
                "candidates": int(candidates[inside].sum()),
                "kept": number,
                "expected_precision": float(steps[inside].sum() / number / STEPS) if number else None,
                "gold": None if gold is None else proportion(gold[1][inside[gold[0]]]),
            }
        )
    return rows


def num_images(keys: pa.ChunkedArray) -> int:
    """Distinct keys of a sorted column."""
    return int(np.count_nonzero(first_of_image(keys)))
