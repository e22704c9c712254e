from __future__ import annotations

import dataclasses
import json
from typing import get_args

import pytest

from openjft.dedup import EvalSetError, EvalSetSpec, read_eval_set
from openjft.dedup.evalsets import EvalFormat


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def coco(root, images=((139, "000000000139.jpg"), (42, "000000000042.jpg"))):
    touch(root, *(f"val2017/{name}" for _, name in images if ".." not in name))
    (root / "annotations").mkdir(exist_ok=True)
    value = {"images": [{"id": i, "file_name": name} for i, name in images]}
    (root / "annotations/instances_val2017.json").write_text(json.dumps(value))
    return {"name": "coco", "format": "coco", "root": str(root), "annotations": "annotations/instances_val2017.json"}


def read(**spec):
    return read_eval_set(EvalSetSpec(**spec))


def test_coco_has_the_ids_of_its_annotations(tmp_path):
    found = read(**coco(tmp_path))
    assert found.ids == ("139", "42")
    assert found.paths[1] == str(tmp_path / "val2017/000000000042.jpg")


@pytest.mark.parametrize(
    "line", ["42", "000000000042.jpg", "COCO_val2014_000000000042", "42 # cat", "042 # 139", "x/0042.jpg 139"]
)
def test_a_minival_list_picks_coco_ids_in_any_spelling(tmp_path, line):
    (tmp_path / "minival.txt").write_text(f"# minival*\n\n{line}\n")
    assert read(**coco(tmp_path), ids=str(tmp_path / "minival.txt")).ids == ("42",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ids.json", [42]),
        ("ids.txt", ["000000000042.jpg"]),
        ("ids.json", {"image_ids": ["42"]}),
        ("instances_minival2014.json", {"images": [{"id": 42, "file_name": "COCO_val2014_000000000042.jpg"}]}),
        ("dataset_coco.json", {"images": [{"cocoid": 42, "filename": "x.jpg"}]}),
    ],
)
def test_a_minival_list_may_be_json(tmp_path, name, value):
    (tmp_path / name).write_text(json.dumps(value))
    assert read(**coco(tmp_path), ids=str(tmp_path / name)).ids == ("42",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("42\n139\n000000000042.jpg\n", "expected each id once, found 1 again: 42"),
        ("# nothing\n", "the list is empty"),
        ("[[1]]", "expected each entry to be an id"),
        ("[true]", "expected each entry to be an id"),
        ('{"annotations": []}', "expected a JSON list of ids"),
        ("9" * 5000, "not in the set"),
        ("\xff", "expected a text file"),
    ],
)
def test_a_wrong_id_list_is_a_clear_error(tmp_path, text, message):
    (tmp_path / "minival.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(EvalSetError, match=message):
        read(**coco(tmp_path), ids=str(tmp_path / "minival.txt"))


@pytest.mark.parametrize(
    ("annotations", "folder", "file_name"),
    [
        ("captions_val2017", "val2017", "1.jpg"),
        ("person_keypoints_val2017", "val2017", "1.jpg"),
        ("image_info_test-dev2017", "test2017", "1.jpg"),
        ("image_info_test2017", "images/test2017", "1.jpg"),
        ("instances_minival2014", "val2014", "COCO_val2014_000000000001.jpg"),
        ("instances_valminusminival2014", "images/val2014", "COCO_val2014_000000000001.jpg"),
        ("mine", "train2014", "COCO_train2014_000000000001.jpg"),
        ("mine", "images", "1.jpg"),
    ],
)
def test_every_annotation_file_of_coco_leads_to_its_image_folder(tmp_path, annotations, folder, file_name):
    touch(tmp_path, f"{folder}/{file_name}")
    path = tmp_path / f"annotations/{annotations}.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": file_name}]}))
    found = read(name="c", format="coco", root=str(tmp_path))  # the only annotations are taken
    assert found.paths == (str(tmp_path / folder / file_name),)


def test_of_several_annotation_files_one_must_be_named(tmp_path):
    spec = coco(tmp_path)
    (tmp_path / "annotations/captions_val2017.json").write_text("{}")
    with pytest.raises(EvalSetError, match=r"there are annotations/captions_val2017.json, annotations/instances_val"):
        read(**{**spec, "annotations": None})


def test_unknown_ids_are_named(tmp_path):
    (tmp_path / "minival.txt").write_text("42\n7\n8\n")
    with pytest.raises(EvalSetError, match=r"2 of 3 ids .* 7, 8"):
        read(**coco(tmp_path), ids=str(tmp_path / "minival.txt"))


