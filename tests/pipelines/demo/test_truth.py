from __future__ import annotations

import io
import json

import pyarrow as pa
import pytest
from rich.console import Console

from openjft.pipelines.demo.hierarchy import ancestors
from openjft.pipelines.demo.truth import compare_with_truth, render
from openjft.pipelines.errors import StaleError
from openjft.pipelines.keys import image_key
from openjft.pipelines.storage import Store
from openjft.taxonomy import read_taxonomy


@pytest.fixture
def store(small_web, tmp_path):
    """A build by hand that keeps every correct candidate and one wrong one, and finds all but one copy."""
    store = Store(str(tmp_path))
    taxonomy = read_taxonomy(str(small_web.folder / "categories.csv"))
    store.write_table("taxonomy/vocabulary.parquet", taxonomy.to_tables()[0])
    number = {id_: i for i, id_ in enumerate(taxonomy.ids)}
    truth = small_web.truth().to_pylist()
    wrong = next(row for row in truth if not row["correct"])
    kept = [row for row in truth if row["correct"]] + [wrong]
    said = {(row["uri"], row["label"]) for row in small_web.texts().to_pylist()}
    write(
        store, "evidence", truth, uri=lambda r: r["uri"], label=lambda r: number[r["label"]],
        **{"alt.rows": lambda r: int((r["uri"], r["label"]) in said), "alt.score": lambda _: 0.5},
    )  # fmt: skip
    write(store, "labels", kept, uri=lambda r: r["uri"], label=lambda r: number[r["label"]], probability=lambda _: 0.75)
    fates = {row["uri"]: row for row in small_web.fates().to_pylist()}
    asked = [fates[uri] for uri in sorted({row["uri"] for row in kept})]
    write(
        store, "catalog", asked, image_key=lambda r: image_key(r["uri"]), uri=lambda r: r["uri"],
        status=lambda r: r["status"], http_status=lambda r: r["http_status"],
    )  # fmt: skip
    stored = {row["uri"] for row in asked if row["status"] == "ok"}
    copies = [copy for copy in small_web.copies().to_pylist() if copy["uri"] in stored]
    write(
        store, "verdicts", copies[1:], image_key=lambda r: image_key(r["uri"]),
        eval_set=lambda r: r["eval_set"], eval_id=lambda r: r["eval_id"], removed=lambda _: True,
    )  # fmt: skip
    twins = [r for r in asked if r["kind"] in {"duplicate", "recompressed"} and {r["uri"], r["same_as"]} <= stored]
    twins = [(uri, r["same_as"]) for r in twins for uri in (r["uri"], r["same_as"])]
    plain = sorted(r["uri"] for r in asked if r["kind"] == "plain" and r["uri"] in stored - {u for u, _ in twins})
    groups = [*twins, *((uri, plain[0]) for uri in plain[:2])]  # the last one is made up
    write(store, "duplicates", groups, image_key=lambda r: image_key(r[0]), group=lambda r: image_key(r[1]))
    reasons = [reason for reason, count in small_web.rejects.items() for _ in range(count)] + ["ambiguous_text"]
    write(store, "rejects", reasons, reason=lambda r: r, uri=lambda _: "http://a.example/", label=lambda _: "crane")
    return store


def write(store, stage, rows, **columns):
    table = pa.table({name: pa.array([value(row) for row in rows]) for name, value in columns.items()})
    store.write_table(f"{stage}/00000-of-00001.parquet", table)


def test_precision_and_recall_are_counted_by_the_truth(small_web, store):
    labels = compare_with_truth(small_web, store).labels
    correct = sum(small_web.truth()["correct"].to_pylist())
    assert labels.candidates == small_web.truth().num_rows
    assert labels.kept == correct + 1
    assert labels.recall == 1.0
    assert labels.precision_before == pytest.approx(correct / labels.candidates)
    assert labels.precision_after == pytest.approx(correct / (correct + 1))
    assert labels.claimed == pytest.approx(0.75)
    assert labels.by_state["correct"] == (correct, correct)
    assert sum(kept for _, kept in labels.by_state.values()) == labels.kept


def test_pictures_at_two_addresses_are_counted_as_grouped_or_not(small_web, store):
    found = compare_with_truth(small_web, store).duplicates
    stored, together = (sum(getattr(r, what) for r in found.repeats) for what in ("stored", "found"))
    assert stored == together >= 1
    assert {r.kind for r in found.repeats} == {"duplicate", "recompressed"}
    assert (found.members, found.wrong) == (together + 1, 1)
    path = "duplicates/00000-of-00001.parquet"
    store.write_table(path, store.read_table(path).slice(0, 0))
    missed = compare_with_truth(small_web, store).duplicates
    assert [(r.stored, r.found) for r in missed.repeats] == [(r.stored, 0) for r in found.repeats]
    assert (missed.members, missed.wrong) == (0, 0)


