"""The formats, and reading a set of any of them.

| format | layout | module |
|---|---|---|
| coco | annotations JSON with `images[id, file_name]` | `coco` |
| voc | ImageSets/Main/SPLIT.txt or another list, JPEGImages/ID.jpg | `voc` |
| imagenet | the ILSVRC validation images, flat or in a folder for each class | `imagenet` |
| folder | any images, at any depth | `folder` |
| webdataset | tars of samples | `webdataset` |

In: files of this machine. Out: ids and places, in a fixed order; no image is opened. Names from annotations, id lists
and tars may not leave the folder; links inside it are the owner's affair and are followed for files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import EvalSetError
from . import coco, folder, imagenet, voc, webdataset
from .ids import pick
from .images import EvalSet
from .spec import EvalFormat, EvalSetSpec, Item, Layout, some, where

LAYOUTS: Final[Mapping[EvalFormat, Layout]] = {
    "coco": coco.LAYOUT,
    "voc": voc.LAYOUT,
    "imagenet": imagenet.LAYOUT,
    "folder": folder.LAYOUT,
    "webdataset": webdataset.LAYOUT,
}


def read_eval_set(spec: EvalSetSpec) -> EvalSet:
    """Lists an evaluation set.

    Raises:
        EvalSetError: the layout is not that of the format, images are missing or doubled, or none is left.
    """
    items = list_items(spec)
    spans = tuple(item.span for item in items) if any(item.span for item in items) else ()
    return EvalSet(spec.name, tuple(item.id for item in items), tuple(item.path for item in items), spans)


def list_items(spec: EvalSetSpec) -> list[Item]:
    """The images that count, checked; raises as `read_eval_set`."""
    if "://" in spec.root:
        raise EvalSetError(f"{where(spec)}: expected a folder of this machine, found {spec.root}; copy it here first")
    layout = LAYOUTS[spec.format]
    found = layout.read(spec)
    _check_ids(spec, found)
    if spec.ids is not None:
        found = pick(spec, found, layout.spellings)
    _check_files(spec, found)
    return found


def _check_ids(spec: EvalSetSpec, found: list[Item]) -> None:
    if not found:
        raise EvalSetError(f"{where(spec)}: expected images below {spec.root}, found none")
    paths: dict[str, str] = {}
    for item in found:
        if item.id in paths:
            hint = "; sets whose names repeat from class to class are of format 'folder'"
            raise EvalSetError(
                f"{where(spec)}: id {item.id!r} stands twice: {paths[item.id]} and {item.path}; ids must be unique"
                + (hint if spec.format == "imagenet" else "")
            )
        paths[item.id] = item.path
    unlistable = [repr(id_) for id_ in paths if not _is_listable(id_)]
    if unlistable:
        raise EvalSetError(
            f"{where(spec)}: expected names that can stand in a list, one a line, found {len(unlistable):,} with "
            f"control characters or outside UTF-8: {some(unlistable)}; rename these files"
        )


def _is_listable(id_: str) -> bool:
    return not any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in id_)


def _check_files(spec: EvalSetSpec, found: list[Item]) -> None:
    missing = [item.path for item in found if item.span is None and not Path(item.path).is_file()]
    if missing:
        raise EvalSetError(
            f"{where(spec)}: {len(missing):,} of {len(found):,} images are missing: {some(missing)}. "
            "Complete the set, or list the ids that you have in a file and name it in `ids`"
        )
