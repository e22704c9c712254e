"""Confusions as a further column of states: is the label a word that may only be part of another category's name?

In: the hierarchy's confusion list (label, inside_label): names of `label` occur inside a name of `inside_label`,
which is not below it, as 'tortoise' does in 'tortoise shell'. Out: one of three states for each candidate. It is no
source: it asserts nothing and its states are no votes, so only a model that is fitted on gold can use it (`lr1`).
METHODS.md, section 3.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.keys import first_of_image
from openjft.pipelines.schema import KEY, LABEL
from openjft.taxonomy import csr_from_pairs

from .bins import States

NAME: Final = "confusion"
STATE_NAMES: Final = (
    "name inside no other",
    "name inside others, none of them a candidate of the image",
    "name inside another that is a candidate of the image",
)


@dataclasses.dataclass(frozen=True)
class Confusions:
    """The confusion list, as `state_matrix` takes it.

    Attributes:
        label: (k,) labels whose names occur inside others, rising.
        inside: (k,) the labels of these others.
    """

    label: npt.NDArray[np.int32]
    inside: npt.NDArray[np.int32]
    name: str = NAME

    @classmethod
    def from_table(cls, table: pa.Table) -> Confusions:
        """From the columns label and inside_label of confusions.parquet."""
        pairs = np.stack([table["label"].to_numpy(), table["inside_label"].to_numpy()], axis=1)
        label, inside = np.unique(pairs, axis=0).astype(np.int32).T
        return cls(np.ascontiguousarray(label), np.ascontiguousarray(inside))

    @property
    def num_states(self) -> int:
        """States are [0, num_states)."""
        return len(STATE_NAMES)

    def state_names(self) -> tuple[str, ...]:
        """A name for each state."""
        return STATE_NAMES

    def columns(self) -> list[str]:
        """The columns of the evidence that it reads."""
        return [KEY, LABEL]

    def to_json(self) -> dict[str, Any]:
        """As a JSON value: the list itself stays in its file."""
        return {"name": self.name, "measure": NAME, "pairs": len(self.label)}

    def states(self, table: pa.Table, opportunity: npt.NDArray[np.bool_]) -> States:
        """(n,) uint8 state of each evidence row; rows sorted by (image_key, label). `opportunity` is not looked at."""
        label = table[LABEL].to_numpy()
        states = np.zeros(len(label), np.uint8)
        states[np.isin(label, self.label)] = 1
        states[self._beside(np.cumsum(first_of_image(table[KEY])) - 1, label)] = 2
        return states

    def _beside(self, image: npt.NDArray[np.int64], label: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Rows whose label has a name inside that of another candidate of the image.

        Looked up from the longer name's side: few names lie inside one, but one may lie inside hundreds.
        """
        if not len(self.label) or not len(label):
            return np.empty(0, np.int64)
        width = int(max(label.max(), self.label.max(), self.inside.max())) + 1
        short = csr_from_pairs(self.inside, self.label, width).take(label)
        candidates = image * width + label  # rising, since rows are in the order of (image, label)
        wanted = np.repeat(image, short.lengths) * width + short.values
        place = np.minimum(np.searchsorted(candidates, wanted), len(candidates) - 1)
        beside: npt.NDArray[np.int64] = place[candidates[place] == wanted]
        return beside
