"""What a finished build grouped as duplicates, against what the web showed twice.

In: the web's fates and copies, the build's catalog and `duplicates/`. Out: `DuplicateTruth`. Two addresses show one
picture when one of them repeats the other's, or when both show copies of one evaluation picture; the latter may differ
by a crop or a mirror, so that nothing is asked of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pyarrow as pa
from rich.table import Table

from ..schema import KEY
from .web import DemoWeb

REPEATS = {"duplicate": "the same bytes", "recompressed": "stored anew"}


@dataclasses.dataclass(frozen=True)
class RepeatTruth:
    """Pictures repeated in one way, of which both addresses were stored; and how many of them share a group."""

    kind: str
    stored: int
    found: int


@dataclasses.dataclass(frozen=True)
class DuplicateTruth:
    """Groups by the truth.

    `members` are images that were given another one as representative; `wrong` of them show another picture.
    """

    repeats: tuple[RepeatTruth, ...]
    members: int
    wrong: int


def judge_duplicates(web: DemoWeb, uri_of: Mapping[bytes, str], duplicates: pa.Table) -> DuplicateTruth:
    """Compares the groups of a build with the truth.

    Args:
        web: as drawn.
        uri_of: address of each stored image.
        duplicates: rows of `openjft.dedup.schema.DUPLICATES`.
    """
    group = {uri_of[row[KEY]]: uri_of[row["group"]] for row in duplicates.to_pylist()}
    fates = web.fates().to_pylist()
    shows = {fate["uri"]: fate["same_as"] or fate["uri"] for fate in fates}
    shows |= {copy["uri"]: f"{copy['eval_set']}/{copy['eval_id']}" for copy in web.copies().to_pylist()}
    present = set(uri_of.values())
    rows = []
    for kind in REPEATS:
        both = [f for f in fates if f["kind"] == kind and f["uri"] in present and f["same_as"] in present]
        found = sum(group.get(f["uri"], f["uri"]) == group.get(f["same_as"]) for f in both)
        rows.append(RepeatTruth(kind, len(both), found))
    members = [(uri, leader) for uri, leader in group.items() if uri != leader]
    wrong = sum(shows[uri] != shows[leader] for uri, leader in members)
    return DuplicateTruth(tuple(rows), len(members), wrong)


def duplicate_table(truth: DuplicateTruth, table: Table) -> Table:
    """Fills a table of the columns (what, planted, found)."""
    for repeat in truth.repeats:
        table.add_row(REPEATS[repeat.kind], f"{repeat.stored}", f"{repeat.found}")
    table.add_section()
    table.add_row("taken for duplicates, and show another picture", f"of {truth.members}", f"{truth.wrong}")
    return table
