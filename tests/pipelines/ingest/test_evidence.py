"""From accepted rows to evidence: against a slow reference, and whatever the number and order of the runs."""

import collections
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openjft.pipelines.errors import PipelineError, StorageError
from openjft.pipelines.ingest.aggregate import Images, Pairs, distinct_images, merge_pairs, rank_keys, sort_order
from openjft.pipelines.ingest.dependence import Dependence
from openjft.pipelines.ingest.evidence import evidence_table, merge_runs, negatives_table, part
from openjft.pipelines.ingest.runs import RunsWriter, read_bucket, run_table
from openjft.pipelines.ingest.templates import TemplateCounts, images_of_texts
from openjft.pipelines.ingest.validate import REFUSED
from openjft.pipelines.keys import buckets_of, image_key
from openjft.pipelines.schema import NEGATIVES, evidence_schema
from openjft.pipelines.storage import Store

SOURCES = ("alt", "anchor", "model")
PAGE, TEMPLATE = (0.5, 1.0, 0.0), (0.25, 0.0, 1.0)  # correlations

ROW = st.tuples(
    st.integers(0, 4),  # image
    st.integers(-1, 3),  # label
    st.integers(0, 2),  # source
    st.sampled_from([0, 1, 2**63 + 5]),  # domain
    st.sampled_from([0, 0, 7]),  # text
    st.sampled_from([None, 0.0, -0.5, 1.5]),
    st.integers(0, 3),  # clicks
    st.integers(3, 9),  # impressions
    st.sampled_from([False] * 6 + [True]),  # refused by a person
)


def _uri(image):
    return f"http://a.b/{image}"


def _run(rows):
    """Raw rows as one sorted run, by way of the functions that `spill` uses."""
    rows = [
        (image, max(label, 0), REFUSED, 0, 0, None, 0, 0) if refused else (image, label, *rest)
        for image, label, *rest, refused in rows
    ]
    image, label, source, domain, text, score, clicks, impressions = (list(c) for c in zip(*rows, strict=True))
    uris = pa.array([_uri(i) for i in image])
    keys = pa.array([image_key(_uri(i)) for i in image], pa.binary(16))
    images, rank = distinct_images(keys, uris)
    pairs = Pairs(
        rank, np.array(label, np.int32), np.array(source, np.uint8), np.array(domain, np.uint64),
        np.array(text, np.uint64), np.array([np.nan if s is None else s for s in score], np.float32),
        np.ones(len(rows), np.int64),
        np.array(clicks, np.int64), np.array(impressions, np.int64), np.array(impressions, np.int64) * 512,
    )  # fmt: skip
    return run_table(images, merge_pairs(pairs))


def _reference(rows):
    """What `evidence_table` and `negatives_table` should give, with dictionaries, and the rows that neither has."""
    opportunity, pairs, negatives = collections.Counter(), collections.defaultdict(list), collections.Counter()
    said, bearers = collections.Counter(), collections.defaultdict(set)
    for image, _, source, domain, text, *_, refused in rows:
        if not refused:
            said[image, source, domain] += 1
            bearers[source, domain, text].add(image)

    def worth(image, source, domain, text):
        images = len(bearers[source, domain, text]) if text and domain else 1
        pages = said[image, source, domain] if domain else 1
        return 1 / (1 + (images - 1) * TEMPLATE[source]) / (1 + (pages - 1) * PAGE[source])

    total = collections.Counter()
    for image, _, source, domain, text, *_, refused in rows:
        total[image, source] += 0 if refused else worth(image, source, domain, text)
    for image, label, source, *rest, refused in rows:
        if refused:
            negatives[image_key(_uri(image)), max(label, 0)] += 1
            continue
        opportunity[image] |= 1 << source
        if label >= 0:
            pairs[image_key(_uri(image)), label, image].append((source, *rest))
    out, opposed = [], 0
    for (key, label, image), items in sorted(pairs.items()):
        if (key, label) in negatives:
            opposed += len(items)
            continue
        row = {"image_key": key, "label": label, "uri": _uri(image), "opportunity": opportunity[image]}
        for number, name in enumerate(SOURCES):
            mine = [item[1:] for item in items if item[0] == number]
            row[f"{name}.rows"] = len(mine)
            row[f"{name}.domains"] = len({domain for domain, *_ in mine} - {0})
            row[f"{name}.support"] = pytest.approx(sum(worth(image, number, *item[:2]) for item in mine))
            row[f"{name}.statements"] = pytest.approx(total[image, number])
            row[f"{name}.score"] = max((score for _, _, score, *_ in mine if score is not None), default=None)
            row[f"{name}.clicks"] = sum(clicks for *_, clicks, _ in mine)
            row[f"{name}.impressions"] = sum(impressions for *_, impressions in mine)
            row[f"{name}.exposure"] = row[f"{name}.impressions"] / 2
        out.append(row)
    refused = [{"image_key": key, "label": label, "rows": n} for (key, label), n in sorted(negatives.items())]
    return out, refused, opposed


