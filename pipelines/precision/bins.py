"""Evidence as states: what each source says about a row, in a few steps.

In: evidence rows (`schema.evidence_schema`). Out: (n, sources) uint8 states. State 0: the source had no
opportunity; 1: it looked at the image and did not say this label; from 2 on it fired, from weak to strong; then,
for scores and clicks, it fired without telling a strength, and, for links, it said much about the image and not this.
Merging the first two costs kept labels, and "no strength told" is not "weak" (a curated list has no scores), so
each is a state of its own.

The cut points are quantiles of the fired strengths in a sample: the first rows in key order, which is a uniform
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

from .mixtures import ClickRates, Floats, StatementRates, fit_click_rates, fit_statement_rates

NO_OPPORTUNITY: Final = 0
SILENT: Final = 1
FIRST_FIRED: Final = 2
SAMPLE_ROWS: Final = 2_000_000  # quantiles stand to 0.1 % even for a source that fires on a tenth of the rows
MIN_CONTESTED: Final = 0.02  # of the rows where links looked: below it, what they did not say tells nothing

Measure = Literal["score", "support", "agreement", "clicks"]
States = npt.NDArray[np.uint8]

# What of a source's evidence each kind reads, its strength in the first columns of it.
_KIND_PARTS: Final = {
    "score": ("score",),
    "links": ("support", "statements"),
    "clicks": ("clicks", "exposure"),
}
_PARTS: Final[Mapping[Measure, tuple[str, ...]]] = {
    "score": ("score",),
    "support": ("support",),
    "agreement": ("support", "statements"),
    "clicks": ("clicks", "exposure"),
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
        measure: what its strength is: its score; the independent statements for the label (`support`); the
            log-likelihood ratio of so many statements for it among all that the source makes about the image
            (`agreement`), or of so many clicks on its exposure (`clicks`).
        cuts: rising strengths; a strength equal to a cut belongs above it. Sources of few distinct strengths have
            fewer than they may.
        rates: what the ratios are made with: (low, high) of `StatementRates`, (low, high, shape) of `ClickRates`;
            () for the other measures.
        many: statements about an image from which silence about a label is a state of its own; None: never.
    """

    name: str
    measure: Measure
    cuts: tuple[float, ...]
    rates: tuple[float, ...] = ()
    many: float | None = None

    @property
    def has_untold(self) -> bool:
        """Whether it may fire without telling a strength."""
        return self.measure in {"score", "clicks"}

    @property
    def num_states(self) -> int:
        """States are [0, num_states)."""
        return self.strongest + 1 + self.has_untold + (self.many is not None)

    @property
    def strongest(self) -> int:
        """The state of the strongest evidence."""
        return FIRST_FIRED + len(self.cuts)

    @property
    def silent_states(self) -> tuple[int, ...]:
        """States in which it looked and did not say the label."""
        return (SILENT,) if self.many is None else (SILENT, self.num_states - 1)

    def state_names(self) -> tuple[str, ...]:
        """A name for each state, with the range of its strengths."""
        edges = [f"{cut:.4g}" for cut in self.cuts]
        fired = [f"{self.measure} < {edges[0]}" if edges else f"any {self.measure}"]
        fired += [f"{low} <= {self.measure} < {high}" for low, high in itertools.pairwise(edges)]
        fired += [f"{self.measure} >= {edges[-1]}"] if edges else []
        untold = ["strength not told"] if self.has_untold else []
        many = [] if self.many is None else [f"silent about it in {self.many:.4g} statements or more"]
        return ("no opportunity", "silent", *fired, *untold, *many)

    def columns(self) -> list[str]:
        """The columns of the evidence that it reads."""
        extra = ("statements",) if self.many is not None else ()
        return [f"{self.name}.{part}" for part in dict.fromkeys(("rows", *_PARTS[self.measure], *extra))]

    def states(self, table: pa.Table, opportunity: npt.NDArray[np.bool_]) -> States:
        """(n,) uint8 state of each evidence row; `opportunity` tells whether the source looked at its image."""
        fired = table[f"{self.name}.rows"].to_numpy() > 0
        strength = self.strengths([table[f"{self.name}.{part}"].to_numpy() for part in _PARTS[self.measure]])
        level = np.full(len(fired), FIRST_FIRED, np.uint8)
        for cut in self.cuts:  # a handful: quicker than a binary search
            level += strength >= cut
        if self.has_untold:
            level[np.isnan(strength)] = self.strongest + 1
        silent = opportunity.astype(np.uint8)  # NO_OPPORTUNITY is 0, SILENT is 1
        if self.many is not None:
            silent[table[f"{self.name}.statements"].to_numpy() >= np.float32(self.many)] = self.num_states - 1
        return np.where(fired, level, silent)

    def strengths(self, values: Sequence[npt.NDArray[Any]]) -> Floats:
        """(n,) float64 strengths from the columns of its measure; NaN where none is told."""
        if self.measure == "clicks":
            clicks, exposure = values
            ratio = ClickRates(*self.rates).log_ratio(clicks, exposure)
            ratio[(clicks == 0) & (exposure == 0)] = np.nan
            return ratio
        if self.measure == "agreement":
            return StatementRates(*self.rates).log_ratio(values[0], values[1])
        strength: Floats = values[0].astype(np.float64)
        return strength

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**dataclasses.asdict(self), "cuts": list(self.cuts), "rates": list(self.rates)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SourceBins:
        """What `to_json` gave."""
        return cls(value["name"], value["measure"], tuple(value["cuts"]), tuple(value["rates"]), value["many"])


