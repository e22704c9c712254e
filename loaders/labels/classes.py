"""Some of the classes: the paper's 941 of 18,291.

In: a `Source` and external ids. Out: a `LabelView` whose vocabulary is those classes, with the images that have one of
them, as asserted or as inferred label.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.loaders.errors import LoaderError
from openjft.loaders.shard_index import ShardIndex
from openjft.loaders.source import Source
from openjft.taxonomy import Csr, Taxonomy, TaxonomyError, ancestor_closure
from openjft.taxonomy.csr import offsets_of
from openjft.taxonomy.schema import EDGES, VOCABULARY

from .survey import Progress, Relabelling
from .view import LabelView

SHOWN = 5
MAX_LIST_BYTES = 1 << 24


def read_classes(path: Path) -> list[str]:
    """External ids, one a line; empty lines and lines that begin with # are passed over.

    Raises:
        LoaderError: the file cannot be read, or lists none.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise LoaderError(f"{path}: expected a list of at most {MAX_LIST_BYTES:,} bytes, found more")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LoaderError(f"{path}: expected a list of category ids, one a line: {error}") from error
    ids = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not ids:
        raise LoaderError(f"{path}: expected category ids, one a line, found none")
    return ids


def with_classes(
    source: Source,
    ids: Sequence[str],
    *,
    taxonomy: Taxonomy | None = None,
    with_descendants: bool = False,
    cache: Path | None = None,
    on_progress: Progress | None = None,
) -> LabelView:
    """The source's images that have one of some classes, with labels of these alone, in the source's order.

    Args:
        source: the images.
        ids: external ids, or aliases, of the classes.
        taxonomy: of the source's labels; None: its own, or where it has none its categories without a hierarchy.
        with_descendants: what lies below the classes is taken as well.
        cache: folder that keeps the result of the pass over all indexes.
        on_progress: called on the way.

    Raises:
        LoaderError: an id is unknown, or no image has one of the classes.
    """
    taxonomy = taxonomy or taxonomy_of(source)
    chosen = _labels(taxonomy, ids)
    if with_descendants:
        below = ancestor_closure(taxonomy).descendants.take(chosen).values
        chosen = np.unique(np.concatenate([chosen, below])).astype(np.int64)
    smaller = _restricted(taxonomy, chosen)
    to_new = np.full(taxonomy.num_categories, -1, np.int32)
    to_new[chosen] = np.arange(len(chosen))
    digest = hashlib.sha256("\0".join(smaller.ids).encode()).hexdigest()
    view = LabelView(source, _Classes(to_new), smaller, what=f"classes {digest}", cache=cache, on_progress=on_progress)
    if view.account.labelled == 0:
        raise LoaderError(f"{source.root}: expected images of the {len(chosen):,} classes, found none")
    return view


def taxonomy_of(source: Source) -> Taxonomy:
    """A source's hierarchy; where it has none, its categories side by side.

    Raises:
        LoaderError: its categories are not in the order of their ids, so they can have no hierarchy.
    """
    found = getattr(source, "taxonomy", None)
    if isinstance(found, Taxonomy):
        return found
    ids, names = list(source.category_ids), list(source.category_names)
    empty: list[list[str]] = [[]] * len(ids)
    vocabulary = pa.table([range(len(ids)), ids, names, empty, [None] * len(ids), empty], schema=VOCABULARY)
    try:
        return Taxonomy.from_tables(vocabulary, EDGES.empty_table())
    except TaxonomyError as error:
        raise LoaderError(
            f"{source.root}: expected categories in the order of their ids, found others: {error}"
        ) from error


class _Classes(Relabelling):
    """Labels of some classes: (c,) the new label of each old one, -1: none."""

    def __init__(self, to_new: npt.NDArray[np.int32]) -> None:
        self._to_new = to_new

    def relabel(self, index: ShardIndex) -> ShardIndex:
        return _only(index, self._to_new)


def _labels(taxonomy: Taxonomy, ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Rising labels of some ids."""
    found = taxonomy.lookup_ids(pa.array(ids, pa.string()))
    missing = [text for text, label in zip(ids, found.to_pylist(), strict=True) if label is None]
    if missing:
        hints = "".join(f"\n  {text!r:.60}{taxonomy.suggest(text[:60])}" for text in missing[:SHOWN])
        raise LoaderError(
            f"classes: expected ids of the {taxonomy.num_categories:,} categories, found {len(missing):,} of "
            f"{len(ids):,} unknown{hints}"
        )
    if not len(ids):
        raise LoaderError("classes: expected at least one id, found none")
    return np.unique(found.to_numpy(zero_copy_only=False)).astype(np.int64)


def _restricted(taxonomy: Taxonomy, chosen: npt.NDArray[np.int64]) -> Taxonomy:
    """The chosen categories; one lies below another where it did, whatever stood between them."""
    to_new = np.full(taxonomy.num_categories, -1, np.int64)
    to_new[chosen] = np.arange(len(chosen))
    above = ancestor_closure(taxonomy).csr.take(chosen)
    child, parent = np.repeat(np.arange(len(chosen)), above.lengths), to_new[above.values]
    vocabulary, _ = taxonomy.to_tables()
    vocabulary = vocabulary.take(pa.array(chosen))
    vocabulary = vocabulary.set_column(0, VOCABULARY.field(0), pa.array(range(len(chosen)), pa.int32()))
    edges = pa.table(
        {"child": pa.array(child[parent >= 0], pa.int32()), "parent": pa.array(parent[parent >= 0], pa.int32())},
        schema=EDGES,
    )
    return Taxonomy.from_tables(vocabulary, edges.sort_by([("child", "ascending"), ("parent", "ascending")]))


def _only(index: ShardIndex, to_new: npt.NDArray[np.int32]) -> ShardIndex:
    """A shard's index with labels of the new vocabulary alone."""
    labels, kept = _filtered(index.labels, to_new)
    negatives, _ = _filtered(index.negatives, to_new)
    origin = to_new[index.from_labels[kept]]
    return dataclasses.replace(
        index,
        labels=labels,
        probabilities=index.probabilities[kept],
        asserted=index.asserted[kept],
        # What an inferred label came from may be no class any more: then it stands for itself.
        from_labels=np.where(origin >= 0, origin, labels.values).astype(np.int32),
        negatives=negatives,
    )


def _filtered(lists: Csr, to_new: npt.NDArray[np.int32]) -> tuple[Csr, npt.NDArray[np.bool_]]:
    values = to_new[lists.values]
    kept = values >= 0
    rows = np.repeat(np.arange(lists.num_lists), lists.lengths)[kept]
    return Csr(values[kept], offsets_of(np.bincount(rows, minlength=lists.num_lists))), kept
