"""What a finished build claimed, against the truth of the web that it was built from.

In: a drawn web, and the build's folder with evidence/, labels/, catalog/, duplicates/, overlaps/ and rejects/. Out:
`DemoTruth`: label precision before and after the filter, texts matched to what they mean, planted copies found by
transform, pictures at two addresses grouped, rejects by reason as expected and as found; as tables for a terminal and
as JSON. It judges only what the build wrote down, by address and external id.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from ..errors import StaleError
from ..schema import KEY, LABEL, STATUS_OK, URI
from ..storage import Store
from .copies import TRANSFORMS
from .duplicate_truth import DuplicateTruth, duplicate_table, judge_duplicates
from .hierarchy import ancestors
from .settings import TARGET_PRECISION
from .signals import CORRECT, STATES
from .text_truth import AMBIGUOUS, ROWS, SCORE, TextTruth, judge_texts, text_table
from .web import DemoWeb

_PAIR: Final = [URI, LABEL]
MISREAD: Final = "misread"  # the state of a wrong candidate that only a text, not understood, speaks for


@dataclasses.dataclass(frozen=True)
class LabelTruth:
    """Labels by the truth.

    `precision_unseen` leaves out the kept labels that were in the gold; `claimed` is the mean probability that the
    filter gave to what it kept; `recall` is the share of the correct candidates that were kept.
    """

    candidates: int
    kept: int
    target: float
    claimed: float
    precision_before: float
    precision_after: float
    precision_unseen: float
    recall: float
    by_state: dict[str, tuple[int, int]]  # candidates, kept


@dataclasses.dataclass(frozen=True)
class CopyTruth:
    """Planted copies of one transform.

    Of those `planted`, `fetched` were stored (the others' labels were dropped); of these `found` were matched to the
    evaluation picture that they copy, and `removed` to any.
    """

    transform: str
    planted: int
    fetched: int
    found: int
    removed: int


@dataclasses.dataclass(frozen=True)
class CountTruth:
    """How often something had to occur and how often it did."""

    name: str
    expected: int
    found: int


@dataclasses.dataclass(frozen=True)
class DemoTruth:
    """The whole comparison.

    `clean_images` are stored images that copy nothing; `false_overlaps` of them were taken for copies.
    `misjudged` are addresses whose outcome is not the one that they had to have.
    """

    labels: LabelTruth
    texts: TextTruth
    copies: tuple[CopyTruth, ...]
    duplicates: DuplicateTruth
    clean_images: int
    false_overlaps: int
    rows: int
    rejects: tuple[CountTruth, ...]
    fetches: tuple[CountTruth, ...]
    misjudged: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def compare_with_truth(web: DemoWeb, store: Store) -> DemoTruth:
    """Compares a finished build with the web it was built from.

    Args:
        web: as drawn.
        store: the build's folder.

    Raises:
        StaleError: a stage's files are missing.
    """
    names = store.read_table("taxonomy/vocabulary.parquet", ["label", "id"])
    ids = dict(zip(names["label"].to_pylist(), names["id"].to_pylist(), strict=True))
    evidence = _named(_read(store, "evidence", [*_PAIR, ROWS, SCORE]), ids)
    candidates = evidence.select(_PAIR)
    truth = _with_strangers(web, candidates)
    kept = _named(_read(store, "labels", [*_PAIR, "probability"]), ids)
    catalog = _read(store, "catalog", [KEY, URI, "status", "http_status"])
    verdicts = _read(store, "verdicts", [KEY, "eval_set", "eval_id", "removed"])
    overlaps = verdicts.filter(verdicts["removed"])
    rejects = _read(store, "rejects", ["reason", URI, LABEL])
    fetches, misjudged = _fetches(web, catalog)
    copies, clean, false = _copies(web, catalog, overlaps)
    return DemoTruth(
        labels=_labels(truth, candidates, kept),
        texts=judge_texts(web.texts(), evidence, rejects),
        copies=copies,
        duplicates=judge_duplicates(web, _stored(catalog), _read(store, "duplicates", [KEY, "group"])),
        clean_images=clean,
        false_overlaps=false,
        rows=web.rows,
        rejects=_counts(
            # Which texts are too ambiguous was not planted but is the build's to say; `texts` tells of them.
            Counter(web.rejects),
            Counter(reason for reason in rejects["reason"].to_pylist() if reason != AMBIGUOUS),
        ),
        fetches=fetches,
        misjudged=misjudged,
    )


def _read(store: Store, stage: str, columns: list[str]) -> pa.Table:
    files = [path for path in store.list_files(stage) if path.endswith(".parquet")]
    if not files:
        raise StaleError(f"{store.root}: expected a finished build with {stage}/, found none. Build it first")
    return pa.concat_tables([store.read_table(path, columns) for path in files])


def _named(table: pa.Table, ids: dict[int, str]) -> pa.Table:
    """With the labels' external ids for their numbers."""
    place = table.schema.get_field_index(LABEL)
    return table.set_column(place, LABEL, pa.array([ids[label] for label in table[LABEL].to_pylist()], pa.string()))


def true_pairs(web: DemoWeb, store: Store) -> set[tuple[str, str]]:
    """(address, label id) of every candidate of the build that is right."""
    names = store.read_table("taxonomy/vocabulary.parquet", ["label", "id"])
    ids = dict(zip(names["label"].to_pylist(), names["id"].to_pylist(), strict=True))
    truth = _with_strangers(web, _named(_read(store, "evidence", _PAIR), ids))
    right = truth.filter(truth["correct"])
    return set(zip(right[URI].to_pylist(), right[LABEL].to_pylist(), strict=True))


def _with_strangers(web: DemoWeb, candidates: pa.Table) -> pa.Table:
    """The truth of all candidates: those that were drawn, and those that came of texts that were read otherwise."""
    truth = web.truth()
    strangers = candidates.join(truth, _PAIR, join_type="left anti").sort_by([(name, "ascending") for name in _PAIR])
    fates = web.fates()
    shown = dict(zip(fates["uri"].to_pylist(), fates["leaf"].to_pylist(), strict=True))
    correct = [
        label in {shown[uri], *ancestors(shown[uri])}
        for uri, label in zip(strangers[URI].to_pylist(), strangers[LABEL].to_pylist(), strict=True)
    ]
    columns = {
        URI: strangers[URI],
        LABEL: strangers[LABEL],
        "correct": correct,
        "state": [STATES[CORRECT] if is_correct else MISREAD for is_correct in correct],
        "gold": [False] * len(correct),
    }
    return pa.concat_tables([truth, pa.table(columns, schema=truth.schema)])


def _labels(truth: pa.Table, candidates: pa.Table, kept: pa.Table) -> LabelTruth:
    before = candidates.join(truth, _PAIR, join_type="inner")
    after = kept.join(truth, _PAIR, join_type="inner")
    unseen = after.filter(pc.invert(after["gold"]))
    correct = pc.sum(before["correct"]).as_py() or 0
    counts = [Counter(table["state"].to_pylist()) for table in (before, after)]
    return LabelTruth(
        candidates=candidates.num_rows,
        kept=kept.num_rows,
        target=TARGET_PRECISION,
        claimed=_mean(kept["probability"]),
        precision_before=_mean(before["correct"]),
        precision_after=_mean(after["correct"]),
        precision_unseen=_mean(unseen["correct"]),
        recall=(pc.sum(after["correct"]).as_py() or 0) / max(correct, 1),
        by_state={state: (counts[0][state], counts[1][state]) for state in (*STATES, MISREAD)},
    )


def _mean(column: pa.ChunkedArray) -> float:
    return float(pc.mean(column).as_py() or 0.0) if len(column) else 0.0


def _stored(catalog: pa.Table) -> dict[bytes, str]:
    """Address of each stored image."""
    stored = catalog.filter(pc.equal(catalog["status"], STATUS_OK))
    return dict(zip(stored[KEY].to_pylist(), stored[URI].to_pylist(), strict=True))


def _copies(web: DemoWeb, catalog: pa.Table, overlaps: pa.Table) -> tuple[tuple[CopyTruth, ...], int, int]:
    """By transform; stored images that copy nothing; how many of these were taken for copies."""
    uri_of = _stored(catalog)
    matches: dict[str, set[tuple[str, str]]] = {}
    for row in overlaps.to_pylist():
        matches.setdefault(uri_of[row[KEY]], set()).add((row["eval_set"], row["eval_id"]))
    planted = web.copies().to_pylist()
    present = set(uri_of.values())
    rows = []
    for transform in TRANSFORMS:
        of_it = [copy for copy in planted if copy["transform"] == transform]
        fetched = [copy for copy in of_it if copy["uri"] in present]
        found = sum((copy["eval_set"], copy["eval_id"]) in matches.get(copy["uri"], ()) for copy in fetched)
        removed = sum(copy["uri"] in matches for copy in fetched)
        rows.append(CopyTruth(transform, len(of_it), len(fetched), found, removed))
    clean = present - {copy["uri"] for copy in planted}
    return tuple(rows), len(clean), len(clean & matches.keys())


def _fetches(web: DemoWeb, catalog: pa.Table) -> tuple[tuple[CountTruth, ...], int]:
    """Outcomes of the addresses that were asked for, and how many had another outcome than they had to."""
    fates = web.fates()
    expected_of = {
        uri: _outcome(status, http_status)
        for uri, status, http_status in zip(
            fates["uri"].to_pylist(), fates["status"].to_pylist(), fates["http_status"].to_pylist(), strict=True
        )
    }
    asked = catalog.select([URI, "status", "http_status"]).to_pylist()
    found_of = {row[URI]: _outcome(row["status"], row["http_status"]) for row in asked}
    expected = Counter(expected_of.get(uri, "unknown address") for uri in found_of)
    misjudged = sum(expected_of.get(uri) != outcome for uri, outcome in found_of.items())
    return _counts(expected, Counter(found_of.values())), misjudged


def _outcome(status: str, http_status: int | None) -> str:
    return f"{status} {http_status}" if status == "http_error" else status


def _counts(expected: Counter[str], found: Counter[str]) -> tuple[CountTruth, ...]:
    return tuple(CountTruth(name, expected[name], found[name]) for name in sorted({*expected, *found}))


def render(truth: DemoTruth) -> list[Table]:
    """The comparison as tables for a terminal."""
    duplicates = _table("Pictures at two addresses", ("", "stored twice", "in one group"))
    return [
        _label_table(truth.labels),
        _text_table(truth.texts),
        _copy_table(truth),
        duplicate_table(truth.duplicates, duplicates),
        _reject_table(truth),
    ]


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    return table


def _label_table(labels: LabelTruth) -> Table:
    table = _table("Labels: claimed against the truth", ("", "candidates", "kept", "kept of them"))
    for state, (before, after) in labels.by_state.items():
        table.add_row(state, f"{before:,}", f"{after:,}", f"{after / max(before, 1):.1%}")
    table.add_section()
    table.add_row("precision, true", f"{labels.precision_before:.1%}", f"[bold]{labels.precision_after:.1%}[/]", "")
    table.add_row("precision, true, not in gold", "", f"{labels.precision_unseen:.1%}", "")
    table.add_row("precision, claimed", "", f"{labels.claimed:.1%}", "")
    table.add_row("precision, target", "", f"{labels.target:.1%}", "")
    return table


def _text_table(texts: TextTruth) -> Table:
    columns = ("what they say", "texts", "meant", "another", "ambiguous", "no match")
    return text_table(texts, _table("Alternative texts: category matched against category meant", columns))


def _copy_table(truth: DemoTruth) -> Table:
    table = _table(
        "Copies of evaluation pictures", ("transform", "planted", "label kept", "found", "removed", "recall")
    )
    for c in truth.copies:
        recall = f"{c.found / c.fetched:.0%}" if c.fetched else "-"
        table.add_row(c.transform, f"{c.planted}", f"{c.fetched}", f"{c.found}", f"{c.removed}", recall)
    fetched = sum(c.fetched for c in truth.copies)
    found, removed = sum(c.found for c in truth.copies), sum(c.removed for c in truth.copies)
    table.add_section()
    table.add_row(
        "all", f"{sum(c.planted for c in truth.copies)}", f"{fetched}", f"{found}", f"{removed}",
        f"[bold]{found / max(fetched, 1):.0%}[/]",
    )  # fmt: skip
    table.add_row("no copy", "", f"{truth.clean_images:,}", "", f"{truth.false_overlaps}", "")
    return table


def _reject_table(truth: DemoTruth) -> Table:
    table = _table("Rejects by reason", ("", "expected", "counted"))

    def add(rows: Iterable[CountTruth]) -> None:
        for row in rows:
            style = None if row.expected == row.found else "yellow"
            table.add_row(row.name, f"{row.expected:,}", f"{row.found:,}", style=style)

    add([CountTruth("rows of the pair files", truth.rows, truth.rows)])
    add(truth.rejects)
    table.add_section()
    add(row for row in truth.fetches if row.name != STATUS_OK)
    add(CountTruth("images stored", row.expected, row.found) for row in truth.fetches if row.name == STATUS_OK)
    table.add_row("addresses with another outcome than expected", "0", f"{truth.misjudged:,}")
    return table
