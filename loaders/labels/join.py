"""The labels of a table on the images of a source, joined by key when a shard's index is read.

In: a `Source` and a `LabelTable`. Out: a `LabelView`: the same images with the table's labels and vocabulary.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openjft.loaders.errors import LoaderError
from openjft.loaders.shard_index import ShardIndex
from openjft.loaders.source import Source

from .rows import LabelRows, LabelTable
from .survey import Int64s, Progress, Relabelling
from .view import LabelView, Unlabelled


def with_labels(
    source: Source,
    table: LabelTable,
    *,
    unlabelled: Unlabelled = "drop",
    cache: Path | None = None,
    on_progress: Progress | None = None,
) -> LabelView:
    """The source's images with the labels of a table.

    Args:
        source: the images.
        table: labels by key.
        unlabelled: images that the table does not have, or has without a label, are left out (`drop`), or stay as
            images of no class (`keep`).
        cache: folder that keeps the result of the pass over all indexes.
        on_progress: called on the way.

    Raises:
        LoaderError: the table has a label for none of the images.
    """
    view = LabelView(
        source,
        _Join(table),
        table.taxonomy,
        what=f"table {table.fingerprint}",
        unlabelled=unlabelled,
        cache=cache,
        on_progress=on_progress,
    )
    if view.account.labelled == 0:
        raise LoaderError(
            f"{source.root}: expected a label table of these {source.num_samples:,} images, found one with a label for "
            f"none of them ({view.account.foreign or 0:,} images of it are not here); is it that of another data set?"
        )
    return view


class _Join(Relabelling):
    """Labels from a table."""

    def __init__(self, table: LabelTable) -> None:
        self._table = table
        self._met: dict[int, npt.NDArray[np.bool_]] = {}  # images of each part that are samples

    def relabel(self, index: ShardIndex) -> ShardIndex:
        return relabelled(index, self._table.join(index.keys).rows)

    def count(self, index: ShardIndex, rows: Int64s) -> ShardIndex:
        joined = self._table.join(index.keys)
        parts, places = joined.parts[rows], joined.places[rows]
        for part in np.unique(parts[parts >= 0]).tolist():
            if part not in self._met:
                self._met[part] = np.zeros(len(self._table.part(part).keys), np.bool_)
            self._met[part][places[parts == part]] = True
        return relabelled(index, joined.rows)

    def foreign(self) -> int:
        total = 0
        for part in range(self._table.num_parts):
            met = self._met.pop(part, None)
            total += len(self._table.part(part).keys) if met is None else int((~met).sum())
        return total


def relabelled(index: ShardIndex, rows: LabelRows) -> ShardIndex:
    """A shard's index with the labels of rows that are in its order."""
    return dataclasses.replace(
        index,
        labels=rows.labels,
        probabilities=rows.probabilities,
        asserted=rows.asserted,
        from_labels=rows.from_labels,
        negatives=rows.negatives,
    )
