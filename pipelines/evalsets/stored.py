"""A set's folder: index, pictures and account; written once for a model, its views and a frame.

| file | what |
|---|---|
| `index/` | `openjft.dedup.EvalIndex`: vectors of every view, images, the model's fingerprint |
| `pictures.bin`, `pictures.npy` | each image, small |
| `set.json` | what it was made of and with; written last: a folder without it is not whole |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

import numpy as np

from openjft.dedup import Embedder, EvalIndex, EvalSet, EvalSetError, EvalSetSpec, IndexMismatchError, View
from openjft.dedup.embedder import hash_json
from openjft.pipelines.config import Fetch
from openjft.pipelines.errors import StorageError
from openjft.pipelines.storage import Store

from .images import EvalImages
from .pictures import PICTURES_FILE, PLACES_FILE, PictureWriter

SET_FILE: Final = "set.json"
INDEX: Final = "index"
IMAGES: Final = f"{INDEX}/images.parquet"  # EVAL_IMAGES, the rows of the index
_VERSION: Final = 1
_FILES: Final = (PICTURES_FILE, PLACES_FILE, *(f"{INDEX}/{name}" for name in ("vectors.npy", "rows.npy")))
_LAST_FILES: Final = (IMAGES, f"{INDEX}/index.json", SET_FILE)


@dataclasses.dataclass(frozen=True)
class Made:
    """What a set's vectors depend on besides its images; two folders fit together when these are equal.

    Attributes:
        embedder: fingerprint of the descriptor.
        views: by name.
        frame: how images are decoded and resized.
    """

    embedder: str
    views: tuple[str, ...]
    frame: Mapping[str, Any]

    @classmethod
    def of(cls, embedder: str, views: Sequence[View], fetch: Fetch) -> Self:
        """With these settings."""
        frame = fetch.model_dump(include={"size", "resize", "max_pixels", "max_bytes"}, mode="json")
        return cls(embedder, tuple(view.name for view in views), frame)

    def fingerprint(self, eval_set: EvalSet) -> str:
        """Of a set's folder."""
        return hash_json({**dataclasses.asdict(self), "set": eval_set.fingerprint(), "version": _VERSION})


@dataclasses.dataclass(frozen=True)
class SetHeader:
    """`set.json`.

    Attributes:
        name: of the set.
        fingerprint: of the folder.
        made: with what.
        model: how reports call the descriptor.
        images: how many it has, undecodable ones too.
        counts: of the index.
        undecodable: id, path and reason of each.
        spec: where the set lay, for lists in its own format; other machines may not have it.
    """

    name: str
    fingerprint: str
    made: Made
    model: str
    images: int
    counts: Mapping[str, int]
    undecodable: Sequence[Mapping[str, str]]
    spec: Mapping[str, Any]

    @classmethod
    def read(cls, store: Store, folder: str) -> Self | None:
        """Of a folder; None where there is none, or of another version.

        Raises:
            EvalSetError: it is damaged.
        """
        path = f"{folder}/{SET_FILE}" if folder else SET_FILE
        if not store.exists(path):
            return None
        try:
            value = store.read_json(path)
            if value["version"] != _VERSION:
                return None
            made = Made(value["made"]["embedder"], tuple(value["made"]["views"]), value["made"]["frame"])
            fields = {f.name: value[f.name] for f in dataclasses.fields(cls) if f.name != "made"}
            return cls(made=made, **fields)
        except (KeyError, TypeError, ValueError) as error:
            raise EvalSetError(
                f"{store.path(path)}: expected the header of a stored evaluation set, found {type(error).__name__}: "
                f"{error}. Add the set again"
            ) from error

    def write(self, store: Store, folder: str) -> None:
        """Last of all files."""
        store.write_json(f"{folder}/{SET_FILE}", {"version": _VERSION, **dataclasses.asdict(self)})


