from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.loaders import Dataset, DatasetError, VerifyProgress, verify_dataset
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.manifest import FileEntry, parse_manifest
from openjft.loaders.schema import INDEX
from openjft.loaders.tar import TarWriter, read_tar


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 20, 3, 32, 0, shards=2)


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def sign(folder: Path) -> None:
    """Makes the manifest's files those that are there: what follows is wrong inside them."""
    manifest = parse_manifest((folder / "manifest.json").read_bytes())
    files = [
        FileEntry(str(path.relative_to(folder)), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    ]
    whole = dataclasses.replace(manifest, files=tuple(sorted(files, key=lambda f: f.path)))
    (folder / "manifest.json").write_bytes(whole.to_bytes())


def tar_of(folder: Path, shard: int = 0) -> Path:
    return folder / f"shards/tiny-{shard:06d}.tar"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def edit_manifest(folder: Path, change) -> None:
    value = json.loads((folder / "manifest.json").read_text())
    change(value)
    (folder / "manifest.json").write_text(json.dumps(value))


def edit_index(folder: Path, column: str, row: int, value, shard: int = 0) -> None:
    path = folder / f"shards/tiny-{shard:06d}.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[row][column] = value(rows[row][column]) if callable(value) else value
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX), path)


def edit_rows(folder: Path, change) -> None:
    """Changes a row of shard 0's index."""
    path = folder / "shards/tiny-000000.parquet"
    rows = pq.read_table(path).to_pylist()
    change(rows[1])
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX), path)


def rewrite(folder: Path, change) -> None:
    """Rewrites shard 0 from its changed list of (name, data) and gives it an index of the new places."""
    members = [(m.name, m.data) for m in read_tar(io.BytesIO(tar_of(folder).read_bytes()))]
    members = change(members)
    stream = io.BytesIO()
    writer = TarWriter(stream)
    places = {name: (writer.add(name, data), len(data), data) for name, data in members}
    writer.close()
    tar_of(folder).write_bytes(stream.getvalue())
    path = folder / "shards/tiny-000000.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        name = row["image_key"].hex()
        if f"{name}.jpg" in places:
            row["offset"], row["size"], jpeg = places[f"{name}.jpg"]
            row["sha256"] = hashlib.sha256(jpeg).digest()
        if f"{name}.json" in places:
            row["json_offset"], row["json_size"], _ = places[f"{name}.json"]
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX), path)


def with_json(change):
    """A change of the first sample's JSON."""

    def apply(members):
        value = json.loads(members[1][1])
        change(value)
        return [members[0], (members[1][0], json.dumps(value).encode()), *members[2:]]

    return apply


def with_jpeg(data: bytes):
    return lambda members: [(members[0][0], data), *members[1:]]


def swap_keys(folder: Path, first: int, second: int) -> None:
    """Rows and members of two samples change places."""
    path = folder / "shards/tiny-000000.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[first], rows[second] = rows[second], rows[first]
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX), path)


def copy_key(folder: Path) -> None:
    edit_index(folder, "image_key", 1, pq.read_table(folder / "shards/tiny-000000.parquet")["image_key"][0].as_py())


def edit_counts(folder: Path) -> None:
    path = folder / "class_counts.parquet"
    table = pq.read_table(path)
    counts = table["asserted"].to_numpy().copy()
    counts[1] += 1
    pq.write_table(table.set_column(1, table.schema.field(1), pa.array(counts)), path)


SMALL = encode_jpeg(np.zeros((16, 16, 3), np.uint8), quality=90)

