"""The certificate in the report: in plain words, then its groups, its classes, and how far the judges agree.

In: `audit/certificate.json`. Out: facts for report.json, a sentence, tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openjft.pipelines.audit.stored import is_current, read_certificate
from openjft.pipelines.storage import Store

from .figures import interval, percent
from .page import TableView

_SHOWN_CLASSES = 20


def certificate_facts(store: Store) -> dict[str, Any] | None:
    """The certificate, and whether it speaks of the labels as they are scored now; None without one."""
    value = read_certificate(store)
    if value is None:
        return None
    mark = "scores/_stage.json"
    scores = store.read_json(mark)["fingerprint"] if store.exists(mark) else ""
    return {**value, "current": is_current(value, scores)}


def certificate_sentence(c: Mapping[str, Any]) -> str:
    """What is certified, for a tile."""
    return (
        f"{c['k']:,} of {c['n']:,} judged labels right at probability {c['threshold']:.3f}; such a statement is "
        f"wrong at "
        f"most {percent(c['delta'], 0)} of the time"
    )


def certificate_words(c: Mapping[str, Any]) -> list[str]:
    """The certificate in plain words, a sentence each."""
    drawn = (
        f"{c['judged']:,} labels, drawn at random from the {c['eligible']:,} that could be kept and whose images the "
    )
    words = [drawn + f"filter was not fitted on, were judged by {_people(c['annotators'])}."]
    if c["threshold"] is None:
        words.append(f"Nothing is certified: {c['reason']}.")
    else:
        words.append(
            f"Of all labels with probability {c['threshold']:.3f} or more ({c['kept']:,} of {c['candidates']:,}), "
            f"at least "
            f"{percent(c['target'])} are right. The way by which this was found is wrong at most "
            f"{percent(c['delta'], 0)} "
            "of the time, whatever the filter is like (Learn-then-Test); it does not say so of any single class."
        )
        words.append(f"Of those judged, {c['k']:,} of {c['n']:,} were right: {interval(c['interval'])}, 95 % interval.")
    left_out = [f"{number:,} {reason.replace('_', ' ')}" for reason, number in c["answers"].items() if number]
    if left_out:
        words.append(f"Answers: {', '.join(left_out)}. A label counts as right where every judge said yes.")
    if not c["current"]:
        words.append("It speaks of other evidence or settings than this build's: judge again.")
    return words


def _people(annotators: list[str]) -> str:
    return annotators[0] if len(annotators) == 1 else f"{len(annotators)} people ({', '.join(annotators)})"


def certificate_tables(c: Mapping[str, Any] | None) -> list[TableView]:
    """The certificate's tables; none without a certificate."""
    if c is None:
        return []
    tables = [TableView(("certificate",), [(line,) for line in certificate_words(c)])]
    if c["groups"]:
        tables.append(_groups(c))
    if c["classes"]:
        tables.append(_classes(c))
    if c["agreement"]:
        tables.append(_agreement(c["agreement"]))
    return tables


def _groups(c: Mapping[str, Any]) -> TableView:
    rows = [
        (
            group["name"],
            f"{group['k']:,} of {group['n']:,}",
            interval(group["interval"]),
            "certified" if group["certified"] else group["why"],
        )
        for group in c["groups"]
    ]
    caption = (
        f"Branches by size of class: precision of at least {percent(c['target'])}, all certified lines together "
        f"wrong at "
        f"most {percent(c['delta'], 0)} of the time (Holm)"
    )
    return TableView(("group", "right of judged", "precision, 95 %", "certificate"), rows, frozenset({1, 2}), caption)


def _classes(c: Mapping[str, Any]) -> TableView:
    rows = [
        (
            each["name"],
            f"{each['correct']:,} of {each['judged']:,}",
            percent(each["model_mean"]),
            f"{percent(each['mean'])} [{100 * each['low']:.1f}, {100 * each['high']:.1f}]",
        )
        for each in c["classes"][:_SHOWN_CLASSES]
    ]
    caption = (
        "Single classes, the least precise first: what the model expects, and what is to be believed after the "
        "audit. A "
        "Bayesian statement (Beta prior from the model, worth 12 labels), not a certificate"
    )
    header = ("class", "right of judged", "model", "belief, 95 %")
    return TableView(header, rows, frozenset({1, 2, 3}), caption, folded="Single classes")


def _agreement(a: Mapping[str, Any]) -> TableView:
    rows = [("judged by both", f"{a['both']:,}"), ("same answer", percent(a["raw"]))]
    rows.append(("Cohen's kappa", "-" if a["kappa"] is None else f"{a['kappa']:.2f}"))
    return TableView(("two judges", ""), rows, frozenset({1}), "How far the judges agree")
