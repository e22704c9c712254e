"""The build's hierarchy on storage: what the driver writes under `taxonomy/`, and how workers get it.

In: the section `taxonomy`. Out: `taxonomy/` with vocabulary.parquet, edges.parquet and confusions.parquet (names that
occur inside longer names which are not below them); `background/` with the tables of the second hierarchy, where an
input carries text; `_collapsed.json` and `_only.json` with what was mended or passed over. Every worker and every
resumed build reads these, never the source's files. What it does not do: reading formats, which is the taxonomy's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from openjft.taxonomy import Closure, ReadOptions, Taxonomy, ancestor_closure, read_draft, read_taxonomy
from openjft.taxonomy.build import Built, build_mended
from openjft.taxonomy.readers import read_ids

from . import config as cfg
from .storage import Store

FOLDER: Final = "taxonomy"
BACKGROUND: Final = "taxonomy/background"
CONFUSIONS_FILE: Final = "taxonomy/confusions.parquet"
COLLAPSED_FILE: Final = "taxonomy/_collapsed.json"
ONLY_FILE: Final = "taxonomy/_only.json"
_MARK: Final = "taxonomy/_fingerprint.json"
_SHOWN_UNKNOWN: Final = 100


def write_hierarchy(config: cfg.Config, store: Store) -> dict[str, str]:
    """Reads the hierarchies and puts their tables into the build's folder, where they are not there yet.

    Returns:
        The fingerprint of `taxonomy`, and of `background` ('' without one).

    Raises:
        TaxonomyError: a file is missing, or what it says is no hierarchy.
    """
    settings = config.taxonomy
    options = ReadOptions(names=settings.names, parts=settings.parts)
    draft = read_draft(settings.path, settings.format, options=options)
    only = None if settings.only is None else read_ids(settings.only)
    built = build_mended(draft, collapse=settings.collapse_cycles, only=only)
    background = None
    if config.has_text and settings.background is not None:
        background = read_taxonomy(settings.background, settings.background_format)
    prints = {
        "taxonomy": built.taxonomy.fingerprint(),
        "background": "" if background is None else background.fingerprint(),
    }
    mended = _mended(built)
    value = {"fingerprint": prints["taxonomy"], "background": prints["background"], **mended}
    if not store.exists(_MARK) or store.read_json(_MARK) != value:
        _write(store, built.taxonomy, background, mended)
        store.write_json(_MARK, value)
    return prints


def _write(store: Store, taxonomy: Taxonomy, background: Taxonomy | None, mended: Mapping[str, Any]) -> None:
    from openjft.taxonomy.confusions import find_confusions  # its libraries take a second to load

    store.delete(FOLDER)
    for folder, hierarchy in ((FOLDER, taxonomy), (BACKGROUND, background)):
        if hierarchy is not None:
            vocabulary, edges = hierarchy.to_tables()
            store.write_table(f"{folder}/vocabulary.parquet", vocabulary)
            store.write_table(f"{folder}/edges.parquet", edges)
    store.write_table(CONFUSIONS_FILE, find_confusions(taxonomy))
    for path, key in ((COLLAPSED_FILE, "collapsed"), (ONLY_FILE, "only")):
        if mended[key]:
            store.write_json(path, mended[key])


def _mended(built: Built) -> dict[str, Any]:
    """What was done to the file's content, as JSON; empty values where nothing was."""
    names = built.taxonomy
    cycles = [
        {
            "survivor": cycle.survivor,
            "name": names.names[names.index_of(cycle.survivor)] if cycle.survivor in names.ids else cycle.survivor,
            "merged": list(cycle.merged),
            "removed_edges": [[edge.child, edge.parent] for edge in (*cycle.removed, *cycle.doubled)],
        }
        for cycle in built.collapsed
    ]
    unknown = list(built.unknown)
    return {
        "collapsed": {"cycles": cycles} if cycles else {},
        "only": {"unknown": len(unknown), "first": unknown[:_SHOWN_UNKNOWN]} if unknown else {},
    }


@functools.lru_cache(maxsize=4)
def _taxonomy(vocabulary: bytes, edges: bytes) -> Taxonomy:
    return Taxonomy.from_tables(*(pq.read_table(pa.BufferReader(data)) for data in (vocabulary, edges)))


_closure = functools.lru_cache(maxsize=2)(ancestor_closure)  # hierarchies are equal where their content is


def load_taxonomy(store: Store, folder: str = FOLDER) -> Taxonomy:
    """The hierarchy that the driver wrote into the build's folder; built once a process, by content."""
    return _taxonomy(*(store.read_bytes(f"{folder}/{name}.parquet") for name in ("vocabulary", "edges")))


def load_closure(store: Store) -> tuple[Taxonomy, Closure]:
    """The build's hierarchy and its closure; built once a process, by content."""
    taxonomy = load_taxonomy(store)
    return taxonomy, _closure(taxonomy)


def load_background(store: Store) -> Taxonomy | None:
    """The second hierarchy, where there is one."""
    return load_taxonomy(store, BACKGROUND) if store.exists(f"{BACKGROUND}/vocabulary.parquet") else None
