"""The report's section on labels: the filter, how right it is, for which classes, and what an audit certifies.

In: precision.json, what was kept of each class, the certificate where there is one. Out: a `Section`, and the tile on
top of the page. Three kinds of statement, never mixed: what the model expects, what the gold shows (cross-fitted,
with an interval), what an audit of other labels certifies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from openjft.pipelines.precision.threshold import STEPS

from . import plots
from .certificate import certificate_sentence, certificate_tables
from .figures import interval, percent
from .kept import WORST_MIN_KEPT
from .page import FigureView, Section, TableView, Tile

if TYPE_CHECKING:
    from .gather import Gathered
    from .pairs import Galleries

_METHODS = {
    "lr1": "logistic regression on binned evidence, fitted on gold labels",
    "lr2": "logistic regression on binned evidence and on what is known of each class, fitted on gold labels",
    "em": "expectation-maximisation on evidence patterns, without gold: in order, but not calibrated",
}


def precision_tile(facts: Mapping[str, Any]) -> Tile:
    """The figure that one reads first: certified, else on gold, else not measured."""
    certificate, precision = facts["certificate"], facts["precision"]
    if certificate and certificate["current"] and certificate["threshold"] is not None:
        return Tile(
            "label precision, certified", f"\u2265 {percent(certificate['target'])}", certificate_sentence(certificate)
        )
    after = (facts["kept"] or precision)["after"]
    if after and after["precision"] is not None:
        was = percent(precision["before"]["precision"])
        note = f"95 % interval {100 * after['low']:.1f} to {100 * after['high']:.1f}; was {was}"
        return Tile("label precision on gold", percent(after["precision"]), note)
    return Tile("label precision", "not measured", "no gold labels; the filter is uncalibrated")


def precision_section(g: Gathered, galleries: Galleries) -> Section | None:
    """The whole section; None before the filter is fitted."""
    p, kept = g.facts["precision"], g.facts["kept"]
    if not p:
        return None
    tables = [_before_and_after(p, kept)]
    tables += [TableView(("note",), [(note,) for note in p["notes"]])] if p["notes"] else []
    tables += certificate_tables(g.facts["certificate"])
    tables += [_by_size(kept)] if kept else []
    tables += [_worst(g.facts["worst_classes"])] if g.facts["worst_classes"] else []
    tables += [_sources(p), *_class_terms(p)]
    shown = [gallery for gallery in (galleries.unsure, galleries.worst) if gallery]
    return Section("precision", "Labels", _text(p, kept), (), _figures(g), tables, shown)


def _text(p: Mapping[str, Any], kept: Mapping[str, Any] | None) -> str:
    text = f"Filter: {_METHODS[p['method']]}. "
    if kept and kept["by"] == "certificate":
        text += f"Kept is every label with probability {kept['threshold']:.3f} or more: that is what an audit certifies"
    else:
        text += (
            f"Kept is every label with probability {p['threshold']:.3f} or more, the most labels whose mean "
            f"probability "
            f"reaches the target of {percent(p['target'])}"
        )
    if p["class_floor"] is not None:
        text += f"; and of each class only as many as have a mean of {percent(p['class_floor'])}"
    alone = p["classes"]["without_gold"]
    if p["method"] == "lr2" and alone:
        text += (
            f". {alone:,} of {p['classes']['with_candidates']:,} classes have no gold label; they are judged by "
            f"their own "
            "evidence and by their branch of the hierarchy"
        )
    return text + "."


def _before_and_after(p: Mapping[str, Any], kept: Mapping[str, Any] | None) -> TableView:
    after = kept or p
    rows = [
        ("candidates", f"{p['candidates']:,}", interval(p["before"])),
        ("kept", f"{after['kept']:,}", interval(after["after"])),
    ]
    return TableView(
        ("labels", "number", "precision on gold, 95 % interval"),
        rows,
        frozenset({1, 2}),
        f"Expected precision of the kept labels by the model: {percent(after['expected_precision'])}. "
        "Gold judgements are cross-fitted: a label is judged by a model that did not see its image.",
    )


def band(row: Mapping[str, Any]) -> str:
    """'20 to 99' of a row of sizes."""
    if row["to"] is None:
        return f"{row['from']:,} and more"
    return f"under {row['to']:,}" if not row["from"] else f"{row['from']:,} to {row['to'] - 1:,}"


def _by_size(kept: Mapping[str, Any]) -> TableView:
    rows = [
        (
            band(row),
            f"{row['classes']:,}",
            f"{row['candidates']:,}",
            f"{row['kept']:,}",
            percent(row["kept"] / row["candidates"] if row["candidates"] else None),
            percent(row["expected_precision"]),
            interval(row["gold"]),
        )
        for row in kept["by_size"]
    ]
    header = ("candidates of a class", "classes", "candidates", "kept", "share", "expected precision", "on gold")
    return TableView(header, rows, frozenset(range(1, 7)), "Labels by the size of their class")


def _worst(classes: list[dict[str, Any]]) -> TableView:
    rows = [(c["name"], f"{c['candidates']:,}", f"{c['kept']:,}", percent(c["expected_precision"])) for c in classes]
    caption = f"Classes whose kept labels are least sure, of those with {WORST_MIN_KEPT} or more"
    return TableView(("class", "candidates", "kept", "expected precision"), rows, frozenset({1, 2, 3}), caption)


def _sources(p: Mapping[str, Any]) -> TableView:
    rows = [
        (s["name"], state["state"], f"{state['count']:,}", f"{state['weight']:+.2f}")
        for s in p["sources"]
        for state in s["states"]
    ]
    header = ("source", "evidence", "candidates", "weight, log-odds")
    return TableView(header, rows, frozenset({2, 3}), folded="What each source's evidence is worth")


def _class_terms(p: Mapping[str, Any]) -> list[TableView]:
    if p["method"] != "lr2":
        return []
    rows = [(name, f"{value:+.2f}") for name, value in p["classes"]["coefficients"].items()]
    return [TableView(("term", "weight"), rows, frozenset({1}), folded="What is known of each class is worth")]


def _figures(g: Gathered) -> list[FigureView]:
    p, kept = g.facts["precision"], g.facts["kept"]
    figures = []
    if g.histogram is not None and g.histogram.num_rows:
        share, precision = trade_off(g.histogram)
        number = (kept or p)["kept"]
        svg = plots.trade_off(share, precision, number / max(p["candidates"], 1), p["target"])
        figures.append(FigureView(svg, "Expected precision against labels kept; the line is the point chosen."))
    rows = [row for row in p["calibration"] if row["n"]]
    if rows:
        svg = plots.calibration(
            [r["mean_probability"] for r in rows],
            [r["gold_rate"] for r in rows],
            [r["n"] for r in rows],
            intervals=[(r["low"], r["high"]) for r in rows],
        )
        caption = (
            "Calibration: on the dashed line, probabilities mean what they say; bars are 95 % intervals. Expected "
            f"calibration error on the gold: {p['calibration_error']:.3f}."
        )
        figures.append(FigureView(svg, caption))
    if kept and any(row["candidates"] for row in kept["by_size"]):
        used = [row for row in kept["by_size"] if row["candidates"]]
        svg = plots.by_size(
            [band(row) for row in used],
            [row["kept"] / row["candidates"] for row in used],
            [row["expected_precision"] for row in used],
            [row["gold"] if row["gold"] and row["gold"]["n"] else None for row in used],
        )
        figures.append(FigureView(svg, "Share kept and precision by the number of a class's candidates."))
    return figures


def trade_off(histogram: pa.Table) -> tuple[Any, Any]:
    """(share kept, expected precision) of every threshold, from strict to loose."""
    probability = histogram["steps"].to_numpy()[::-1] / STEPS
    counts = histogram["count"].to_numpy()[::-1].astype(np.float64)
    cumulative = np.cumsum(counts)
    return cumulative / cumulative[-1], np.cumsum(counts * probability) / cumulative
