"""The comparison with clean lists as a table: Markdown, CSV, or cells for a terminal."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from openjft.loaders.errors import LoaderError

from .clean import BeforeAfter

HEADER: Final = (
    "clean list", "value", "all (images)", "clean (images)", "change", "95 % range", "at random, 95 %", "p",
)  # fmt: skip
_FIELDS: Final = tuple(field.name for field in dataclasses.fields(BeforeAfter))


class Comparison(Protocol):
    """Values on all images and on those of one list: `CleanComparison`, or a transfer's `CleanAccuracy`."""

    @property
    def clean_list(self) -> str: ...  # noqa: D102
    @property
    def num_images(self) -> int: ...  # noqa: D102
    @property
    def num_clean(self) -> int: ...  # noqa: D102
    @property
    def num_removed(self) -> int: ...  # noqa: D102

    def named(self, k: int) -> list[tuple[str, BeforeAfter]]:
        """The values by name; `k` is that of an mAP."""
        ...


def table_cells(comparisons: Sequence[Comparison], k: int) -> list[tuple[str, ...]]:
    """Rows for people, under `HEADER`: two for each list."""
    return [
        (
            Path(comparison.clean_list).name,
            name,
            f"{value.before:.4f} ({comparison.num_images:,})",
            f"{value.after:.4f} ({comparison.num_clean:,})",
            f"{value.change:+.4f}",
            f"{value.change_low:+.4f} to {value.change_high:+.4f}",
            f"{value.random_low:+.4f} to {value.random_high:+.4f}",
            f"{value.p_value:.3g}",
        )
        for comparison in comparisons
        for name, value in comparison.named(k)
    ]


def note(comparison: Comparison) -> str:
    """What the ranges are."""
    value = comparison.named(0)[0][1]
    if not value.resamples:
        return f"{Path(comparison.clean_list).name}: all {comparison.num_images:,} images are clean"
    return (
        f"{Path(comparison.clean_list).name}: {comparison.num_removed:,} of {comparison.num_images:,} images removed; "
        f"95 % ranges of {value.resamples:,} bootstrap resamples of the images, and of {value.resamples:,} removals of "
        f"{comparison.num_removed:,} images at random; p: how often such a removal changes the value as much, either "
        f"way; seed {value.seed}"
    )


def write_table(path: Path, comparisons: Sequence[Comparison], k: int) -> None:
    """Writes .md, rounded and with notes, or .csv with every digit.

    Raises:
        LoaderError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            _write_csv(path, comparisons, k)
        else:
            path.write_text(_markdown(comparisons, k), encoding="utf-8")
    except OSError as error:
        raise LoaderError(f"{path}: could not be written: {error}") from error


def _write_csv(path: Path, comparisons: Sequence[Comparison], k: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as sink:
        writer = csv.writer(sink, lineterminator="\n")
        writer.writerow(("clean_list", "value", "num_images", "num_clean", "num_removed", *_FIELDS))
        for comparison in comparisons:
            counts = (comparison.num_images, comparison.num_clean, comparison.num_removed)
            for name, value in comparison.named(k):
                writer.writerow((comparison.clean_list, name, *counts, *dataclasses.astuple(value)))


def _markdown(comparisons: Sequence[Comparison], k: int) -> str:
    rows = [HEADER, ("---", "---", *["---:"] * (len(HEADER) - 2)), *table_cells(comparisons, k)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    notes = [f"- {note(comparison)}" for comparison in comparisons]
    return "\n".join([*lines, "", *notes, ""])
