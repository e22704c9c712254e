"""Evidence as states: what each source says about a row, in at most six steps.

In: evidence rows (`schema.evidence_schema`). Out: (n, sources) uint8 states. State 0: the source had no
opportunity; 1: it looked at the image and did not say this label; from 2 on it fired, from weak to strong; last,
for scores and clicks, it fired without telling a strength. Merging the first two costs kept labels, and "no
strength told" is not "weak" (a curated list has no scores), so each is a state of its own.

The cut points are terciles of the fired strengths in a sample: the first rows in key order, which is a uniform
sample of the images since keys are hashes, and the same rows for any number of buckets. METHODS.md, section 1.
It does not judge the sources: that is `lr1` or `em`. Columns that are no sources (`confusion`) come behind them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.config import Source

NO_OPPORTUNITY: Final = 0
SILENT: Final = 1
FIRST_FIRED: Final = 2
LEVELS: Final = 3  # low, mid, high
SAMPLE_ROWS: Final = 2_000_000  # terciles stand to 0.1 % even for a source that fires on a tenth of the rows
PRIOR_IMPRESSIONS: Final = 10.0  # a click rate of few impressions is drawn to the mean rate this strongly

Measure = Literal["score", "domains", "rows", "click_rate"]
Floats = npt.NDArray[np.float64]
States = npt.NDArray[np.uint8]

# What of a source's evidence each kind and each measure reads.
_KIND_PARTS: Final = {"score": ("score",), "links": ("domains", "rows"), "clicks": ("clicks", "impressions")}
_PARTS: Final[Mapping[Measure, tuple[str, ...]]] = {
    "score": ("score",),
    "domains": ("domains",),
    "rows": ("rows",),
    "click_rate": ("clicks", "impressions"),
}


class StateColumn(Protocol):
    """A column of the state matrix: a source's bins, or what else is known of a candidate (`confusion`)."""

    @property
    def name(self) -> str:
        """As the report shows it."""
        ...

    @property
    def num_states(self) -> int:
        """States are [0, num_states)."""
        ...

    def state_names(self) -> tuple[str, ...]:
        """A name for each state."""
        ...

    def columns(self) -> list[str]:
        """The columns of the evidence that it reads."""
        ...

    def states(self, table: pa.Table, opportunity: npt.NDArray[np.bool_]) -> States:
        """(n,) uint8 state of each evidence row."""
        ...

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        ...


@dataclasses.dataclass(frozen=True)
class SourceBins:
    """How the evidence of one source becomes a state.

    Attributes:
        name: the source.
        measure: what its strength is. A source of links is measured by its domains; where those do not differ (no
            page is ever told, or one domain each time), by its rows.
        cuts: rising strengths; a strength equal to a cut belongs above it. Sources of few distinct strengths have
            fewer than two.
        mean_rate: clicks per impression in the sample; 0 for the other measures.
    """

    name: str
    measure: Measure
    cuts: tuple[float, ...]
    mean_rate: float = 0.0

    @property
    def has_untold(self) -> bool:
        """Whether it may fire without telling a strength."""
        return self.measure in {"score", "click_rate"}

    @property
    def num_states(self) -> int:
        """States are [0, num_states)."""
        return self.strongest + 1 + self.has_untold

    @property
    def strongest(self) -> int:
        """The state of the strongest evidence."""
        return FIRST_FIRED + len(self.cuts)

    def state_names(self) -> tuple[str, ...]:
        """A name for each state, with the range of its strengths."""
        edges = [f"{cut:.4g}" for cut in self.cuts]
        fired = [f"{self.measure} < {edges[0]}" if edges else f"any {self.measure}"]
        fired += [f"{low} <= {self.measure} < {high}" for low, high in itertools.pairwise(edges)]
        fired += [f"{self.measure} >= {edges[-1]}"] if edges else []
        return ("no opportunity", "silent", *fired, *(["strength not told"] if self.has_untold else []))

    def columns(self) -> list[str]:
        """The columns of the evidence that it reads."""
        return [f"{self.name}.{part}" for part in dict.fromkeys(("rows", *_PARTS[self.measure]))]

    def states(self, table: pa.Table, opportunity: npt.NDArray[np.bool_]) -> States:
        """(n,) uint8 state of each evidence row; `opportunity` tells whether the source looked at its image."""
        fired = table[f"{self.name}.rows"].to_numpy() > 0
        values = [table[f"{self.name}.{part}"].to_numpy() for part in _PARTS[self.measure]]
        strength = _strength(self.measure, values, self.mean_rate)
        level = np.full(len(fired), FIRST_FIRED, np.uint8)
        for cut in self.cuts:  # at most two: quicker than a binary search
            level += strength >= cut
        if self.has_untold:
            level[np.isnan(strength)] = self.num_states - 1
        return np.where(fired, level, opportunity.astype(np.uint8))  # NO_OPPORTUNITY is 0, SILENT is 1

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**dataclasses.asdict(self), "cuts": list(self.cuts)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SourceBins:
        """What `to_json` gave."""
        return cls(value["name"], value["measure"], tuple(value["cuts"]), value["mean_rate"])