def write_set(
    store: Store,
    folder: str,
    eval_set: EvalSet,
    *,
    spec: EvalSetSpec,
    fetch: Fetch,
    views: Sequence[View],
    embedder: Embedder,
    progress: Callable[[int], None] = lambda _: None,
) -> SetHeader:
    """Embeds a set into a folder, in place of what is there.

    Args:
        store: of the folder.
        folder: relative.
        eval_set: its images.
        spec: noted in the header.
        fetch: the frame.
        views: of each image.
        embedder: the descriptor.
        progress: told how many images have been decoded.

    Raises:
        EvalSetError: nothing of the set could be decoded.
    """
    store.delete(folder)
    images = EvalImages(eval_set, fetch)

    def told() -> Any:
        for row, pixels in images.originals():
            progress(row + 1)
            yield row, pixels

    with store.writing(f"{folder}/{PICTURES_FILE}") as sink:
        pictures = PictureWriter(sink)
        framed = ((row, images.framed(pixels)) for row, pixels in pictures.writing(told()))
        index = EvalIndex.build(framed, images.table(), embedder, views)
        images.check()
    with store.writing(f"{folder}/{PLACES_FILE}") as sink:
        np.save(sink, pictures.places(len(eval_set)), allow_pickle=False)
    index.save(lambda name: store.writing(f"{folder}/{INDEX}/{name}"))
    made = Made.of(embedder.fingerprint, views, fetch)
    counts = {**index.counts, "rows": len(index.rows)}
    undecodable = tuple(images.undecodable)
    header = SetHeader(
        eval_set.name, made.fingerprint(eval_set), made, embedder.name, len(eval_set), counts, undecodable,
        dataclasses.asdict(spec),
    )  # fmt: skip
    header.write(store, folder)
    return header


def stored_header(source: Store, *, name: str) -> SetHeader:
    """The header of the set that lies in a folder of a library.

    Raises:
        EvalSetError: there is none.
    """
    header = SetHeader.read(source, "")
    if header is None:
        raise EvalSetError(
            f"eval_sets {name!r} (stored): expected a set that `openjft evalset add` wrote, found none at "
            f"{source.root}; name the set's own folder (LIBRARY/NAME) in `root`"
        )
    return header


def copy_set(source: Store, target: Store, folder: str, *, name: str, made: Made) -> SetHeader:
    """Takes a set that `openjft evalset add` stored into a build's folder.

    Raises:
        EvalSetError: there is none.
        IndexMismatchError: it was made with another model, other views or another frame.
    """
    header = stored_header(source, name=name)
    if header.name != name:
        raise EvalSetError(
            f"eval_sets {name!r} (stored): expected the set of that name at {source.base}, found {header.name!r}: its "
            "images are known by its name; use that one"
        )
    check_made(header, made, where=f"eval_sets {name!r} (stored): {source.base}")
    target.delete(folder)
    try:
        for file in (*_FILES, *_LAST_FILES):
            with source.reading(file) as stream, target.writing(f"{folder}/{file}") as sink:
                while part := stream.read(1 << 24):
                    sink.write(part)
    except StorageError as error:
        raise EvalSetError(f"eval_sets {name!r} (stored): the set is not whole: {error}. Add it again") from error
    return header


def check_made(header: SetHeader, made: Made, *, where: str) -> None:
    """Refuses a set that was made in another way than a build's.

    Raises:
        IndexMismatchError: saying what differs.
    """
    if header.made.embedder != made.embedder:
        raise IndexMismatchError(
            f"{where}: made with the model {header.model} ({header.made.embedder[:12]}...), but the build's vectors "
            f"are of {made.embedder[:12]}...: vectors of two models cannot be compared. Run `openjft evalset add` "
            "again with the build's configuration"
        )
    if header.made.views != made.views:
        raise IndexMismatchError(
            f"{where}: expected the views {', '.join(made.views)}, found {', '.join(header.made.views)}; add it again, "
            "or set decontaminate.views as it was"
        )
    if dict(header.made.frame) != dict(made.frame):
        raise IndexMismatchError(
            f"{where}: expected images resized as the build does ({dict(made.frame)}), found "
            f"{dict(header.made.frame)}; add it again with the build's configuration"
        )


def read_index(store: Store, folder: str, *, embedder: str) -> EvalIndex:
    """The index of a set's folder.

    Raises:
        IndexMismatchError: it was made by another model, or is damaged.
    """
    origin = store.path(f"{folder}/{INDEX}")
    return EvalIndex.load(lambda name: store.reading(f"{folder}/{INDEX}/{name}"), embedder=embedder, origin=origin)
