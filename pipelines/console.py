"""What a person sees of a running build: one bar for each stage on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from . import engine

LINE_EVERY_S = 30.0  # without a terminal: often enough for a log, seldom enough to read it


def human(number: float) -> str:
    """1234567 -> '1.23M'."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit:
            value = number / (1e3 if unit == "k" else limit)
            return f"{value:.3g}{unit}"
    return f"{number:,.0f}"


def human_seconds(seconds: float) -> str:
    """3725 -> '1:02:05'."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class _Left(ProgressColumn):
    """Time left from the mean rate of this run; bars of few large steps make rich's own estimate jump."""

    def render(self, task: Task) -> Text:
        begun = task.fields.get("begun", 0)
        done = task.completed - begun
        if task.finished or not done or not task.total or not task.elapsed:
            return Text("")
        left = task.elapsed * (task.total - task.completed) / done
        return Text(f"{human_seconds(left)} left", style="progress.remaining")


class BuildProgress:
    """Listens to `engine.Progress` and draws it; a context manager."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console, self.quiet = console, quiet
        self._bars = Progress(
            TextColumn("{task.description:<12}", style="bold"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[units]}"),
            TextColumn("{task.fields[rows]}", style="cyan"),
            TextColumn("{task.fields[rejected]}", style="yellow"),
            TimeElapsedColumn(),
            _Left(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int, int]] = {}  # time, units and rows that were there before
        self._told: dict[str, float] = {}
        self._finished: set[str] = set()

    def __call__(self, progress: engine.Progress) -> None:
        """Shows the state of a stage; called from the driver and from its polling thread."""
        now = time.monotonic()
        name = progress.stage
        rows = progress.account.rows_in
        if progress.preparing:
            doing = f"preparing: {progress.note}" if progress.note else "preparing"
            self._draw(progress, {"units": doing, "rows": "", "rejected": "", "begun": progress.units_done})
            since = self._told.setdefault(name, now)
            if progress.note and not self.quiet and not self.console.is_terminal and now - since > LINE_EVERY_S:
                self._told[name] = now
                self.console.print(f"{name}: {doing}", highlight=False, soft_wrap=True)
            return
        if name not in self._began:
            self._began[name] = (now, progress.units_done, rows)
            self._told[name] = now
        began, units_before, rows_before = self._began[name]
        rate = (rows - rows_before) / max(now - began, 1e-3)
        rejected = sum(progress.account.rejects.values())
        fields: dict[str, Any] = {
            "units": f"{progress.units_done:,}/{progress.units:,} {progress.unit_noun}",
            "rows": f"{human(rows)} {progress.noun}" + (f" {human(rate)}/s" if rows > rows_before else ""),
            "rejected": f"{human(rejected)} rejected" if rejected else "",
            "begun": units_before,
        }
        self._draw(progress, fields)
        finished = progress.units_done == progress.units
        silent = self.quiet or self.console.is_terminal or name in self._finished
        if not silent and (finished or now - self._told[name] > LINE_EVERY_S):
            self._told[name] = now
            self._finished |= {name} if finished else set()
            self.console.print(
                f"{name}: {fields['units']}, {fields['rows']}"
                + (f", {fields['rejected']}" if rejected else "")
                + f", {human_seconds(now - began)}",
                highlight=False,
                soft_wrap=True,
            )

    def _draw(self, progress: engine.Progress, fields: dict[str, Any]) -> None:
        name = progress.stage
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=progress.units, **fields)
        self._bars.update(self._tasks[name], completed=progress.units_done, **fields)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


@contextlib.contextmanager
def steps(console: Console, description: str, total: int, *, quiet: bool = False) -> Iterator[tuple[Progress, TaskID]]:
    """A single bar for work of known length outside the stages (verifying, training, drawing)."""
    bar = Progress(
        TextColumn("{task.description:<12}", style="bold"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[note]}", style="cyan"),
        TimeElapsedColumn(),
        _Left(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    with bar:
        yield bar, bar.add_task(description, total=total, note="")
