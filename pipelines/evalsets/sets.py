"""The evaluation sets of a configuration, together: each embedded once into a folder of its own, all searched as one.

In: the `[[eval_sets]]` of a build. Out: below `evalsets/sets/NAME/` a stored set each, `evalsets/sets.json` with
their order, one index over all, and the picture of each of its rows. A set that is already there with the same
images, model, views and frame is left as it is, so that a new set costs its own embedding alone.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from openjft.dedup import Embedder, EvalIndex, EvalSet, EvalSetError, EvalSetSpec, View, read_eval_set
from openjft.dedup.embedder import hash_json
from openjft.pipelines.config import EvalSet as EvalSetConfig
from openjft.pipelines.config import Fetch
from openjft.pipelines.console import human, human_seconds
from openjft.pipelines.engine import note
from openjft.pipelines.storage import Store

from .files import FOLDER, SETS_FILE, set_folder
from .images import Pixels
from .pictures import Pictures
from .stored import IMAGES, Made, SetHeader, copy_set, read_index, stored_header, write_set


def spec_of(section: EvalSetConfig) -> EvalSetSpec:
    """The section of the configuration, as `openjft.dedup` takes it."""
    return EvalSetSpec(**section.model_dump())


@dataclasses.dataclass(frozen=True)
class BuildSets:
    """The sets of a configuration, and how they are embedded."""

    sections: tuple[EvalSetConfig, ...]
    fetch: Fetch
    views: tuple[View, ...]
    embedder: str

    @functools.cached_property
    def made(self) -> Made:
        """With what they are embedded."""
        return Made.of(self.embedder, self.views, self.fetch)

    @functools.cached_property
    def listed(self) -> dict[str, EvalSet]:
        """The sets that lie here in their own layouts, by name.

        Raises:
            EvalSetError: a layout is not as its format says.
        """
        return {s.name: read_eval_set(spec_of(s)) for s in self.sections if s.format != "stored"}

    @functools.cached_property
    def prints(self) -> dict[str, str]:
        """Fingerprint of each set's folder, by name.

        Raises:
            EvalSetError: a stored set is not there.
        """
        return {section.name: self._print(section) for section in self.sections}

    def _print(self, section: EvalSetConfig) -> str:
        if section.format != "stored":
            return self.made.fingerprint(self.listed[section.name])
        return stored_header(Store(section.root), name=section.name).fingerprint

    def fingerprint(self) -> str:
        """Of all of them, in their order."""
        return hash_json({"sets": list(self.prints.items()), "made": dataclasses.asdict(self.made)})

    def prepare(self, store: Store, load: Callable[[], Embedder]) -> None:
        """Embeds the sets that are missing, and removes those that are no longer asked for.

        Raises:
            EvalSetError: nothing of a set could be decoded, or a stored one is not whole.
            IndexMismatchError: a stored one was made in another way.
        """
        wanted = {set_folder(section.name) for section in self.sections}
        for path in store.list_files(f"{FOLDER}/sets", recursive=True):
            if "/".join(path.split("/")[:3]) not in wanted:
                store.delete("/".join(path.split("/")[:3]))
        for section in self.sections:
            self._prepare_one(section, store, load)
        store.write_json(SETS_FILE, {"fingerprint": self.fingerprint(), "names": [s.name for s in self.sections]})

    def _prepare_one(self, section: EvalSetConfig, store: Store, load: Callable[[], Embedder]) -> None:
        folder = set_folder(section.name)
        there = SetHeader.read(store, folder)
        if there is not None and there.fingerprint == self.prints[section.name]:
            return
        if section.format == "stored":
            copy_set(Store(section.root), store, folder, name=section.name, made=self.made)
            return
        eval_set = self.listed[section.name]
        began = time.monotonic()

        def told(done: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-3)
            left = human_seconds((len(eval_set) - done) / rate)
            note(f"{section.name}, {done:,}/{len(eval_set):,} images {human(rate)}/s, {left} left")

        write_set(
            store,
            folder,
            eval_set,
            spec=spec_of(section),
            fetch=self.fetch,
            views=self.views,
            embedder=load(),
            progress=told,
        )


def read_headers(store: Store) -> list[SetHeader]:
    """Headers of a build's sets, in the order of the configuration; none where none were prepared."""
    if not store.exists(SETS_FILE):
        return []
    headers = [SetHeader.read(store, set_folder(name)) for name in store.read_json(SETS_FILE)["names"]]
    return [header for header in headers if header is not None]


def read_ids(store: Store, name: str) -> list[str]:
    """The ids of a set of a build, by row."""
    ids: list[str] = store.read_table(f"{set_folder(name)}/{IMAGES}", ["eval_id"])["eval_id"].to_pylist()
    return ids


@functools.lru_cache(maxsize=1)
def load_index(store_root: str, embedder: str, dim: int, fingerprint: str) -> EvalIndex:
    """All sets of a build as one index, loaded once in a process; `fingerprint` keeps a changed one from being taken.

    Raises:
        EvalSetError: what is there is of another configuration.
        IndexMismatchError: it was made by another model, or is damaged.
    """
    store = Store(store_root)
    there: dict[str, Any] = store.read_json(SETS_FILE) if store.exists(SETS_FILE) else {}
    if there.get("fingerprint") != fingerprint:
        raise EvalSetError(
            f"{store.path(FOLDER)}: expected the evaluation sets of this configuration, found those of another; run "
            "`openjft decontaminate CONFIG` again"
        )
    parts = [read_index(store, set_folder(name), embedder=embedder) for name in there["names"]]
    return EvalIndex.concat(parts, dim=dim, embedder=embedder)


class BuildPictures:
    """The picture of each row of a build's index."""

    def __init__(self, store: Store, headers: Sequence[SetHeader]) -> None:
        self._names = [header.name for header in headers]
        self._pictures = [Pictures(store, set_folder(name)) for name in self._names]
        self._starts = np.cumsum([0, *(header.images for header in headers)])
        self._store = store

    @functools.cached_property
    def _rows(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(set, id) -> which set, and the row in it."""
        found = {}
        for part, name in enumerate(self._names):
            found.update({(name, id_): (part, row) for row, id_ in enumerate(read_ids(self._store, name))})
        return found

    def jpeg_of(self, eval_set: str, eval_id: str) -> bytes | None:
        """The JPEG of an image by its set and id; None where there is none."""
        place = self._rows.get((eval_set, eval_id))
        return None if place is None else self._pictures[place[0]].jpeg(place[1])

    def pixels(self, row: int) -> Pixels | None:
        """(h, w, 3) uint8 of a row; None where the image could not be decoded."""
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._pictures[part].pixels(row - int(self._starts[part]))
