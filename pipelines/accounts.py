"""The account of a whole build: what became of every row, stage by stage, read from the records of finished units.

In: `STAGE/_done/*.json`. Out: `StageAccount` in the order of the build, as the manifest and the report show it. Times
and other counters are left out: equal builds have equal accounts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from openjft.loaders.manifest import StageAccount

from .engine import UnitResult
from .storage import Store

# The stages in the order of a build, and what their rows are.
ROWS: Final[Mapping[str, str]] = {
    "spill": "rows",
    "evidence": "pairs",
    "precision": "labels",
    "priors": "labels",
    "scores": "labels",
    "labels": "labels",
    "expanded": "labels",
    "images": "images",
    "embeddings": "images",
    "cells": "images",
    "edges": "vectors",
    "members": "images",
    "duplicates": "images",
    "overlaps": "images",
    "verdicts": "pairs",
    "shards": "images",
}


def stage_totals(store: Store, stages: Sequence[str] = tuple(ROWS)) -> dict[str, UnitResult]:
    """Sum of the records of each stage that has any of its present fingerprint; counters too."""
    return {name: total for name in stages if (total := _total(store, name)) is not None}


def stage_accounts(store: Store, stages: Sequence[str] = tuple(ROWS)) -> list[StageAccount]:
    """The accounts of the stages that have records of their present fingerprint."""
    return [to_account(name, total) for name, total in stage_totals(store, stages).items()]


def to_account(stage: str, total: UnitResult) -> StageAccount:
    """A stage's sum as the manifest holds it; reasons that never occurred are left out."""
    rejects = {reason: count for reason, count in sorted(total.rejects.items()) if count}
    return StageAccount(stage, ROWS[stage], total.rows_in, total.rows_out, rejects)


def _total(store: Store, stage: str) -> UnitResult | None:
    mark = f"{stage}/_stage.json"
    if not store.exists(mark):
        return None
    fingerprint = store.read_json(mark)["fingerprint"]
    total: UnitResult | None = None
    for path in store.list_files(f"{stage}/_done"):
        record = store.read_json(path)
        if record["fingerprint"] != fingerprint:
            continue
        unit = UnitResult(**{key: record[key] for key in ("rows_in", "rows_out", "rejects", "counters")})
        total = unit if total is None else total + unit
    return total
