"""The index of plain tars: what is kept, what is rejected and why, and runs that go on."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile

import pytest

from openjft.loaders import LoaderError
from openjft.loaders.tars import IndexOptions, TarCollection, index_tars, tar_names
from openjft.loaders.tars.listing import index_folder
from openjft.loaders.tars.names import expand
from openjft.taxonomy import Category, build_taxonomy

from .conftest import image_bytes, pairs, tar_bytes
from .test_scan import offsets, zeroed


def indexed(path, options=None, **rest):
    return index_tars(tar_names(str(path)), options, num_threads=2, **rest)


def labels(collection) -> dict[str, list[str]]:
    """By the key's first digits, for a collection of one tar."""
    index = collection.index(0)
    return {
        index.keys[i].tobytes().hex(): [collection.category_ids[v] for v in index.labels.of(i)]
        for i in range(index.num_samples)
    }


def key(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def files(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_sample_is_kept_or_rejected_with_its_reason(tmp_path):
    data = tar_bytes([
        *pairs(range(3)),
        ("only.txt", b"x"),
        ("two.jpg", image_bytes(1)), ("two.png", image_bytes(1, "png")),
        ("html.jpg", b"<html>"), ("html.cls", b"1"),
        ("cut.png", image_bytes(1, "png")[:20]), ("empty.jpg", b""),
        ("bad.jpg", image_bytes(1)), ("bad.cls", b"dog"),
        ("dup.jpg", image_bytes(1)), ("dup.JPG", image_bytes(1)),
        *pairs([0]),
        *((f"ok.{kind}", image_bytes(2, kind)) for kind in ["webp"]),
    ])  # fmt: skip
    (tmp_path / "x.tar").write_bytes(data)
    found = indexed(tmp_path / "x.tar")
    assert found.samples == 4
    assert sum(found.rejects.values()) == 8
    assert found.rejects == {
        "bad_labels": 1, "image_bytes": 1, "no_image": 1, "not_an_image": 1, "repeated": 1, "repeated_member": 1,
        "several_images": 1, "truncated": 1,
    }  # fmt: skip
    assert found.lost == {}


def test_a_sample_beside_a_loss_that_lacks_its_label_is_rejected_and_its_neighbours_are_kept(tmp_path):
    data = tar_bytes(pairs(range(6)))
    start = offsets(data)["s0002.cls"][0] - 512
    (tmp_path / "x.tar").write_bytes(zeroed(data, start, start + 90, 7))
    found = indexed(tmp_path)
    assert (found.samples, found.rejects, found.lost) == (5, {"damaged": 1}, {"bad_header": 1})
    assert key("s0002") not in labels(TarCollection.open(tmp_path))


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ('{"class": "dog"}', "class", ["dog"]),
        ('{"class": 7}', "class", ["7"]),
        ('{"class": ["dog", "cat", 3, "dog"]}', "class", ["3", "cat", "dog"]),
        ('{"class": []}', "class", []),
        ('{"labels": {"asserted": [{"id": "n2"}], "inferred": [{"id": "n1"}]}}', None, ["n1", "n2"]),
        ('{"caption": "of another program"}', None, []),
    ],
)
def test_labels_come_from_the_json(tmp_path, text, field, expected):
    (tmp_path / "x.tar").write_bytes(tar_bytes([("a.json", text.encode()), ("a.jpg", image_bytes(1))]))
    opened = TarCollection.open(tmp_path, options=IndexOptions(label_field=field))
    assert labels(opened) == {key("a"): expected}


@pytest.mark.parametrize(
    "text", ['{"other": 1}', "[]", "{", '{"class": true}', '{"class": {"a": 1}}', '{"class": "\\ud800"}']
)
def test_labels_that_cannot_be_read_reject_their_sample_alone(tmp_path, text):
    (tmp_path / "x.tar").write_bytes(
        tar_bytes([
            ("a.jpg", image_bytes(1)), ("a.json", text.encode()),
            ("b.jpg", image_bytes(1)), ("b.json", b'{"class": "dog"}'),
        ])
    )  # fmt: skip
    found = indexed(tmp_path, IndexOptions(label_field="class"))
    assert (found.samples, found.rejects) == (1, {"bad_labels": 1})


def test_a_name_of_32_hex_digits_is_the_key_and_others_are_hashed(tmp_path):
    name = "0123456789abcdef" * 2
    (tmp_path / "x.tar").write_bytes(tar_bytes([(f"{name}.jpg", image_bytes(1)), ("d/b.jpg", image_bytes(2))]))
    assert set(labels(TarCollection.open(tmp_path))) == {name, key("d/b")}