def _strength(measure: Measure, values: Sequence[npt.NDArray[Any]], mean_rate: float) -> Floats:
    """(n,) float64 strengths from the columns `_PARTS[measure]`; NaN where none is told."""
    if measure == "click_rate":
        clicks, impressions = values
        shrunk: Floats = (clicks + mean_rate * PRIOR_IMPRESSIONS) / (impressions + PRIOR_IMPRESSIONS)
        shrunk[(clicks == 0) & (impressions == 0)] = np.nan
        return shrunk
    if measure == "domains":
        values = [np.maximum(values[0], 1)]  # rows without a page stand on some page
    strength: Floats = values[0].astype(np.float64)
    return strength


def tercile_cuts(strengths: Floats, *, levels: int = LEVELS) -> tuple[float, ...]:
    """Cut points that part the strengths into near-equal shares, however many are tied.

    Each part in turn takes the share that is left over the parts that are left, to the nearest distinct value: 80 %
    ones, 15 % twos and 5 % more become {1}, {2}, {3 and more}, where plain terciles give one part.

    Args:
        strengths: (n,) without NaN, in any order.
        levels: parts wanted.

    Returns:
        At most levels - 1 rising values of `strengths`; none where there are fewer than two distinct ones.
    """
    distinct, counts = np.unique(strengths, return_counts=True)
    below = np.concatenate(([0], np.cumsum(counts)))  # below[i]: strengths less than distinct[i]
    cuts: list[float] = []
    start = 0
    for left in range(levels, 1, -1):
        ends = below[start + 1 : -1]  # where this part may end so that something is left
        if not len(ends):
            break
        goal = below[start] + (below[-1] - below[start]) / left
        start += 1 + int(np.argmin(np.abs(ends - goal)))
        cuts.append(float(distinct[start]))
    return tuple(cuts)


def sample_columns(sources: Sequence[Source]) -> list[str]:
    """The columns of the evidence that `fit_bins` reads."""
    return [f"{s.name}.{part}" for s in sources for part in dict.fromkeys(("rows", *_KIND_PARTS[s.kind]))]


def fit_bins(
    sources: Sequence[Source], tables: Iterable[pa.Table], *, sample_rows: int = SAMPLE_ROWS
) -> tuple[SourceBins, ...]:
    """The bins of each source, from the first `sample_rows` rows of the tables.

    Args:
        sources: in the order of their bits.
        tables: evidence in key order, at least the columns `sample_columns(sources)`; no more of them are asked for
            than needed.
        sample_rows: how many rows count, wherever tables end, so that the bins do not depend on the buckets.
    """
    fired: list[list[list[npt.NDArray[Any]]]] = [[[] for _ in _KIND_PARTS[s.kind]] for s in sources]
    left = sample_rows
    for table in tables:
        part = table.slice(0, left)
        for source, columns in zip(sources, fired, strict=True):
            where = part[f"{source.name}.rows"].to_numpy() > 0
            for name, column in zip(_KIND_PARTS[source.kind], columns, strict=True):
                column.append(part[f"{source.name}.{name}"].to_numpy()[where])
        left -= part.num_rows
        if not left:
            break
    return tuple(
        _source_bins(source, [np.concatenate(column) if column else np.empty(0) for column in columns])
        for source, columns in zip(sources, fired, strict=True)
    )


def _source_bins(source: Source, columns: Sequence[npt.NDArray[Any]]) -> SourceBins:
    """The bins of one source from its evidence in the sample's rows where it fired."""
    measure: Measure
    mean_rate = 0.0
    if source.kind == "score":
        measure, values = "score", columns
    elif source.kind == "clicks":
        clicks, impressions = columns
        measure, values = "click_rate", columns
        mean_rate = float(clicks.sum() / max(impressions.sum(), 1))
    else:
        domains, rows = columns
        measure, values = ("domains", [domains]) if len(domains) and domains.max() > 1 else ("rows", [rows])
    strength = _strength(measure, values, mean_rate)
    return SourceBins(source.name, measure, tercile_cuts(strength[~np.isnan(strength)]), mean_rate)


def state_columns(columns: Sequence[StateColumn]) -> list[str]:
    """The columns of the evidence that `state_matrix` reads."""
    return list(dict.fromkeys(["opportunity", *(name for column in columns for name in column.columns())]))


def state_matrix(table: pa.Table, columns: Sequence[StateColumn]) -> States:
    """(n, columns) uint8 states of evidence rows, C-contiguous; the sources come first, in the order of their bits."""
    opportunity = table["opportunity"].to_numpy()
    states = np.empty((table.num_rows, len(columns)), np.uint8)
    for i, column in enumerate(columns):
        states[:, i] = column.states(table, (opportunity >> np.uint64(i) & np.uint64(1)).astype(bool))
    return states
