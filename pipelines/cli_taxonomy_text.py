"""What `openjft taxonomy` says of findings, mended cycles and differences, for people and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from .cli_tables import print_line, print_rows

if TYPE_CHECKING:
    from openjft.taxonomy import Draft, Edge, Taxonomy
    from openjft.taxonomy.checks import Finding
    from openjft.taxonomy.cycles import Collapsed
    from openjft.taxonomy.diff import Difference

out = Console()

SHOWN_MENDED: Final = 10

MEANING: Final = {
    "no_category": "the file lists no category",
    "empty_id": "a row without an id",
    "duplicate_category": "an id that stands twice",
    "duplicate_alias": "an id that would mean two categories",
    "self_edge": "an edge from a category to itself (--collapse-cycles removes it)",
    "unknown_id": "an edge with an id that the file does not list",
    "duplicate_edge": "an edge that stands twice",
    "cycle": "a category that is its own ancestor (--collapse-cycles makes each cycle one category)",
    "several_roots": "more than one top: lawful, unless one was to hold all",
    "orphan": "a category without any edge",
    "no_name": "a category with nothing but its id",
    "shared_name": "a name that does not tell which category is meant",
}


def print_findings(draft: Draft, findings: Sequence[Finding], limit: int) -> None:
    """The findings by kind, `limit` of each; 0 shows all."""
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault((finding.severity, finding.kind), []).append(finding)
    errors = sum(len(found) for (severity, _), found in by_kind.items() if severity == "error")
    print_line(
        out,
        f"{draft.origin}: {_number(len(draft.categories), 'category')}, {_number(len(draft.edges), 'edge')}: "
        f"{_number(errors, 'error')}, {_number(len(findings) - errors, 'note')}",
        style="bold red" if errors else "bold green",
    )
    for (severity, kind), found in by_kind.items():
        style = "red" if severity == "error" else "yellow"
        print_line(out, f"{severity} {kind} ({len(found):,}): {MEANING[kind]}", style=style)
        shown = found[:limit] if limit else found
        for finding in shown:
            print_line(out, f"  {finding}")
        if len(found) > len(shown):
            print_line(out, f"  and {len(found) - len(shown):,} more (--limit 0 shows all)")


def _number(count: int, noun: str) -> str:
    plural = "categories" if noun == "category" else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}" if count else f"no {plural}"


def mended_lines(collapsed: Sequence[Collapsed]) -> list[str]:
    """What was collapsed: the sums, then the first of them with the edges that went; [] where nothing was."""
    if not collapsed:
        return []
    merged, removed, doubled = (
        sum(len(getattr(item, field)) for item in collapsed) for field in ("merged", "removed", "doubled")
    )
    lines = [", ".join([
        f"{_number(len(collapsed), 'cycle')} collapsed: {_number(merged, 'category')} taken in by others",
        f"{_number(removed, 'edge')} between them removed",
        f"{_number(doubled, 'edge')} left out that became double",
    ])]  # fmt: skip
    for item in collapsed[:SHOWN_MENDED]:
        takes = f" now stands for {_first(item.merged)} too" if item.merged else ""
        lines.append(f"  {item.survivor}{takes}; removed {_first([_edge(edge) for edge in item.removed])}")
    if len(collapsed) > SHOWN_MENDED:
        lines.append(f"  and {len(collapsed) - SHOWN_MENDED:,} more; `openjft taxonomy check --json` lists them")
    return lines


def _first(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - SHOWN_MENDED:,} more"] if len(texts) > SHOWN_MENDED else []
    return ", ".join([*texts[:SHOWN_MENDED], *more])


def _edge(edge: Edge) -> str:
    return f"{edge.child} -> {edge.parent}" + (f" (line {edge.line})" if edge.line else "")


def collapsed_json(item: Collapsed) -> dict[str, Any]:
    """One collapsed cycle with the lines of all its edges."""
    return {
        "survivor": item.survivor,
        "merged": item.merged,
        "removed": [{"child": edge.child, "parent": edge.parent, "line": edge.line} for edge in item.removed],
        "doubled": [{"child": edge.child, "parent": edge.parent, "line": edge.line} for edge in item.doubled],
    }


def difference_json(difference: Difference) -> dict[str, Any]:
    """All that changed, one list for each kind of change."""
    value: dict[str, Any] = {"equal": difference.equal, "same": difference.same}
    for field in dataclasses.fields(difference):
        if field.name != "same":
            value[field.name] = [row._asdict() for row in getattr(difference, field.name)]
    return value


def print_difference(a: Taxonomy, b: Taxonomy, difference: Difference, limit: int) -> None:
    """How much changed, then the changes by kind, `limit` of each; 0 shows all."""
    kinds = _changes(difference)
    counts = ", ".join(f"{len(found):,} {kind}" for kind, found in kinds if found)
    print_line(
        out,
        f"{a.num_categories:,} and {b.num_categories:,} categories, {difference.same:,} the same: "
        f"{counts or 'no difference'}",
    )
    rows = []
    for kind, found in kinds:
        shown = found[:limit] if limit else found
        rows += [(kind, category_id, text) for category_id, text in shown]
        if len(found) > len(shown):
            rows.append((kind, "...", f"and {len(found) - len(shown):,} more (--limit 0 shows all)"))
    if rows:
        print_rows(out, ("change", "id", "what"), rows)


def _changes(difference: Difference) -> list[tuple[str, list[tuple[str, str]]]]:
    """(kind, [(id, what)]) in the order in which they are shown."""

    def text(value: Any) -> str:
        return ", ".join(value) if isinstance(value, tuple) else value or "none"

    fields = {
        field: [(item.id, f"{text(item.a)} -> {text(item.b)}") for item in difference.changed if item.field == field]
        for field in ("definition", "synonyms", "aliases")
    }
    moves = [(i.id, " ".join([*(f"+{p}" for p in i.added), *(f"-{p}" for p in i.removed)])) for i in difference.moved]
    return [
        ("only in FILE", [(item.id, item.name) for item in difference.only_a]),
        ("only in FILE_B", [(item.id, item.name) for item in difference.only_b]),
        ("merged", [(item.id, f"into {item.into}") for item in difference.merged]),
        ("split", [(item.id, f"from {item.into}") for item in difference.split]),
        ("new id", [(item.b, f"was {item.a}") for item in difference.new_ids]),
        ("renamed", [(item.id, f"{item.a} -> {item.b}") for item in difference.renamed]),
        ("moved", moves),
        *fields.items(),
    ]
