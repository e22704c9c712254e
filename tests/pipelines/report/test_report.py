"""The report: self-contained, escaped, equal for equal builds, and there for a build that is not finished."""

from __future__ import annotations

import html.parser
import io
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from openjft.loaders.tar import TarWriter
from openjft.pipelines.config import parse_config
from openjft.pipelines.keys import image_keys
from openjft.pipelines.report import write_report
from openjft.pipelines.schema import CATALOG, CONTRADICTIONS, EXPANDED, LABELS
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Category, Edge, build_taxonomy

EVIL = "<script>alert('x')</script> & \"dog\""
NAMES = ["animal", EVIL, "cat"]


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture
def config(tmp_path):
    return parse_config(
        {
            "build": {"name": "pets", "output": str(tmp_path / "out"), "buckets": 1},
            "inputs": [{"path": "pairs.csv", "source": "alt"}],
            "sources": [{"name": "alt"}],
            "taxonomy": {"path": "tree.csv"},
        },
        base=tmp_path,
    )


@pytest.fixture
def store(config) -> Store:
    """A build of three images, one of which could not be fetched, written by hand."""
    store = Store(config.build.output)
    keys = sorted(image_keys(["https://example.org/a", "https://example.org/b", "https://example.org/c"]).to_pylist())
    uris = ["https://example.org/<b>", "https://example.org/b", "https://example.org/c"]
    categories = [Category(f"n{i}", name) for i, name in enumerate(NAMES)]
    taxonomy = build_taxonomy(categories, [Edge("n1", "n0"), Edge("n2", "n0")], origin="test")
    for name, table in zip(("vocabulary", "edges"), taxonomy.to_tables(), strict=True):
        store.write_table(f"taxonomy/{name}.parquet", table)
    store.write_table(
        bucket_file("labels", 0, 1), pa.table([keys, [1, 2, 1], uris, [0.9, 0.8, 0.7], [1, 1, 1]], schema=LABELS)
    )
    expanded = [
        [keys[0], keys[0], keys[1], keys[1], keys[2], keys[2]],
        [0, 1, 0, 2, 0, 1],
        [0.9, 0.9, 0.8, 0.8, 0.7, 0.7],
        [False, True, False, True, False, True],
        [1, 1, 2, 2, 1, 1],
    ]
    store.write_table(bucket_file("expanded", 0, 1), pa.table(expanded, schema=EXPANDED))
    ok, none = "ok", None
    catalog = pa.Table.from_pylist(
        [
            {"image_key": k, "uri": u, "status": s, "attempts": 1, "sha256": h, "original_width": w, "bytes": w}
            for k, u, s, h, w in zip(
                keys, uris, (ok, ok, "timeout"), (b"1" * 32, b"1" * 32, none), (40, 60, none), strict=True
            )
        ],
        schema=CATALOG,
    )
    store.write_table(bucket_file("catalog", 0, 1), catalog)
    with store.writing(bucket_file("images", 0, 1, "tar")) as sink:
        tar = TarWriter(sink)
        for i, key in enumerate(keys[:2]):
            tar.add(f"{key.hex()}.jpg", jpeg(i))
        tar.close()
    for stage, account in {
        "spill": {"rows_in": 7, "rows_out": 5, "rejects": {"unknown_label": 2}, "counters": {"bytes": 99}},
        "images": {"rows_in": 3, "rows_out": 2, "rejects": {"timeout": 1}, "counters": {}},
    }.items():
        store.write_json(f"{stage}/_stage.json", {"fingerprint": "fp"})
        store.write_json(f"{stage}/_done/00000.json", {**account, "fingerprint": "fp", "milliseconds": 1})
    return store


