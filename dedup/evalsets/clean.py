"""Lists of the clean images of an evaluation set, in the benchmark's own format.

| file | holds |
|---|---|
| `NAME.clean.txt` | a line for each clean image; as `ids` of the configuration it gives exactly these |
| `NAME.removed.txt` | the images that overlap the training set |
| `NAME.unknown.txt` | the images of which nothing is known, since they could not be decoded |
| `NAME/...` | coco: annotations JSON; voc: lists below ImageSets; imagenet: ground truth and blacklist |

A line is the image's id, for ImageNet its file below the validation folder. What lies in `NAME/` has the names of the
set's own files with `_clean` and can be copied over its root. It names clean images only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from ..errors import EvalSetError
from .registry import LAYOUTS, list_items
from .spec import EvalSetSpec, some, where

Write = Callable[[str, bytes], None]


def write_clean_list(
    spec: EvalSetSpec,
    overlapping_ids: Collection[str],
    target: Path | Write,
    *,
    unknown_ids: Collection[str] = (),
) -> list[str]:
    """Writes the lists of an evaluation set.

    Args:
        spec: the set; it is read again.
        overlapping_ids: ids of images that the training set shows.
        target: folder, or what is called with each file's relative name and content.
        unknown_ids: ids of images that could not be compared; one that overlaps all the same is not unknown.

    Returns:
        The relative names of the files, in the order of writing.

    Raises:
        EvalSetError: the set cannot be read, or is not the one that the ids are of.
    """
    write = target if callable(target) else _writer(target)
    items = list_items(spec)
    removed, unknown = frozenset(overlapping_ids), frozenset(unknown_ids) - frozenset(overlapping_ids)
    strangers = sorted((removed | unknown) - {item.id for item in items})
    if strangers:
        raise EvalSetError(
            f"{where(spec)}: expected the set that was searched, found one without {len(strangers):,} of its ids: "
            f"{some(strangers)}; run `openjft decontaminate CONFIG` again"
        )
    clean = frozenset(item.id for item in items) - removed - unknown
    names: list[str] = []

    def put(name: str, data: bytes) -> None:
        write(name, data)
        names.append(name)

    for kind, ids in (("clean", clean), ("removed", removed), ("unknown", unknown)):
        lines = [f"{item.entry or item.id}\n" for item in items if item.id in ids]
        put(f"{spec.name}.{kind}.txt", "".join(lines).encode())
    for name, data in LAYOUTS[spec.format].clean_files(spec, clean):
        put(f"{spec.name}/{name}", data)
    return names


def _writer(folder: Path) -> Write:
    def write(name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(data)
        partial.replace(path)

    return write
