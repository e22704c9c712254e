from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import pytest

from openjft.dedup import EvalSetError, EvalSetSpec, read_eval_set, write_clean_list

# Of each set image 2 overlaps and image 3 is unknown; 1, 4 and 5 are clean.
NUMBERS = (1, 2, 3, 4, 5)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def coco(root):
    (root / "annotations").mkdir(parents=True)
    value = {
        "info": {"year": 2017},
        "licenses": [{"id": 1}],
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "license": 1} for n in NUMBERS],
        "annotations": [{"id": 10 * n + j, "image_id": n, "category_id": 7} for n in NUMBERS for j in range(2)],
        "categories": [{"id": 7, "name": "cat"}],
    }
    (root / "annotations/instances_val2017.json").write_text(json.dumps(value))
    for n in NUMBERS:
        touch(root / f"val2017/{n:012d}.jpg")
    return {"annotations": "annotations/instances_val2017.json"}, [str(n) for n in NUMBERS]


def voc(root, split="test", folder="Main"):
    ids = [f"2007_{n:06d}" for n in NUMBERS]
    (root / "ImageSets" / folder).mkdir(parents=True)
    (root / f"ImageSets/{folder}/{split}.txt").write_text("".join(f"{i}\n" for i in ids))
    (root / f"ImageSets/{folder}/cat_{split}.txt").write_text("".join(f"{i} -1\n" for i in ids))
    (root / f"ImageSets/{folder}/cat_train.txt").write_text("2007_000009 1\n")
    for i in ids:
        touch(root / f"JPEGImages/{i}.jpg")
    return {"split": split if folder == "Main" else f"{folder}/{split}"}, ids


def segmentation(root):
    return voc(root, "val", "Segmentation")


def imagenet_flat(root):
    ids = [f"ILSVRC2012_val_{n:08d}" for n in NUMBERS]
    for i in ids:
        touch(root / f"val/{i}.JPEG")
    (root / "truth.txt").write_text("".join(f"{100 + n}\n" for n in NUMBERS))
    return {"ground_truth": "truth.txt"}, ids


def imagenet_kaggle(root):
    _, ids = imagenet_flat(root)
    (root / "LOC_val_solution.csv").write_text("ImageId,P\n" + "".join(f"{i},n1 0 0 1 1\n" for i in reversed(ids)))
    return {"ground_truth": "LOC_val_solution.csv"}, ids


def imagenet_v2(root):
    for n in NUMBERS:
        touch(root / f"{n % 2}/hash{n}.jpeg")
    return {}, [f"hash{n}" for n in NUMBERS]


def folder(root):
    names = ["#1.jpg", "a b.jpg", "sub/c  d.png", "sub/ e.jpg", "z#2.jpg"]
    for name in names:
        touch(root / name)
    return {}, names


def webdataset(root):
    root.mkdir(parents=True)
    for part in ((1, 2, 3), (4, 5)):
        with tarfile.open(root / f"x-{part[0]}.tar", "w") as archive:
            for n in part:
                archive.addfile(tarfile.TarInfo(f"s/{n}.jpg"), io.BytesIO())
    return {}, [f"s/{n}" for n in NUMBERS]


LAYOUTS = {
    "coco": coco,
    "voc": voc,
    "voc Segmentation": segmentation,
    "imagenet": imagenet_flat,
    "imagenet csv": imagenet_kaggle,
    "imagenet v2": imagenet_v2,
    "folder": folder,
    "webdataset": webdataset,
}


@pytest.fixture
def written(request, tmp_path):
    """(spec, ids, folder of lists, their names)."""
    settings, ids = LAYOUTS[request.param](tmp_path / "set")
    spec = EvalSetSpec(name="mine", format=request.param.split()[0], root=str(tmp_path / "set"), **settings)
    names = write_clean_list(spec, [ids[1]], tmp_path / "lists", unknown_ids=[ids[2]])
    return spec, ids, tmp_path / "lists", names


@pytest.mark.parametrize("written", LAYOUTS, indirect=True)
def test_a_set_read_with_its_clean_list_has_exactly_the_clean_images(written):
    spec, ids, lists, names = written
    assert sorted(p.relative_to(lists).as_posix() for p in lists.rglob("*") if p.is_file()) == sorted(names)
    for kind, expected in (("clean", {ids[0], *ids[3:]}), ("removed", {ids[1]}), ("unknown", {ids[2]})):
        again = read_eval_set(dataclasses.replace(spec, ids=str(lists / f"mine.{kind}.txt")))
        assert set(again.ids) == expected
        assert len(again) == len(expected)


@pytest.mark.parametrize("written", LAYOUTS, indirect=True)
def test_no_file_of_clean_images_names_another(written):
    _, ids, lists, names = written
    for name in names:
        if name.endswith(("removed.txt", "unknown.txt", "blacklist.txt")):
            continue
        words = (lists / name).read_text().replace(",", " ").splitlines()
        assert not any(line.startswith(id_) for line in words for id_ in ids[1:3]), name


