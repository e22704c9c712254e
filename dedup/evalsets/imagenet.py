"""ImageNet validation: images flat or in a folder for each class, with or without the ground truth beside them.

Ids are the file names without ending (ILSVRC2012_val_00000293). The ground truth is the devkit's
ILSVRC2012_validation_ground_truth.txt, the class of image i in line i, or Kaggle's LOC_val_solution.csv; either must
tell as many images as there are. The clean form: the ground truth of the clean images, in their order, and a list of
the numbers of all others, from 1 on, as ILSVRC's own ILSVRC2014_clsloc_validation_blacklist.txt. Sets in this layout
whose names repeat from class to class (ImageNet-Sketch) are of format "folder".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from ..errors import EvalSetError
from .spec import (
    MAX_LIST_BYTES,
    EvalSetSpec,
    Item,
    Layout,
    NewFiles,
    images_below,
    read_bounded,
    root_folder,
    some,
    where,
)

_NUMBER: Final = re.compile(r"ILSVRC\d{4}_val_([0-9]{8})")


def _read(spec: EvalSetSpec) -> list[Item]:
    items = _images(spec)
    if spec.ground_truth is not None:
        _check_truth(spec, items, _truth_lines(spec))
    return items


def _images(spec: EvalSetSpec) -> list[Item]:
    root = root_folder(spec)
    split = spec.split or "val"
    candidates = (root / split, root / "ILSVRC" / "Data" / "CLS-LOC" / split)
    folder = next((c for c in candidates if c.is_dir()), None)
    if folder is None and spec.split is not None:
        raise EvalSetError(f"{where(spec)}: split: expected a folder {candidates[0]}, found none")
    images = [(name, path) for name, path in images_below(folder or root) if name.count("/") <= 1]
    return sorted(Item(path.stem, str(path), None, name) for name, path in images)


def _spellings(text: str) -> Sequence[str]:
    """Lists name images also by file: n01440764/ILSVRC2012_val_00000293.JPEG."""
    return [PurePosixPath(text).stem]


# -- ground truth --------------------------------------------------------------------------------------------


def _truth_path(spec: EvalSetSpec) -> Path:
    assert spec.ground_truth is not None
    return Path(spec.root) / spec.ground_truth


def _truth_lines(spec: EvalSetSpec) -> list[str]:
    path = _truth_path(spec)
    try:
        lines = read_bounded(path, MAX_LIST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvalSetError(f"{where(spec)}: ground_truth: expected a text file at {path}: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _check_truth(spec: EvalSetSpec, items: list[Item], lines: list[str]) -> None:
    path = _truth_path(spec)
    place = f"{where(spec)}: ground_truth: {path}"
    if path.suffix.lower() == ".csv":
        told = [line.partition(",")[0] for line in lines[1:]]
        absent = sorted({item.id for item in items} - set(told))
        if absent:
            raise EvalSetError(
                f"{place}: expected a row for each image, found none for {len(absent):,}: {some(absent)}"
            )
        if len(told) != len(items):
            raise EvalSetError(f"{place}: expected {len(items):,} rows, one for each image, found {len(told):,}")
        return
    if len(lines) != len(items):
        raise EvalSetError(f"{place}: expected {len(items):,} lines, one for each image, found {len(lines):,}")
    bad = next((i for i, line in enumerate(lines) if not line.strip().isdecimal()), None)
    if bad is not None:
        raise EvalSetError(f"{place}:{bad + 1}: expected the number of a class, found {lines[bad][:80]!r}")
    numbers = _numbers(items)
    if numbers is not None and numbers != list(range(1, len(items) + 1)):
        raise EvalSetError(
            f"{place}: line i is of image i, so expected the images 1 to {len(items):,}, found others "
            f"(from {items[0].id} to {items[-1].id})"
        )


def _numbers(items: list[Item]) -> list[int] | None:
    """The images' own numbers; None where they do not bear ILSVRC's names."""
    found = [_NUMBER.fullmatch(item.id) for item in items]
    return [int(match.group(1)) for match in found if match] if all(found) else None


def _clean_files(spec: EvalSetSpec, clean: Collection[str]) -> NewFiles:
    items = _images(spec)
    numbers = _numbers(items)
    if spec.ground_truth is not None:
        path, lines = _truth_path(spec), _truth_lines(spec)
        if path.suffix.lower() == ".csv":
            kept = [lines[0], *(line for line in lines[1:] if line.partition(",")[0] in clean)]
        else:
            kept = [line for item, line in zip(items, lines, strict=True) if item.id in clean]
            numbers = numbers or list(range(1, len(items) + 1))
        yield f"{path.stem}_clean{path.suffix}", "".join(f"{line}\n" for line in kept).encode()
    if numbers is not None:
        others = [number for item, number in zip(items, numbers, strict=True) if item.id not in clean]
        yield "validation_blacklist.txt", "".join(f"{number}\n" for number in others).encode()


LAYOUT: Final = Layout(read=_read, spellings=_spellings, clean_files=_clean_files)