class Page(html.parser.HTMLParser):
    """The page as a browser sees it: its elements and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def page_of(config, store) -> Page:
    return Page(Path(write_report(config, store)).read_text(encoding="utf-8"))


def test_what_strangers_sent_is_text_and_never_markup(config, store):
    page = page_of(config, store)
    assert EVIL in page.text
    assert "script" not in {tag for tag, _ in page.elements}


def test_the_page_loads_nothing_and_the_browser_is_told_so(config, store):
    page = page_of(config, store)
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name, "#")
            assert value.startswith(("data:image/jpeg;base64,", "#")) or (tag, value) == ("a", "taxonomy.html")
    policies = [a["content"] for t, a in page.elements if t == "meta" and "content" in a]
    assert any("default-src 'none'" in policy for policy in policies)


def test_the_account_of_every_stage_is_shown(config, store):
    page = page_of(config, store)
    assert "7 rows in, 5 out; 2 unknown label" in re.sub(r"\s+", " ", page.text)
    facts = json.loads(store.read_bytes("report/report.json"))
    assert [(row["stage"], row["rows_in"], row["rows_out"]) for row in facts["account"]] == [
        ("spill", 7, 5),
        ("images", 3, 2),
    ]


def test_facts_are_counted_from_the_tables(config, store):
    write_report(config, store)
    facts = json.loads(store.read_bytes("report/report.json"))
    assert facts["labels_per_image"] == {"images": 3, "before": 1.0, "after": 2.0}
    assert facts["images"]["status"] == {"ok": 2, "timeout": 1}
    assert facts["images"]["exact_duplicates"] == 1


def test_pictures_are_shown_for_images_that_are_there(config, store):
    page = page_of(config, store)
    pictures = [a["src"] for t, a in page.elements if t == "img"]
    assert len(set(pictures)) == len(pictures) == 2  # the third image timed out


def test_equal_builds_have_equal_reports(config, store):
    write_report(config, store)
    first = store.read_bytes("report/index.html"), store.read_bytes("report/report.json")
    write_report(config, store)
    assert (store.read_bytes("report/index.html"), store.read_bytes("report/report.json")) == first


def test_an_empty_folder_has_a_report_too(config):
    page = page_of(config, Store(config.build.output))
    assert "not finished" in page.text


def facts_of(config, store) -> dict:
    write_report(config, store)
    return json.loads(store.read_bytes("report/report.json"))


def words_of(config, store) -> str:
    return re.sub(r"\s+", " ", page_of(config, store).text)


def test_the_drawn_hierarchy_lies_beside_the_report_with_the_builds_counts(config, store):
    counts = {"label": pa.array([0, 1], pa.int32()), "asserted": [0, 9], "expanded": [30, 9]}
    store.write_table("dataset/class_counts.parquet", pa.table(counts))
    page = page_of(config, store)
    assert ("a", "taxonomy.html") in {(tag, attributes.get("href")) for tag, attributes in page.elements}
    drawn = store.read_bytes("report/taxonomy.html").decode()
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', drawn)
    assert json.loads(data)["expanded"] == [30, 9, 0]


def test_the_shape_of_the_hierarchy_stands_beside_jfts(config, store):
    hierarchy = facts_of(config, store)["hierarchy"]
    assert {key: hierarchy[key] for key in ("categories", "depth", "largest_fan_out", "several_parents")} == {
        "categories": 3,
        "depth": 1,
        "largest_fan_out": 2,
        "several_parents": 0,
    }
    assert "largest fan-out22,876" in words_of(config, store)


def test_before_the_data_set_is_written_categories_are_counted_on_the_labels_there_are(config, store):
    facts = facts_of(config, store)["categories"]
    assert (facts["counted_on"], facts["with_images"], facts["asserted"]) == ("sample", 3, 2)
    assert [(c["asserted"], c["expanded"]) for c in facts["largest"]] == [(0, 3), (2, 2), (1, 1)]
    assert "Of 3 images, a uniform sample of those with labels" in words_of(config, store)
    counts = {"label": pa.array([0, 1, 2], pa.int32()), "asserted": [0, 9, 0], "expanded": [9, 9, 0]}
    store.write_table("dataset/class_counts.parquet", pa.table(counts))
    assert facts_of(config, store)["categories"]["counted_on"] == "dataset"
    assert "a uniform sample of those with labels" not in words_of(config, store)


def test_categories_that_are_never_inferred_are_told_with_the_reason(config, store):
    assert facts_of(config, store)["hierarchy"]["left_out"] == []
    store.write_json("expanded/_roles.json", {"roles": [{"label": 1, "id": "n2", "name": "pet"}]})
    dropped = [{"label": 0, "id": "n1", "name": "<thing>", "bits": 0.25}]
    store.write_json("expanded/_information.json", {"buckets": 1, "labels": 9, "dropped": dropped})
    words = words_of(config, store)
    assert "2 categories are never inferred" in words
    assert "pet (n2)role" in words
    assert "<thing> (n1)says little: 0.25 bits" in words


def test_shares_of_small_categories_are_told_in_text_and_plot(config, store):
    counts = {"label": pa.array([0, 1], pa.int32()), "asserted": [0, 9], "expanded": [30, 9]}
    store.write_table("dataset/class_counts.parquet", pa.table(counts))
    words = words_of(config, store).replace("\u00a0", " ")
    assert "1 (50.0 %) have fewer than 20 images and 2 (100.0 %) fewer than 100" in words
    assert "2,001 (10.9 %) have fewer than 20 and 3,301 (18.0 %) fewer than 100" in words
    assert "1 category (50.0%) under 20 images" in words


def test_names_inside_other_names_are_told_by_their_images(config, store):
    confusions = {"label": pa.array([2, 2], pa.int32()), "name": ["cat"] * 2}
    confusions |= {"inside_label": pa.array([0, 1], pa.int32()), "inside_name": NAMES[:2]}
    store.write_table("taxonomy/confusions.parquet", pa.table(confusions))
    store.write_table(
        "dataset/class_counts.parquet",
        pa.table({"label": pa.array([0, 1, 2], pa.int32()), "asserted": [0, 3, 7], "expanded": [10, 3, 7]}),
    )
    assert facts_of(config, store)["hierarchy"]["confusions"] == {
        "pairs": 2,
        "categories": 1,
        "largest": [{"name": "cat", "images": 7, "inside": [EVIL, "animal"], "inside_categories": 2}],
    }


def test_collapsed_cycles_are_told(config, store):
    cycle = {"survivor": "n0", "name": "animal", "merged": ["n7", "n8"], "removed_edges": [["n0", "n7"]]}
    store.write_json("taxonomy/_collapsed.json", {"cycles": [cycle]})
    words = words_of(config, store)
    assert "1 cycle of the file was collapsed into one category" in words
    assert "n7, n8" in words


def test_contradictions_are_told_with_pictures_of_the_flagged_images(config, store):
    rows = store.read_table(bucket_file("labels", 0, 1))["image_key"].to_pylist()
    pair = {"label_a": 1, "label_b": 2, "id_a": "n1", "id_b": "n2", "name_a": EVIL, "name_b": "cat"}
    pair |= {"observed": 1, "expected": 250.0, "lift": 0.004, "bound": 0.03}
    learned = {"buckets": 1, "labels": 9, "images": 5, "images_of_several": 4, "categories": 2, "tested": 1}
    store.write_json("expanded/_disjoint.json", {**learned, "pairs": [pair]})
    flagged = [
        [rows[0], rows[1], rows[2]],
        [1, 1, 2],
        [2, 2, 0],
        ["disjoint", "disjoint", "verified_negative"],
        [0.004, 0.004, None],
        [0.9, 0.8, 0.95],
    ]
    store.write_table(bucket_file("contradictions", 0, 1), pa.table(flagged, schema=CONTRADICTIONS))
    account = {"rows_in": 3, "rows_out": 3, "rejects": {}, "counters": {"disjoint": 2, "verified_negative": 1}}
    store.write_json("expanded/_stage.json", {"fingerprint": "fp"})
    store.write_json("expanded/_done/00000.json", {**account, "fingerprint": "fp", "milliseconds": 1})
    facts = facts_of(config, store)["contradictions"]
    assert facts["flagged_labels"] == {"disjoint": 2, "verified_negative": 1}
    assert (facts["flagged_images"], facts["disjoint_pairs"], facts["tested_pairs"]) == (3, 1, 1)
    words = words_of(config, store).replace("\u00a0", " ")
    assert "1 pair of categories was found to exclude each other" in words
    assert words.count("one of them wrong") == 2  # the third image timed out


def test_what_became_of_texts_is_told(config, store):
    counters = {"text_rows": 10, "text_matches": 6, "text_silent": 1}
    account = {"rows_in": 12, "rows_out": 7, "rejects": {"no_match": 4, "ambiguous_text": 1}, "counters": counters}
    store.write_json("spill/_done/00000.json", {**account, "fingerprint": "fp", "milliseconds": 1})
    store.write_json("spill/_priors.json", {"counts": {"alt": {"n1": 3, "n2": 2}}})
    assert facts_of(config, store)["texts"] == {
        "rows": 10,
        "matches": 6,
        "silent": 1,
        "rejects": {"no_match": 4, "ambiguous_text": 1},
        "prior_mentions": {"alt": 5},
    }
    words = words_of(config, store)
    assert "no name of a category occurs440.0 %" in words
    assert "kept as 'its source looked'110.0 %" in words


def test_sections_are_left_out_where_there_is_nothing_to_tell(config, store):
    page = page_of(config, store)
    ids = {attributes.get("id") for tag, attributes in page.elements if tag == "section"}
    assert not ids & {"texts", "contradictions"}
    assert {"texts": None, "contradictions": None}.items() <= facts_of(config, store).items()
