"""What a finished build read out of the alternative texts, against what their writers meant.

In: a drawn web's texts, and the build's evidence/ and rejects/. Out: `TextTruth`: by kind of text how many were matched
to the category that was meant, to another, or to none; and how sure the build was of its matches. It knows of a text
what the build wrote down: the labels that the source of texts gave to its picture.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from ..schema import LABEL, URI
from .texts import KINDS, SOURCE

ROWS: Final = f"{SOURCE}.rows"
SCORE: Final = f"{SOURCE}.score"
AMBIGUOUS: Final = "ambiguous_text"

MEANT, ANOTHER, NOT_SURE, UNMATCHED = range(4)


@dataclasses.dataclass(frozen=True)
class TextKindTruth:
    """Texts of one kind.

    `meant` were matched to the category that their writer meant, `another` to another one, `ambiguous` were rejected as
    such, and in `unmatched` no name was found.
    """

    kind: str
    texts: int
    meant: int
    another: int
    ambiguous: int
    unmatched: int


@dataclasses.dataclass(frozen=True)
class TextTruth:
    """All texts.

    `matches` are (picture, category) pairs that the build read out of texts, `right` those of them that a text of the
    picture meant, `claimed` the mean probability that the build gave to its matches.
    """

    kinds: tuple[TextKindTruth, ...]
    matches: int
    right: int
    claimed: float


def judge_texts(texts: pa.Table, evidence: pa.Table, rejects: pa.Table) -> TextTruth:
    """Compares what was read with what was meant.

    Args:
        texts: with the schema `texts.TEXTS`.
        evidence: uri, label (its external id), rows and score of the source of texts.
        rejects: reason, uri, label.
    """
    read = evidence.filter(pc.greater(evidence[ROWS], 0))
    labels: dict[str, set[str]] = {}
    for uri, label in zip(read[URI].to_pylist(), read[LABEL].to_pylist(), strict=True):
        labels.setdefault(uri, set()).add(label)
    unsure: dict[str, set[str]] = {}
    for row in rejects.filter(pc.equal(rejects["reason"], AMBIGUOUS)).to_pylist():
        unsure.setdefault(row[URI], set()).add(row[LABEL])
    of_uri: dict[str, list[Mapping[str, str | None]]] = {}
    for row in texts.to_pylist():
        of_uri.setdefault(row["uri"], []).append(row)
    counts: Counter[tuple[str, int]] = Counter()
    right = 0
    for uri, rows in of_uri.items():
        found = labels.get(uri, set())
        right += len(found & {row["meant"] for row in rows})
        rows.sort(key=lambda row: row["meant"] != row["label"])  # brands last: their category may be another text's
        outcomes = _outcomes(rows, found, unsure.get(uri, set()))
        counts.update((str(row["kind"]), outcome) for row, outcome in zip(rows, outcomes, strict=True))
    kinds = tuple(
        TextKindTruth(kind, sum(by_outcome), *by_outcome)
        for kind in KINDS
        if any(by_outcome := [counts[kind, outcome] for outcome in (MEANT, ANOTHER, NOT_SURE, UNMATCHED)])
    )
    return TextTruth(kinds, read.num_rows, right, _mean_probability(read[SCORE]))


def _outcomes(rows: Sequence[Mapping[str, str | None]], found: set[str], unsure: set[str]) -> list[int]:
    """What became of each text of one picture; a label that was found is one text's, the first that can have it."""
    strange = len(found - {row["meant"] or "" for row in rows})
    left = set(found)
    outcomes = []
    for row in rows:
        if row["meant"] in left:
            outcomes.append(MEANT)
            left.remove(str(row["meant"]))
        elif (row["text"] or "").strip() in unsure:
            outcomes.append(NOT_SURE)
        elif strange:
            outcomes.append(ANOTHER)
            strange -= 1
        else:
            outcomes.append(UNMATCHED)
    return outcomes


def _mean_probability(score: pa.ChunkedArray) -> float:
    values = score.to_numpy().astype(np.float64)
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def text_table(truth: TextTruth, table: Table) -> Table:
    """Fills an empty table with five columns."""
    for kind in truth.kinds:
        table.add_row(
            KINDS[kind.kind], f"{kind.texts:,}", f"{kind.meant:,}", f"{kind.another:,}", f"{kind.ambiguous:,}",
            f"{kind.unmatched:,}",
        )  # fmt: skip
    table.add_section()
    totals = [
        sum(getattr(kind, field) for kind in truth.kinds)
        for field in ("texts", "meant", "another", "ambiguous", "unmatched")
    ]
    table.add_row("all", *(f"{total:,}" for total in totals))
    table.add_section()
    share = truth.right / max(truth.matches, 1)
    table.add_row("matches as meant, true", f"{truth.matches:,}", f"[bold]{share:.1%}[/]")
    table.add_row("matches as meant, claimed", "", f"{truth.claimed:.1%}")
    return table
