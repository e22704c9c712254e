"""The data folder: which photos there are, what each shows, and which are known copies of which.

In: a folder with the parts of `PARTS` (photo sets with a CSV of labels each, near-duplicate sets, evaluation images,
weights, the WordNet nouns). Out: tables of its CSV files, checked. Nothing is written, and no photo is opened.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from openjft.pipelines.errors import PipelineError

Row = dict[str, str]

# part: (place, the columns of its table that are read; empty for what is no table)
PARTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "Caltech-101 labels": ("photos/caltech101_labels.csv", ("file", "class")),
    "Caltech-101 photos": ("photos/caltech101", ()),
    "ImageNet sample labels": ("photos/imagenet_sample_labels.csv", ("file", "wnid")),
    "ImageNet sample photos": ("photos/imagenet_sample", ()),
    "web search labels": (
        "photos/web_search_4queries_labels.csv",
        ("file", "query_label_inferred", "verdict_monkey_block_only"),
    ),
    "web search photos": ("photos/web_search_4queries", ()),
    "COCO labels": (
        "eval_images/coco_train2017_128_labels.csv",
        ("file", "coco_image_id", "class_idx80", "class_names", "width", "height"),
    ),
    "COCO photos": ("eval_images/coco_train2017_128", ()),
    "VOC labels": ("eval_images/voc2007_demo.csv", ("file", "voc_id")),
    "VOC photos": ("eval_images/voc2007_demo", ()),
    "Caltech faces": ("near_duplicates/caltech_faces/pairs.csv", ("original", "cropped_copy")),
    "Caltech resized copies": ("near_duplicates/caltech_random_resize/groups.csv", ("file", "group", "variant")),
    "Caltech natural pairs": ("near_duplicates/caltech_natural_candidates/pairs.csv", ("file_a", "file_b")),
    "web search natural pairs": (
        "near_duplicates/web_search_natural/pairs.csv",
        ("file_a", "file_b", "verdict_by_eye"),
    ),
    "bridge copies": ("near_duplicates/pdq_bridge_mods/groups.csv", ("file", "group", "variant")),
    "UKBench copies": ("near_duplicates/imagededup_ukbench/groups.csv", ("file", "group", "variant")),
    "forest copies": ("near_duplicates/jenssegers_forest/groups.csv", ("file", "group", "variant")),
    "WordNet nouns": ("taxonomies/oewn", ()),
    "MobileNetV1": ("weights/mobilenet_v1_075_224_imagenet.onnx", ()),
    "MobileNetV1 classes": ("weights/imagenet1k_classes.csv", ("index", "wnid")),
}


class DataError(PipelineError):
    """A part of the data folder is missing or is not what it should be."""


def check_parts(data: Path) -> None:
    """Looks for every part before anything is built.

    Raises:
        DataError: the folder or some of its parts are missing; all of them are named.
    """
    if not data.is_dir():
        raise DataError(f"{data}: expected the folder of the photos, found none")
    missing = [f"{name} ({place})" for name, (place, _) in PARTS.items() if not (data / place).exists()]
    if missing:
        parts = "part is" if len(missing) == 1 else "parts are"
        raise DataError(
            f"{data}: {len(missing)} of {len(PARTS)} {parts} missing: {', '.join(missing)}. README.md beside this "
            "program says what each of them holds"
        )


def read_part(data: Path, part: str) -> list[Row]:
    """The rows of a part's table, in the order of the file.

    Raises:
        DataError: it is no CSV, or a column is missing.
    """
    place, columns = PARTS[part]
    try:
        with (data / place).open(encoding="utf-8", newline="") as source:
            reader = csv.DictReader(source)
            rows = list(reader)
            found = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{data / place} ({part}): expected a CSV file, found {error}") from error
    without = [name for name in columns if name not in found]
    if without:
        raise DataError(
            f"{data / place} ({part}): expected the columns {', '.join(columns)}, found {', '.join(found)}; "
            f"{', '.join(without)} missing"
        )
    return rows


def photo(data: Path, folder: str, name: str, *, part: str) -> Path:
    """The file of a photo that a table names.

    Raises:
        DataError: there is no such file below the data folder.
    """
    path = data / folder / name
    if not path.is_file() or data.resolve() not in path.resolve().parents:
        raise DataError(f"{part}: expected the photo {path} below {data}, found none")
    return path


def connected(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Groups of names that pairs connect, each sorted, in the order of their first names."""
    group: dict[str, list[str]] = {}
    for a, b in pairs:
        merged = sorted({*group.get(a, [a]), *group.get(b, [b])})
        group.update(dict.fromkeys(merged, merged))
    return [members for name, members in sorted(group.items()) if members[0] == name]
