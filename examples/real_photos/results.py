"""Shows and writes what was measured: tables for a terminal, results.json, and a Markdown section.

In: the value of `measure.measure`. Out: OUT/results.json with every number, OUT/results.md ready to be pasted into a
page of results, with date, command, cores and versions.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

SHOWN_THRESHOLDS: Final = (
    "0.5",
    "0.55",
    "0.6",
    "0.65",
    "0.7",
    "0.75",
    "0.8",
    "0.85",
    "0.88",
    "0.9",
    "0.92",
    "0.95",
    "0.98",
)
_VERSIONS: Final = ("openjft", "apache-beam", "faiss-gpu", "numpy", "onnxruntime", "pillow", "pyarrow")
Rows = list[list[str]]


class Section(NamedTuple):
    """A table with its title and what there is to say below it."""

    title: str
    header: list[str]
    rows: Rows
    note: str
    shown: int | None = None  # columns that a terminal has room for


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def machine() -> dict[str, Any]:
    """Cores, memory and versions; no names of hosts or places."""
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def shown_thresholds(found: dict[str, Any]) -> list[str]:
    """Those of the sweep that a table has room for."""
    return [t for t in SHOWN_THRESHOLDS if t in found["duplicates"]["pairs_at"]]


def known_rows(found: dict[str, Any]) -> Rows:
    """Known copies by set, at the build's threshold and over the sweep."""
    rows = []
    for s in found["duplicates"]["sets"]:
        n = s["in_the_build"]
        recall = f"{percent(s['found'] / n)} [{100 * s['low']:.0f}, {100 * s['high']:.0f}]" if n else "-"
        sweep = [str(s["found_at"][t]) for t in shown_thresholds(found)]
        rows.append([s["set"], str(s["known"]), str(n), str(s["found"]), recall, str(s["published"]), *sweep])
    return rows


def false_rows(found: dict[str, Any]) -> Rows:
    """Pairs and flagged images by threshold."""
    keys = ("pairs", "duplicate", "similar", "false", "images", "images_false", "false_within_faces", "of_them_by_eye",
            "of_them_seen")  # fmt: skip
    at = found["duplicates"]["pairs_at"]
    shown = sorted({*shown_thresholds(found), str(found["duplicates"]["threshold"])} & set(at), key=float)
    return [[t, *(str(at[t][key]) for key in keys)] for t in shown]


def label_rows(found: dict[str, Any]) -> Rows:
    """Precision before and after, all and by group of photos."""
    value = found["labels"]
    parts = [("all", value["before"], value["after"])]
    parts += [(name, g["before"], g["after"]) for name, g in value["by_group"].items()]
    parts.append(("all, and the copies", {"n": 0}, value["after_with_copies"]))
    return [[name, *_proportion(before), *_proportion(after)] for name, before, after in parts]


def _proportion(value: dict[str, Any]) -> list[str]:
    if not value["n"]:
        return ["", ""]
    interval = f"[{100 * value['low']:.1f}, {100 * value['high']:.1f}]"
    return [f"{value['right']}/{value['n']}", f"{percent(value['precision'])} {interval}"]


def sections(found: dict[str, Any]) -> list[Section]:
    """The tables, in their order."""
    return [_known(found), _decided(found), _false(found), _labels(found), _ancestors(found), _rejects(found)]


def _known(found: dict[str, Any]) -> Section:
    title = f"Known copies found, removal threshold {found['duplicates']['threshold']:.3f}"
    header = [
        "set",
        "known",
        "in the build",
        "removed",
        "recall [95 %]",
        "published",
        *(f">= {t}" for t in shown_thresholds(found)),
    ]
    note = "Known copies that are not in the build lost their label, or could not be fetched."
    return Section(title, header, known_rows(found), note, 5)


def _decided(found: dict[str, Any]) -> Section:
    at = found["at_the_build"]
    marks = at["thresholds"]
    keys = ("pairs", "duplicate", "similar", "false", "false_within_faces", "images_false")
    rows = [[name, *(str(at[name][key]) for key in keys)] for name in ("removed", "published")]
    header = ["", "pairs", "copies", "similar", "false", "of them within the faces", "images with no copy"]
    note = (
        f"Thresholds by {marks['how']}: removed from {marks['remove']:.3f} on or where the aligned pictures are alike, "
        f"published from {marks['report']:.3f} on and verified; {at['images_removed']} images left out."
    )
    return Section("What the build decided", header, rows, note)


