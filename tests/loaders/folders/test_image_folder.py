from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from openjft.loaders import Loader
from openjft.loaders.decoding import decode_image, resize_image
from openjft.loaders.errors import DatasetError
from openjft.loaders.folders import ImageFolder


def loader_of(folder, **options):
    return Loader(
        folder, **({"batch_size": 4, "seed": 1, "image_size": 32, "num_threads": 1, "drop_last": False} | options)
    )


def test_class_folders_are_the_classes_by_name_and_each_image_has_one(class_folder):
    folder = ImageFolder.open(class_folder)
    assert folder.category_ids == ("blue", "green", "red")
    assert folder.class_counts.tolist() == [3, 3, 3]
    assert folder.num_samples == 9
    assert [folder.category_ids[v] for v in folder.labels.values] == ["blue"] * 3 + ["green"] * 3 + ["red"] * 3


def test_a_key_is_the_hash_of_the_path_below_the_folder(class_folder):
    folder = ImageFolder.open(class_folder)
    assert folder.files.paths[0] == "blue/blue_0.jpg"
    assert folder.keys[0].tobytes() == hashlib.blake2b(b"blue/blue_0.jpg", digest_size=16).digest()


def test_a_loader_gives_the_middle_square_of_each_image_with_its_label(class_folder):
    folder = ImageFolder.open(class_folder)
    seen = {}
    with loader_of(folder).epoch(0) as batches:
        for batch in batches:
            assert batch.label_offsets.tolist() == list(range(len(batch) + 1))
            for image, key, label in zip(batch.images, batch.keys, batch.label_values, strict=True):
                seen[key.tobytes()] = (image.copy(), int(label))
    assert len(seen) == 9
    for row, path in enumerate(folder.files.paths):
        image, label = seen[folder.keys[row].tobytes()]
        pixels = decode_image((class_folder / path).read_bytes(), max_pixels=10**6).pixels
        np.testing.assert_array_equal(image, resize_image(pixels, size=32, mode="center_crop"))
        assert folder.category_ids[label] == path.partition("/")[0]


def test_given_classes_keep_their_numbers_where_one_has_no_images(class_folder):
    train = ImageFolder.open(class_folder)
    for path in (class_folder / "green").iterdir():
        path.unlink()
    val = ImageFolder.open(class_folder, train.category_ids)
    assert val.class_counts.tolist() == [3, 0, 3]
    assert val.category_ids == train.category_ids


def test_a_class_that_is_not_among_the_given_ones_is_refused_by_name(class_folder):
    with pytest.raises(DatasetError, match="found 1 others: 'green'"):
        ImageFolder.open(class_folder, ["red", "blue"])


def test_files_outside_class_folders_are_counted(class_folder, draw):
    draw(class_folder / "loose.jpg", (9, 9, 9))
    folder = ImageFolder.open(class_folder)
    assert folder.num_samples == 9
    assert folder.files.ignored == {"outside_class": 1}


def test_a_folder_without_class_folders_is_refused(tmp_path, draw):
    draw(tmp_path / "1.jpg", (9, 9, 9))
    with pytest.raises(DatasetError, match="a folder with images for each class"):
        ImageFolder.open(tmp_path)