@given(st.lists(ROW, max_size=60), st.lists(st.integers(0, 60), max_size=6), st.randoms(use_true_random=False))
def test_evidence_equals_the_reference_whatever_the_runs(rows, cuts, random):
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    runs = [_run(rows[a:b]) for a, b in itertools.pairwise(edges) if a < b]
    random.shuffle(runs)
    images, pairs = merge_runs(runs)
    templates = TemplateCounts.empty()
    templates.add(images_of_texts(pairs))
    merged = part(images, pairs, Dependence(np.array(PAGE), np.array(TEMPLATE), templates))
    table = evidence_table(images, merged, SOURCES)
    evidence, negatives, opposed = _reference(rows)
    assert table.to_pylist() == evidence
    assert negatives_table(images, merged.negatives).to_pylist() == negatives
    assert int(merged.opposed.rows.sum()) == opposed
    assert int(pairs.rows.sum()) == len(rows)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(0, 2**40), min_size=4, max_size=4), min_size=1, max_size=30))
def test_sorting_by_packed_words_equals_sorting_tuples(rows):
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    order = sort_order(columns)
    assert [rows[i] for i in order] == sorted(rows)


def test_keys_that_share_their_first_half_are_told_apart():
    values = [b"A" * 8 + b"B" * 8, b"A" * 8 + b"A" * 8, b"C" * 16, b"A" * 8 + b"B" * 8, b"A" * 16]
    order, rank = rank_keys(pa.array(values, pa.binary(16)))
    assert [values[i] for i in order] == sorted(values)
    assert rank.tolist() == [1, 0, 2, 1, 0]


def test_of_several_uris_with_one_key_the_smallest_stays():
    keys = pa.array([b"A" * 16, b"B" * 16, b"A" * 16, b"A" * 16], pa.binary(16))
    images, rank = distinct_images(keys, pa.array(["tar+x#9-1", "y", "tar+x#5-1", "tar+x#7-1"]))
    assert (images.uris.to_pylist(), rank.tolist()) == (["tar+x#5-1", "y"], [0, 1, 0, 0])


def test_a_bucket_of_a_file_of_runs_is_read_alone(tmp_path):
    store = Store(str(tmp_path))
    runs = [_run([(i, 0, 0, 0, 0, None, 0, 3, False) for i in range(n)]) for n in (40, 1, 25)]
    with store.writing("spill/a.arrow") as sink:
        writer = RunsWriter(sink, 8)
        for run in runs:
            writer.add(run)
        writer.close()
    assert (writer.runs, writer.rows) == (3, 66)
    for bucket in range(8):
        batches = list(read_bucket(store, "spill/a.arrow", bucket))
        assert all(set(buckets_of(batch.column("image_key"), 8)) == {bucket} for batch in batches)
        expected = sum(int(np.count_nonzero(buckets_of(run.column("image_key"), 8) == bucket)) for run in runs)
        assert sum(batch.num_rows for batch in batches) == expected
    (tmp_path / "spill/b.arrow").write_bytes((tmp_path / "spill/a.arrow").read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"b\.arrow"):
        list(read_bucket(store, "spill/b.arrow", 0))


