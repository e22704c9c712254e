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
from openjft.pipelines.schema import CATALOG, EXPANDED, LABELS
from openjft.pipelines.storage import Store, bucket_file

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
    vocabulary = {"label": [0, 1, 2], "id": ["n0", "n1", "n2"], "name": NAMES}
    store.write_table("taxonomy/vocabulary.parquet", pa.table(vocabulary))
    store.write_table(
        bucket_file("labels", 0, 1), pa.table([keys, [1, 2, 1], uris, [0.9, 0.8, 0.7], [1, 1, 1]], schema=LABELS)
    )
    expanded = [
        [keys[0], keys[0], keys[1], keys[1], keys[2], keys[2]],
        [0, 1, 0, 2, 0, 1],
        [0.9, 0.9, 0.8, 0.8, 0.7, 0.7],
        [False, True, False, True, False, True],
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
            assert value.startswith(("data:image/jpeg;base64,", "#")), (tag, value)
    policies = [a["content"] for t, a in page.elements if t == "meta" and "content" in a]
    assert any("default-src 'none'" in policy for policy in policies)


def test_the_account_of_every_stage_is_shown(config, store):
    page = page_of(config, store)
    assert "7 pairs in, 5 out; 2 unknown label" in re.sub(r"\s+", " ", page.text)
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
