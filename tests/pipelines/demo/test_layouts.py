from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from openjft.dedup.evalsets import EvalSetSpec, read_eval_set
from openjft.pipelines.config import load_config


@pytest.fixture
def eval_sets(small_web):
    sections = load_config(small_web.config_path).eval_sets
    return {s.name: read_eval_set(EvalSetSpec(**s.model_dump())) for s in sections}


def test_every_set_is_read_by_the_reader_of_its_format(small_web, eval_sets):
    assert set(eval_sets) == {"coco-val2017", "voc2007-test", "imagenet-val", "imagenet-val-synsets"}
    for found in eval_sets.values():
        assert len(found) == small_web.eval_images == 8
        for path in found.paths:
            with Image.open(path) as image:
                assert image.format == "JPEG"


def test_planted_copies_name_pictures_of_the_sets(small_web, eval_sets):
    copies = small_web.copies().to_pylist()
    assert copies
    assert all(copy["eval_id"] in eval_sets[copy["eval_set"]].ids for copy in copies)


def test_coco_annotations_tell_sizes_and_categories(small_web):
    root = small_web.folder / "eval/coco"
    value = json.loads((root / "annotations/instances_val2017.json").read_text())
    categories = {c["id"]: c["name"] for c in value["categories"]}
    assert value["images"][0]["file_name"] == "000000000139.jpg"
    for image, annotation in zip(value["images"], value["annotations"], strict=True):
        with Image.open(root / "val2017" / image["file_name"]) as stored:
            assert stored.size == (image["width"], image["height"])
        assert annotation["image_id"] == image["id"]
        assert annotation["category_id"] in categories


def test_voc_lists_fewer_pictures_than_lie_in_its_folder(small_web, eval_sets):
    root = small_web.folder / "eval/VOCdevkit/VOC2007"
    assert len(list((root / "JPEGImages").iterdir())) == len(eval_sets["voc2007-test"]) + 1
    for name in eval_sets["voc2007-test"].ids:
        tree = ET.parse(root / f"Annotations/{name}.xml")
        assert tree.findtext("filename") == f"{name}.jpg"
        assert tree.findtext("object/name")


def test_imagenet_lies_flat_and_in_synset_folders(small_web):
    assert (small_web.folder / "eval/imagenet/val/ILSVRC2012_val_00000001.JPEG").is_file()
    folders = [p.name for p in (small_web.folder / "eval/imagenet-synsets/val").iterdir()]
    assert all(name.startswith("n0") and len(name) == 9 for name in folders)
