from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import io
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.pipelines.config import load_config
from openjft.pipelines.demo import DemoWeb, draw_web
from openjft.pipelines.demo.pairs import FILES
from openjft.pipelines.demo.plan import BUCKETS, KINDS, Fate, make_uris
from openjft.pipelines.demo.texts import SOURCE
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.ingest import canonical_uri
from openjft.pipelines.keys import buckets_of, image_keys


def all_bytes(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows_of(web, source):
    """(uri, label) of every row of a pair file that parses, None for an empty cell."""
    name, _, columns = FILES[source]
    path = web.folder / "pairs" / name
    if name.endswith(".parquet"):
        rows = pq.read_table(path).to_pylist()
    elif name.endswith(".csv.gz"):
        rows = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    elif name.endswith(".jsonl.zst"):
        with pa.CompressedInputStream(str(path), "zstd") as source_:
            lines = source_.read().decode().splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]
    else:
        lines = path.read_text().splitlines()
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["impressions"] is not None]
    return [(row[columns["uri"]] or None, row[columns["label"]] or None) for row in rows]


def test_equal_arguments_give_equal_bytes(small_web, tmp_path):
    again = draw_web(tmp_path, seed=3, images=60, port=small_web.port)
    assert all_bytes(tmp_path) == all_bytes(small_web.folder)
    assert dataclasses.replace(again, folder=small_web.folder) == small_web


def test_a_folder_with_the_web_that_is_asked_for_is_left_as_it_is(tmp_path):
    web = draw_web(tmp_path, seed=1, images=50)
    (tmp_path / "out").mkdir()
    picture = next((tmp_path / "web").iterdir())
    picture.write_bytes(b"changed")
    assert draw_web(tmp_path, seed=1, images=50) == web
    assert picture.read_bytes() == b"changed"
    other = draw_web(tmp_path, seed=2, images=50)
    assert picture.read_bytes() != b"changed" if picture.exists() else True
    assert other != web
    assert (tmp_path / "out").is_dir()


def test_a_half_drawn_web_is_drawn_anew(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_web(tmp_path, seed=1, images=50, on_progress=stop)
    with pytest.raises(PipelineError, match="expected a drawn web"):
        DemoWeb.load(tmp_path)
    assert draw_web(tmp_path, seed=1, images=50) == DemoWeb.load(tmp_path)


def test_progress_ends_at_the_total(tmp_path):
    told = []
    draw_web(tmp_path, seed=1, images=50, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (50 + 4 * 8, 50 + 4 * 8)


def test_every_true_candidate_is_in_a_pair_file_and_every_row_is_of_the_web(small_web):
    truth = {(row["uri"], row["label"]) for row in small_web.truth().to_pylist()}
    uris = set(small_web.fates()["uri"].to_pylist())
    label_of = {(row["uri"], row["text"]): row["label"] for row in small_web.texts().to_pylist()}
    found = [pair for source in FILES if source != SOURCE for pair in rows_of(small_web, source)]
    found += [(uri, label_of.get((uri, text))) for uri, text in rows_of(small_web, SOURCE)]
    assert truth <= set(found)
    good = [(uri, label) for uri, label in found if uri in uris]
    strangers = {label for uri, label in good if label is not None and (uri, label) not in truth}
    assert strangers == {"unicorn"}
    assert any(label is None for _, label in good)


def test_one_file_holds_text_and_each_text_is_in_it_as_it_is_in_the_truth(small_web):
    config = load_config(small_web.config_path)
    assert {item.source: item.labels for item in config.inputs} == {**dict.fromkeys(FILES), SOURCE: "text"}
    uris = set(small_web.fates()["uri"].to_pylist())
    written = {(uri, text) for uri, text in rows_of(small_web, SOURCE) if uri in uris and text is not None}
    assert written == {(row["uri"], row["text"]) for row in small_web.texts().to_pylist()}


def test_bad_rows_are_counted_by_reason(small_web):
    uris = set(small_web.fates()["uri"].to_pylist())
    found = Counter()
    for source in FILES:
        for uri, label in rows_of(small_web, source):
            found["missing_uri"] += uri is None
            found["unknown_label"] += source != SOURCE and label == "unicorn"
            found["elsewhere"] += uri is not None and uri not in uris
    assert small_web.rejects == {
        "bad_count": 1, "bad_row": 2, "bad_score": 1, "bad_uri": 5,
        "forbidden_scheme": 5, "missing_uri": 5, "unknown_label": 4,
    }  # fmt: skip
    assert found == {"missing_uri": 5, "unknown_label": 4, "elsewhere": 10}


def test_addresses_are_canonical_and_every_kind_occurs(small_web):
    fates = small_web.fates().to_pylist()
    assert len(fates) == len({f["uri"] for f in fates}) == 60
    assert all(canonical_uri(f["uri"], ("http",)) == f["uri"] for f in fates)
    assert {f["kind"] for f in fates} >= KINDS.keys() - {"duplicate", "recompressed"}
    served = {p.name for p in (small_web.folder / "web").iterdir()}
    for fate in fates:
        assert (fate["uri"].rpartition("/")[2] in served) == (
            fate["kind"] not in {"gone", "broken", "closed", "slow", "loop"}
        )


def test_duplicates_are_byte_for_byte_or_stored_anew_and_share_the_leaf(tmp_path):
    web = draw_web(tmp_path, seed=5, images=400)
    fates = {f["uri"]: f for f in web.fates().to_pylist()}

    def data(uri):
        return (tmp_path / "web" / uri.rpartition("/")[2]).read_bytes()

    pairs = [(f, fates[f["same_as"]]) for f in fates.values() if f["same_as"]]
    assert {f["kind"] for f, _ in pairs} == {"duplicate", "recompressed"}
    for fate, original in pairs:
        assert fate["leaf"] == original["leaf"]
        assert (data(fate["uri"]) == data(original["uri"])) == (fate["kind"] == "duplicate")


def test_slow_addresses_share_a_bucket():
    uris = make_uris([Fate("slow")] * 5 + [Fate("plain")], ["jpg"] * 6, 8000, np.random.default_rng(1))
    assert len(set(uris)) == 6
    assert len(set(buckets_of(image_keys(uris[:5]), BUCKETS).tolist())) == 1


def test_the_gold_is_a_part_of_the_candidates_with_their_truth(small_web):
    truth = {(r["uri"], r["label"]): (r["correct"], r["gold"]) for r in small_web.truth().to_pylist()}
    with (small_web.folder / "gold.csv").open() as source:
        gold = list(csv.DictReader(source))
    assert len(gold) == sum(marked for _, marked in truth.values()) == int(len(truth) * 0.25)
    assert all(truth[row["uri"], row["label"]] == (row["correct"] == "1", True) for row in gold)


def test_the_configuration_is_valid_and_its_paths_exist(small_web):
    config = load_config(small_web.config_path)
    assert [item.source for item in config.inputs] == list(FILES)
    for path in (*(i.path for i in config.inputs), config.taxonomy.path, config.precision.gold):
        assert (small_web.folder / path).is_file()
    assert config.build.buckets == BUCKETS
    assert config.fetch.allow_private


def test_too_small_a_web_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="at least 50"):
        draw_web(tmp_path, seed=1, images=49)