def test_a_file_name_may_not_leave_the_folder(tmp_path):
    with pytest.raises(EvalSetError, match="below"):
        read(**coco(tmp_path, [(2, "2.jpg"), (1, "../../secret.jpg")]))


def test_missing_images_are_counted_and_named(tmp_path):
    spec = coco(tmp_path)
    (tmp_path / "val2017/000000000139.jpg").unlink()
    with pytest.raises(EvalSetError, match=r"1 of 2 images are missing: .*000000000139.jpg"):
        read(**spec)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": 3}', '{"images": [{"id": 1}]}', '{"images": [3]}'])
def test_what_is_no_coco_json_is_a_clear_error(tmp_path, text):
    spec = coco(tmp_path)
    (tmp_path / "annotations/instances_val2017.json").write_text(text)
    with pytest.raises(EvalSetError, match="expected"):
        read(**spec)


def test_voc_has_the_ids_of_its_split(tmp_path):
    touch(tmp_path, "JPEGImages/000001.jpg", "JPEGImages/000004.jpg", "JPEGImages/000009.jpg")
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/test.txt").write_text("000004\n000001  1\n")
    spec = {"name": "voc", "format": "voc", "root": str(tmp_path)}
    assert read(**spec).ids == ("000004", "000001")
    with pytest.raises(EvalSetError, match=r"val\.txt .* found test"):
        read(**spec, split="val")
    with pytest.raises(EvalSetError, match="below"):
        read(**spec, split="../../x")


def voc(root, **lists):
    """Lists by name, 'Main/test' as Main__test; an image for each first word."""
    for name, text in lists.items():
        path = root / "ImageSets" / f"{name.replace('__', '/')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        touch(root, *(f"JPEGImages/{line.split()[0]}.jpg" for line in text.splitlines()))
    return {"name": "voc", "format": "voc", "root": str(root)}


@pytest.mark.parametrize(
    ("split", "ids"),
    [
        (None, ("01", "02")),
        ("test", ("01", "02")),
        ("Main/test", ("01", "02")),
        ("Main/cat_test", ("02", "01")),
        ("Segmentation/val", ("03",)),
        ("Layout/val", ("04", "05")),
    ],
)
def test_voc_has_the_ids_of_any_of_its_lists(tmp_path, split, ids):
    spec = voc(
        tmp_path,
        Main__test="01\n02\n",
        Main__cat_test="02 -1\n01  1\n",
        Segmentation__val="03\n",
        Layout__val="04 1\n04 2\n05 1\n",
    )
    assert read(**spec, split=split).ids == ids


def test_a_voc_list_that_is_not_there_names_those_that_are(tmp_path):
    spec = voc(tmp_path, Main__test="01\n", Main__cat_test="01 1\n", Segmentation__val="01\n")
    with pytest.raises(EvalSetError, match=r"found test, Segmentation/val: "):
        read(**spec, split="Segmentation/test")


def test_the_year_is_found_below_the_devkit_unless_there_are_two(tmp_path):
    voc(tmp_path / "VOCdevkit/VOC2012", Main__val="01\n")
    for root in (tmp_path, tmp_path / "VOCdevkit"):
        assert read(name="v", format="voc", root=str(root), split="val").ids == ("01",)
    voc(tmp_path / "VOCdevkit/VOC2007", Main__val="01\n")
    with pytest.raises(EvalSetError, match=r"found .*VOC2007, .*VOC2012 below .*; name one of them"):
        read(name="v", format="voc", root=str(tmp_path), split="val")
    with pytest.raises(EvalSetError, match="no ImageSets"):
        read(name="v", format="voc", root=str(tmp_path / "VOCdevkit/VOC2007/ImageSets"), split="val")


def imagenet(root, numbers=(1, 2, 3)):
    touch(root, *(f"val/ILSVRC2012_val_{n:08d}.JPEG" for n in numbers))
    return {"name": "i", "format": "imagenet", "root": str(root)}


CSV = "ImageId,PredictionString\n" + "".join(f"ILSVRC2012_val_{n:08d},n01 1 2 3 4\n" for n in (3, 1, 2))


