"""Evaluation sets in the directory layouts of their authors, and copies of their photos planted in the web.

In: the evaluation images of `web`. Out: below a folder, COCO (annotations JSON and images), VOC (VOCdevkit/VOC2007),
ImageNet (val/WNID/*.JPEG) and `originals` (a plain folder), all with links to the photos, none copied; and the
sections of the configuration that name them. Planted copies are files: a transform of `openjft.dedup.transforms`
with a seed of the image's own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL.Image
from photos import read_part
from web import EvalImage, Relation, Web, copy_image

from openjft.dedup.transforms import TRANSFORMS

PLANTED_TRANSFORMS: Final = ("crop", "mirror", "jpeg", "resize", "overlay", "rotation")
COPIES_OF_EACH: Final = 2  # of the COCO and ImageNet photos; the few of VOC get all transforms


def lay_out_eval_sets(folder: Path, data: Path, evals: Sequence[EvalImage]) -> list[dict[str, Any]]:
    """Writes the layouts anew; returns the configuration's `eval_sets`."""
    if folder.exists():
        shutil.rmtree(folder)
    of_set = {name: [e for e in evals if e.eval_set == name] for name in dict.fromkeys(e.eval_set for e in evals)}
    _coco(folder / "coco", data, of_set["coco-train2017-128"])
    voc = folder / "VOCdevkit" / "VOC2007"
    for image in of_set["voc2007-test"]:
        _link(voc / "JPEGImages" / f"{image.eval_id}.jpg", image.file)
    _write(voc / "ImageSets" / "Main" / "test.txt", "".join(f"{e.eval_id}\n" for e in of_set["voc2007-test"]))
    for image in of_set["imagenet-val"]:
        _link(folder / "imagenet" / "val" / str(image.shows) / image.file.name, image.file)
    for image in of_set["originals"]:
        _link(folder / "originals" / image.eval_id, image.file)
    return [
        {
            "name": "coco-train2017-128",
            "format": "coco",
            "root": str(folder / "coco"),
            "annotations": "annotations/instances_train2017.json",
        },
        {"name": "voc2007-test", "format": "voc", "root": str(voc), "split": "test"},
        {"name": "imagenet-val", "format": "imagenet", "root": str(folder / "imagenet"), "split": "val"},
        {"name": "originals", "format": "folder", "root": str(folder / "originals")},
    ]


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target.resolve())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _coco(folder: Path, data: Path, evals: Sequence[EvalImage]) -> None:
    """Instances without boxes: the table tells which classes an image shows, not where."""
    rows = read_part(data, "COCO labels")
    names: dict[int, str] = {}
    annotations: list[dict[str, int]] = []
    for row in rows:
        classes = zip(row["class_idx80"].split("|"), row["class_names"].split("|"), strict=True)
        for index, name in ((int(i), n) for i, n in classes if i):
            names[index] = name
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": int(row["coco_image_id"]), "category_id": index + 1})
    images = [
        {"id": int(r["coco_image_id"]), "file_name": r["file"], "width": int(r["width"]), "height": int(r["height"])}
        for r in rows
    ]
    categories = [{"id": index + 1, "name": name} for index, name in sorted(names.items())]
    value = {"images": images, "annotations": annotations, "categories": categories}
    _write(folder / "annotations" / "instances_train2017.json", json.dumps(value, indent=1))
    for image in evals:
        _link(folder / "train2017" / image.file.name, image.file)


def plant_copies(folder: Path, web: Web, *, seed: int, progress: Callable[[], None] = lambda: None) -> None:
    """Writes transformed copies of the COCO, VOC and ImageNet photos, and adds them to the web."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [e for e in web.evals if e.eval_set != "originals"]
    for number, image in enumerate(targets):
        some = [(number * COPIES_OF_EACH + k) % len(PLANTED_TRANSFORMS) for k in range(COPIES_OF_EACH)]
        chosen = PLANTED_TRANSFORMS if image.eval_set.startswith("voc") else [PLANTED_TRANSFORMS[i] for i in some]
        for name in chosen:
            file = f"{image.eval_set}-{image.eval_id}-{name}.jpg"
            _plant(folder / file, image.file, name, seed)
            route = f"planted/{file}"
            web.images.append(copy_image(route, folder / file, "planted", image.shows))
            web.relations.append(Relation(route, image.eval_set, image.eval_id, f"planted {name}", "duplicate"))
        progress()


def _plant(path: Path, source: Path, name: str, seed: int) -> None:
    """One copy, unless it is there: equal names mean equal bytes."""
    if path.exists():
        return
    digest = hashlib.sha256(f"{seed}\0{path.name}".encode()).digest()
    with PIL.Image.open(source) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    copy = TRANSFORMS[name](pixels, np.random.default_rng(list(digest[:16])))
    partial = path.with_suffix(".part")
    PIL.Image.fromarray(copy).save(partial, "JPEG", quality=92)
    partial.rename(path)