def test_every_text_is_accounted_for(small_web, store):
    texts = compare_with_truth(small_web, store).texts
    assert sum(kind.texts for kind in texts.kinds) == small_web.texts().num_rows
    assert all(k.meant + k.another + k.ambiguous + k.unmatched == k.texts for k in texts.kinds)
    by_kind = {kind.kind: kind for kind in texts.kinds}
    assert by_kind["name"].meant == by_kind["name"].texts
    assert by_kind["nothing"].unmatched == by_kind["nothing"].texts
    assert texts.claimed == pytest.approx(0.5)


def test_candidates_that_nobody_drew_are_judged_by_what_the_picture_shows(small_web, store):
    taxonomy = read_taxonomy(str(small_web.folder / "categories.csv"))
    number = {id_: i for i, id_ in enumerate(taxonomy.ids)}
    shown = small_web.fates().to_pylist()[0]
    other = "toy" if "building" in ancestors(shown["leaf"]) else "building"
    rows = [{**shown, "label": "thing"}, {**shown, "label": other}]
    write(store, "labels", rows, uri=lambda r: r["uri"], label=lambda r: number[r["label"]], probability=lambda _: 0.9)
    evidence = store.read_table(
        "evidence/00000-of-00001.parquet", ["uri", "label", "alt.rows", "alt.score"]
    ).to_pylist()
    evidence += [{"uri": r["uri"], "label": number[r["label"]], "alt.rows": 1, "alt.score": 0.5} for r in rows]
    columns = {name: lambda r, name=name: r[name] for name in evidence[0]}
    write(store, "evidence", evidence, **columns)
    labels = compare_with_truth(small_web, store).labels
    assert labels.by_state["misread"] == (1, 1)
    assert labels.by_state["correct"][1] == 1
    assert labels.precision_after == 0.5


def test_planted_copies_are_counted_by_transform(small_web, store):
    truth = compare_with_truth(small_web, store)
    assert sum(c.planted for c in truth.copies) == small_web.copies().num_rows
    assert sum(c.found for c in truth.copies) == sum(c.fetched for c in truth.copies) - 1
    assert all(c.found == c.removed for c in truth.copies)
    assert truth.false_overlaps == 0
    assert truth.clean_images > 0


def test_a_clean_image_that_was_taken_for_a_copy_is_a_false_overlap(small_web, store):
    rows = small_web.copies().to_pylist()[:1]
    stored = store.read_table("catalog/00000-of-00001.parquet", ["uri", "status"]).to_pylist()
    plain = next(r["uri"] for r in stored if r["status"] == "ok" and r["uri"] not in copies_of(small_web))
    write(
        store, "verdicts", rows, image_key=lambda _: image_key(plain),
        eval_set=lambda r: r["eval_set"], eval_id=lambda r: r["eval_id"], removed=lambda _: True,
    )  # fmt: skip
    truth = compare_with_truth(small_web, store)
    assert truth.false_overlaps == 1
    assert sum(c.found for c in truth.copies) == 0


def copies_of(web):
    return set(web.copies()["uri"].to_pylist())


def test_rejects_and_outcomes_are_compared_by_reason(small_web, store):
    truth = compare_with_truth(small_web, store)
    assert {c.name: c.expected for c in truth.rejects} == small_web.rejects
    assert all(c.expected == c.found for c in (*truth.rejects, *truth.fetches))
    assert truth.misjudged == 0
    assert "http_error 404" in {c.name for c in truth.fetches}


def test_the_tables_and_the_json_show_it_all(small_web, store):
    truth = compare_with_truth(small_web, store)
    text = io.StringIO()
    console = Console(file=text, width=120)
    for table in render(truth):
        console.print(table)
    for word in (
        "polysemy",
        "precision, claimed",
        "IMG_2041",
        "matches as meant, claimed",
        "rotation",
        "missing_uri",
        "http_error 404",
    ):
        assert word in text.getvalue()
    assert json.loads(json.dumps(truth.to_json()))["labels"]["kept"] == truth.labels.kept


def test_an_unfinished_build_is_told(small_web, tmp_path):
    store = Store(str(tmp_path))
    taxonomy = read_taxonomy(str(small_web.folder / "categories.csv"))
    store.write_table("taxonomy/vocabulary.parquet", taxonomy.to_tables()[0])
    with pytest.raises(StaleError, match="expected a finished build with evidence/"):
        compare_with_truth(small_web, store)
