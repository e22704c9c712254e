"""Entries: run a study and write what it found; fit a table of one's own.

In: a `Study` of `plan.py`, or a CSV. Out, in the study's folder: `study.json`, `table.csv`, `table.md`, `study.svg` and
`study.png`; of a fit `fit.json`, `fit.md`, `fit.svg` and `fit.png`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np

from openjft.loaders.errors import LoaderError

from .extras import require
from .fit import Comparison, fit_curves
from .plan import Study
from .plot import Points, draw
from .read_table import Measured
from .runs import OnProgress, run_study
from .stored import write_bytes, write_text
from .summary import Results, mean_interval, summarize
from .tables import dumps, fit_md, metric_name, study_json, table_csv, table_md


def study(plan: Study, on_progress: OnProgress) -> Results:
    """Makes what is missing of a study, then writes its tables and its plot.

    Raises:
        StudyStopped: a signal came; the same call goes on.
        LoaderError: a library is missing, or a run or file went wrong.
    """
    require()
    _check_alone()
    output = plan.options.output
    with _alone_in(output):
        results = summarize(plan, run_study(plan, on_progress))
        _write(results, output)
    return results


@contextlib.contextmanager
def _alone_in(output: Path) -> Iterator[None]:
    """Holds the folder: two studies that write the same runs would spoil both."""
    lock = filelock.FileLock(output / ".lock", timeout=0)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise LoaderError(f"{output}: another study runs in this folder; wait for it, or give another one") from None
    except OSError as error:
        raise LoaderError(f"{output}: could not be written: {error}; give another output folder") from error
    try:
        yield
    finally:
        lock.release()


def _write(results: Results, output: Path) -> None:
    write_text(output / "study.json", dumps(study_json(results)))
    write_text(output / "table.csv", table_csv(results))
    write_text(output / "table.md", table_md(results))
    svg, png = _drawn(results)
    write_bytes(output / "study.svg", svg)
    write_bytes(output / "study.png", png)


def _check_alone() -> None:
    """A study is a sequence of trainings in one process: torchrun would start it once for each rank."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LoaderError(
            f"a study runs in one process, found {os.environ['WORLD_SIZE']} (WORLD_SIZE); start it without torchrun, "
            "or train the runs with `torchrun ... openjft train` and give their scores to `openjft study fit`"
        )


def _drawn(results: Results) -> tuple[bytes, bytes]:
    plan, levels, metric = results.study, results.levels, results.study.options.metric
    named = plan.kind not in {"size", "epochs"}
    points = Points(
        x=np.array([row.x for row in results.rows], np.float64),
        y=np.array([row.value(metric) for row in results.rows], np.float64),
        centers=np.array([level.x for level in levels], np.float64),
        means=[level.mean for level in levels],
        names=[level.level for level in levels] if named else None,
    )
    return draw(
        points,
        title=plan.title,
        xlabel=plan.axis,
        ylabel=metric_name(results),
        curves=results.curves,
        log=plan.kind == "size",
    )


def fit_table(measured: Measured, output: Path | None, *, xlabel: str, ylabel: str) -> Comparison:
    """Fits both laws to a table and writes the comparison and its plot, where a folder is given.

    Raises:
        LoaderError: there is no fit to such values, a library is missing, or a file could not be written.
    """
    require()
    comparison, line, power = fit_curves(measured.sizes, measured.values, measured.deviations)
    if output is None:
        return comparison
    sizes = np.array(measured.sizes, np.float64)
    values = np.array(measured.values, np.float64)
    centers = np.unique(sizes)
    points = Points(
        x=sizes, y=values, centers=centers, means=[mean_interval(list(values[sizes == c])) for c in centers]
    )
    svg, png = draw(points, title="Two laws", xlabel=xlabel, ylabel=ylabel, curves=(line, power), log=True)
    write_text(output / "fit.json", dumps(comparison.to_json()))
    write_text(output / "fit.md", "\n".join(fit_md(comparison)) + "\n")
    write_bytes(output / "fit.svg", svg)
    write_bytes(output / "fit.png", png)
    return comparison
