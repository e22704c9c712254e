import io
import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.errors import ConfigError, InputError
from openjft.pipelines.ingest.files import line_blocks
from openjft.pipelines.ingest.splits import format_of, list_input, plan_splits


def _names(path, folder):
    return [info.path.removeprefix(f"{folder}/") for info in list_input(str(path))]


def test_files_of_a_path_folder_and_glob(tmp_path):
    for name in (
        "b.csv",
        "a.csv",
        "x/c.csv",
        "x/y/d.csv",
        "x/e.tsv",
        "_SUCCESS",
        ".hidden.csv",
        "x/_tmp/f.csv",
        "[1].csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert _names(tmp_path / "a.csv", tmp_path) == ["a.csv"]
    assert _names(tmp_path / "[1].csv", tmp_path) == ["[1].csv"]
    assert _names(tmp_path, tmp_path) == ["[1].csv", "a.csv", "b.csv", "x/c.csv", "x/e.tsv", "x/y/d.csv"]
    assert _names(tmp_path / "*.csv", tmp_path) == ["[1].csv", "a.csv", "b.csv"]
    assert _names(tmp_path / "**/*.csv", tmp_path) == ["[1].csv", "a.csv", "b.csv", "x/c.csv", "x/y/d.csv"]
    assert _names(tmp_path / "x/?.[ct]sv", tmp_path) == ["x/c.csv", "x/e.tsv"]
    assert _names(tmp_path / "[!a].csv", tmp_path) == ["b.csv"]
    assert _names(f"file://{tmp_path}/x/*.csv", tmp_path) == ["x/c.csv"]
    for missing in ("none.csv", "*.jsonl", "nowhere/*.csv"):
        with pytest.raises(InputError, match="found none"):
            list_input(str(tmp_path / missing))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.parquet", "parquet"), ("a.CSV", "csv"), ("a.tsv.gz", "tsv"), ("a.jsonl.zst", "jsonl"),
        ("a.ndjson", "jsonl"), ("a.tar", "webdataset"),
    ],
)  # fmt: skip
def test_format_by_ending(name, kind):
    assert format_of(name, "auto") == kind


@pytest.mark.parametrize("name", ["a.txt", "README", "a.tar.gz", "a.parquet.zst", "a.gz"])
def test_unknown_formats_are_errors(name):
    with pytest.raises(InputError, match=name):
        format_of(name, "auto")


def test_large_files_are_cut_and_small_ones_packed(workshop):
    for i in range(5):
        (workshop.folder / f"small{i}.csv").write_bytes(b"x" * 100)
    (workshop.folder / "big.jsonl").write_bytes(b"x" * 1000)
    (workshop.folder / "big.csv").write_bytes(b"x" * 1000)
    config = workshop.config({"path": "*.csv"}, {"path": "big.jsonl"})
    splits = plan_splits(config, split_bytes=250)
    assert [(s.input, [(p.path.rpartition("/")[2], p.start, p.stop) for p in s.pieces]) for s in splits] == [
        (0, [("big.csv", 0, 1000)]),
        (0, [("small0.csv", 0, 100), ("small1.csv", 0, 100), ("small2.csv", 0, 100)]),
        (0, [("small3.csv", 0, 100), ("small4.csv", 0, 100)]),
        (1, [("big.jsonl", 0, 250)]),
        (1, [("big.jsonl", 250, 500)]),
        (1, [("big.jsonl", 500, 750)]),
        (1, [("big.jsonl", 750, 1000)]),
    ]


def test_settings_that_a_format_needs_are_asked_for_before_anything_runs(workshop):
    (workshop.folder / "a.tar").touch()
    (workshop.folder / "a.csv").touch()
    with pytest.raises(ConfigError, match="'tar'"):
        plan_splits(workshop.config({"path": "a.tar"}))
    with pytest.raises(ConfigError, match="uri_template"):
        plan_splits(workshop.config({"path": "a.csv", "format": "open_images"}))


@given(st.lists(st.binary(max_size=6), max_size=12), st.integers(1, 5), st.booleans())
def test_ranges_hold_every_line_once(lines, cuts, ended):
    lines = [line.replace(b"\n", b"") for line in lines]
    text = b"\n".join(lines) + (b"\n" if ended else b"")
    edges = [len(text) * i // cuts for i in range(cuts + 1)]
    ranges = [(a, b) for a, b in itertools.pairwise(edges) if a < b]
    parts = [b"".join(line_blocks(io.BytesIO(text), a, b)) for a, b in ranges]
    assert b"".join(parts) == text
    line_starts = {0, len(text)} | {i + 1 for i, byte in enumerate(text) if byte == ord("\n")}
    assert {sum(map(len, parts[:i])) for i in range(len(parts))} <= line_starts


def test_ranges_of_parquet_hold_every_row_once(workshop):
    table = pa.table({"uri": [f"http://a.b/{i}" for i in range(1000)], "label": ["n1"] * 1000})
    pq.write_table(table, workshop.folder / "a.parquet", row_group_size=90, compression="none")
    config = workshop.config({"path": "a.parquet"})
    _, account, rows = workshop.ingest(config, split_bytes=3000)
    assert len(plan_splits(config, split_bytes=3000)) > 3
    assert account.rows_in == len({row["uri"] for row in rows}) == 1000
