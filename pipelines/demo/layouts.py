"""Evaluation sets in the directory formats of the originals: COCO, PASCAL VOC, and ImageNet's two.

In: drawn pictures of leaves. Out: files as they lie after unpacking the originals' archives, and the id by which
each picture is known. Pictures are JPEG, as there. Sizes and the ids' spacing are the demo's own.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from .hierarchy import Leaf, category_name, leaves

JPEG_QUALITY: Final = 88


@dataclasses.dataclass(frozen=True)
class EvalPicture:
    """A picture of an evaluation set: `id` as the set's reader gives it, `path` below the set's root."""

    eval_set: str
    id: str
    path: str
    leaf: Leaf
    picture: Image.Image


@dataclasses.dataclass(frozen=True)
class Layout:
    """One evaluation set: the configuration's keys of it, and the function that writes it."""

    name: str
    format: str
    root: str  # below the demo's folder
    settings: Mapping[str, str]
    paths: Callable[[Sequence[Leaf]], list[tuple[str, str]]]  # (id, path) of each picture
    write_extras: Callable[[Path, Sequence[EvalPicture]], None]


def _write_nothing(root: Path, pictures: Sequence[EvalPicture]) -> None:
    del root, pictures


def _coco_paths(shown: Sequence[Leaf]) -> list[tuple[str, str]]:
    """Ids rise by uneven steps, as in COCO: 139, 285, 632, ..."""
    ids = [139 + 146 * i + 37 * (i * i % 11) for i in range(len(shown))]
    return [(str(number), f"val2017/{number:012d}.jpg") for number in ids]


def _coco_extras(root: Path, pictures: Sequence[EvalPicture]) -> None:
    numbers = {leaf.id: number for number, leaf in enumerate(leaves(), 1)}
    value = {
        "info": {"description": "OpenJFT demo in the format of COCO 2017", "version": "1.0", "year": 2017},
        "licenses": [{"id": 1, "name": "none needed: drawn", "url": ""}],
        "images": [
            {"id": int(p.id), "file_name": Path(p.path).name, "width": p.picture.width, "height": p.picture.height,
             "license": 1}
            for p in pictures
        ],
        "annotations": [_coco_annotation(number, p, numbers[p.leaf.id]) for number, p in enumerate(pictures, 1)],
        "categories": [
            {"id": number, "name": category_name(leaf.id), "supercategory": category_name(leaf.parents[0])}
            for number, leaf in enumerate(leaves(), 1)
        ],
    }  # fmt: skip
    path = root / "annotations/instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _coco_annotation(number: int, picture: EvalPicture, category: int) -> dict[str, Any]:
    width, height = picture.picture.size
    return {
        "id": number, "image_id": int(picture.id), "category_id": category, "iscrowd": 0,
        "bbox": [0, 0, width, height], "area": width * height,
        "segmentation": [[0, 0, width, 0, width, height, 0, height]],
    }  # fmt: skip


def _voc_paths(shown: Sequence[Leaf]) -> list[tuple[str, str]]:
    ids = [f"{1 + 3 * i:06d}" for i in range(len(shown))]
    return [(name, f"JPEGImages/{name}.jpg") for name in ids]


def _voc_extras(root: Path, pictures: Sequence[EvalPicture]) -> None:
    """The list of the test set, and an annotation for each picture. One picture more than the list names lies about."""
    for folder in ("ImageSets/Main", "Annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Main/test.txt").write_text("".join(f"{p.id}\n" for p in pictures), encoding="ascii")
    for p in pictures:
        width, height = p.picture.size
        (root / f"Annotations/{p.id}.xml").write_text(
            f"<annotation>\n\t<folder>VOC2007</folder>\n\t<filename>{p.id}.jpg</filename>\n"
            f"\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
            f"\t<segmented>0</segmented>\n\t<object>\n\t\t<name>{escape(p.leaf.id)}</name>\n"
            "\t\t<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>\n"
            f"\t\t<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{width}</xmax><ymax>{height}</ymax></bndbox>\n"
            "\t</object>\n</annotation>\n",
            encoding="utf-8",
        )
    # The trainval pictures share the folder with the test set; only the list tells them apart.
    data = jpeg_bytes(Image.new("RGB", (200, 160), "white"))
    (root / "JPEGImages/000002.jpg").write_bytes(data)


def _imagenet_paths(shown: Sequence[Leaf]) -> list[tuple[str, str]]:
    names = [f"ILSVRC2012_val_{i:08d}" for i in range(1, len(shown) + 1)]
    return [(name, f"val/{name}.JPEG") for name in names]


def _synset(leaf: Leaf) -> str:
    return f"n{1_440_000 + 764 * leaves().index(leaf):08d}"


def _folders_paths(shown: Sequence[Leaf]) -> list[tuple[str, str]]:
    names = [f"ILSVRC2012_val_{40_000 + i:08d}" for i in range(1, len(shown) + 1)]
    return [(name, f"val/{_synset(leaf)}/{name}.JPEG") for name, leaf in zip(names, shown, strict=True)]


LAYOUTS: Final = (
    Layout(
        "coco-val2017", "coco", "eval/coco",
        {"annotations": "annotations/instances_val2017.json", "images": "val2017"}, _coco_paths, _coco_extras,
    ),
    Layout("voc2007-test", "voc", "eval/VOCdevkit/VOC2007", {"split": "test"}, _voc_paths, _voc_extras),
    Layout("imagenet-val", "imagenet", "eval/imagenet", {"split": "val"}, _imagenet_paths, _write_nothing),
    Layout("imagenet-val-synsets", "imagenet", "eval/imagenet-synsets", {"split": "val"}, _folders_paths,
           _write_nothing),
)  # fmt: skip


def jpeg_bytes(picture: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """The picture as a baseline JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_layout(
    layout: Layout, folder: Path, shown: Sequence[Leaf], draw: Callable[[Leaf, int], Image.Image]
) -> list[EvalPicture]:
    """Draws and writes one set; `draw` gets the leaf and the picture's number. Returns the pictures as decoded."""
    root = folder / layout.root
    pictures = []
    for number, (leaf, (name, path)) in enumerate(zip(shown, layout.paths(shown), strict=True)):
        data = jpeg_bytes(draw(leaf, number))
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        with Image.open(io.BytesIO(data)) as stored:
            pictures.append(EvalPicture(layout.name, name, path, leaf, stored.convert("RGB")))
    layout.write_extras(root, pictures)
    return pictures


def choose_leaves(rng: np.random.Generator, count: int) -> list[Leaf]:
    """Leaves of an evaluation set: as evenly as can be, in random order."""
    every = leaves()
    rounds = [rng.permutation(len(every)) for _ in range(count // len(every) + 1)]
    return [every[i] for i in np.concatenate(rounds)[:count].tolist()]