# What is damaged, whether the manifest is made to agree with the files after it, and what is said.
UNSIGNED = {
    "missing file": (lambda f: tar_of(f, 1).unlink(), r"tiny-000001\.tar: expected a file, .* found none"),
    "missing table": (lambda f: (f / "taxonomy/edges.parquet").unlink(), r"edges\.parquet: expected a file"),
    "unlisted file": (lambda f: (f / "shards/notes.txt").write_text("hi"), r"notes\.txt: expected no such file"),
    "half-written file": (lambda f: (f / "shards/.tmp-x").write_text("hi"), r"\.tmp-x: expected no such file"),
    "size": (
        lambda f: tar_of(f).write_bytes(tar_of(f).read_bytes() + b"\0"),
        r"tiny-000000\.tar: expected [\d,]+ bytes, found",
    ),
    "sha256 of the card": (lambda f: flip(f / "README.md", 5), r"README\.md: expected sha256 \w+, found \w+"),
    "sha256 of the configuration": (lambda f: flip(f / "config.json", 2), r"config\.json: expected sha256"),
    "sha256 of an index": (lambda f: flip(f / "shards/tiny-000001.parquet", 99), r"tiny-000001\.parquet: .*sha256"),
    "end of a tar": (lambda f: flip(tar_of(f), -1), r"tiny-000000\.tar: expected sha256"),
    "a tar's padding": (lambda f: flip(tar_of(f), 1024 + 510), r"tiny-000000\.tar"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"manifest\.json: expected a file"),
    "a file without entry": (
        lambda f: edit_manifest(
            f, lambda m: m["files"].pop(next(i for i, e in enumerate(m["files"]) if "tar" in e["path"]))
        ),
        r"tiny-000000\.tar: expected no such file",
    ),
    "sum of samples": (lambda f: edit_manifest(f, lambda m: m.update(num_samples=21)), "num_samples: expected 20"),
    "first key": (
        lambda f: edit_manifest(f, lambda m: m["shards"][0].update(first_key="0" * 32)),
        r"tiny-000000\.parquet: expected the keys 0+ to",
    ),
    "sum of labels": (
        lambda f: edit_manifest(f, lambda m: m.update(inferred_labels=9)),
        "inferred_labels: expected 20",
    ),
    "number of categories": (lambda f: edit_manifest(f, lambda m: m.update(num_categories=9)), "expected 9 categories"),
}
SIGNED = {
    "offset": (lambda f: edit_index(f, "offset", 2, lambda v: v + 1), r"expected member '\w+\.jpg' of \d+ bytes at"),
    "size in the index": (lambda f: edit_index(f, "size", 2, lambda v: v - 1), "expected member"),
    "place of the JSON": (lambda f: edit_index(f, "json_offset", 2, lambda v: v + 512), r"expected member '\w+\.json'"),
    "hash of a JPEG": (lambda f: edit_index(f, "sha256", 3, bytes(32)), "the JPEG's sha256 is not the index's"),
    "a flipped pixel": (lambda f: flip(tar_of(f), 900), "sample .*sha256 is not the index's"),
    "duplicate key": (copy_key, "rows 0 and 1: duplicate key"),
    "keys out of order": (lambda f: swap_keys(f, 3, 4), "row 4: key .* out of order"),
    "label above the vocabulary": (
        lambda f: edit_index(f, "labels", 1, [0, 99]),
        r"expected labels .* \[0, 4\), found 99",
    ),
    "label below it": (lambda f: edit_index(f, "labels", 1, [-1, 3]), "found -1"),
    "labels that do not rise": (lambda f: edit_index(f, "labels", 1, [3, 3]), "expected rising labels"),
    "a probability of 2": (
        lambda f: edit_index(f, "probabilities", 1, [2.0, 0.5]),
        r"probabilities in \[0, 1\], found 2",
    ),
    "a probability that is not a number": (
        lambda f: edit_index(f, "probabilities", 1, [float("nan"), 0.5]),
        "found nan",
    ),
    "inferred without asserted": (
        lambda f: edit_index(f, "asserted", 1, [False, False]),
        "expected an inferred label to be an ancestor of an asserted one",
    ),
    "asserted in the index only": (
        lambda f: edit_rows(f, lambda r: r.update(asserted=[True, True], from_labels=r["labels"])),
        "labels: expected .* in the JSON",
    ),
    "an asserted label from another": (
        lambda f: edit_rows(f, lambda r: r.update(from_labels=[3, r["labels"][0]])),
        r"from_labels: expected itself, found 3",
    ),
    "an inferred label from one that is not the sample's": (
        lambda f: edit_rows(f, lambda r: r.update(from_labels=[r["labels"][0], (r["labels"][0] + 1) % 3])),
        r"label 3 \(root\): from_labels: expected an asserted label of the sample, below it, found \d",
    ),
    "an inferred label from itself": (
        lambda f: edit_rows(f, lambda r: r.update(from_labels=r["labels"])),
        "from_labels: expected an asserted label of the sample, below it, found 3",
    ),
    "an origin outside the vocabulary": (
        lambda f: edit_rows(f, lambda r: r.update(from_labels=[r["labels"][0], -1])),
        "below it, found -1",
    ),
    "a negative outside the vocabulary": (
        lambda f: edit_rows(f, lambda r: r.update(negatives=[4])),
        r"negatives: expected labels in the vocabulary, \[0, 4\), found 4",
    ),
    "a negative twice": (
        lambda f: edit_rows(f, lambda r: r.update(negatives=[(r["labels"][0] + 1) % 3] * 2)),
        "negatives: expected rising labels, each once",
    ),
    "a label that is a negative, too": (
        lambda f: edit_rows(f, lambda r: r.update(negatives=r["labels"][:1])),
        "negatives: expected none of the sample's labels",
    ),
    "negatives in the index only": (
        lambda f: edit_rows(f, lambda r: r.update(negatives=[(r["labels"][0] + 2) % 3])),
        r"negatives: expected \[\(\d, 'c00\d'\)\] as in the index, found",
    ),
    "origin in the JSON": (
        lambda f: rewrite(f, with_json(lambda v: v["labels"]["inferred"][0].update({"from": "root"}))),
        "labels: expected",
    ),
    "probability in the index only": (lambda f: edit_index(f, "probabilities", 1, [0.1, 0.1]), "labels: expected"),
    "width": (lambda f: edit_index(f, "width", 1, 31), "expected 31 x 32 pixels, found 32 x 32"),
    "a JPEG of another size": (lambda f: rewrite(f, with_jpeg(SMALL)), "expected 32 x 32 pixels, found 16 x 16"),
    "a JPEG that does not decode": (lambda f: rewrite(f, with_jpeg(b"\xff\xd8\xff" + bytes(99))), "does not decode"),
    "a truncated JPEG": (lambda f: rewrite(f, with_jpeg(SMALL[:-60])), "does not decode"),
    "label id in the JSON": (
        lambda f: rewrite(f, with_json(lambda v: v["labels"]["inferred"][0].update(id="other"))),
        "labels: expected",
    ),
    "inferred called asserted in the JSON": (
        lambda f: rewrite(f, with_json(lambda v: v["labels"]["asserted"].extend(v["labels"].pop("inferred")))),
        "JSON: expected the fields of a sample",
    ),
    "key in the JSON": (
        lambda f: rewrite(f, with_json(lambda v: v.update(key="00"))),
        "JSON: expected the index's key",
    ),
    "group in the index only": (lambda f: edit_index(f, "group", 1, bytes(16)), "JSON: expected the index's .* group"),
    "group in the JSON only": (
        lambda f: rewrite(f, with_json(lambda v: v.update(group="00" * 16))),
        "JSON: expected the index's .* group",
    ),
    "JSON that is none": (lambda f: rewrite(f, lambda m: [m[0], (m[1][0], b"{"), *m[2:]]), "JSON: expected the fields"),
    "a sample more": (lambda f: rewrite(f, lambda m: [*m, ("z.jpg", b"")]), "member 'z.jpg': expected the end after"),
    "a sample less": (lambda f: rewrite(f, lambda m: m[:-2]), "samples, found"),
    "members in another order": (lambda f: rewrite(f, lambda m: [m[1], m[0], *m[2:]]), r"expected member '\w+\.jpg'"),
    "a damaged header": (lambda f: flip(tar_of(f), 150), "found damage"),
    "rows": (
        lambda f: pq.write_table(pq.read_table(f / "shards/tiny-000000.parquet")[1:], f / "shards/tiny-000000.parquet"),
        "rows, as in the manifest, found",
    ),
    "class counts": (edit_counts, r"class_counts\.parquet: asserted: label 1: expected \d+, the sum .* found"),
    "open_clip's sizes": (
        lambda f: (f / "shards/sizes.json").write_text("{}"),
        r"sizes\.json: expected the manifest's",
    ),
    "vocabulary": (lambda f: (f / "taxonomy/vocabulary.parquet").write_bytes(b"x"), r"vocabulary\.parquet: .*Parquet"),
}


