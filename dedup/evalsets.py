"""Evaluation sets as their authors lay them out: which images, under which ids, in which files.

| format | layout |
|---|---|
| coco | annotations JSON with `images[id, file_name]`; an id list (minival*) may pick some |
| voc | ImageSets/Main/SPLIT.txt, JPEGImages/ID.jpg |
| imagenet | the ILSVRC validation images, flat or in a folder for each class |
| folder | any images, at any depth |

In: a folder of this machine. Out: ids and paths, in a fixed order; no image is opened. Names from annotations and
id lists may not leave the folder; links inside it are the owner's affair and are followed for files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from .errors import EvalSetError

EvalFormat = Literal["coco", "voc", "imagenet", "folder"]
IMAGE_ENDINGS: Final = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"))
MAX_ANNOTATION_BYTES: Final = 2 << 30
_SHOWN: Final = 5  # names in an error message


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalSetSpec:
    """Where an evaluation set lies.

    Attributes:
        name: how reports call it.
        format: its layout.
        root: folder on this machine.
        annotations: coco: JSON, below root or absolute.
        images: coco: image folder below root; None: as the annotations' name says (instances_val2017 -> val2017).
        split: voc: name in ImageSets/Main, "test" if None; imagenet: folder below root, "val" if there is one.
        ids: file with the ids that count, one a line; None: all.
    """

    name: str
    format: EvalFormat
    root: str
    annotations: str | None = None
    images: str | None = None
    split: str | None = None
    ids: str | None = None


@dataclasses.dataclass(frozen=True)
class EvalSet:
    """An evaluation set's images: `ids[i]` lies at `paths[i]`, which exists."""

    name: str
    ids: tuple[str, ...]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """Hash of name, ids, and the files' names and sizes; their bytes are not read."""
        digest = hashlib.sha256(f"{self.name}\0".encode())
        for id_, path in zip(self.ids, self.paths, strict=True):
            digest.update(f"{id_}\0{Path(path).name}\0{Path(path).stat().st_size}\0".encode())
        return digest.hexdigest()


_Found = list[tuple[str, Path]]  # (id, path)


def read_eval_set(spec: EvalSetSpec) -> EvalSet:
    """Lists an evaluation set.

    Raises:
        EvalSetError: the layout is not that of the format, images are missing or doubled, or none is left.
    """
    if "://" in spec.root:
        raise EvalSetError(f"{_where(spec)}: expected a folder of this machine, found {spec.root}; copy it here first")
    root = Path(spec.root)
    if not root.is_dir():
        raise EvalSetError(f"{_where(spec)}: expected a folder, found none at {root}")
    found = {"coco": _coco, "voc": _voc, "imagenet": _imagenet, "folder": _folder}[spec.format](spec, root)
    if spec.ids is not None:
        found = _pick(spec, found, _read_ids(spec, Path(spec.ids)))
    _check(spec, found)
    return EvalSet(spec.name, tuple(id_ for id_, _ in found), tuple(str(path) for _, path in found))


def _where(spec: EvalSetSpec) -> str:
    return f"eval_sets {spec.name!r} ({spec.format})"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _below(spec: EvalSetSpec, folder: Path, name: str) -> Path:
    """`folder / name` of a name that strangers wrote.

    Raises:
        EvalSetError: the name would lead out of the folder.
    """
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise EvalSetError(f"{_where(spec)}: expected a file name below {folder}, found {name!r}")
    return folder / pure


def _check(spec: EvalSetSpec, found: _Found) -> None:
    if not found:
        raise EvalSetError(f"{_where(spec)}: expected images below {spec.root}, found none")
    paths: dict[str, Path] = {}
    for id_, path in found:
        if id_ in paths:
            raise EvalSetError(f"{_where(spec)}: id {id_!r} stands twice: {paths[id_]} and {path}; ids must be unique")
        paths[id_] = path
    missing = [str(path) for _, path in found if not path.is_file()]
    if missing:
        raise EvalSetError(
            f"{_where(spec)}: {len(missing):,} of {len(found):,} images are missing: {_some(missing)}. "
            "Complete the set, or list the ids that you have in a file and name it in `ids`"
        )


# -- id lists ------------------------------------------------------------------------------------------------