@pytest.mark.parametrize("written", ["coco"], indirect=True)
def test_coco_annotations_keep_the_clean_images_theirs_and_what_is_of_no_image(written):
    spec, _, lists, _ = written
    path = lists / "mine/annotations/instances_val2017_clean.json"
    value = json.loads(path.read_text())
    assert [image["id"] for image in value["images"]] == [1, 4, 5]
    assert [a["id"] for a in value["annotations"]] == [10, 11, 40, 41, 50, 51]
    assert (value["info"], value["licenses"], value["categories"][0]["name"]) == ({"year": 2017}, [{"id": 1}], "cat")
    again = read_eval_set(dataclasses.replace(spec, annotations=str(path)))
    assert again.ids == ("1", "4", "5")


@pytest.mark.parametrize("written", ["voc", "voc Segmentation"], indirect=True)
def test_voc_lists_can_be_copied_beside_the_originals_and_read_as_a_split(written):
    spec, ids, lists, names = written
    task, split = ("Segmentation", "val") if "/" in spec.split else ("Main", "test")
    assert names[3:] == [f"mine/ImageSets/{task}/{n}_{split}_clean.txt".replace("/_", "/") for n in ("", "cat")]
    assert (lists / names[4]).read_text() == "".join(f"{ids[i]} -1\n" for i in (0, 3, 4))
    copied = Path(spec.root) / f"ImageSets/{task}/{split}_clean.txt"
    copied.write_bytes((lists / names[3]).read_bytes())
    assert read_eval_set(dataclasses.replace(spec, split=f"{spec.split}_clean")).ids == (ids[0], *ids[3:])


@pytest.mark.parametrize("written", ["imagenet"], indirect=True)
def test_imagenet_has_the_ground_truth_of_the_clean_images_and_the_numbers_of_the_others(written):
    _, _, lists, _ = written
    assert (lists / "mine.clean.txt").read_text().splitlines()[0] == "ILSVRC2012_val_00000001.JPEG"
    assert (lists / "mine/truth_clean.txt").read_text() == "101\n104\n105\n"
    assert (lists / "mine/validation_blacklist.txt").read_text() == "2\n3\n"


@pytest.mark.parametrize("written", ["imagenet csv"], indirect=True)
def test_the_rows_of_kaggles_ground_truth_keep_their_order_and_header(written):
    lines = (written[2] / "mine/LOC_val_solution_clean.csv").read_text().splitlines()
    assert lines[0] == "ImageId,P"
    assert [line[:23][-1] for line in lines[1:]] == ["5", "4", "1"]


@pytest.mark.parametrize("written", ["imagenet v2"], indirect=True)
def test_images_without_numbers_have_no_blacklist(written):
    assert written[3] == ["mine.clean.txt", "mine.removed.txt", "mine.unknown.txt"]
    assert (written[2] / "mine.clean.txt").read_text().splitlines() == ["1/hash1.jpeg", "0/hash4.jpeg", "1/hash5.jpeg"]


def test_lists_of_a_part_of_a_set_name_that_part(tmp_path):
    settings, _ = coco(tmp_path / "set")
    (tmp_path / "minival.txt").write_text("5\n2\n1\n")
    spec = EvalSetSpec(
        name="m", format="coco", root=str(tmp_path / "set"), ids=str(tmp_path / "minival.txt"), **settings
    )
    files = {}
    write_clean_list(spec, ["2"], files.__setitem__)
    assert files["m.clean.txt"] == b"5\n1\n"
    assert files["m.unknown.txt"] == b""
    images = json.loads(files["m/annotations/instances_val2017_clean.json"])["images"]
    assert [image["id"] for image in images] == [1, 5]


def test_ids_of_another_set_are_refused(tmp_path):
    settings, _ = coco(tmp_path / "set")
    spec = EvalSetSpec(name="m", format="coco", root=str(tmp_path / "set"), **settings)
    with pytest.raises(EvalSetError, match=r"without 2 of its ids: 77, 78; run `openjft decontaminate"):
        write_clean_list(spec, ["77"], tmp_path / "lists", unknown_ids=["78"])
    assert not (tmp_path / "lists").exists()


def test_an_image_that_overlaps_is_not_unknown(tmp_path):
    settings, _ = coco(tmp_path / "set")
    spec = EvalSetSpec(name="m", format="coco", root=str(tmp_path / "set"), **settings)
    files = {}
    write_clean_list(spec, ["2"], files.__setitem__, unknown_ids=["2", "3"])
    assert (files["m.removed.txt"], files["m.unknown.txt"]) == (b"2\n", b"3\n")
