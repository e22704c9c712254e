"""Where the filter's parts lie in a build's folder, and how they are read back: names stand here and nowhere else.

`precision/` what was counted and the model of the evidence; `priors/` what each class adds to it; `scores/` the
probability of every candidate, the threshold, and precision.json, the account of it all.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.hierarchy import CONFUSIONS_FILE
from openjft.pipelines.schema import LABEL
from openjft.pipelines.storage import Store

from .bins import SourceBins, StateColumn, States
from .confusion import Confusions
from .lr2 import ClassModel
from .model import AdditiveModel, Floats
from .patterns import Int64s
from .threshold import Histogram

EVIDENCE: Final = "evidence"
CUTS_FILE: Final = "precision/cuts.json"
GOLD_FILE: Final = "precision/gold.parquet"
GOLD_ACCOUNT_FILE: Final = "precision/gold.json"
GOLD_FOLDER: Final = "precision/gold"
STATES_FOLDER: Final = "precision/states"
COUNTS_FOLDER: Final = "precision/counts"
PATTERNS_FILE: Final = "precision/patterns.parquet"
COUNTS_FILE: Final = "precision/counts.parquet"
MODEL_FILE: Final = "precision/model.json"
CLASS_MODEL_FILE: Final = "priors/model.json"
CLASSES_FILE: Final = "priors/classes.parquet"
HISTOGRAM_FILE: Final = "scores/fit/histogram.parquet"
CLASS_SCORES_FILE: Final = "scores/fit/classes.parquet"
GOLD_SCORES_FILE: Final = "scores/fit/gold.parquet"
SUMMARY_FILE: Final = "scores/precision.json"

# Candidates of each class by the state of each column, those that occur.
COUNTS: Final = pa.schema(
    [
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field("column", pa.int32(), nullable=False),
        pa.field("state", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)


def read_bins(store: Store) -> tuple[StateColumn, ...]:
    """The columns of the state matrix that `CountStage.prepare` chose: the sources' bins, then the confusions."""
    value = store.read_json(CUTS_FILE)
    sources = [SourceBins.from_json(item) for item in value["sources"]]
    if not value["confusions"]:
        return tuple(sources)
    return (*sources, Confusions.from_table(store.read_table(CONFUSIONS_FILE, [LABEL, "inside_label"])))


def counts_table(counts: npt.NDArray[np.int64], num_states: list[int]) -> pa.Table:
    """The table of (c, all states) counts."""
    label, place = np.nonzero(counts)
    starts = np.concatenate(([0], np.cumsum(num_states)))
    column = np.searchsorted(starts, place, side="right") - 1
    arrays = [label.astype(np.int32), column.astype(np.int32), (place - starts[column]).astype(np.int32)]
    return pa.table([*map(pa.array, arrays), pa.array(counts[label, place])], schema=COUNTS)


def add_counts(counts: npt.NDArray[np.int64], table: pa.Table, num_states: list[int]) -> None:
    """Adds a table's counts to (c, all states)."""
    starts = np.concatenate(([0], np.cumsum(num_states)))
    place = starts[table["column"].to_numpy()] + table["state"].to_numpy()
    np.add.at(counts, (table[LABEL].to_numpy(), place), table["count"].to_numpy())


def read_state_counts(store: Store, num_classes: int, num_states: list[int]) -> list[Int64s]:
    """(c, states of the column) counts of each column of the whole build."""
    counts = np.zeros((num_classes, sum(num_states)), np.int64)
    add_counts(counts, store.read_table(COUNTS_FILE), num_states)
    return np.split(counts, np.cumsum(num_states)[:-1], axis=1)


@dataclasses.dataclass(frozen=True)
class EvidenceModel:
    """What the evidence of a candidate says, whatever its class.

    Attributes:
        model: log-odds of a pattern.
        base: log-odds of all candidates together; what is above it is lambda, the log-likelihood ratio.
        folds: (folds,) the models that have not seen the gold of one fold.
        em: how EM ended; None with gold.
    """

    model: AdditiveModel
    base: float
    folds: tuple[AdditiveModel, ...] = ()
    em: dict[str, Any] | None = None

    def log_ratio(self, states: States) -> Floats:
        """(m,) lambda of (m, columns) states."""
        return self.model.log_odds(states) - self.base

    def to_json(self) -> dict[str, Any]:
        """As a JSON value; floats come back to the bit."""
        models = [_model_json(m) for m in (self.model, *self.folds)]
        return {"model": models[0], "base": self.base, "folds": models[1:], "em": self.em}

    @classmethod
    def load(cls, store: Store) -> EvidenceModel:
        """That of a build."""
        value = store.read_json(MODEL_FILE)
        folds = tuple(_model(item) for item in value["folds"])
        return cls(_model(value["model"]), value["base"], folds, value["em"])


def _model_json(model: AdditiveModel) -> dict[str, Any]:
    return {"intercept": model.intercept, "weights": [w.tolist() for w in model.weights]}


def _model(value: dict[str, Any]) -> AdditiveModel:
    return AdditiveModel(value["intercept"], tuple(np.array(w) for w in value["weights"]))


def read_histogram(store: Store) -> Histogram:
    """Candidates of the whole build by probability, those below the floor of their class left out."""
    table = store.read_table(HISTOGRAM_FILE)
    return Histogram(table["steps"].to_numpy(), table["count"].to_numpy())


def load_class_model(store: Store) -> ClassModel:
    """That of a build."""
    value = store.read_json(CLASS_MODEL_FILE)
    offset = store.read_table(CLASSES_FILE, ["offset"])["offset"].to_numpy()
    return ClassModel(value["slope"], offset, value["coefficients"])
