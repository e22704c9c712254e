"""What a training reads: its source, with the labels that the options ask for, and the targets of a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from openjft.loaders.errors import LoaderError
from openjft.loaders.labels import (
    LabelView,
    TargetPolicy,
    all_labels,
    open_label_table,
    read_class_weights,
    read_classes,
    read_taxonomy_of,
    target_policy,
    taxonomy_of,
    with_classes,
    with_labels,
)
from openjft.loaders.open import open_source
from openjft.loaders.readahead import check_cache
from openjft.loaders.source import Source
from openjft.loaders.tars import TarCollection
from openjft.taxonomy import Taxonomy

from .label_options import JoinOptions
from .options import TrainOptions
from .parallel import World


class LabelProgress(NamedTuple):
    """Samples looked up of all; at the end also what was found, for people."""

    what: str
    done: int
    total: int
    account: str | None = None


LabelWatch = Callable[[LabelProgress], None]


def shared_source(options: TrainOptions, world: World, on_labels: LabelWatch | None = None) -> Source:
    """The source, opened by the first process before the others: plain tars are indexed when they are first seen.

    Args:
        options: of the training.
        world: the processes.
        on_labels: called, in the first one, while the labels of all images are looked up.

    Raises:
        DatasetError: there is no data, or it is damaged.
        LoaderError: there is no such source, the cache is too small for it, or the labels do not fit.
    """
    if not world.first:
        world.gather([0])
        return training_source(options, world_size=world.size)
    source = training_source(options, on_labels, world_size=world.size)
    world.gather([0])
    return source


def training_source(options: TrainOptions, on_labels: LabelWatch | None = None, *, world_size: int = 1) -> Source:
    """The source that the options name, with the labels that they name.

    Args:
        options: of the training.
        on_labels: called while the labels of all images are looked up.
        world_size: processes that read from it.

    Raises:
        DatasetError: there is no data, or it is damaged.
        LoaderError: there is no such source, the cache is too small for it, or the table, the hierarchy or the classes
            cannot be read, or are not of these images.
    """
    _ = options.label_contents  # the recipe says what the files held at the start
    cache = options.open_cache()
    source = open_source(options.data, cache=cache)
    if cache is not None:
        check_cache(source, cache, world_size=world_size)
    source = joined_source(source, options, on_labels)
    if not source.class_counts.any():
        raise LoaderError(
            f"{source.root}: expected images with labels, found none among {source.num_samples:,}; give a table of "
            "them with --labels, or for plain tars the field that has them with `openjft index --label-field`"
        )
    return source


def joined_source(source: Source, options: JoinOptions, on_labels: LabelWatch | None = None) -> Source:
    """A source with the labels and classes that the options name; without any the source itself.

    Raises:
        LoaderError: the table, the hierarchy or the classes cannot be read, or are not of these images.
    """
    if options.labels is not None:
        table = open_label_table(options.labels, taxonomy=_table_taxonomy(source, options))
        source = _told(
            "labels",
            with_labels(
                source,
                table,
                unlabelled=options.unlabelled,
                cache=options.label_cache,
                on_progress=_progress("labels", on_labels),
            ),
            on_labels,
        )
    if options.classes is not None:
        source = _told(
            "classes",
            with_classes(
                source,
                read_classes(options.classes),
                with_descendants=options.classes_below,
                cache=options.label_cache,
                on_progress=_progress("classes", on_labels),
            ),
            on_labels,
        )
    return source


def _table_taxonomy(source: Source, options: JoinOptions) -> Taxonomy | None:
    """The vocabulary of a table of one's own: the one named, else that of the images, where they have one."""
    if options.taxonomy is not None:
        return read_taxonomy_of(Path(options.taxonomy))
    if isinstance(source, TarCollection) and not source.has_vocabulary:
        return None
    return taxonomy_of(source)


def training_targets(options: TrainOptions, source: Source) -> TargetPolicy:
    """What the labels of the options' source mean to the loss.

    Raises:
        LoaderError: the class weights cannot be read, or are of other classes.
    """
    plain = options.label_weights == "one" and options.class_weights is None
    if plain and not options.ignore_descendants and options.ignore_below == 0:
        return all_labels  # before a hierarchy is read that nothing asks for
    taxonomy = taxonomy_of(source)
    weights = None if options.class_weights is None else read_class_weights(options.class_weights, taxonomy)
    return target_policy(
        taxonomy,
        ignore_descendants=options.ignore_descendants,
        ignore_below=options.ignore_below,
        targets=options.label_weights,
        class_weights=weights,
    )


def _progress(what: str, on_labels: LabelWatch | None) -> Callable[[int, int], None] | None:
    if on_labels is None:
        return None
    return lambda done, total: on_labels(LabelProgress(what, done, total))


def _told(what: str, view: LabelView, on_labels: LabelWatch | None) -> LabelView:
    if on_labels is not None:
        on_labels(LabelProgress(what, view.account.samples, view.account.samples, view.account.message))
    return view
