"""What a person sees: a line for each finished stage in a log, nothing when quiet, numbers that read well."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from openjft.pipelines.console import BuildProgress, human, human_seconds
from openjft.pipelines.engine import Progress, UnitResult


def progress(done: int, *, preparing: bool = False) -> Progress:
    account = UnitResult(rows_in=10 * done, rows_out=9 * done, rejects={"timeout": done})
    return Progress("images", done, 2, account, "images", "buckets", preparing)


def told(*events: Progress, quiet: bool = False, terminal: bool = False) -> str:
    sink = io.StringIO()
    with BuildProgress(Console(file=sink, force_terminal=terminal, width=140), quiet=quiet) as listener:
        for event in events:
            listener(event)
    return sink.getvalue()


def test_a_log_has_one_line_for_a_finished_stage():
    text = told(progress(0, preparing=True), progress(0), progress(1), progress(2), progress(2))
    assert text.count("images: ") == 1
    assert "2/2 buckets" in text
    assert "20 images" in text
    assert "2 rejected" in text


def test_quiet_says_nothing():
    assert told(progress(0), progress(2), quiet=True) == ""


def test_a_terminal_has_a_bar_that_says_when_a_stage_prepares():
    assert "preparing" in told(progress(0, preparing=True), terminal=True)
    assert "2/2 buckets" in told(progress(0, preparing=True), progress(2), terminal=True)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (9_999, "9,999"), (12_345, "12.3k"), (1_234_567, "1.23M"), (3e9, "3G")]
)
def test_numbers_are_short(number, text):
    assert human(number) == text


def test_durations_read_as_a_clock():
    assert human_seconds(65) == "1:05"
    assert human_seconds(3725) == "1:02:05"


def test_what_a_stage_prepares_is_told_now_and_then_without_a_terminal(monkeypatch):
    monkeypatch.setattr("openjft.pipelines.console.LINE_EVERY_S", -1.0)
    out = io.StringIO()
    account = UnitResult(rows_in=0, rows_out=0)
    with BuildProgress(Console(file=out, force_terminal=False)) as listener:
        listener(Progress("overlaps", 0, 4, account, "images", "buckets", preparing=True))
        listener(Progress("overlaps", 0, 4, account, "images", "buckets", preparing=True, note="coco, 3/9 images"))
    assert out.getvalue() == "overlaps: preparing: coco, 3/9 images\n"
