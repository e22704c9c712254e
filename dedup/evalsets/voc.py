"""PASCAL VOC 2007 to 2012: the images of a list below ImageSets, read and written.

`split` is a list: `test` and `Main/test` are ImageSets/Main/test.txt, `Segmentation/val`, `Layout/test` and
`Action/val` the others. The root is the year's folder (VOC2007, with ImageSets and JPEGImages), or a folder above it
(VOCdevkit) where that leaves one choice. The clean form are the same lists, those of the classes too, without the
lines of images that are not clean, as SPLIT_clean.txt.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from ..errors import EvalSetError
from .spec import MAX_LIST_BYTES, EvalSetSpec, Item, Layout, NewFiles, below, read_bounded, root_folder, some, where

_REPEATING: Final = frozenset({"Layout", "Action"})  # their lists have a line for each person, not for each image


def _read(spec: EvalSetSpec) -> list[Item]:
    root = _year(spec)
    task, split = _split(spec)
    path = below(spec, root / "ImageSets", f"{task}/{split}.txt")
    # What follows the id is a class's 1, 0 or -1, or the number of an object.
    ids = [line.split()[0] for line in _lines(spec, path)]
    if task in _REPEATING:
        ids = list(dict.fromkeys(ids))
    return [Item(id_, str(below(spec, root / "JPEGImages", f"{id_}.jpg"))) for id_ in ids]


def _year(spec: EvalSetSpec) -> Path:
    """The folder with ImageSets."""
    root = root_folder(spec)
    if (root / "ImageSets").is_dir():
        return root
    found = sorted(p.parent for pattern in ("*/ImageSets", "VOCdevkit/*/ImageSets") for p in root.glob(pattern))
    if len(found) == 1:
        return found[0]
    raise EvalSetError(
        f"{where(spec)}: root: expected the folder of a year, with ImageSets and JPEGImages, found "
        f"{some(map(str, found)) or 'no ImageSets'} below {root}" + ("; name one of them" if found else "")
    )


def _split(spec: EvalSetSpec) -> tuple[str, str]:
    """(folder of ImageSets, name of the list)."""
    task, slash, split = (spec.split or "test").removesuffix(".txt").rpartition("/")
    return (task, split) if slash else ("Main", split)


def _lines(spec: EvalSetSpec, path: Path) -> list[str]:
    try:
        text = read_bounded(path, MAX_LIST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvalSetError(
            f"{where(spec)}: split: expected the list {path} (ImageSets/Main/SPLIT.txt, or a split such as "
            f"'Segmentation/val'), found {_lists(path.parent.parent)}: {error}"
        ) from error
    return [line for line in text.splitlines() if line.strip()]


def _lists(image_sets: Path) -> str:
    """The lists that are there, without those of one class."""
    found = [p for p in sorted(image_sets.glob("*/*.txt")) if "_" not in p.stem]
    return ", ".join(p.stem if p.parent.name == "Main" else f"{p.parent.name}/{p.stem}" for p in found) or "no lists"


def _clean_files(spec: EvalSetSpec, clean: Collection[str]) -> NewFiles:
    task, split = _split(spec)
    whole = below(spec, _year(spec) / "ImageSets", f"{task}/{split}.txt")
    of_classes = sorted(p for p in whole.parent.glob("*.txt") if p.stem.endswith(f"_{split}"))
    for path in (whole, *of_classes):
        lines = [line for line in _lines(spec, path) if line.split()[0] in clean]
        yield f"ImageSets/{task}/{path.stem}_clean.txt", "".join(f"{line}\n" for line in lines).encode()


LAYOUT: Final = Layout(read=_read, clean_files=_clean_files)
