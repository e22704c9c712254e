"""The stages: accounts that add up, files by contract, the same result however the evidence is cut."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.config import Audit, Precision
from openjft.pipelines.engine import UnitResult, fingerprint, run_unit
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.precision import CountStage, LabelsStage, PriorsStage, ScoresStage
from openjft.pipelines.precision.files import EvidenceModel
from openjft.pipelines.precision.gold import checked_digest
from openjft.pipelines.precision.patterns import as_states
from openjft.pipelines.schema import LABELS
from openjft.pipelines.storage import Store, bucket_file


def stages_of(web, num_buckets, path=None, **precision):
    settings = Precision(gold=path, **precision)
    digest = checked_digest(path) if path else None
    return (
        CountStage(web.sources, settings, num_buckets, gold_digest=digest),
        PriorsStage(num_buckets, settings.use_classes and path is not None),
        ScoresStage(num_buckets, settings, Audit()),
        LabelsStage(num_buckets),
    )


def run_stage(stage, store):
    stage.prepare(store)
    account = UnitResult(rows_in=0, rows_out=0)
    for unit in range(stage.num_units()):
        account += run_unit(stage, unit, store, "fp")
    stage.finish(store, account)
    return account


def run_all(web, folder, num_buckets, gold=None, **precision):
    """Runs the four stages; (store, accounts by stage, all kept labels)."""
    store = Store(str(folder))
    web.write(store, num_buckets)
    path = None
    if gold is not None:
        path = str(folder / "gold.csv")
        (folder / "gold.csv").write_text(gold)
    stages = pickle.loads(pickle.dumps(stages_of(web, num_buckets, path, **precision)))
    accounts = {stage.name: run_stage(stage, store) for stage in stages}
    labels = [store.read_table(bucket_file("labels", b, num_buckets)) for b in range(num_buckets)]
    return store, accounts, pa.concat_tables(labels)


def pairs_of(table):
    return list(zip(table["image_key"].to_pylist(), table["label"].to_pylist(), strict=True))


@pytest.fixture(scope="module")
def gold_text(web):
    rows = np.random.default_rng(8).choice(len(web.correct), 3000, replace=False)
    return web.gold_csv(rows) + "https://example.org/none.jpg,c0,1\nhttps://example.org/1.jpg,c9,0\n"


@pytest.fixture(scope="module")
def built(web, gold_text, tmp_path_factory):
    return run_all(web, tmp_path_factory.mktemp("built"), 3, gold_text)


def test_every_candidate_is_kept_or_counted(built, web):
    store, accounts, labels = built
    counted, kept = accounts["precision"], accounts["labels"]
    summary = store.read_json("scores/precision.json")
    assert counted.rows_in == counted.rows_out == web.table.num_rows == summary["candidates"]
    assert kept.rows_in == web.table.num_rows
    assert kept.rows_out == labels.num_rows == summary["kept"]
    assert kept.rejects == {"below_threshold": web.table.num_rows - summary["kept"]}
    images = len(set(web.table["image_key"].to_pylist()))
    with_label = len(set(labels["image_key"].to_pylist()))
    assert kept.counters == {"images": with_label, "images_without_label": images - with_label}
    patterns = store.read_table("precision/patterns.parquet").to_pydict()
    assert sum(patterns["count"]) == web.table.num_rows
    assert accounts["scores"].rows_out == accounts["priors"].rows_out == web.table.num_rows
    told = store.read_json("labels/_kept.json")
    assert (told["by"], told["kept"]) == ("model", labels.num_rows)
    assert sum(row["kept"] for row in told["by_size"]) == labels.num_rows
    assert sum(row["candidates"] for row in told["by_size"]) == web.table.num_rows


def test_every_gold_row_is_used_or_counted(built):
    store, accounts, _ = built
    counted = accounts["precision"]
    gold = store.read_json("scores/precision.json")["gold"]
    assert gold["rows"] == 3002 == gold["used"] + sum(gold["rejects"].values())
    assert gold["rejects"]["unknown_label"] == gold["rejects"]["without_evidence"] == 1
    assert counted.counters == {"gold": 3000, "gold_without_evidence": 1}


def test_kept_labels_reach_the_target_and_follow_the_contract(built, web):
    store, _, labels = built
    summary = store.read_json("scores/precision.json")
    assert labels.schema.equals(LABELS)
    row_of = {pair: i for i, pair in enumerate(pairs_of(web.table))}
    pairs = pairs_of(labels)
    assert pairs == sorted(pairs)
    rows = [row_of[pair] for pair in pairs]
    assert web.correct[rows].mean() == pytest.approx(summary["target"], abs=0.03)
    assert summary["method"] == "lr2"
    assert summary["calibrated"]
    p = labels["probability"].to_numpy()
    assert p.min() == np.float32(summary["threshold"])
    assert p.mean() == pytest.approx(summary["expected_precision"], abs=1e-5)
    assert summary["expected_precision"] >= summary["target"]
    first = web.table.slice(rows[0], 1).to_pylist()[0]
    fired = sum(1 << i for i, s in enumerate(web.sources) if first[f"{s.name}.rows"] > 0)
    assert labels.to_pylist()[0]["sources"] == fired
    assert labels.to_pylist()[0]["uri"] == first["uri"]


def test_the_result_does_not_depend_on_the_number_of_buckets(built, web, gold_text, tmp_path):
    store, _, labels = built
    other, _, others = run_all(web, tmp_path, 5, gold_text)
    assert others.equals(labels)
    for name in (
        "scores/precision.json", "scores/fit/gold.parquet", "labels/_kept.json", "labels/fit/classes.parquet",
        "precision/patterns.parquet", "precision/cuts.json", "priors/classes.parquet",
    ):  # fmt: skip
        assert other.read_bytes(name) == store.read_bytes(name)


def test_a_second_run_writes_the_same_bytes(built, web, gold_text, tmp_path):
    store, _, _ = built
    again, _, _ = run_all(web, tmp_path, 3, gold_text)
    files = [f for f in store.list_files("", recursive=True) if "_done" not in f]
    assert files == [f for f in again.list_files("", recursive=True) if "_done" not in f]
    assert all(again.read_bytes(f) == store.read_bytes(f) for f in files)


def test_without_gold_em_filters_and_says_so(web, tmp_path):
    store, accounts, labels = run_all(web, tmp_path, 2)
    counted, kept = accounts["precision"], accounts["labels"]
    summary = store.read_json("scores/precision.json")
    assert (summary["method"], summary["calibrated"], summary["gold"]) == ("em", False, None)
    assert counted.counters == {}
    assert 0 < labels.num_rows == kept.rows_out < web.table.num_rows
    assert not store.exists("precision/gold.parquet")


def test_a_bucket_without_rows_is_a_bucket_like_any_other(web, tmp_path):
    few = type(web)(web.sources, web.table.slice(0, 3), web.correct[:3])
    _, accounts, labels = run_all(few, tmp_path, 4, target=0.0)
    counted, kept = accounts["precision"], accounts["labels"]
    assert counted.rows_in == kept.rows_in == labels.num_rows == 3


def test_no_candidate_at_all_is_an_error(web, tmp_path):
    none = type(web)(web.sources, web.table.slice(0, 0), web.correct[:0])
    with pytest.raises(PipelineError, match="at least one"):
        run_all(none, tmp_path, 2)


def test_an_unreachable_target_leaves_no_summary(web, tmp_path, gold_text):
    with pytest.raises(PipelineError, match="best reachable"):
        run_all(web, tmp_path, 2, gold_text, target=1.0)
    assert not Store(str(tmp_path)).exists("scores/precision.json")


def test_the_fingerprint_follows_the_gold_by_content_not_by_place(web, tmp_path):
    def print_of(path, **kwargs):
        digest = checked_digest(str(path))
        return fingerprint(CountStage(web.sources, Precision(gold=str(path)), 2, gold_digest=digest, **kwargs), [])

    (tmp_path / "a.csv").write_text("uri,label,correct\n")
    (tmp_path / "b.csv").write_text("uri,label,correct\n")
    assert print_of(tmp_path / "a.csv") == print_of(tmp_path / "b.csv")
    assert print_of(tmp_path / "a.csv") != print_of(tmp_path / "a.csv", seed=18)
    before = print_of(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("uri,label,correct\nhttps://a.org/,c1,1\n")
    assert print_of(tmp_path / "a.csv") != before


def test_the_summary_is_plain_json(built):
    store, _, _ = built
    value = json.loads(store.read_bytes("scores/precision.json"))
    assert set(value) == {
        "after", "audit_floor", "before", "below_class_floor", "calibrated", "calibration", "calibration_error",
        "candidates", "class_floor", "classes", "confidence", "em", "expected_precision", "folds", "gold", "intercept",
        "kept", "method", "notes", "sources", "target", "threshold",
    }  # fmt: skip
    assert value["audit_floor"] < value["threshold"]


def test_the_cross_fitted_estimate_covers_the_truth(built, web):
    store, _, labels = built
    summary, told = store.read_json("scores/precision.json"), store.read_json("labels/_kept.json")
    row_of = {pair: i for i, pair in enumerate(pairs_of(web.table))}
    truth = web.correct[[row_of[pair] for pair in pairs_of(labels)]].mean()
    assert summary["before"]["low"] < web.correct.mean() < summary["before"]["high"]
    assert summary["after"]["low"] < truth < summary["after"]["high"]
    assert summary["after"] == told["after"]
    assert summary["after"]["n"] < summary["before"]["n"] == 3000
    assert sum(row["n"] for row in summary["calibration"]) == 3000
    assert summary["calibration_error"] < 0.05
    counted = [sum(state["count"] for state in source["states"]) for source in summary["sources"]]
    assert counted == [web.table.num_rows] * len(summary["sources"])


def test_a_class_floor_drops_what_a_class_cannot_carry(built, web, gold_text, tmp_path):
    store, _, labels = run_all(web, tmp_path, 2, gold_text, class_floor=0.84)
    p, label = labels["probability"].to_numpy(), labels["label"].to_numpy()
    for each in np.unique(label):
        assert p[label == each].mean() > 0.839
    assert labels.num_rows < built[2].num_rows
    floors = store.read_table("scores/fit/classes.parquet")["floor"].to_numpy()
    assert (p >= floors[label] / 1e6 - 1e-9).all()
    summary = store.read_json("scores/precision.json")
    assert summary["below_class_floor"] > 0
    assert summary["kept"] == labels.num_rows


def test_without_classes_the_filter_is_that_of_the_evidence_alone(web, gold_text, tmp_path):
    store, accounts, labels = run_all(web, tmp_path, 2, gold_text, use_classes=False)
    assert accounts["priors"].rows_in == 0
    assert store.read_json("scores/precision.json")["method"] == "lr1"
    row_of = {pair: i for i, pair in enumerate(pairs_of(web.table))}
    states = np.concatenate(
        [as_states(store.read_table(bucket_file("precision/states", b, 2))["pattern"]) for b in range(2)]
    )
    model = EvidenceModel.load(store).model
    rows = [row_of[pair] for pair in pairs_of(labels)]
    assert labels["probability"].to_numpy() == pytest.approx(model.probabilities(states[rows]), abs=1e-6)


def test_evidence_that_tells_nothing_apart_is_kept_or_dropped_whole_and_said(web, tmp_path):
    same = web.table.slice(0, 500)
    for i, field in enumerate(same.schema):
        if "." in field.name or field.name == "opportunity":
            same = same.set_column(i, field, pa.array([1] * 500).cast(field.type))
    one_kind = type(web)(web.sources[:1], same, np.arange(500) % 2 == 0)
    gold = one_kind.gold_csv(range(0, 500, 2)) + "\n".join(one_kind.gold_csv(range(1, 501, 2)).splitlines()[1:]) + "\n"
    store, _, labels = run_all(one_kind, tmp_path / "a", 2, gold, target=0.4, use_confusions=False, use_classes=False)
    assert labels.num_rows == 500
    assert any(
        "All candidates have one probability, 0.500" in n for n in store.read_json("scores/precision.json")["notes"]
    )
    with pytest.raises(PipelineError, match=r"best reachable is 0\.500, for 500 of 500"):
        run_all(one_kind, tmp_path / "b", 2, gold, target=0.6, use_confusions=False, use_classes=False)