def test_a_table_gives_files_any_number_of_labels(class_folder, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,first,second\nred/red_1.jpg,warm,round\nblue/blue_0.jpg,cold,\nred/red_0.jpg,,\n")
    folder = ImageFolder.with_table(class_folder, table)
    assert folder.files.paths == ["blue/blue_0.jpg", "red/red_0.jpg", "red/red_1.jpg"]
    assert folder.category_ids == ("cold", "round", "warm")
    assert [folder.labels.of(i).tolist() for i in range(3)] == [[0], [], [1, 2]]
    assert folder.class_counts.tolist() == [1, 1, 1]
    assert folder.files.ignored == {"unlisted": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nred/red_9.jpg,warm\n", r"found 1 others: 'red/red_9\.jpg'"),
        ("file,label\n../photos/red/red_1.jpg,warm\n", "found 1 others"),
        ("file,label\nred/red_1.jpg,a\nred/red_1.jpg,b\n", r"found some again: 'red/red_1\.jpg'"),
        ("file\nred/red_1.jpg\n", "at least 2 columns"),
        ("file,label\n", "found none"),
        ("file,label,label\nred/red_1.jpg,a,b\n", "each column once"),
        ("", "expected a CSV with a header"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(class_folder, tmp_path, text, message):
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(DatasetError, match=message):
        ImageFolder.with_table(class_folder, table)


def test_the_fingerprint_changes_with_names_sizes_labels_and_hashed_content(class_folder, draw):
    def fingerprints():
        return ImageFolder.open(class_folder).fingerprint, ImageFolder.open(class_folder, sha256=True).fingerprint

    first = fingerprints()
    assert fingerprints() == first
    path = class_folder / "red" / "red_0.jpg"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1  # as many bytes
    path.write_bytes(data)
    second = fingerprints()
    assert second[0] == first[0]
    assert second[1] != first[1]
    path.write_bytes(bytes(data) + b"x")
    third = fingerprints()
    assert third[0] != first[0]
    path.rename(class_folder / "blue" / "red_0.jpg")
    assert fingerprints()[0] not in {first[0], third[0]}


def test_subsets_are_nested_shares_of_the_hash_space(class_folder):
    folder = ImageFolder.open(class_folder)
    shares = [int.from_bytes(key.tobytes()[:8]) / 2**64 for key in folder.keys]
    everything = folder.subset(0.0, 1.0)
    assert everything.numbers(np.arange(9)).tolist() == list(range(9))
    part = folder.subset(0.25, 0.75)
    assert part.numbers(np.arange(part.num_samples)).tolist() == [i for i, s in enumerate(shares) if 0.25 <= s < 0.75]
    assert 0 < part.num_samples < 9


def test_chosen_images_keep_keys_labels_and_classes(class_folder):
    folder = ImageFolder.open(class_folder)
    rows = np.array([0, 4, 8])
    some = folder.only(rows)
    assert some.files.paths == [folder.files.paths[row] for row in rows]
    np.testing.assert_array_equal(some.keys, folder.keys[rows])
    assert some.labels.values.tolist() == [0, 1, 2]
    assert some.category_ids == folder.category_ids


def test_a_file_that_changed_or_went_since_it_was_listed_is_named(class_folder):
    folder = ImageFolder.open(class_folder)
    path = class_folder / folder.files.paths[0]
    data = path.read_bytes()
    for content in (data[:-1], data + b"x"):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"blue_0\.jpg: expected .* as when the folder was listed"):
            folder.read_bytes(0, 0, len(data))
    path.unlink()
    with pytest.raises(DatasetError, match=r"blue_0\.jpg: expected the image that was listed"):
        folder.read_bytes(0, 0, len(data))


def test_an_image_that_cannot_be_decoded_is_named_by_its_file(class_folder):
    (class_folder / "red" / "red_2.jpg").write_bytes(b"<html>not found</html>")
    with (
        loader_of(ImageFolder.open(class_folder)).epoch(0) as batches,
        pytest.raises(DatasetError, match=r"red/red_2\.jpg: .*an HTML page"),
    ):
        list(batches)


def test_hashes_are_those_of_the_files_and_the_loader_compares_them(class_folder):
    folder = ImageFolder.open(class_folder, sha256=True)
    data = (class_folder / folder.files.paths[3]).read_bytes()
    assert folder.index(3).sha256.tobytes() == hashlib.sha256(data).digest()
    with loader_of(folder, check_sha256=True).epoch(0) as batches:
        assert sum(len(batch) for batch in batches) == 9


def test_a_pickled_folder_is_the_same(class_folder):
    folder = ImageFolder.open(class_folder)
    again = pickle.loads(pickle.dumps(folder))
    assert again.fingerprint == folder.fingerprint
    assert again.read_bytes(0, 0, int(folder.files.sizes[0])) == folder.read_bytes(0, 0, int(folder.files.sizes[0]))