def _read_ids(spec: EvalSetSpec, path: Path) -> list[str]:
    """The first word of each line; '#' starts a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvalSetError(f"{_where(spec)}: ids: expected a text file, one id a line, at {path}: {error}") from error
    ids = [line.split("#", 1)[0].split() for line in lines]
    return [words[0] for words in ids if words]


def _normal_id(spec: EvalSetSpec, text: str) -> str:
    """COCO ids come as 42, 000000000042.jpg or COCO_val2014_000000000042; the others as they are."""
    if spec.format != "coco":
        return text
    digits = re.search(r"(\d+)(\.\w+)?$", text)
    return str(int(digits.group(1))) if digits else text


def _pick(spec: EvalSetSpec, found: _Found, ids: Sequence[str]) -> _Found:
    paths = dict(found)
    wanted = [_normal_id(spec, id_) for id_ in ids]
    unknown = [given for given, id_ in zip(ids, wanted, strict=True) if id_ not in paths]
    if unknown:
        raise EvalSetError(
            f"{_where(spec)}: ids: {len(unknown):,} of {len(ids):,} ids of {spec.ids} are not in the set: "
            f"{_some(unknown)}"
        )
    return [(id_, paths[id_]) for id_ in wanted]


# -- layouts -------------------------------------------------------------------------------------------------


def _coco(spec: EvalSetSpec, root: Path) -> _Found:
    if spec.annotations is None:
        raise EvalSetError(
            f"{_where(spec)}: annotations: required, such as 'annotations/instances_val2017.json' below {root}"
        )
    path = root / spec.annotations
    folder = _coco_images(spec, root, path)
    images = _read_coco(spec, path)
    try:
        return [(str(int(image["id"])), _below(spec, folder, str(image["file_name"]))) for image in images]
    except (KeyError, TypeError, ValueError) as error:
        raise EvalSetError(
            f"{_where(spec)}: {path}: expected `images` with an integer `id` and a `file_name` each, found "
            f"{type(error).__name__}: {error}"
        ) from error


def _read_coco(spec: EvalSetSpec, path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_ANNOTATION_BYTES:
            raise EvalSetError(f"{_where(spec)}: {path}: more than {MAX_ANNOTATION_BYTES} bytes of annotations")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EvalSetError(f"{_where(spec)}: annotations: expected COCO JSON at {path}, found: {error}") from error
    images = value.get("images") if isinstance(value, dict) else None
    if not isinstance(images, list):
        raise EvalSetError(f"{_where(spec)}: {path}: expected an object with the list `images`, found none")
    return images


def _coco_images(spec: EvalSetSpec, root: Path, annotations: Path) -> Path:
    if spec.images is not None:
        return _below(spec, root, spec.images)
    split = annotations.stem.rpartition("_")[2]
    candidates = (root / split, root / "images" / split, root / "images")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise EvalSetError(
        f"{_where(spec)}: images: expected one of {', '.join(map(str, candidates))}, found none; name the image folder"
    )


def _voc(spec: EvalSetSpec, root: Path) -> _Found:
    split = spec.split or "test"
    lists = root / "ImageSets" / "Main"
    path = _below(spec, lists, f"{split}.txt")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        there = sorted(p.stem for p in lists.glob("*.txt") if "_" not in p.stem)
        raise EvalSetError(
            f"{_where(spec)}: split: expected the list {path} (VOC2007/ImageSets/Main/SPLIT.txt), found "
            f"{', '.join(there) or 'no lists'}: {error}"
        ) from error
    # Lists of one class carry a second word, 1 or -1; the id is the first.
    ids = [line.split()[0] for line in lines if line.strip()]
    return [(id_, _below(spec, root / "JPEGImages", f"{id_}.jpg")) for id_ in ids]


def _imagenet(spec: EvalSetSpec, root: Path) -> _Found:
    candidates = (root / (spec.split or "val"), root / "ILSVRC" / "Data" / "CLS-LOC" / (spec.split or "val"))
    folder = next((c for c in candidates if c.is_dir()), None)
    if folder is None and spec.split is not None:
        raise EvalSetError(f"{_where(spec)}: split: expected a folder {candidates[0]}, found none")
    folder = folder or root
    images = [p for p in _images_below(folder) if len(p.relative_to(folder).parts) <= 2]
    return sorted((path.stem, path) for path in images)


def _folder(_: EvalSetSpec, root: Path) -> _Found:
    return [(path.relative_to(root).as_posix(), path) for path in _images_below(root)]


def _images_below(folder: Path) -> list[Path]:
    """Image files at any depth, by the bytes of their relative paths; hidden ones and links to folders left out."""
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.suffix.lower() in IMAGE_ENDINGS and not any(part.startswith(".") for part in relative.parts):
            found.append((relative.as_posix().encode(), path))
    return [path for _, path in sorted(found)]
