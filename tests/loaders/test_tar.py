from __future__ import annotations

import io
import tarfile

import pytest

from openjft.loaders.errors import LoaderError
from openjft.loaders.tar import TarWriter, read_tar, safe_name

MEMBERS = [("a.jpg", b"x" * 700), ("a.json", b"{}"), ("b.jpg", b""), ("b.json", b"y" * 512)]


def written(members=MEMBERS) -> tuple[bytes, list[int]]:
    stream = io.BytesIO()
    writer = TarWriter(stream)
    offsets = [writer.add(name, data) for name, data in members]
    writer.close()
    assert writer.offset == len(stream.getvalue())
    return stream.getvalue(), offsets


def test_members_come_back_with_the_offsets_of_their_data():
    data, offsets = written()
    members = list(read_tar(io.BytesIO(data)))
    assert [(m.name, m.data) for m in members] == MEMBERS
    assert [m.offset for m in members] == offsets
    assert all(data[m.offset : m.offset + len(m.data)] == m.data for m in members)


def test_headers_are_ustar_with_fixed_owner_time_and_mode():
    with tarfile.open(fileobj=io.BytesIO(written()[0])) as archive:
        for info in archive:
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) == (0, 0, 0, "", "", 0o644)
            assert not info.pax_headers
    assert written()[0][257:263] == b"ustar\0"


def test_a_tar_of_gnu_or_pax_headers_is_read_as_well():
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
            info = tarfile.TarInfo("d/" + "long" * 60 + "ü.jpg")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
        stream.seek(0)
        assert [(m.name, m.data) for m in read_tar(stream)] == [(info.name, b"abc")]


def test_an_empty_tar_has_no_members():
    assert list(read_tar(io.BytesIO(written([])[0]))) == []


def test_a_damaged_header_is_an_error_not_the_end():
    data, offsets = written()
    broken = bytearray(data)
    broken[offsets[2] - 512 + 150] ^= 0xFF  # in the checksum of the third header
    read = read_tar(io.BytesIO(bytes(broken)), origin="shard.tar")
    assert next(read).name == "a.jpg"
    assert next(read).name == "a.json"
    with pytest.raises(LoaderError, match=r"shard\.tar: .*damage.*at byte 2560"):
        next(read)


@pytest.mark.parametrize("keep", [0, 100, 512, 600, 1024 + 512, 2048, 2048 + 100])
def test_a_truncated_tar_is_an_error_wherever_it_ends(keep):
    with pytest.raises(LoaderError, match="damage"):
        list(read_tar(io.BytesIO(written()[0][:keep])))


def test_a_compressed_tar_is_refused():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz"):
        pass
    stream.seek(0)
    with pytest.raises(LoaderError, match="expected an uncompressed tar"):
        list(read_tar(stream))


@pytest.mark.parametrize(("kind", "name"), [(tarfile.SYMTYPE, "a"), (tarfile.LNKTYPE, "a"), (tarfile.CHRTYPE, "a")])
def test_links_and_devices_are_refused(kind, name):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    stream.seek(0)
    with pytest.raises(LoaderError, match="expected a regular file"):
        list(read_tar(stream))


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "a/../../b.jpg", "a\\b.jpg"])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    assert not safe_name(name)
    with pytest.raises(LoaderError, match="relative name"):
        list(read_tar(io.BytesIO(written([(name, b"")])[0])))


def test_members_above_the_cap_are_refused_before_they_are_read():
    with pytest.raises(LoaderError, match="more than the cap of 600"):
        list(read_tar(io.BytesIO(written()[0]), max_member_bytes=600))


def test_a_name_that_does_not_fit_a_ustar_header_is_refused():
    with pytest.raises(LoaderError, match="ustar"):
        TarWriter(io.BytesIO()).add("x" * 300, b"")
