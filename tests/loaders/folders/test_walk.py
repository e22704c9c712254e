from __future__ import annotations

import pytest

from openjft.loaders.errors import DatasetError
from openjft.loaders.folders import list_images


def test_files_are_listed_once_sorted_and_others_are_counted_by_reason(tmp_path, draw):
    for name in ("b/2.JPG", "b/1.png", "a/x/y.webp", "c.jpeg"):
        draw(tmp_path / name, (1, 2, 3), format="PNG")
    (tmp_path / "b" / "notes.txt").write_text("x")
    (tmp_path / "b" / "none.jpg").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "z.jpg").write_bytes(b"x")
    found = list_images(tmp_path)
    assert found.paths == ["a/x/y.webp", "b/1.png", "b/2.JPG", "c.jpeg"]
    assert found.sizes.tolist() == [(tmp_path / path).stat().st_size for path in found.paths]
    assert found.ignored == {"empty": 1, "hidden": 1, "not_an_image": 1}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_that_leads_out_of_the_folder_is_refused_by_name(tmp_path, draw, kind):
    draw(tmp_path / "root" / "a.jpg", (1, 2, 3))
    secret = draw(tmp_path / "elsewhere" / "s.jpg", (1, 2, 3))
    (tmp_path / "root" / "leak.jpg").symlink_to(secret if kind == "file" else secret.parent)
    with pytest.raises(DatasetError, match=r"1 that lead out of it: 'leak\.jpg'"):
        list_images(tmp_path / "root")


def test_a_folder_whose_name_begins_like_the_root_is_outside(tmp_path, draw):
    draw(tmp_path / "root" / "a.jpg", (1, 2, 3))
    other = draw(tmp_path / "root-2" / "b.jpg", (1, 2, 3))
    (tmp_path / "root" / "b.jpg").symlink_to(other)
    with pytest.raises(DatasetError, match="lead out"):
        list_images(tmp_path / "root")


def test_links_inside_the_folder_are_files_and_linked_folders_are_not_walked_twice(tmp_path, draw):
    draw(tmp_path / "a" / "1.jpg", (1, 2, 3))
    (tmp_path / "a" / "2.jpg").symlink_to(tmp_path / "a" / "1.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = list_images(tmp_path)
    assert found.paths == ["a/1.jpg", "a/2.jpg"]
    assert found.ignored == {"linked_folder": 1}


def test_the_root_itself_may_be_a_link(tmp_path, draw):
    draw(tmp_path / "real" / "1.jpg", (1, 2, 3))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list_images(tmp_path / "link").paths == ["1.jpg"]


def test_a_file_and_a_missing_folder_are_refused(tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(DatasetError, match="found a file"):
        list_images(tmp_path / "x")
    with pytest.raises(DatasetError, match="found nothing"):
        list_images(tmp_path / "y")
