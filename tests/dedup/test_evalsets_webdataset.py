from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from openjft.dedup import EvalSetError, EvalSetSpec, read_eval_set
from openjft.dedup.evalsets import tars

SAMPLES = {"a/1.jpg": b"one", "a/1.json": b"{}", "a/2.jpg": b"second", "a/2.txt": b"t"}


def tar_bytes(members, **options) -> bytes:
    """A tar of (name, data) or (TarInfo, data)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(root, **spec):
    return read_eval_set(EvalSetSpec(name="w", format="webdataset", root=str(root), **spec))


def contents(found, **options):
    return [data for _, data in found.iter_bytes(max_bytes=100, **options)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_has_an_image_for_each_sample(tmp_path, packed):
    data = tar_bytes(SAMPLES)
    path = tmp_path / ("x.tar.gz" if packed else "x.tar")
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read(path)
    assert found.ids == ("a/1", "a/2")
    assert found.paths == (f"{path}!a/1.jpg", f"{path}!a/2.jpg")
    assert contents(found) == [b"one", b"second"]
    assert contents(found, rows=[1, 0, 1]) == [b"second", b"one", b"second"]
    assert found.read_bytes(1, 6) == b"second"
    with pytest.raises(EvalSetError, match=r"x\.tar.*!a/2\.jpg: too_many_bytes: expected at most 5"):
        found.read_bytes(1, 5)


def test_whether_a_tar_is_compressed_is_told_by_its_bytes_and_not_by_its_name(tmp_path):
    (tmp_path / "x.tar").write_bytes(gzip.compress(tar_bytes(SAMPLES)))
    assert contents(read(tmp_path / "x.tar")) == [b"one", b"second"]


def shards(folder, names):
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tar_bytes({f"{i}.jpg": b"x"}))


@pytest.mark.parametrize(
    ("pattern", "spec", "count"),
    [
        ("", {}, 3),
        ("", {"split": "test"}, 1),
        ("t-{08..10}.tar", {}, 3),
        ("t-{08,10}.tar", {}, 2),
        ("{t-0,t-1}{8..8}.tar", None, 0),
        ("t-*.tar", {}, 3),
        ("t-09.tar", {}, 1),
    ],
)
def test_tars_are_named_by_folder_pattern_or_name(tmp_path, pattern, spec, count):
    shards(tmp_path, ["t-08.tar", "t-09.tar", "t-10.tar", "test/0.tar"])
    if spec is None:
        with pytest.raises(EvalSetError, match=r"1 of the 2 tars of .* are missing: .*t-18\.tar"):
            read(tmp_path / pattern)
    else:
        assert len(read(tmp_path / pattern, **spec)) == count


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none-*.tar", "found none at"),
        ("t-{9..1}.tar", "expected a rising range"),
        ("t-{x}.tar", r"expected \{000000..000009\} or \{a,b\}, found \{x\}"),
        ("t-{0..999999999999}.tar", "at most 100,000 tars"),
        ("empty", r"expected tars \(.tar, .tar.gz, .tgz\) in"),
        ("s3://bucket/x.tar", "copy it here first"),
    ],
)
def test_a_root_without_tars_is_a_clear_error(tmp_path, pattern, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvalSetError, match=message):
        read(pattern if "://" in pattern else tmp_path / pattern)


@pytest.mark.parametrize(
    ("members", "spec", "expected"),
    [
        (["1.jpg", "1.seg.png"], {}, ["1.jpg"]),
        (["1.left.jpg", "1.right.jpg"], {"images": "right.jpg"}, ["1.right.jpg"]),
        (["1.JPG", "1.png"], {"images": ".jpg"}, ["1.JPG"]),
        (["./1.jpg", "./sub/2.webp", "._1.jpg", "__meta__.json"], {}, ["./1.jpg", "./sub/2.webp"]),
        (["1.txt", "2.jpg", "3.txt.gz"], {}, ["2.jpg"]),
    ],
)
def test_the_image_of_a_sample_is_the_member_with_an_image_ending(tmp_path, members, spec, expected):
    (tmp_path / "x.tar").write_bytes(tar_bytes(dict.fromkeys(members, b"x")))
    found = read(tmp_path / "x.tar", **spec)
    assert [path.partition("!")[2] for path in found.paths] == expected


def of_type(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.jpg", b""), ("1.png", b"")], r"sample '1': expected one image, found 1\.jpg, 1\.png; name the ending"),
        ([("1.jpg", b""), ("2.jpg", b""), ("1.jpg", b"")], "id '1' stands twice"),
        ([("../1.jpg", b"")], "relative name without"),
        ([("/1.jpg", b"")], "relative name without"),
        ([(of_type("1.jpg", tarfile.SYMTYPE, "/etc/passwd"), b"")], "expected a regular file"),
        ([(of_type("1.jpg", tarfile.LNKTYPE, "x"), b"")], "expected a regular file"),
        ([("1.txt", b"")], "expected images below .* found none"),
        ([("1\n.jpg", b"")], "names that can stand in a list"),
    ],
)
def test_members_that_do_not_make_a_set_are_refused(tmp_path, members, message):
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    with pytest.raises(EvalSetError, match=message):
        read(tmp_path / "x.tar")


def test_a_key_in_two_tars_is_refused(tmp_path):
    for name in ("x.tar", "y.tar"):
        (tmp_path / name).write_bytes(tar_bytes(SAMPLES))
    with pytest.raises(EvalSetError, match=r"id 'a/1' stands twice: .*x\.tar!a/1\.jpg and .*y\.tar!a/1\.jpg"):
        read(tmp_path)


def damage_header(data):
    return data[:1024] + b"\xff" * 512 + data[1536:]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "spoil", [lambda d: d[:700], lambda d: d[:2048], damage_header, lambda d: b"", lambda d: b"not a tar" * 200]
)
def test_a_damaged_tar_is_never_taken_for_a_short_one(tmp_path, spoil, packed):
    data = spoil(tar_bytes(SAMPLES))
    (tmp_path / "x.tar").write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(EvalSetError, match=r"x\.tar: expected a whole tar, found damage"):
        read(tmp_path / "x.tar")


def test_a_truncated_gzip_is_damage(tmp_path):
    (tmp_path / "x.tgz").write_bytes(gzip.compress(tar_bytes(SAMPLES))[:-40])
    with pytest.raises(EvalSetError, match="found damage"):
        read(tmp_path / "x.tgz")


@pytest.mark.parametrize(("magic", "name"), [(b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")])
def test_other_compressions_are_named(tmp_path, magic, name):
    (tmp_path / "x.tar").write_bytes(magic + bytes(600))
    with pytest.raises(EvalSetError, match=f"expected a tar, plain or gzip, found {name}"):
        read(tmp_path / "x.tar")


def test_a_gzip_may_not_unpack_without_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "MAX_UNPACKED_BYTES", 1 << 20)
    (tmp_path / "x.tgz").write_bytes(gzip.compress(tar_bytes({"1.jpg": bytes(8 << 20)})))
    with pytest.raises(EvalSetError, match="unpacks to more than"):
        read(tmp_path / "x.tgz")


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read_and_endless_ones_refused(tmp_path, format_):
    for length, fits in ((300, True), (2 << 20, False)):
        name = "d/" * (length // 2) + "1.jpg"
        (tmp_path / "x.tar").write_bytes(tar_bytes({name: b"x"}, format=format_))
        if fits:
            assert read(tmp_path / "x.tar").ids == (name.removesuffix(".jpg"),)
        else:
            with pytest.raises(EvalSetError, match="expected names of less than"):
                read(tmp_path / "x.tar")


def test_sparse_members_are_refused(tmp_path):
    info = tarfile.TarInfo("1.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "999999999999"}
    data = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    (tmp_path / "x.tar").write_bytes(tar_bytes([(info, data)], format=tarfile.PAX_FORMAT))
    with pytest.raises(EvalSetError, match="expected a regular file"):
        read(tmp_path / "x.tar")


def test_a_tar_that_changed_after_it_was_read_is_an_error_of_the_image(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes(SAMPLES))
    found = read(path)
    path.write_bytes(path.read_bytes()[:600])
    rows = contents(found)
    assert rows[0] == b"one"
    assert "read_failed" in str(rows[1])
    with pytest.raises(OSError, match="expected 6 bytes"):
        found.read_bytes(1, 100)


def test_ids_pick_samples_in_their_order_and_storage_order_is_that_of_the_tar(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes(SAMPLES))
    (tmp_path / "ids.txt").write_text("a/2\na/1\n")
    found = read(tmp_path / "x.tar", ids=str(tmp_path / "ids.txt"))
    assert found.ids == ("a/2", "a/1")
    assert found.storage_order() == [1, 0]
    assert contents(found) == [b"second", b"one"]


def test_the_fingerprint_follows_keys_and_sizes_and_not_the_folder(tmp_path):
    prints = []
    for folder, members in (("p", SAMPLES), ("q", SAMPLES), ("r", {**SAMPLES, "a/2.jpg": b"longer one"})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.tar").write_bytes(tar_bytes(members))
        prints.append(read(tmp_path / folder).fingerprint())
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("packed", [False, True])
def test_images_of_several_tars_are_read_in_any_order(tmp_path, packed):
    for name in ("x", "y"):
        data = tar_bytes({f"{name}1.jpg": name.encode(), f"{name}2.jpg": name.encode() * 2})
        (tmp_path / f"{name}.tar").write_bytes(gzip.compress(data) if packed else data)
    found = read(tmp_path)
    assert contents(found, rows=[3, 0, 2, 1]) == [b"yy", b"x", b"y", b"xx"]
