"""COCO: the images of an annotations JSON, read and written.

Any annotation file will do: instances, captions, person_keypoints, stuff, panoptic, image_info (test-dev has no other),
also those of subsets (instances_minival2014). Ids are the numbers that COCO gives; lists may say them as 42,
000000000042.jpg or .../COCO_val2014_000000000042.jpg. The clean form is the same JSON with fewer images and their
annotations; info, licenses and categories stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ..errors import EvalSetError
from .spec import (
    MAX_ANNOTATION_BYTES,
    EvalSetSpec,
    Item,
    Layout,
    NewFiles,
    below,
    read_bounded,
    root_folder,
    some,
    where,
)

_LAST_NUMBER: Final = re.compile(r"([0-9]{1,18})(\.\w+)?$")
_SPLIT_IN_NAME: Final = re.compile(r"COCO_([A-Za-z]+[0-9]{4})_")
# Subsets that have annotations of their own and share the images of a split.
_SHARED: Final = (("valminusminival", "val"), ("minival", "val"), ("trainval35k", "train"), ("test-dev", "test"))


def _read(spec: EvalSetSpec) -> list[Item]:
    root = root_folder(spec)
    path = _annotations(spec, root)
    images = _load(spec, path)["images"]
    try:
        named = [(_number(image["id"]), str(image["file_name"])) for image in images]
    except (KeyError, TypeError, ValueError) as error:
        raise EvalSetError(
            f"{where(spec)}: {path}: expected `images` with an integer `id` and a `file_name` each, found "
            f"{type(error).__name__}: {error}"
        ) from error
    folder = _image_folder(spec, root, path, named[0][1] if named else "")
    return [Item(id_, str(below(spec, folder, name))) for id_, name in named]


def _number(value: object) -> str:
    """An id as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r} is no id")
    return str(int(value))


def _annotations(spec: EvalSetSpec, root: Path) -> Path:
    if spec.annotations is not None:
        return root / spec.annotations
    there = sorted(p.relative_to(root).as_posix() for p in root.glob("annotations/*.json"))
    if len(there) == 1:
        return root / there[0]
    raise EvalSetError(
        f"{where(spec)}: annotations: required, such as 'annotations/instances_val2017.json' below {root}; there are "
        f"{some(there) or 'none'}"
    )


def _load(spec: EvalSetSpec, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_bounded(path, MAX_ANNOTATION_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise EvalSetError(f"{where(spec)}: annotations: expected COCO JSON at {path}, found: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise EvalSetError(f"{where(spec)}: {path}: expected an object with the list `images`, found none")
    return value


def _image_folder(spec: EvalSetSpec, root: Path, annotations: Path, first: str) -> Path:
    if spec.images is not None:
        return below(spec, root, spec.images)
    split = annotations.stem.removesuffix("_clean").rpartition("_")[2]
    shared = next((split.replace(subset, whole) for subset, whole in _SHARED if split.startswith(subset)), split)
    told = _SPLIT_IN_NAME.match(PurePosixPath(first).name)
    names = dict.fromkeys((split, shared, *(told.groups() if told else ())))
    candidates = [folder / name for name in names for folder in (root, root / "images")] + [root / "images"]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise EvalSetError(
        f"{where(spec)}: images: expected one of {', '.join(map(str, candidates))}, found none; name the image folder"
    )


def _spellings(text: str) -> Sequence[str]:
    number = _LAST_NUMBER.search(text)
    return [str(int(number.group(1)))] if number else []


def _clean_files(spec: EvalSetSpec, clean: Collection[str]) -> NewFiles:
    path = _annotations(spec, root_folder(spec))
    value = _load(spec, path)
    value["images"] = [image for image in value["images"] if _number(image["id"]) in clean]
    if isinstance(value.get("annotations"), list):
        try:
            kept = [a for a in value["annotations"] if _number(a["image_id"]) in clean]
        except (KeyError, TypeError, ValueError) as error:
            raise EvalSetError(
                f"{where(spec)}: {path}: expected an `image_id` in each of `annotations`, found "
                f"{type(error).__name__}: {error}"
            ) from error
        value["annotations"] = kept
    yield f"annotations/{path.stem}_clean.json", json.dumps(value, separators=(",", ":")).encode()


LAYOUT: Final = Layout(read=_read, spellings=_spellings, clean_files=_clean_files)