def _write_input(workshop, files):
    rng = np.random.default_rng(5)
    n = 3000
    image = rng.integers(0, 900, n)
    table = pa.table(
        {
            "uri": [("HTTP://A.b:80/" if i % 3 else "http://a.b/") + str(i) for i in image.tolist()],
            "label": np.array(["n1", "n2", "n9", "nope"])[rng.integers(0, 4, n)],
            "source": np.array(SOURCES)[rng.integers(0, 3, n)],
            "score": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.5),
            "page": [f"http://w{p % 7}.d{p}.org/" for p in rng.integers(0, 20, n).tolist()],
        }
    )
    edges = [n * i // files for i in range(files + 1)]
    (workshop.folder / "in").mkdir(exist_ok=True)
    for old in (workshop.folder / "in").iterdir():
        old.unlink()
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        pq.write_table(table.slice(a, b - a), workshop.folder / "in" / f"{files - i}.parquet")
    return {"path": "in", "columns": {"source": "source", "score": "score", "page": "page"}}


def _digests(config, stage):
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in Path(config.build.output, stage).glob("*-of-*")}


@pytest.mark.parametrize(("files", "spill_rows", "batch_rows"), [(1, 100, 64), (3, 1_000_000, 500), (7, 211, 131_072)])
def test_the_same_bytes_whatever_the_number_of_splits_and_runs(workshop, files, spill_rows, batch_rows):
    whole = workshop.config(_write_input(workshop, 1), build={"output": "whole", "buckets": 4})
    first, account, rows = workshop.ingest(whole)
    assert (first.rows_in, first.counters["runs"]) == (3000, 1)
    assert account.rows_in == first.rows_out == 3000 - first.rejects["unknown_label"]
    assert [tuple(row[f] for f in ("image_key", "label")) for row in rows] == sorted(
        {(row["image_key"], row["label"]) for row in rows}
    )
    item = _write_input(workshop, files)
    ingest = {"spill_rows": spill_rows, "batch_rows": batch_rows}
    cut = workshop.config(item, build={"output": "cut", "buckets": 4}, ingest=ingest)
    second, *_ = workshop.ingest(cut, split_bytes=20_000)
    assert second.counters["runs"] > 1
    assert _digests(cut, "evidence") == _digests(whole, "evidence")


def test_a_split_done_twice_writes_the_same_bytes(workshop):
    config = workshop.config(_write_input(workshop, 2))
    store = workshop.store(config)
    workshop.spill(config, store, split_bytes=20_000)
    before = {stage: _digests(config, stage) for stage in ("spill", "rejects")}
    workshop.spill(config, store, split_bytes=20_000)
    assert before == {stage: _digests(config, stage) for stage in ("spill", "rejects")}
    assert len(before["rejects"]) == len(before["spill"]) > 1


def test_rows_without_a_label_tell_that_a_source_looked(workshop):
    (workshop.folder / "a.csv").write_text(
        "uri,label,source\nhttp://a.b/1,n1,alt\nhttp://a.b/1,,model\nhttp://a.b/2,,alt\nhttp://a.b/3,n2,anchor\n"
    )
    config = workshop.config(
        {"path": "a.csv", "columns": {"source": "source"}, "empty_label": "opportunity"},
    )
    spilled, account, rows = workshop.ingest(config)
    assert (spilled.rows_out, account.rows_out) == (4, 4)
    assert (account.counters["evidence"], account.counters["images"], account.counters["opportunity_rows"]) == (2, 2, 2)
    assert {(row["uri"], row["opportunity"], row["model.rows"]) for row in rows} == {
        ("http://a.b/1", 0b101, 0),
        ("http://a.b/3", 0b010, 0),
    }