def quantile_cuts(strengths: Floats, levels: int) -> tuple[float, ...]:
    """Cut points that part the strengths into near-equal shares, however many are tied.

    Each part in turn takes the share that is left over the parts that are left, to the nearest distinct value: 80 %
    ones, 15 % twos and 5 % more become {1}, {2}, {3 and more} of three, where plain terciles give one part.

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
    return ["opportunity", *(f"{s.name}.{part}" for s in sources for part in ("rows", *_KIND_PARTS[s.kind]))]


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
    looked: list[list[list[npt.NDArray[Any]]]] = [[[] for _ in ("rows", *_KIND_PARTS[s.kind])] for s in sources]
    left = sample_rows
    for table in tables:
        part = table.slice(0, left)
        opportunity = part["opportunity"].to_numpy()
        for i, (source, columns) in enumerate(zip(sources, looked, strict=True)):
            where = (opportunity >> np.uint64(i) & np.uint64(1)).astype(bool)
            for name, column in zip(("rows", *_KIND_PARTS[source.kind]), columns, strict=True):
                column.append(part[f"{source.name}.{name}"].to_numpy()[where])
        left -= part.num_rows
        if not left:
            break
    return tuple(
        _source_bins(source, [np.concatenate(column) if column else np.empty(0) for column in columns])
        for source, columns in zip(sources, looked, strict=True)
    )


def _source_bins(source: Source, columns: Sequence[npt.NDArray[Any]]) -> SourceBins:
    """The bins of one source from its evidence in the sample's rows where it looked."""
    fired = columns[0] > 0
    values = columns[1:]
    bins = SourceBins(source.name, *_measure(source, fired, values))
    strength = bins.strengths([column[fired] for column in values[: len(_PARTS[bins.measure])]])
    cuts = quantile_cuts(strength[~np.isnan(strength)], source.levels)
    return dataclasses.replace(bins, cuts=cuts, many=_many(bins, fired, values))


def _measure(
    source: Source, fired: npt.NDArray[np.bool_], values: Sequence[npt.NDArray[Any]]
) -> tuple[Measure, tuple[float, ...], tuple[float, ...]]:
    """(measure, no cuts yet, rates): the finest that the sample can carry."""
    if source.kind == "score":
        return "score", (), ()
    if source.kind == "clicks":
        shown = fired & (values[1] > 0)
        clicks = fit_click_rates(values[0][shown], values[1][shown])
        rate = float(values[0].sum()) / max(float(values[1].sum()), 1.0)
        # One kind of rates: any two rates around the mean put the counts in the same sensible order.
        return "clicks", (), dataclasses.astuple(clicks or ClickRates(max(rate, 1e-6) / 2, max(rate, 1e-6) * 2, 1.0))
    support, statements = values
    contested = statements > support * np.float32(1.0001)
    if len(fired) and float(contested.mean()) >= MIN_CONTESTED:
        rates = fit_statement_rates(support.astype(np.float64), statements.astype(np.float64))
        if rates is not None:
            return "agreement", (), dataclasses.astuple(rates)
    return "support", (), ()


def _many(bins: SourceBins, fired: npt.NDArray[np.bool_], values: Sequence[npt.NDArray[Any]]) -> float | None:
    """Where the upper third of the statements about images begins for which the source did not say the label."""
    if bins.measure != "agreement":
        return None
    cuts = quantile_cuts(values[1][~fired].astype(np.float64), 3)
    return cuts[-1] if cuts else None


def state_columns(columns: Sequence[StateColumn], *more: str) -> list[str]:
    """The columns of the evidence that `state_matrix` reads, and further ones."""
    return list(dict.fromkeys(["opportunity", *more, *(name for column in columns for name in column.columns())]))


def state_matrix(table: pa.Table, columns: Sequence[StateColumn]) -> States:
    """(n, columns) uint8 states of evidence rows, C-contiguous; the sources come first, in the order of their bits."""
    opportunity = table["opportunity"].to_numpy()
    states = np.empty((table.num_rows, len(columns)), np.uint8)
    for i, column in enumerate(columns):
        states[:, i] = column.states(table, (opportunity >> np.uint64(i) & np.uint64(1)).astype(bool))
    return states