@pytest.mark.parametrize("what", UNSIGNED)
def test_files_that_differ_from_the_manifest_are_named(copy, what):
    damage, message = UNSIGNED[what]
    damage(copy)
    with pytest.raises(DatasetError, match=message):
        verify_dataset(str(copy), num_threads=2)


@pytest.mark.parametrize("what", SIGNED)
def test_files_that_differ_from_each_other_are_named(copy, what):
    damage, message = SIGNED[what]
    damage(copy)
    sign(copy)
    with pytest.raises(DatasetError, match=message):
        verify_dataset(str(copy), num_threads=2)


def test_keys_that_do_not_rise_from_shard_to_shard_are_named(copy):
    def change(manifest):
        manifest["shards"].reverse()

    edit_manifest(copy, change)
    with pytest.raises(DatasetError, match=r"tiny-000000\.parquet: keys out of order: .* the last of tiny-000001"):
        verify_dataset(str(copy))


def test_a_whole_dataset_passes_and_progress_ends_at_all_bytes(folder):
    told: list[VerifyProgress] = []
    summary = verify_dataset(f"file://{folder}", on_progress=told.append)
    assert (summary.name, summary.shards, summary.samples, summary.deep) == ("tiny", 2, 20, True)
    assert summary.manifest_sha256 == Dataset.open(folder).manifest_sha256
    assert summary.files == sum(path.is_file() for path in folder.rglob("*"))
    assert told[-1] == VerifyProgress(summary.bytes, summary.bytes)
    assert [p.bytes_done for p in told] == sorted(p.bytes_done for p in told)


def test_shallow_finds_flipped_bits_but_looks_into_nothing(copy):
    edit_index(copy, "labels", 1, [0, 99])
    sign(copy)
    assert not verify_dataset(str(copy), deep=False).deep
    flip(tar_of(copy), 900)
    with pytest.raises(DatasetError, match=r"tiny-000000\.tar: expected sha256"):
        verify_dataset(str(copy), deep=False)


def test_the_first_of_several_things_is_named_whatever_the_threads(copy):
    for shard in (0, 1):
        edit_index(copy, "labels", 1, [0, 99], shard)
    sign(copy)
    for threads in (1, 2, 8):
        with pytest.raises(DatasetError, match=r"tiny-000000\.parquet"):
            verify_dataset(str(copy), num_threads=threads)


def test_empty_shards_pass(make_dataset, tmp_path):
    assert verify_dataset(str(make_dataset(tmp_path, 3, shards=16))).samples == 3
