"""From scores to a certificate on a drawn web over real HTTP: the sample, the answers, the build that asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from openjft.pipelines.audit.breakdown import branches, size_bands
from openjft.pipelines.audit.certify import certify_build, gold_of_answers
from openjft.pipelines.audit.sample import draw_sample
from openjft.pipelines.audit.sampling import permanent_numbers
from openjft.pipelines.build import build
from openjft.pipelines.config import Config, load_config
from openjft.pipelines.demo import draw_web, free_port, serve
from openjft.pipelines.errors import InputError, PipelineError, StaleError
from openjft.pipelines.explain import explain
from openjft.pipelines.keys import image_keys
from openjft.pipelines.storage import Store
from openjft.taxonomy import Category, Edge, ancestor_closure, build_taxonomy

METADATA = ("ingest", "precision")
OPENJFT = [sys.executable, "-m", "openjft.pipelines"]


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    drawn = draw_web(folder, seed=5, images=500, port=free_port())
    with serve(folder, drawn.port):
        yield drawn


def configured(web, output: Path, *, buckets: int = 4, target: float = 0.7, **audit) -> Config:
    config = load_config(web.config_path)
    return config.model_copy(
        update={
            "build": config.build.model_copy(update={"output": str(output), "buckets": buckets}),
            "precision": config.precision.model_copy(update={"target": target}),
            "audit": config.audit.model_copy(update={"size": 150, "min_judged": 20, **audit}),
            "runner": config.runner.model_copy(update={"workers": 1}),
        }
    )


@pytest.fixture(scope="module")
def config(web, tmp_path_factory) -> Config:
    config = configured(web, tmp_path_factory.mktemp("built"))
    build(config, commands=METADATA)
    return config


@pytest.fixture(scope="module")
def sample(config):
    return draw_sample(config)


def rows_of(config, purpose="audit"):
    return pq.read_table(Path(config.build.output) / purpose / "sample.parquet").to_pylist()


def truth_of(web, rows):
    """'yes' or 'no' for each row, from the truth that the web was drawn with."""
    right = {(row["uri"], row["label"]) for row in web.truth().to_pylist() if row["state"] == "correct"}
    return ["yes" if (row["uri"], row["id"].partition("/")[2]) in right else "no" for row in rows]


def write_answers(path: Path, account, ids, answers, annotator="ann") -> str:
    value = {
        "format": "openjft-answers",
        "version": 1,
        "sample": account["sample"],
        "purpose": account["purpose"],
        "annotator": annotator,
        "exported_at": "2026-11-25T12:00:00Z",
        "answers": [{"id": i, "answer": a} for i, a in zip(ids, answers, strict=True)],
    }
    path.write_text(json.dumps(value))
    return str(path)


def gold_images(web):
    return {line.partition(",")[0] for line in (web.folder / "gold.csv").read_text().splitlines()[1:]}


def test_the_sample_is_uniform_above_the_floor_and_never_from_the_gold(web, config, sample):
    rows, account = rows_of(config), sample.account
    assert len(rows) == account["size"] == 150
    assert [row["u"] for row in rows] == sorted(row["u"] for row in rows)
    assert min(row["steps"] for row in rows) >= account["floor"]
    assert not {row["uri"] for row in rows} & gold_images(web)
    assert account["in_gold"] > 0
    assert account["grid"] == sorted(account["grid"], reverse=True)
    assert account["grid"][-1] >= account["floor"]
    assert all(reason != "ok" and n > 0 for reason, n in account["unavailable"].items())
    page = Path(sample.page).read_text()
    assert account["sample"] in page
    assert rows[0]["id"].split("/")[0] in page


def test_the_same_labels_come_for_any_buckets_and_a_smaller_sample_lies_in_a_larger(web, config, sample, tmp_path):
    other = configured(web, tmp_path, buckets=7)
    build(other, commands=METADATA)
    draw_sample(other, size=60)
    small, large = ([row["id"] for row in rows_of(c)] for c in (other, config))
    assert small == large[:60]


def test_permanent_numbers_look_uniform_and_follow_image_label_and_salt():
    keys = image_keys(f"http://a.b/{i}" for i in range(20_000))
    labels = np.zeros(20_000, np.int32)
    u = permanent_numbers(keys, labels, "audit")
    counts = np.bincount((u >> np.uint64(60)).astype(int), minlength=16)
    assert counts == pytest.approx(1250, abs=5 * 1250**0.5)
    assert not (permanent_numbers(keys, labels + 1, "audit") == u).any()
    assert not (permanent_numbers(keys, labels, "other") == u).any()
    assert np.array_equal(permanent_numbers(keys.slice(7, 5), labels[7:12], "audit"), u[7:12])


@pytest.fixture(scope="module")
def certificate(web, config, sample, tmp_path_factory):
    rows = rows_of(config)
    ids = [row["id"] for row in rows]
    truth = truth_of(web, rows)
    folder = tmp_path_factory.mktemp("answers")
    ann = write_answers(folder / "ann.json", sample.account, ids, truth)
    other = ["unsure" if i == 3 else answer for i, answer in enumerate(truth[:80])]
    bob = write_answers(folder / "bob.json", sample.account, ids[:80], other, annotator="bob")
    return certify_build(config, [ann, bob]), truth, (ann, bob)


def test_a_certificate_says_what_the_answers_show(config, certificate):
    value, truth, _ = certificate
    rows = rows_of(config)
    assert (value["judged"], value["annotators"]) == (150, ["ann", "bob"])
    assert value["answers"]["unsure_counted_as_wrong"] == 1
    right = [answer == "yes" and i != 3 for i, answer in enumerate(truth)]
    assert value["steps"] is not None, value["reason"]
    above = [r for r, row in zip(right, rows, strict=True) if row["steps"] >= value["steps"]]
    assert (value["n"], value["k"]) == (len(above), sum(above))
    assert value["p_value"] <= 0.05
    assert value["interval"]["low"] < value["k"] / value["n"] < value["interval"]["high"]
    assert value["agreement"]["both"] == 80
    assert value["agreement"]["raw"] == pytest.approx(79 / 80)
    assert sum(g["n"] for g in value["groups"]) == value["n"]
    assert sum(c["judged"] for c in value["classes"]) == pytest.approx(value["n"], abs=3)  # classes to half a hundredth
    assert all(0 <= c["low"] <= c["mean"] <= c["high"] <= 1 for c in value["classes"])
    stored = Store(config.build.output).read_json("audit/certificate.json")
    assert stored == json.loads(json.dumps(value))


def test_a_build_that_requires_a_certificate_keeps_what_it_allows_and_fails_without(web, config, certificate, tmp_path):
    value, _, _ = certificate
    strict = configured(web, Path(config.build.output), require=True)
    build(strict, commands=("precision",))
    store = Store(strict.build.output)
    kept = store.read_json("labels/_kept.json")
    assert (kept["by"], kept["threshold"]) == ("certificate", value["threshold"])
    labels = [pq.read_table(p) for p in sorted((Path(strict.build.output) / "labels").glob("*.parquet"))]
    assert min(t["probability"].to_numpy().min() for t in labels if t.num_rows) >= np.float32(value["threshold"])
    without = configured(web, tmp_path, require=True)
    with pytest.raises(PipelineError, match=r"expected a certificate \(audit\.require\), found none"):
        build(without, commands=METADATA)
    assert not (tmp_path / "labels").exists()
    assert (tmp_path / "scores/precision.json").exists()  # so that a sample can be drawn
    higher = configured(web, Path(config.build.output), require=True, delta=0.01)
    with pytest.raises(PipelineError, match=r"at error rate 0\.01 .* found one of 0\.7 at 0\.05"):
        build(higher, commands=("precision",))
    build(config, commands=("precision",))  # as it was, for the tests that follow


def test_a_certificate_of_other_scores_is_refused(web, config, certificate, tmp_path):
    changed = configured(web, tmp_path, target=0.75, require=True)
    with pytest.raises(PipelineError, match="found none"):
        build(changed, commands=METADATA)
    store = Store(changed.build.output)
    store.write_json("audit/certificate.json", Store(config.build.output).read_json("audit/certificate.json"))
    with pytest.raises(PipelineError, match="found one of other evidence or settings"):
        build(changed, commands=METADATA)
    with pytest.raises(StaleError, match="expected a drawn sample"):
        certify_build(changed, ["none.json"])


def test_answers_that_show_too_little_certify_nothing_and_say_why(config, sample, tmp_path):
    ids = [row["id"] for row in rows_of(config)]
    path = write_answers(tmp_path / "a.json", sample.account, ids[:2], ["yes", "no"])
    before = Store(config.build.output).read_bytes("audit/certificate.json")
    value = certify_build(config, [path])
    assert value["steps"] is None
    assert value["answers"]["unanswered_counted_as_wrong"] == 148
    assert "does not show a precision of 0.7" in value["reason"]
    command = [*OPENJFT, "--help"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    Store(config.build.output).write_bytes("audit/certificate.json", before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": [{"id": "0" * 32 + "/none", "answer": "yes"}]}, "found 1 answers to other labels"),
        ({"purpose": "gold"}, "expected answers for the purpose 'audit', found 'gold'"),
        ({"annotator": "ann"}, "differ from an earlier file's"),
    ],
)
def test_answers_that_cannot_count_are_refused(config, sample, certificate, tmp_path, change, message):
    ann = certificate[2][0]
    value = json.loads(Path(ann).read_text()) | {"annotator": "eve"} | change
    if change == {"annotator": "ann"}:
        first = value["answers"][0]
        first["answer"] = "no" if first["answer"] == "yes" else "yes"
    (tmp_path / "b.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        certify_build(config, [ann, str(tmp_path / "b.json")])


def test_answers_to_unknown_labels_are_counted_beside_known_ones(config, certificate, tmp_path):
    before = Store(config.build.output).read_bytes("audit/certificate.json")
    value = json.loads(Path(certificate[2][0]).read_text())
    value["answers"].append({"id": "f" * 32 + "/n1", "answer": "yes"})
    (tmp_path / "c.json").write_text(json.dumps(value))
    assert certify_build(config, [str(tmp_path / "c.json")])["answers"]["to_labels_not_in_the_sample"] == 1
    Store(config.build.output).write_bytes("audit/certificate.json", before)


def test_gold_that_overlaps_the_audit_takes_its_labels_out_of_it(web, config, sample, tmp_path):
    """Gold given after the drawing: the filter has seen these images."""
    rows = rows_of(config)[:20]
    lines = (web.folder / "gold.csv").read_text() + "".join(
        f"{row['uri']},{row['id'].partition('/')[2]},{int(answer == 'yes')}\n"
        for row, answer in zip(rows, truth_of(web, rows), strict=True)
    )
    (tmp_path / "gold.csv").write_text(lines)
    more = configured(web, tmp_path / "out")
    more = more.model_copy(update={"precision": more.precision.model_copy(update={"gold": str(tmp_path / "gold.csv")})})
    build(more, commands=METADATA)
    drawn = draw_sample(more)
    taken = {row["uri"] for row in rows}
    assert not taken & {row["uri"] for row in rows_of(more)}
    # An old sample put beside the new scores: its answers count only where the filter has not seen the image.
    store = Store(more.build.output)
    old = pq.read_table(Path(config.build.output) / "audit/sample.parquet")
    store.write_table("audit/sample.parquet", old)
    ids = old["id"].to_pylist()
    answers = write_answers(tmp_path / "a.json", drawn.account, ids, truth_of(web, old.to_pylist()))
    value = certify_build(more, [answers])
    images = {row["uri"] for row in old.to_pylist() if row["uri"] in taken}
    left_out = sum(row["uri"] in images for row in old.to_pylist())
    assert value["answers"]["left_out_because_in_the_gold"] == left_out >= 20
    assert value["judged"] == 150 - left_out


def test_gold_is_drawn_from_all_candidates_and_made_of_answers(web, config, tmp_path):
    drawn = draw_sample(config, purpose="gold", size=60)
    rows = rows_of(config, "gold")
    assert {row["steps"] for row in rows} == {0}
    ids = [row["id"] for row in rows]
    truth = truth_of(web, rows)
    ann = write_answers(tmp_path / "a.json", drawn.account, ids, ["unsure", *truth[1:59], "no"])
    bob = write_answers(tmp_path / "b.json", drawn.account, ids[58:], [truth[58], "yes"], annotator="bob")
    account = gold_of_answers(config, [ann, bob], str(tmp_path / "gold.csv"))
    assert account == {
        "labels": 60, "written": 58, "decided_by_weight": 0, "unanswered": 0, "unsure": 1, "disputed": 1,
        "to_labels_not_in_the_sample": 0,
    }  # fmt: skip
    lines = (tmp_path / "gold.csv").read_text().splitlines()
    assert lines[0] == "uri,label,correct"
    assert lines[1:] == [
        f"{row['uri']},{row['id'].partition('/')[2]},{int(answer == 'yes')}"
        for row, answer in list(zip(rows, truth, strict=True))[1:59]
    ]


def test_of_three_judges_a_careless_one_is_outvoted(web, config, tmp_path):
    drawn = draw_sample(config, purpose="gold", size=60)
    rows = rows_of(config, "gold")
    ids, truth = [row["id"] for row in rows], truth_of(web, rows)
    careless = ["yes" if i % 2 else "no" for i in range(60)]
    files = [
        write_answers(tmp_path / f"{name}.json", drawn.account, ids, answers, annotator=name)
        for name, answers in (("ann", truth), ("bob", truth), ("eve", careless))
    ]
    account = gold_of_answers(config, files, str(tmp_path / "gold.csv"))
    assert account["decided_by_weight"] > 15
    assert account["written"] + account["disputed"] == 60
    right = {(row["uri"], row["id"].partition("/")[2]): t == "yes" for row, t in zip(rows, truth, strict=True)}
    lines = [line.split(",") for line in (tmp_path / "gold.csv").read_text().splitlines()[1:]]
    assert all(right[uri, label] == (correct == "1") for uri, label, correct in lines)


def test_a_size_beyond_all_candidates_gives_them_all_and_says_so(web, config, tmp_path):
    copy = configured(web, tmp_path)
    build(copy, commands=METADATA)
    account = draw_sample(copy, size=100_000).account
    assert account["asked"] == 100_000
    assert account["size"] + sum(account["unavailable"].values()) == account["eligible"]


def test_explain_shows_what_the_build_has_and_nothing_else(web, config):
    store = Store(config.build.output)
    row = rows_of(config)[0] if (Path(config.build.output) / "audit/sample.parquet").exists() else None
    assert row is not None
    value = explain(config, store, row["id"][:32])
    assert value == explain(config, store, row["uri"])
    assert (value["uri"], value["image"], value["shard"], value["nearest_eval_image"]) == (row["uri"], None, None, None)
    [mine] = [c for c in value["candidates"] if c["id"] == row["id"].partition("/")[2]]
    f = mine["filter"]
    assert round(f["probability"] * 1e6) == row["steps"]
    assert f["kept"] == (f["probability"] >= np.float32(f["threshold"]))
    assert 1 / (1 + np.exp(-f["log_odds"])) == pytest.approx(f["probability"], abs=1e-6)
    assert f["log_odds"] == pytest.approx(f["slope"] * f["log_likelihood_ratio"] + f["class_log_odds"])
    assert [s["column"] for s in f["states"]][: len(config.sources)] == list(config.source_names)
    for name, said in mine["signals"].items():
        [state] = [s for s in f["states"] if s["column"] == name]
        assert (said is None) == (state["state"] == "no opportunity")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("zz", "expected 8 to 32 hex digits of an image key, or an address, found 'zz'"),
        ("0123456789abcdef", "expected an image of this build, found none"),
        ("http://nowhere.example/1.jpg", "expected an image of this build, found none"),
    ],
)
def test_explain_says_what_it_cannot_find(config, image, message):
    with pytest.raises(PipelineError, match=message):
        explain(config, Store(config.build.output), image)


def test_branches_are_where_the_hierarchy_gets_wide():
    leaves = [f"l{i}" for i in range(8)]
    middle = [f"m{i}" for i in range(4)]
    edges = [Edge(m, "root") for m in middle] + [Edge(leaf, middle[i // 2]) for i, leaf in enumerate(leaves)]
    taxonomy = build_taxonomy([Category(n) for n in ("root", *middle, *leaves)], edges, origin="test")
    found = branches(ancestor_closure(taxonomy), None)
    names = [taxonomy.ids[i] if i >= 0 else None for i in found]
    by_id = dict(zip(taxonomy.ids, names, strict=True))
    assert (by_id["l0"], by_id["l7"], by_id["m2"], by_id["root"]) == ("m0", "m3", "m2", None)
    assert set(branches(ancestor_closure(taxonomy), 0)) == {taxonomy.index_of("root")}
    assert size_bands(np.array([0, 19, 20, 99, 100, 999, 1000, 10_000])).tolist() == [0, 0, 1, 1, 2, 2, 3, 4]


def run_cli(*arguments):
    return subprocess.run([*OPENJFT, *arguments], capture_output=True, text=True)


def test_the_commands_go_from_scores_to_a_certificate_and_say_what_is_wrong(web, tmp_path):
    path, out = str(web.config_path), ("--output", str(tmp_path / "out"))
    early = run_cli("audit", "sample", path, *out)
    assert early.returncode == 1
    assert "audit sample: expected finished scores/ of this configuration" in early.stderr
    for command in METADATA:
        assert run_cli(command, path, *out, "--workers", "1", "--quiet").returncode == 0
    drawn = run_cli("audit", "sample", path, *out, "--size", "130", "--quiet", "--json")
    assert drawn.returncode == 0, drawn.stderr
    account = json.loads(drawn.stdout)
    assert Path(account["page"]).stat().st_size > 100_000
    rows = pq.read_table(tmp_path / "out/audit/sample.parquet").to_pylist()
    ids = [row["id"] for row in rows]
    good = write_answers(tmp_path / "good.json", account, ids, ["yes"] * len(ids))
    bad = write_answers(tmp_path / "bad.json", account, ids, ["no"] * len(ids))
    certified = run_cli("audit", "certify", path, good, *out)
    assert certified.returncode == 0, certified.stderr
    assert "at least 85.0\u00a0% are right" in certified.stdout
    nothing = run_cli("audit", "certify", path, bad, *out, "--json")
    assert nothing.returncode == 3
    assert json.loads(nothing.stdout)["steps"] is None
    broken = tmp_path / "broken.json"
    broken.write_text('{"format": "openjft-answers", "version": 1')
    wrong = run_cli("audit", "certify", path, str(broken), *out)
    assert wrong.returncode == 1
    assert "expected JSON" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    shown = run_cli("explain", path, ids[0][:32], *out)
    assert shown.returncode == 0
    assert "probability" in shown.stdout
    assert "Ancestors: not expanded yet" in shown.stdout