def test_evidence_has_its_schema_also_when_there_is_nothing(workshop):
    (workshop.folder / "a.csv").write_text("uri,label\n")
    config = workshop.config({"path": "a.csv"})
    workshop.ingest(config)
    for file in Path(config.build.output, "evidence").glob("*.parquet"):
        assert pq.read_schema(file).equals(evidence_schema(SOURCES))
    negatives = list(Path(config.build.output, "negatives").glob("*.parquet"))
    assert len(negatives) == config.build.buckets
    assert all(pq.read_schema(file).equals(NEGATIVES) for file in negatives)


def test_a_run_is_also_written_when_its_uris_take_too_much_memory(workshop, monkeypatch):
    monkeypatch.setattr("openjft.pipelines.ingest.spill._MAX_URI_BYTES", 2000)
    config = workshop.config(_write_input(workshop, 1), ingest={"batch_rows": 100})
    assert workshop.spill(config).counters["runs"] > 5


def test_a_bucket_too_large_for_arrow_says_so(workshop, monkeypatch):
    config = workshop.config(_write_input(workshop, 1))
    workshop.spill(config)
    monkeypatch.setattr("openjft.pipelines.ingest.evidence._MAX_URI_BYTES", 100)
    with pytest.raises(PipelineError, match=r"Raise build\.buckets"):
        workshop.evidence(config)


def test_counts_too_large_for_their_column_stay_at_its_largest():
    images = Images(pa.array([b"A" * 16], pa.binary(16)), pa.array(["http://a.b/"]))
    one = np.array([0])
    pairs = Pairs(
        one, np.array([3], np.int32), np.array([1], np.uint8), np.array([7], np.uint64), np.array([0], np.uint64),
        np.array([np.nan], np.float32), np.array([2**40]), one, one, one,
    )  # fmt: skip
    table = evidence_table(images, part(images, pairs, Dependence.none(3)), SOURCES)
    assert table.column("anchor.rows").to_pylist() == [2**31 - 1]


def test_what_a_person_refused_is_no_candidate_and_lies_among_the_negatives(workshop):
    (workshop.folder / "a.csv").write_text(
        "uri,label,source,page,no\n"
        "http://a.b/1,n1,alt,http://c.org/,0\n"
        "http://a.b/1,n1,anchor,,\n"
        "http://a.b/1,n1,model,,1\n"
        "http://a.b/1,n1,alt,http://d.org/,TRUE\n"
        "http://a.b/1,n2,alt,,false\n"
        "http://a.b/2,n9,model,,1\n"
        "http://a.b/2,,model,,1\n"
        "http://a.b/2,n1,model,,maybe\n"
    )
    columns = {"source": "source", "page": "page", "negative": "no"}
    config = workshop.config({"path": "a.csv", "columns": columns, "empty_label": "opportunity"})
    spilled, account, rows = workshop.ingest(config)
    assert (spilled.rows_in, spilled.rows_out) == (8, 6)
    assert dict(spilled.rejects) == {"missing_label": 1, "bad_negative": 1}
    assert [row["detail"] for row in workshop.rejects(config) if row["reason"] == "bad_negative"] == ["negative: maybe"]
    assert (account.rows_in, account.rows_out, account.rejects) == (6, 4, {"verified_negative": 2})
    assert (account.counters["negatives"], account.counters["negative_rows"]) == (2, 3)
    # alt and anchor looked at the first image; a person who refuses one label has not looked for others
    assert [(row["uri"], row["label"], row["opportunity"]) for row in rows] == [("http://a.b/1", 1, 0b011)]
    negatives = pa.concat_tables(
        pq.read_table(f) for f in sorted((workshop.folder / "out/negatives").glob("*.parquet"))
    )
    found = {(row["image_key"], row["label"], row["rows"]) for row in negatives.to_pylist()}
    assert found == {(image_key("http://a.b/1"), 0, 2), (image_key("http://a.b/2"), 4, 1)}