def _false(found: dict[str, Any]) -> Section:
    evals = sum(found["input"]["eval_images"].values())
    title = (
        f"Pairs of {found['duplicates']['training_images']:,} training and {evals:,} evaluation images, by threshold"
    )
    header = ["threshold", "pairs", "copies", "similar", "false", "images flagged", "falsely"]
    header += ["false within the faces", "copies known by eye", "false by eye"]
    note = (
        "False: no known relation, or judged different by eye. Similar (another frame of a scene, another drawing of a "
        "figure) counts as neither."
    )
    return Section(title, header, false_rows(found), note, 7)


def _labels(found: dict[str, Any]) -> Section:
    value = found["labels"]
    title = f"Labels: {value['candidates']:,} candidates, {value['kept']:,} kept at target {value['target']}"
    header = ["photos", "right before", "precision before", "right after", "precision after"]
    note = "On photos whose truth the filter did not see; "
    note += f"{percent(value['right_labels_kept'])} of the right labels are kept."
    return Section(title, header, label_rows(found), note)


def _ancestors(found: dict[str, Any]) -> Section:
    a, after = found["ancestors"], found["labels"]["after"]
    rows = [
        ["labels", f"{a['asserted']:,}", f"{a['asserted'] + a['inferred']:,}"],
        ["labels an image", f"{a['labels_per_image_before']:.2f}", f"{a['labels_per_image_after']:.2f}"],
        ["categories", f"{a['categories_before']:,}", f"{a['categories_after']:,}"],
        ["precision", percent(after["precision"]), percent(a["precision_with_ancestors"]["precision"])],
    ]
    note = f"{a['inferred']:,} ancestors added on {a['images']:,} images."
    return Section("Ancestors", ["", "before", "after"], rows, note)


def _rejects(found: dict[str, Any]) -> Section:
    rows = [[s, reason, f"{n:,}"] for s, reasons in found["rejects"].items() for reason, n in reasons.items() if n]
    note = "; ".join(f"{n['route']}: {n['status']}" for n in found["not_fetched"]) or "Every live link was stored."
    return Section("Rejects by reason", ["stage", "reason", "rows"], rows, note)


def print_results(console: Console, found: dict[str, Any]) -> None:
    """Tables on a terminal."""
    for section in sections(found):
        table = Table(title=section.title, title_justify="left", header_style="bold")
        for i, name in enumerate(section.header[: section.shown]):
            table.add_column(name, justify="left" if i == 0 else "right")
        for row in section.rows:
            table.add_row(*row[: section.shown])
        console.print(table)
        console.print(section.note, highlight=False)


def markdown(found: dict[str, Any]) -> str:
    """The section for a page of results."""
    m, i = found["machine"], found["input"]
    ran = (
        ", ".join(f"{s['stage']} {s['seconds']:.0f} s" for s in found["stages"] if s["units_run"])
        or "nothing was missing"
    )
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    shape = f"{m['cores']} cores, {m['memory_gib']} GiB, {m['system']}, Python {m['python']}"
    groups = ", ".join(f"{n:,} {g}" for g, n in i["web_groups"].items())
    evals = ", ".join(f"{n} {name}" for name, n in i["eval_images"].items())
    how = f"`{found['command']}`; {shape}; {versions}; {found['workers']} workers. Stages that ran: {ran}."
    web = f"Web: {i['web_images']:,} addresses ({groups}), {i['pairs']:,} raw pairs, gold for {i['gold']:,} candidates."
    lines = [f"## Real photos, {found['model']} ({found['date']})", "", how, "", f"{web} Evaluation images: {evals}."]
    for title, header, rows, note, _ in sections(found):
        lines += ["", f"**{title}**", "", _markdown_row(header), _markdown_row(["---"] + ["---:"] * (len(header) - 1))]
        lines += [_markdown_row(row) for row in rows] + ["", note]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write_results(output: Path, found: dict[str, Any]) -> None:
    """OUT/results.json and OUT/results.md."""
    found["machine"] = machine()
    (output / "results.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (output / "results.md").write_text(markdown(found), encoding="utf-8")