def test_names_that_repeat_from_tar_to_tar_are_an_error_with_both_places_and_a_cure(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes(tar_bytes(pairs([1])))
    with pytest.raises(LoaderError, match=r"'s0001' in a\.tar and in b\.tar; index with --key path"):
        indexed(tmp_path)
    again = indexed(tmp_path, IndexOptions(key="path"))
    assert (again.samples, again.indexed) == (2, 0)  # another rule for keys reads no tar
    assert key("b/s0001") in {k.tobytes().hex() for k in TarCollection.open(tmp_path).index(1).keys}


def test_two_runs_give_the_same_bytes(web):
    indexed(web)
    first = files(web / ".openjft")
    indexed(web)
    assert files(web / ".openjft") == first
    for path in (web / ".openjft").rglob("*.parquet"):
        path.unlink()
    (web / ".openjft/collection.json").unlink()
    indexed(web)
    assert files(web / ".openjft") == first


def test_a_killed_run_goes_on_with_the_tars_that_are_missing(web):
    class KilledError(Exception):
        pass

    def kill(done, total):
        if done > total / 2:
            raise KilledError

    with pytest.raises(KilledError):
        index_tars(tar_names(str(web)), num_threads=1, on_progress=kill)
    assert not (web / ".openjft/collection.json").exists()
    # One thread may have begun the last tar before it was told to stop.
    (web / ".openjft/tars/web-002.parquet").unlink(missing_ok=True)
    found = indexed(web)
    assert (found.indexed, found.samples) == (1, 20)


def test_only_a_tar_that_has_changed_is_read_again(web):
    indexed(web)
    (web / "web-001.tar").write_bytes(tar_bytes(pairs(range(30, 35))))
    assert indexed(web).indexed == 1
    assert TarCollection.open(web).num_samples == 8 + 5 + 4


def test_progress_ends_at_all_bytes(web):
    told = []
    indexed(web, on_progress=lambda done, total: told.append((done, total)))
    total = sum(p.stat().st_size for p in web.glob("*.tar"))
    assert told[-1] == (total, total)


def test_tars_without_an_image_are_an_error_that_says_what_was_there(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes([("a.txt", b"1")]))
    with pytest.raises(LoaderError, match="expected samples with an image in 1 tars, found no_image 1"):
        indexed(tmp_path)


def test_labels_outside_of_a_given_vocabulary_are_named_or_dropped(web):
    taxonomy = build_taxonomy([Category("0"), Category("1")], [], origin="test")
    with pytest.raises(LoaderError, match=r"found 1 others: '2'"):
        indexed(web, taxonomy=taxonomy)
    found = indexed(web, taxonomy=taxonomy, unknown="drop")
    assert (found.samples, found.unknown_labels, found.categories) == (20, 1, 2)
    opened = TarCollection.open(web)
    assert opened.category_ids == ("0", "1")
    assert opened.class_counts.tolist() == [7, 7]


def test_where_the_tars_cannot_be_written_to_the_index_lies_in_the_cache_of_the_user(web, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(web)))
    folder = index_folder(tar_names(str(web)))
    assert folder.is_relative_to(tmp_path / "cache" / "openjft" / "index")
    indexed(web)
    assert TarCollection.open(web).num_samples == 20
    assert not (web / ".openjft").exists()


def test_some_of_the_tars_may_be_named(web):
    assert TarCollection.open(f"{web}/web-{{000..001}}.tar").num_samples == 16
    assert TarCollection.open(web).num_samples == 20  # the third is indexed when it is first seen
    assert TarCollection.open(f"{web}/web-002.tar").num_samples == 4


def test_ranges_of_names_expand_and_are_capped():
    assert expand("a{08..10}b{0..1}.tar") == [f"a{n:02d}b{m}.tar" for n in (8, 9, 10) for m in (0, 1)]
    for bad in ("x{5..2}.tar", "x{0..9999999}.tar", "x{0..9999}{0..9999}.tar"):
        with pytest.raises(LoaderError):
            expand(bad)


@pytest.mark.parametrize(
    "text", ["{", '{"format": "x", "version": 1}', "[]", '{"format":"openjft-tar-index","version":9}']
)
def test_a_damaged_list_is_an_error_that_says_what_to_do(web, text):
    indexed(web)
    (web / ".openjft/collection.json").write_text(text)
    with pytest.raises(LoaderError, match="remove it, and index again"):
        TarCollection.open(web)


def test_the_account_is_in_the_list(web):
    indexed(web)
    entries = json.loads((web / ".openjft/collection.json").read_text())["tars"]
    assert [(e["name"], e["samples"]) for e in entries] == [(f"web-00{i}.tar", n) for i, n in enumerate((8, 8, 4))]


def test_pax_tars_are_indexed_alike(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes(pairs(range(4)), format=tarfile.PAX_FORMAT))
    assert indexed(tmp_path).samples == 4
