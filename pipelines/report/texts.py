"""The report on words to categories: what became of the texts where inputs carry text.

In: the account of the spill stage and the priors, if it learned some. Out: facts and a section.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openjft.pipelines.ingest.words import PRIORS
from openjft.pipelines.storage import Store

from .figures import percent
from .page import Section, TableView

_REASONS = {
    "no_match": "no name of a category occurs",
    "ambiguous_text": "names occur, none of which surely means a category",
}


def text_facts(store: Store, account: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Rows of text, labels found in them, rejects by reason, mentions that taught priors; None without text."""
    spill = next((row for row in account if row["stage"] == "spill"), None)
    if spill is None or not spill["counters"].get("text_rows"):
        return None
    counts = store.read_json(PRIORS)["counts"] if store.exists(PRIORS) else {}
    return {
        "rows": spill["counters"]["text_rows"],
        "matches": spill["counters"].get("text_matches", 0),
        "silent": spill["counters"].get("text_silent", 0),
        "rejects": {reason: spill["rejects"].get(reason, 0) for reason in _REASONS},
        "prior_mentions": {source: sum(found.values()) for source, found in sorted(counts.items())},
    }


def text_section(facts: Mapping[str, Any] | None) -> Section | None:
    """The section; None without text."""
    if not facts:
        return None
    n = facts["rows"]
    text = (
        f"{n:,} rows carried text instead of ids. {facts['matches']:,} labels were found in them, "
        f"{facts['matches'] / n:.2f} a row: the longest name counts, and a name of several categories only where the "
        "words around it tell which one is meant."
    )
    rows = [("rows of text", f"{n:,}", "")]
    rows += [
        (told, f"{facts['rejects'][r]:,}", percent(facts["rejects"][r] / n))
        for r, told in _REASONS.items()
        if facts["rejects"][r]
    ]
    if facts["silent"]:
        told = "no name of a category occurs: kept as 'its source looked'"
        rows.append((told, f"{facts['silent']:,}", percent(facts["silent"] / n)))
    tables = [TableView(("what became of them", "rows", "share"), rows, frozenset({1, 2}))]
    mentions = [(source, f"{count:,}") for source, count in facts["prior_mentions"].items()]
    if mentions:
        header = ("source", "mentions without ambiguity")
        tables.append(TableView(header, mentions, frozenset({1}), folded="What the priors of senses were learned from"))
    return Section("texts", "Words to categories", text, tables=tables)
