from __future__ import annotations

import pytest

from openjft.loaders.errors import LoaderError
from openjft.loaders.folders import Ids, ImageFolder, read_id_list


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("green/green_1.jpg", 4),
        ("photos/green/green_1.jpg", 4),
        ("green_1.jpg", 4),
        ("green_1", 4),
        ("green/green_1", None),
        ("green_9", None),
        ("1", None),
    ],
)
def test_an_image_is_meant_by_its_path_or_its_name(class_folder, text, row):
    assert Ids(ImageFolder.open(class_folder)).row(text) == row


def test_an_image_is_meant_by_its_key(class_folder):
    folder = ImageFolder.open(class_folder)
    assert Ids(folder).row(folder.keys[7].tobytes().hex()) == 7


def test_a_name_of_two_images_means_neither(class_folder, draw):
    draw(class_folder / "red" / "green_1.jpg", (1, 1, 1))
    ids = Ids(ImageFolder.open(class_folder))
    assert ids.row("green_1.jpg") is None
    assert ids.row("green/green_1.jpg") == 4


def test_a_list_names_images_once_each_and_passes_over_comments(class_folder, tmp_path):
    path = tmp_path / "x.clean.txt"
    path.write_text("# clean\n\nred/red_0.jpg\nblue_2\nred/red_0.jpg\r\n")
    folder = ImageFolder.open(class_folder)
    found = read_id_list(path, Ids(folder), allow_unknown=False, where="photos")
    assert found.rows.tolist() == [2, 6]
    assert found.unknown == 0
    assert found.mask(9).tolist() == [i in (2, 6) for i in range(9)]


def test_unknown_ids_are_named_or_counted(class_folder, tmp_path):
    path = tmp_path / "x.clean.txt"
    path.write_text("red/red_0.jpg\nred/red_7.jpg\n")
    ids = Ids(ImageFolder.open(class_folder))
    with pytest.raises(LoaderError, match=r"found 1 of 2 ids that name none, or several: 'red/red_7\.jpg'"):
        read_id_list(path, ids, allow_unknown=False, where="photos")
    assert read_id_list(path, ids, allow_unknown=True, where="photos").unknown == 1


def test_a_list_without_images_is_refused(class_folder, tmp_path):
    path = tmp_path / "x.clean.txt"
    path.write_text("# none\n")
    with pytest.raises(LoaderError, match="found none"):
        read_id_list(path, Ids(ImageFolder.open(class_folder)), allow_unknown=True, where="photos")