@pytest.mark.parametrize(("name", "text"), [("truth.txt", "490\n361\n171\n"), ("LOC_val_solution.csv", CSV)])
def test_the_ground_truth_of_imagenet_may_lie_beside_the_images(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert len(read(**imagenet(tmp_path), ground_truth=name)) == 3


@pytest.mark.parametrize(
    ("numbers", "name", "text", "message"),
    [
        ((1, 2, 3), "t.txt", "490\n361\n", "expected 3 lines, one for each image, found 2"),
        ((1, 2), "t.txt", "490\nn01440764\n", r"t\.txt:2: expected the number of a class, found 'n01440764'"),
        ((1, 3), "t.txt", "490\n361\n", "expected the images 1 to 2, found others"),
        ((1, 4), "t.csv", CSV, "found none for 1: ILSVRC2012_val_00000004"),
        ((1, 2), "t.csv", CSV, "expected 2 rows, one for each image, found 3"),
        ((1, 2), "absent.txt", None, "expected a text file"),
    ],
)
def test_a_ground_truth_that_does_not_fit_the_images_is_refused(tmp_path, numbers, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(EvalSetError, match=message):
        read(**imagenet(tmp_path, numbers), ground_truth=name)


def test_a_list_for_imagenet_may_name_files(tmp_path):
    spec = imagenet(tmp_path)
    (tmp_path / "ids.txt").write_text("n01/ILSVRC2012_val_00000002.JPEG\nILSVRC2012_val_00000001\n")
    assert [i[-1] for i in read(**spec, ids=str(tmp_path / "ids.txt")).ids] == ["2", "1"]


def test_imagenet_may_be_flat_or_in_class_folders(tmp_path):
    touch(tmp_path / "flat", "ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001.JPEG", "notes.txt")
    touch(tmp_path / "nested", "val/n02/ILSVRC2012_val_00000001.JPEG", "val/n01/ILSVRC2012_val_00000002.JPEG")
    ids = ("ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002")
    for folder in ("flat", "nested"):
        assert read(name="i", format="imagenet", root=str(tmp_path / folder)).ids == ids


def test_a_doubled_id_is_refused(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(EvalSetError, match=r"stands twice.*format 'folder'"):
        read(name="i", format="imagenet", root=str(tmp_path))


def test_a_folder_has_all_its_images_sorted(tmp_path):
    touch(tmp_path, "b.JPG", "a/z.png", "a.webp", ".hidden/x.jpg", "readme.md")
    assert read(name="f", format="folder", root=str(tmp_path)).ids == ("a.webp", "a/z.png", "b.JPG")


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(EvalSetError, match="found none"):
        read(name="f", format="folder", root=str(tmp_path))
    with pytest.raises(EvalSetError, match="expected a folder"):
        read(name="f", format="folder", root=str(tmp_path / "absent"))


def test_the_fingerprint_follows_names_and_sizes(tmp_path):
    touch(tmp_path, "a.jpg")
    spec = {"name": "f", "format": "folder", "root": str(tmp_path)}
    before = read(**spec).fingerprint()
    assert read(**spec).fingerprint() == before
    (tmp_path / "a.jpg").write_bytes(b"longer")
    assert read(**spec).fingerprint() != before


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\x7f.jpg", "a\udcff.jpg"])
def test_a_name_that_cannot_stand_in_a_list_is_refused(tmp_path, name):
    touch(tmp_path, name)
    with pytest.raises(EvalSetError, match="names that can stand in a list"):
        read(name="f", format="folder", root=str(tmp_path))


def test_the_bytes_of_an_image_are_read_up_to_a_cap(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "b.jpg").write_bytes(b"12345")
    found = read(name="f", format="folder", root=str(tmp_path))
    (tmp_path / "c.jpg").unlink()
    assert found.read_bytes(1, 5) == b"12345"
    with pytest.raises(EvalSetError, match=r"'f': .*b\.jpg: too_many_bytes: expected at most 4"):
        found.read_bytes(1, 4)
    with pytest.raises(FileNotFoundError):
        found.read_bytes(2, 4)
    rows = dict(found.iter_bytes(max_bytes=4))
    assert rows[0] == b"x"
    assert "too_many_bytes" in str(rows[1])
    assert "c.jpg: read_failed" in str(rows[2])


def test_the_configuration_knows_every_format():
    from openjft.dedup.evalsets.registry import LAYOUTS
    from openjft.pipelines.config import EvalSet

    known = {name for part in get_args(EvalSet.model_fields["format"].annotation) for name in get_args(part) or [part]}
    assert set(LAYOUTS) == set(get_args(EvalFormat))
    assert known == {*LAYOUTS, "stored"}  # the last is no layout: a set that was embedded before
    assert set(EvalSet.model_fields) == {field.name for field in dataclasses.fields(EvalSetSpec)}


@pytest.mark.parametrize(
    ("format_", "key"), [("voc", "annotations"), ("folder", "split"), ("imagenet", "images"), ("coco", "ground_truth")]
)
def test_a_key_of_another_format_is_a_mistake_of_the_configuration(format_, key):
    from openjft.pipelines.config import EvalSet

    with pytest.raises(ValueError, match=f"expected `{key}` with format"):
        EvalSet(name="x", format=format_, root="r", **{key: "v"})
