"""What a reader of an evaluation set gets, what it gives, and what all of them need."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from ..errors import EvalSetError

EvalFormat = Literal["coco", "voc", "imagenet", "folder", "webdataset"]
IMAGE_ENDINGS: Final = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"))
MAX_ANNOTATION_BYTES: Final = 2 << 30
MAX_LIST_BYTES: Final = 256 << 20
_SHOWN: Final = 5  # names in an error message


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalSetSpec:
    """Where an evaluation set lies.

    Attributes:
        name: how reports call it.
        format: its layout.
        root: folder on this machine; webdataset: also a tar, or a pattern of tars.
        annotations: coco: JSON, below root or absolute.
        images: coco: image folder below root, None: as the annotations' name says (instances_val2017 -> val2017);
            webdataset: ending of the image, where a sample has several.
        split: voc: list below ImageSets, "test" if None, in Main if no folder is named; imagenet: folder below root,
            "val" if there is one; webdataset: folder of tars below root.
        ids: file with the ids that count; None: all.
        ground_truth: imagenet: the validation ground truth (.txt of the devkit, .csv of Kaggle), below root or
            absolute; it must fit the images.
    """

    name: str
    format: EvalFormat
    root: str
    annotations: str | None = None
    images: str | None = None
    split: str | None = None
    ids: str | None = None
    ground_truth: str | None = None


class Span(NamedTuple):
    """Bytes of an image inside a tar; of a compressed tar `offset` counts unpacked bytes."""

    tar: str
    offset: int
    size: int
    packed: bool


class Item(NamedTuple):
    """An image of a set: its id, its file or its place in a tar, and how lists of the layout name it (None: by id)."""

    id: str
    path: str
    span: Span | None = None
    entry: str | None = None


NewFiles = Iterator[tuple[str, bytes]]  # (relative name, content)


def _same(_: str) -> Sequence[str]:
    return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One format, reader and writer side by side.

    Attributes:
        read: all images, in the layout's own order.
        spellings: ids that an entry of an id list may mean, besides itself.
        clean_files: the files of the layout that say which images there are, for those of the given ids alone.
    """

    read: Callable[[EvalSetSpec], list[Item]]
    spellings: Callable[[str], Sequence[str]] = _same
    clean_files: Callable[[EvalSetSpec, Collection[str]], NewFiles] = lambda _spec, _ids: iter(())


def where(spec: EvalSetSpec) -> str:
    """How messages begin."""
    return f"eval_sets {spec.name!r} ({spec.format})"


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def root_folder(spec: EvalSetSpec) -> Path:
    """The set's folder.

    Raises:
        EvalSetError: there is none.
    """
    root = Path(spec.root)
    if not root.is_dir():
        raise EvalSetError(f"{where(spec)}: root: expected a folder, found none at {root}")
    return root


def is_safe(name: str) -> bool:
    """Whether a name that strangers wrote stays inside the folder that it is taken from."""
    pure = PurePosixPath(name)
    return not (not name or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name)


def below(spec: EvalSetSpec, folder: Path, name: str) -> Path:
    """`folder / name` of a name that strangers wrote.

    Raises:
        EvalSetError: the name would lead out of the folder.
    """
    if not is_safe(name):
        raise EvalSetError(f"{where(spec)}: expected a file name below {folder}, found {name!r}")
    return folder / PurePosixPath(name)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """All of a small file.

    Raises:
        OSError: it cannot be read, or is larger.
    """
    with path.open("rb") as source:
        data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(f"more than {max_bytes:,} bytes")
    return data


def images_below(folder: Path) -> list[tuple[str, Path]]:
    """(relative path, path) of image files at any depth, by bytes; hidden ones and links to folders left out."""
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.suffix.lower() in IMAGE_ENDINGS and not any(part.startswith(".") for part in relative.parts):
            found.append((relative.as_posix(), path))
    return sorted(found, key=lambda item: item[0].encode(errors="surrogateescape"))
