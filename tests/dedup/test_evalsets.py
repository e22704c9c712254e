from __future__ import annotations

import json

import pytest

from openjft.dedup import EvalSetError, EvalSetSpec, read_eval_set


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


@pytest.mark.parametrize("line", ["42", "000000000042.jpg", "COCO_val2014_000000000042", "42 # cat"])
def test_a_minival_list_picks_coco_ids_in_any_spelling(tmp_path, line):
    (tmp_path / "minival.txt").write_text(f"# minival*\n\n{line}\n")
    assert read(**coco(tmp_path), ids=str(tmp_path / "minival.txt")).ids == ("42",)


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


def test_imagenet_may_be_flat_or_in_class_folders(tmp_path):
    touch(tmp_path / "flat", "ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001.JPEG", "notes.txt")
    touch(tmp_path / "nested", "val/n02/ILSVRC2012_val_00000001.JPEG", "val/n01/ILSVRC2012_val_00000002.JPEG")
    ids = ("ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002")
    for folder in ("flat", "nested"):
        assert read(name="i", format="imagenet", root=str(tmp_path / folder)).ids == ids


def test_a_doubled_id_is_refused(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(EvalSetError, match="stands twice"):
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
