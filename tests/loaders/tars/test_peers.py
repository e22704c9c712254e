"""The files that other readers look for, and the command that writes them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import tarfile

import pytest
from typer.testing import CliRunner

from openjft.loaders import DatasetError, LoaderError, verify_dataset
from openjft.loaders.tars import tar_names, write_peer_files
from openjft.pipelines import cli

from .conftest import image_bytes, pairs, tar_bytes
from .test_scan import offsets, zeroed


def wds2idx(path) -> str:
    """The rules of DALI's tools/wds2idx.py (v1.2), over Python's own reader."""
    lines, last = [], None
    with tarfile.open(path) as tar:
        for info in tar:
            if info.type != tarfile.REGTYPE:
                continue
            dot = info.name.find(".", info.name.rfind("/") + 1)
            base, ending = info.name[:dot], info.name[dot + 1 :]
            if last != base:
                lines.append([])
                last = base
            lines[-1].append(f"{ending} {info.offset_data} {info.size} {info.name}")
    return "\n".join([f"v1.2 {len(lines)}", *(" ".join(line) for line in lines)]) + "\n"


def energon(path) -> list[int]:
    """Where samples begin and the last one ends, as Energon's prepare finds it."""
    starts, last = [], None
    with tarfile.open(path) as tar:
        for info in tar:
            base = info.name.partition(".")[0]
            if base != last:
                starts.append(info.offset)
                last = base
        return [*starts, tar.offset]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_dali_and_energon_get_what_their_own_tools_write(tmp_path, format):
    names = ["d/a.jpg", "d/a.seg.PNG", "b.jpg"] + (["n" * 120 + ".jpg"] if format != tarfile.USTAR_FORMAT else [])
    (tmp_path / "x.tar").write_bytes(tar_bytes([(name, name.encode() * 40) for name in names], format=format))
    write_peer_files(tar_names(str(tmp_path)), ["dali", "energon"], tmp_path)
    assert (tmp_path / "x.idx").read_text() == wds2idx(tmp_path / "x.tar")
    found = (tmp_path / "x.tar.idx").read_bytes()
    assert list(struct.unpack(f"<{len(found) // 8}Q", found)) == energon(tmp_path / "x.tar")


def test_names_with_white_space_get_dalis_version_without_names(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes([("a b.jpg", b"123")]))
    write_peer_files(tar_names(str(tmp_path)), ["dali"], tmp_path)
    assert (tmp_path / "x.idx").read_text() == "v1.1 1\njpg 512 3\n"


def test_energons_database_finds_the_parts(web):
    write_peer_files(tar_names(str(web)), ["energon"], web)
    database = sqlite3.connect(web / ".nv-meta/index.sqlite")
    rows = database.execute(
        "SELECT content_byte_offset, content_byte_size FROM samples "
        "JOIN sample_parts USING (tar_file_id, sample_index) WHERE sample_key = 's0010' AND part_name = 'jpg'"
    ).fetchall()
    database.close()
    assert rows == [offsets((web / "web-001.tar").read_bytes())["s0010.jpg"]]
    split = json.loads((web / ".nv-meta/split.yaml").read_text())
    assert split["split_parts"]["train"] == [f"web-00{i}.tar" for i in range(3)]
    info = json.loads((web / ".nv-meta/.info.json").read_text())
    assert list(info["shard_counts"].values()) == [8, 8, 4]


def test_equal_tars_give_equal_files(web, tmp_path):
    def written(target):
        paths = write_peer_files(tar_names(str(web)), ["dali", "energon", "open_clip"], target)
        return {path: (target / path).read_bytes() for path in paths}

    assert written(tmp_path / "a") == written(tmp_path / "b")


def test_another_folder_gets_links_to_the_tars_which_these_readers_look_for(web, tmp_path):
    write_peer_files(tar_names(str(web)), ["open_clip"], tmp_path / "out")
    assert json.loads((tmp_path / "out/sizes.json").read_text()) == {
        f"web-00{i}.tar": n for i, n in enumerate((8, 8, 4))
    }
    assert (tmp_path / "out/web-001.tar").read_bytes() == (web / "web-001.tar").read_bytes()
    assert not (web / "sizes.json").exists()


def test_what_energon_cannot_read_is_refused_and_dali_gets_around_it(tmp_path):
    data = tar_bytes(pairs(range(4)))
    start = offsets(data)["s0001.jpg"][0] - 512
    (tmp_path / "x.tar").write_bytes(zeroed(data, start, start + 90, 7))
    with pytest.raises(LoaderError, match="Energon reads from sample to sample"):
        write_peer_files(tar_names(str(tmp_path)), ["energon"], tmp_path)
    assert not (tmp_path / ".nv-meta/index.sqlite").exists()
    write_peer_files(tar_names(str(tmp_path)), ["dali"], tmp_path)
    assert (tmp_path / "x.idx").read_text().startswith("v1.2 4\n")


def test_energon_wants_each_name_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes(tar_bytes([("same.jpg", image_bytes(1))]))
    with pytest.raises(LoaderError, match="Energon wants each sample's name once"):
        write_peer_files(tar_names(str(tmp_path)), ["energon"], tmp_path)


def run(*arguments):
    return CliRunner().invoke(cli.app, ["index", *map(str, arguments)])


def test_a_finished_data_set_with_side_files_is_as_its_manifest_says(dataset_folder, tmp_path):
    shutil.copytree(dataset_folder, tmp_path / "copy")
    done = run(tmp_path / "copy", "--for", "dali", "--for", "energon", "--for", "open_clip", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["index"] is None
    assert (tmp_path / "copy/shards/toy-000001.idx").is_file()
    assert verify_dataset(tmp_path / "copy", deep=False).samples == 96
    (tmp_path / "copy/shards/other.idx").write_text("x")
    with pytest.raises(DatasetError, match=r"other\.idx: expected no such file"):
        verify_dataset(tmp_path / "copy", deep=False)


def test_the_command_prints_the_account_by_reason(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes([*pairs(range(3)), ("t.txt", b"1")]))
    done = run(tmp_path)
    assert "1 tar (1 read now): 4 samples, 3 kept; 3 categories" in done.stdout
    assert "rejected, no_image: 1" in done.stdout
    told = json.loads(run(tmp_path, "--json").stdout)["index"]
    assert (told["indexed"], told["samples"], told["rejects"]) == (0, 3, {"no_image": 1})


def test_the_command_takes_a_vocabulary(web, tmp_path):
    (tmp_path / "ids.txt").write_text("0\n1\n2\n9\n")
    assert json.loads(run(web, "--vocabulary", tmp_path / "ids.txt", "--json").stdout)["index"]["categories"] == 4
    (tmp_path / "few.txt").write_text("0\n")
    done = run(web, "--vocabulary", tmp_path / "few.txt")
    assert isinstance(done.exception, LoaderError)
    assert "found 2 others: '1', '2'" in str(done.exception)


@pytest.mark.parametrize(
    ("flags", "message"), [(["--for", "dalii"], "found 'dalii'"), (["--output", "x"], "expected --for")]
)
def test_flags_that_make_no_sense_are_errors(web, flags, message):
    done = run(web, *flags)
    assert message in str(done.exception)
