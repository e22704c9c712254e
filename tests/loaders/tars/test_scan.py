"""The walk over a tar that may be damaged: what is whole is found, what is lost is told."""

from __future__ import annotations

import gc
import io
import tarfile

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders.tars.samples import group_samples, split_name
from openjft.loaders.tars.scan import BLOCK, Lost, Member, Sequential, scan_tar

from .conftest import LEAVES_TARS_OPEN, pairs, tar_bytes


def walk(data: bytes, *, piece: int = 1 << 14):
    read = Sequential(lambda size, offset: data[offset : offset + size], piece=piece)
    return list(scan_tar(read.read_at, len(data)))


def members(data: bytes):
    return [item for item in walk(data) if isinstance(item, Member)]


def told(data: bytes):
    return [item.reason for item in walk(data) if isinstance(item, Lost)]


def offsets(data: bytes) -> dict[str, tuple[int, int]]:
    """By Python's own reader."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: (info.offset_data, info.size) for info in tar if info.isreg()}


def zeroed(data: bytes, start: int, stop: int, byte: int = 0) -> bytes:
    return data[:start] + bytes([byte]) * (stop - start) + data[stop:]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_tarfile_finds(format):
    names = ["a.jpg", "b/c.d.jpg", "x" * 90 + ".jpg"]
    if format != tarfile.USTAR_FORMAT:
        names += ["long/" * 30 + "n.jpg", "größe.jpg"]
    data = tar_bytes([(name, name.encode() * 50) for name in names], format=format)
    assert {m.name: (m.offset, m.size) for m in members(data)} == offsets(data)
    assert told(data) == []


@pytest.mark.parametrize("piece", [BLOCK, 1000, 1 << 20])
def test_the_size_of_the_pieces_that_are_read_changes_nothing(piece):
    data = tar_bytes(pairs(range(5)))
    assert walk(data, piece=piece) == walk(data)


@LEAVES_TARS_OPEN
def test_one_damaged_header_of_fifty_costs_one_sample_and_webdataset_the_rest(tmp_path):
    data = tar_bytes((f"{n:03d}.jpg", bytes([n]) * 700) for n in range(50))
    start = offsets(data)["019.jpg"][0] - BLOCK
    damaged = zeroed(data, start + 100, start + 140, 255)
    assert [m.name for m in members(damaged)] == [f"{n:03d}.jpg" for n in range(50) if n != 19]
    assert [(at.start, at.stop, at.reason) for at in walk(damaged) if isinstance(at, Lost)] == [
        (start, start + 3 * BLOCK, "bad_header")
    ]
    (tmp_path / "x.tar").write_bytes(damaged)
    theirs = [s["__key__"] for s in webdataset.WebDataset(str(tmp_path / "x.tar"), shardshuffle=False)]
    gc.collect()
    assert theirs == [f"{n:03d}" for n in range(19)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_damage_of_headers_loses_the_members_touched_and_no_other(data):
    count = data.draw(st.integers(1, 12))
    contents = {f"m{n}.jpg": bytes([65 + n]) * data.draw(st.sampled_from([0, 1, 512, 700])) for n in range(count)}
    tar = tar_bytes(contents.items(), format=data.draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])))
    where = offsets(tar)
    touched = data.draw(st.sets(st.sampled_from(sorted(contents))))
    for name in touched:
        start = where[name][0] - BLOCK
        at = start + data.draw(st.integers(0, 147))
        tar = zeroed(tar, at, at + 1, data.draw(st.integers(1, 255).filter(lambda b, o=tar[at]: b != o)))
    # One byte of a header changed: its sum is wrong. The slow reference is the list of what was written.
    found = {m.name: tar[m.offset : m.offset + m.size] for m in members(tar)}
    assert found == {name: value for name, value in contents.items() if name not in touched}


def test_a_lost_page_of_zeros_is_not_taken_for_the_end():
    data = tar_bytes((f"{n}.jpg", bytes([n + 1]) * 3000) for n in range(6))
    start = offsets(data)["2.jpg"][0] - BLOCK
    damaged = zeroed(data, start, start + 4096)  # all of 2.jpg, and the header of 3.jpg
    assert [m.name for m in members(damaged)] == ["0.jpg", "1.jpg", "4.jpg", "5.jpg"]
    assert told(damaged) == ["zeros"]


def test_a_tar_behind_another_is_read_and_told():
    both = tar_bytes([("a.jpg", b"a")]) + tar_bytes([("b.jpg", b"b")])
    assert [m.name for m in members(both)] == ["a.jpg", "b.jpg"]
    assert told(both) == ["zeros"]


def test_what_follows_the_end_and_is_no_tar_is_told():
    assert told(tar_bytes([("a.jpg", b"a")]) + b"garbage" * 300) == ["after_end"]


@pytest.mark.parametrize("cut", [200, 512 + 100])
def test_of_a_truncated_tar_what_is_whole_is_used(cut):
    data = tar_bytes([("a.jpg", b"a" * 512), ("b.jpg", b"b" * 512)])
    damaged = data[: 2 * BLOCK + cut]
    assert [m.name for m in members(damaged)] == ["a.jpg"]
    assert told(damaged) == ["truncated"]


def test_a_size_that_the_tar_does_not_have_does_not_swallow_what_follows():
    data = bytearray(tar_bytes([("a.jpg", b"a"), ("b.jpg", b"b"), ("c.jpg", b"c")]))
    info = tarfile.TarInfo("b.jpg")
    info.size = 1 << 32
    start = offsets(bytes(data))["b.jpg"][0] - BLOCK
    data[start : start + BLOCK] = info.tobuf(tarfile.GNU_FORMAT)
    assert [m.name for m in members(bytes(data))] == ["a.jpg", "c.jpg"]


def test_links_devices_and_unsafe_names_are_told_and_never_followed():
    link, fifo, folder = tarfile.TarInfo("l.jpg"), tarfile.TarInfo("p.jpg"), tarfile.TarInfo("d")
    link.type, link.linkname, fifo.type, folder.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.FIFOTYPE, tarfile.DIRTYPE
    data = tar_bytes(
        [("../x.jpg", b"1"), link, fifo, folder, ("/abs.jpg", b"2"), ("e\nvil.jpg", b"3"), ("ok.jpg", b"4")]
    )
    assert [m.name for m in members(data)] == ["ok.jpg"]
    assert told(data) == ["unsafe_name", "not_a_file", "not_a_file", "unsafe_name", "unsafe_name"]


def test_a_link_that_tells_a_size_has_no_data():
    link = tarfile.TarInfo("l.jpg")
    link.type, link.linkname, link.size = tarfile.LNKTYPE, "a.jpg", 5000
    data = tar_bytes([("a.jpg", b"a"), link, ("b.jpg", b"b")])
    assert [m.name for m in members(data)] == ["a.jpg", "b.jpg"]


def test_a_member_whose_long_name_was_damaged_gets_no_half_name():
    long = "n" * 150 + ".jpg"
    data = tar_bytes([("a.jpg", b"a"), (long, b"x"), ("b.jpg", b"b")])
    start = 2 * BLOCK  # the header of the long name
    assert data[start + 156 : start + 157] == tarfile.GNUTYPE_LONGNAME
    assert [m.name for m in members(zeroed(data, start + 20, start + 30, 9))] == ["a.jpg", "b.jpg"]


def test_zeros_and_garbage_are_no_tar_and_end():
    assert walk(b"") == []
    assert walk(bytes(5 * BLOCK)) == []
    assert told(b"\x1f\x8b" * 5000) == ["bad_header"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", ("a", "jpg")),
        ("a.b.jpg", ("a", "b.jpg")),
        ("x.y/a.JPG", ("x.y/a", "JPG")),
        ("noending", None),
        (".hidden.jpg", None),
        ("d/.hidden.jpg", None),
        ("__meta__/a.jpg", None),
    ],
)
def test_a_name_is_cut_at_the_first_dot_of_its_base(name, expected):
    assert split_name(name) == expected


def test_samples_are_neighbours_that_share_a_name():
    data = tar_bytes([("a.jpg", b"1"), ("a.cls", b"2"), ("README", b"3"), ("b.jpg", b"4"), ("a.txt", b"5")])
    found = list(group_samples(walk(data)))
    samples = [(s.name, [p.ending for p in s.parts]) for s in found if not isinstance(s, Lost)]
    assert samples == [("a", ["jpg", "cls"]), ("b", ["jpg"]), ("a", ["txt"])]
    assert [item.reason for item in found if isinstance(item, Lost)] == ["no_sample"]
