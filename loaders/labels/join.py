"""The labels of a table on the images of a source, joined by key when a shard's index is read.

In: a `Source` and a `LabelTable`. Out: a `LabelView`: the same images with the table's labels and vocabulary.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from openjft.loaders.errors import LoaderError
from openjft.loaders.shard_index import ShardIndex
from openjft.loaders.source import Source

from .rows import LabelRows, LabelTable
from .view import LabelView, Progress, Unlabelled


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
        cache: folder for the result of the pass over all indexes.
        on_progress: called after each shard of it.

    Raises:
        LoaderError: the table has a label for none of the images.
    """

    def relabel(index: ShardIndex) -> ShardIndex:
        return relabelled(index, table.join(index.keys).rows)

    view = LabelView(
        source,
        relabel,
        table.taxonomy,
        what=f"table {table.fingerprint}",
        unlabelled=unlabelled,
        cache=cache,
        on_progress=on_progress,
    )
    if view.account.labelled == 0:
        raise LoaderError(
            f"{source.root}: expected a label table of these {source.num_samples:,} images, found one with a label for "
            "none of them; is it that of another data set?"
        )
    return view


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
