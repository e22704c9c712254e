"""What `openjft study` prints: the plan, progress over all runs and within one, the tables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from .console import human_seconds, steps

if TYPE_CHECKING:
    from openjft.loaders.studies import Comparison, Planned, Results, Study, StudyProgress

err = Console(stderr=True)
out = Console()


@contextlib.contextmanager
def bars(*, quiet: bool) -> Iterator[Callable[[StudyProgress], None]]:
    """Progress over all runs and within the one that runs; without a terminal a line when a run begins."""
    told = ""
    with steps(err, "study", 1, quiet=quiet) as (bar, whole):
        one = bar.add_task("run", total=1, note="")

        def show(event: StudyProgress) -> None:
            nonlocal told
            where = f"run {event.number} of {event.runs}: {event.run}"
            if where != told and not quiet and not err.is_terminal:
                err.print(where, highlight=False, soft_wrap=True, markup=False)
            told = where
            bar.update(whole, completed=event.steps, total=event.all_steps, note=where)
            bar.update(one, description=event.phase, completed=event.done, total=max(event.total, 1), note=event.note)

        yield show


def print_plan(plan: Study, planned: list[Planned], left: float | None, others: list[Path]) -> None:
    """The runs, how far each is, and what else lies in the folder; `left`: seconds of training, if they were probed."""
    table = Table("run", "images", "steps", "images seen", "", title=plan.title, title_justify="left")
    for column in table.columns[1:4]:
        column.justify = "right"
    batch = plan.options.batch_size
    for item in planned:
        run = item.run
        table.add_row(escape(run.name), f"{run.images:,}", f"{run.steps:,}", f"{run.steps * batch:,}", item.state)
    err.print(table)
    for note in plan.notes:
        err.print(f"- {note}", highlight=False, soft_wrap=True, markup=False)
    missing = sum(bool(item.missing) for item in planned)
    time = "" if left is None else f"; about {human_seconds(left)} of training left, scoring not counted"
    err.print(f"{missing} of {len(planned)} runs to do{time}.", highlight=False, soft_wrap=True)
    if others:
        err.print(
            f"{len(others)} runs in {plan.options.output}/runs are of other options (or seeds) and not in the table: "
            + ", ".join(path.name for path in others[:5])
            + (" ..." if len(others) > 5 else ""),
            highlight=False, soft_wrap=True, markup=False,
        )  # fmt: skip


def plain_plan(plan: Study, planned: list[Planned], left: float | None) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "kind": plan.kind,
        "notes": list(plan.notes),
        "training_s": left,
        "images_seen": plan.images_seen,
        "runs": [
            {
                "name": item.run.name,
                "seed": item.run.seed,
                "images": item.run.images,
                "steps": item.run.steps,
                "recipe": item.recipe,
                "state": item.state,
                "folder": str(item.folder),
            }
            for item in planned
        ],
    }


def print_results(results: Results) -> None:
    """The table of a finished study, and its fits."""
    from openjft.loaders.studies.tables import header, level_cells, notes

    _print_table(header(results), level_cells(results))
    for note in notes(results):
        _say(f"- {note}")
    if results.comparison is not None:
        print_fit(results.comparison)
    if results.no_fit is not None:
        _say(f"No curve was fitted. {results.no_fit}")
    print_files(results.study.options.output, "table.md", "study.svg")


def print_fit(comparison: Comparison) -> None:
    """Both laws and the verdict."""
    from openjft.loaders.studies.tables import FIT_HEADER, fit_cells, fit_notes

    for law, *cells in fit_cells(comparison):  # too wide for a table on a terminal
        _say(law)
        for name, cell in zip(FIT_HEADER[1:], cells, strict=True):
            _say(f"    {name}: {cell}")
    for note in fit_notes(comparison):
        _say(f"- {note}")
    _say(comparison.verdict)


def _say(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True, markup=False)


def _print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*(Column(name, overflow="fold") for name in header))
    for cells in rows:
        table.add_row(*map(escape, cells))
    out.print(table)


def print_files(folder: Path | None, *names: str) -> None:
    """Where to look next."""
    if folder is not None:
        files = ", ".join(str(folder / name) for name in names)
        _say(f"Written: {files}")
