"""A damaged header costs its own sample and no other, and whatever is lost is told."""

from __future__ import annotations

import io
import tarfile
import warnings

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openjft.loaders import Loader
from openjft.loaders.open import open_source
from openjft.loaders.tars import IndexOptions, Lost, TarCollection, index_tars, scan_tar, tar_names

BLOCK = 512


def jpeg(shade: int = 128) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (16, 12), (shade, 90, 200)).save(sink, "JPEG")
    return sink.getvalue()


def tar_of(members, kind=tarfile.USTAR_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=kind) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def samples(n, start=0):
    return [
        (f"{i:06d}.{ending}", data)
        for i in range(start, start + n)
        for ending, data in (("jpg", jpeg(i % 250)), ("cls", str(i % 3).encode()))
    ]


def walked(data: bytes):
    found = list(scan_tar(lambda size, offset: data[offset : offset + size], len(data)))
    return [item for item in found if not isinstance(item, Lost)], [item for item in found if isinstance(item, Lost)]


def headers_of(data: bytes) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [member.offset for member in archive]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_whole_tar_is_walked_as_tarfile_walks_it(kind):
    members = [*samples(3), ("folder/" + "long" * 40 + ".jpg", jpeg()), ("grün.jpg", jpeg())]
    if kind == tarfile.USTAR_FORMAT:
        members = members[:-2]
    data = tar_of(members, kind)
    found, lost = walked(data)
    assert not lost
    assert [(m.name, data[m.offset : m.offset + m.size]) for m in found] == members


@settings(deadline=None, max_examples=80)
@given(
    n=st.integers(1, 8),
    bad=st.sets(st.integers(0, 15), max_size=6),
    junk=st.binary(min_size=BLOCK, max_size=BLOCK).filter(lambda b: b != b"\0" * BLOCK),
)
def test_damaged_headers_lose_their_members_alone(n, bad, junk):
    members = samples(n)
    data = bytearray(tar_of(members))
    headers = headers_of(bytes(data))
    bad = {k for k in bad if k < len(headers)}
    for k in bad:
        data[headers[k] : headers[k] + BLOCK] = junk
    found, lost = walked(bytes(data))
    assert [m.name for m in found] == [name for k, (name, _) in enumerate(members) if k not in bad]
    covered = {k for k in range(len(headers)) for item in lost if item.start <= headers[k] < item.stop}
    assert covered == bad  # and everything that is missing is told


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_where_webdataset_drops_the_rest_one_sample_is_lost(tmp_path):
    data = bytearray(tar_of(samples(50)))
    at = headers_of(bytes(data))[40]  # the image of sample 20
    data[at : at + BLOCK] = b"\xff" * BLOCK
    (tmp_path / "a.tar").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = webdataset.WebDataset(
            str(tmp_path / "a.tar"), shardshuffle=False, handler=webdataset.ignore_and_continue
        )
        theirs = sum("jpg" in sample for sample in stream)
    summary = index_tars(tar_names(str(tmp_path)))
    assert theirs == 20
    assert summary.samples == 49
    assert summary.samples + sum(summary.rejects.values()) == 50


def test_a_tar_that_ends_early_keeps_what_is_whole():
    data = tar_of(samples(5))
    cut = headers_of(data)[8] + BLOCK + 1
    found, lost = walked(data[:cut])
    assert [m.name for m in found] == [name for name, _ in samples(5)[:8]]
    assert [item.reason for item in lost] == ["truncated"]


def test_what_is_no_file_is_not_followed():
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("dev.jpg", tarfile.CHRTYPE),
            ("../out.jpg", tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO())
        info = tarfile.TarInfo("good.jpg")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    found, lost = walked(sink.getvalue())
    assert [m.name for m in found] == ["good.jpg"]
    assert len(lost) == 3


def folder_of(tmp_path, **tars):
    for name, members in tars.items():
        (tmp_path / f"{name}.tar").write_bytes(tar_of(members))
    return tmp_path


def test_plain_tars_are_indexed_on_first_sight_and_read_with_their_labels(tmp_path):
    folder = folder_of(tmp_path, a=samples(5), b=samples(4, start=5))
    source = open_source(str(folder))
    assert isinstance(source, TarCollection)
    assert (source.num_samples, list(source.category_ids)) == (9, ["0", "1", "2"])
    assert source.class_counts.tolist() == [3, 3, 3]
    loader = Loader(source, batch_size=3, seed=1, image_size=8)
    batches = list(loader.epoch(0))
    assert len({key.tobytes() for batch in batches for key in batch.keys}) == 9
    assert {batch.images.shape for batch in batches} == {(3, 8, 8, 3)}


def test_two_indexes_are_the_same_bytes_and_the_second_does_nothing(tmp_path):
    folder = folder_of(tmp_path, a=samples(3), b=samples(3, start=3))
    first = index_tars(tar_names(str(folder)))
    files = {path.name: path.read_bytes() for path in (folder / ".openjft").iterdir() if path.is_file()}
    again = index_tars(tar_names(str(folder)))
    assert (first.indexed, again.indexed) == (2, 0)
    assert {path.name: path.read_bytes() for path in (folder / ".openjft").iterdir() if path.is_file()} == files


def test_a_moved_collection_is_the_same_stream(tmp_path):
    import shutil

    folder = folder_of(tmp_path / "a" if (tmp_path / "a").mkdir() is None else tmp_path, x=samples(6))
    here = open_source(str(folder))
    moved = open_source(str(shutil.copytree(folder, tmp_path / "b")))
    assert here.fingerprint == moved.fingerprint


def test_a_tar_that_has_changed_is_refused_until_it_is_indexed_again(tmp_path):
    folder = folder_of(tmp_path, a=samples(3))
    open_source(str(folder))
    folder_of(tmp_path, a=samples(4))
    with pytest.raises(Exception, match="openjft index"):
        open_source(str(folder))
    index_tars(tar_names(str(folder)))
    assert open_source(str(folder)).num_samples == 4


def test_names_that_repeat_from_tar_to_tar_need_the_tar_in_the_key(tmp_path):
    folder = folder_of(tmp_path, a=samples(2), b=samples(2))
    with pytest.raises(Exception, match="path"):
        index_tars(tar_names(str(folder)))
    assert index_tars(tar_names(str(folder)), IndexOptions(key="path")).samples == 4


def test_subsets_are_nested_by_the_hash_of_the_key(tmp_path):
    source = open_source(str(folder_of(tmp_path, a=samples(40))))
    small, large = (set(subset.numbers(__import__("numpy").arange(subset.num_samples)).tolist()) for subset in
                    (source.subset(0, 0.3), source.subset(0, 0.7)))  # fmt: skip
    assert small < large
    assert len(large) < 40
