"""Images from files, tars and object stores."""

import io
import os
import tarfile

import pyarrow.fs as pafs
import pytest

from openjft.loaders.tar import TarWriter
from openjft.pipelines.fetch.failure import FetchFailure
from openjft.pipelines.fetch.sources import SourceReader
from openjft.pipelines.ingest.uris import tar_member_uri


@pytest.fixture
def allowed(tmp_path):
    folder = tmp_path / "allowed"
    folder.mkdir()
    return folder


@pytest.fixture
def reader(allowed):
    return SourceReader(max_bytes=1000, allow_paths=[str(allowed)])


def reason(reader, uri):
    with pytest.raises(FetchFailure) as caught:
        reader.read(uri)
    return caught.value.reason


def test_files_below_an_allowed_folder_are_read(reader, allowed):
    (allowed / "deep").mkdir()
    (allowed / "deep" / "a b é.jpg").write_bytes(b"picture")
    assert reader.read(f"file://{allowed}/deep/a%20b%20%C3%A9.jpg") == b"picture"


def test_everything_else_is_forbidden(reader, allowed, tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "allowed2").mkdir()
    (tmp_path / "allowed2" / "x").write_bytes(b"x")
    (allowed / "link").symlink_to(tmp_path / "secret")
    (allowed / "out").symlink_to(tmp_path)
    os.mkfifo(allowed / "pipe")
    for path in (
        tmp_path / "secret",
        tmp_path / "absent",
        tmp_path / "allowed2" / "x",
        f"{allowed}/../secret",
        f"{allowed}/%2E%2E/secret",
        allowed / "link",
        f"{allowed}/out/secret",
        allowed / "pipe",
        allowed,
        "/dev/zero",
    ):
        assert reason(reader, f"file://{path}") == "forbidden_path", path


def test_no_folder_is_allowed_unless_configured(allowed):
    (allowed / "a").write_bytes(b"x")
    assert reason(SourceReader(max_bytes=10, allow_paths=[]), f"file://{allowed}/a") == "forbidden_path"


def test_missing_and_large_files_have_their_reason(reader, allowed):
    (allowed / "large").write_bytes(bytes(1001))
    (allowed / "just").write_bytes(bytes(1000))
    assert reason(reader, f"file://{allowed}/absent") == "not_found"
    assert reason(reader, f"file://{allowed}/just/below") == "not_found"
    assert reason(reader, f"file://{allowed}/large") == "too_many_bytes"
    assert len(reader.read(f"file://{allowed}/just")) == 1000
    assert reason(reader, f"file://{allowed}/{'x' * 300}") == "read_failed"
    assert reason(reader, f"file://{allowed}/a%00b") == "read_failed"


def test_members_of_tars_are_read_by_their_offset(allowed):
    reader = SourceReader(max_bytes=1000, allow_paths=[], tar_paths=[str(allowed)])
    path = allowed / "a b.tar"
    with path.open("wb") as sink:
        tar = TarWriter(sink)
        places = {name: (tar.add(name, name.encode() * 3), len(name.encode()) * 3) for name in ("x.jpg", "d/é y.jpg")}
        tar.close()
    for name, (offset, size) in places.items():
        assert reader.read(tar_member_uri(str(path), name, offset, size)) == name.encode() * 3
    assert reason(reader, f"file://{path}") == "forbidden_path"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_with_long_names_are_read(reader, allowed, kind):
    path, name = allowed / "long.tar", "d" * 90 + "/" + "n" * 60 + ".jpg"
    with tarfile.open(path, "w", format=kind) as archive:
        info = tarfile.TarInfo(name)
        info.size = 5
        archive.addfile(info, io.BytesIO(b"bytes"))
    with tarfile.open(path) as archive:
        offset = archive.getmember(name).offset_data
    assert reader.read(tar_member_uri(str(path), name, offset, 5)) == b"bytes"


def test_a_locator_that_does_not_fit_the_tar_is_refused(reader, allowed, tmp_path):
    path = allowed / "a.tar"
    with path.open("wb") as sink:
        tar = TarWriter(sink)
        offset = tar.add("x.jpg", b"0123456789")
        tar.close()
    uri = f"tar+file://{path}?member="
    assert reader.read(f"{uri}x.jpg#{offset}-10") == b"0123456789"
    for bad in (
        f"y.jpg#{offset}-10",
        f"x.jpg#{offset}-9",
        f"x.jpg#{offset + 1}-10",
        "x.jpg#0-10",
        "x.jpg#99999-10",
        "x.jpg",
    ):
        assert reason(reader, uri + bad) == "read_failed", bad
    assert reason(reader, f"{uri}x.jpg#{offset}-1001") == "too_many_bytes"
    assert reason(reader, f"tar+file://{allowed}/none.tar?member=x.jpg#512-10") == "not_found"
    (tmp_path / "b.tar").write_bytes(path.read_bytes())
    assert reason(reader, f"tar+file://{tmp_path}/b.tar?member=x.jpg#{offset}-10") == "forbidden_path"


def test_objects_are_read_through_pyarrow(reader, tmp_path, monkeypatch):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "a b.jpg").write_bytes(b"object")
    (bucket / "large.jpg").write_bytes(bytes(1001))
    roots = []

    class Stores:
        @staticmethod
        def from_uri(uri):
            roots.append(uri)
            return pafs.LocalFileSystem(), str(bucket)

    monkeypatch.setattr(pafs, "FileSystem", Stores)
    assert reader.read("s3://bucket/a%20b.jpg") == b"object"
    assert reason(reader, "s3://bucket/absent.jpg") == "not_found"
    assert reason(reader, "s3://bucket/large.jpg") == "too_many_bytes"
    assert roots == ["s3://bucket"]


def test_an_object_uri_may_not_choose_its_endpoint(reader):
    assert reason(reader, "s3://bucket/a.jpg?endpoint_override=127.0.0.1:80") == "forbidden_path"
    assert reason(reader, "s3://key:secret@bucket/a.jpg") == "forbidden_path"
    assert reason(reader, "ftp://host/a.jpg") == "forbidden_scheme"
