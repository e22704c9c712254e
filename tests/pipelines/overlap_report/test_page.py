"""The overlap page and its files as text: self-contained, escaped, equal for equal input, with all that is promised."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.dedup.schema import VERDICTS
from openjft.pipelines.overlap_report import CurvePoint, SetFacts, Thresholds, render_overlap_page, write_overlap_report

EVIL = "</script><script>alert(1)</script><!--<script> & \u2028\u2029"
JPEG = b"\xff\xd8\xff one"


class Page(html.parser.HTMLParser):
    """Elements with their attributes, and what stands inside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.raw: list[list] = []  # [attributes, text]
        self.words = ""
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self.within = tag
            self.raw.append([dict(attrs), ""])

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within:
            self.raw[-1][1] += data
        else:
            self.words += f"{data} "

    @property
    def data(self) -> dict:
        return json.loads(self.raw[1][1])

    @property
    def pictures(self) -> dict[str, str]:
        return {a["id"]: text for a, text in self.raw if a.get("type") == "text/plain"}


@pytest.fixture
def two(draw):
    """Two training images of one evaluation image, one of another."""
    return [
        draw.pair(1, eval_id="x"), draw.pair(2, eval_id="x", decision="copy"),
        draw.pair(3, 0.6, eval_id="y", ssim=None),
    ]  # fmt: skip


def test_texts_of_strangers_are_data_and_never_markup(draw):
    row = draw.pair(1, eval_id=EVIL, view=EVIL, transform=EVIL, labels=[EVIL], uri=EVIL, eval_path=EVIL, eval_set=EVIL)
    report = draw.report(
        [row], name=EVIL, descriptor=EVIL, views=(EVIL,), sets=(SetFacts(EVIL, EVIL, 1, 0),),
        eval_pictures={(EVIL, EVIL): JPEG}, training_pictures={(1).to_bytes(16): JPEG},
    )  # fmt: skip
    page = Page(render_overlap_page(report))
    assert [a.get("type") for a, _ in page.raw] == [None, "application/json", None, "text/plain", "text/plain"]
    assert page.data["labels"] == [EVIL]
    assert page.data["evals"] == [[0, EVIL, EVIL, 1]]
    assert page.data["pairs"]["views"] == [EVIL]
    assert EVIL in page.words


def test_scripts_set_text_and_never_markup_and_send_nothing(draw):
    script = Page(render_overlap_page(draw.report([]))).raw[2][1]
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser")
    senders = ("fetch(", "XMLHttpRequest", "sendBeacon", "WebSocket", "EventSource", "import(", "http:", "https:")
    assert not [way for way in ways + senders if way in script]


def test_the_policy_allows_just_the_page_s_own_script_style_and_pictures(draw, two):
    page = Page(render_overlap_page(draw.report(two, **draw.with_pictures(two))))
    [policy] = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    digests = [base64.b64encode(hashlib.sha256(page.raw[i][1].encode()).digest()).decode() for i in (2, 0)]
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'"
    )
    names = [name for _, a in page.elements for name in a]
    assert not [name for name in names if name in ("src", "href", "style", "action") or name.startswith("on")]


def test_each_picture_stands_once_however_many_pairs_it_is_in(draw, two):
    pictures = draw.with_pictures(two)
    page = Page(render_overlap_page(draw.report(two, **pictures)))
    assert list(page.pictures) == ["t0", "t1", "t2", "e0", "e1"]
    assert page.data["pairs"]["eval"] == [0, 0, 1]
    uri = page.pictures["e0"]
    assert base64.b64decode(uri.partition(",")[2]) == pictures["eval_pictures"]["own", "x"]
    assert uri.startswith("data:image/jpeg;base64,")


def test_a_pair_without_pictures_is_on_the_page_all_the_same(draw, two):
    page = Page(render_overlap_page(draw.report(two)))
    assert page.pictures == {}
    assert [image[3] for image in page.data["images"]] == [0, 0, 0]
    assert page.data["pairs"]["ssim"] == [0.8, 0.8, None]


def test_equal_reports_give_equal_bytes(draw, two, tmp_path):
    for name in ("one", "other"):
        write_overlap_report(draw.report(two, **draw.with_pictures(two)), tmp_path / name)
    files = ["index.html", "overlaps.json", "overlaps.parquet"]
    assert sorted(path.name for path in (tmp_path / "one/overlap_report").iterdir()) == files
    for file in files:
        one, other = ((tmp_path / name / "overlap_report" / file).read_bytes() for name in ("one", "other"))
        assert one == other


def test_pairs_that_the_page_has_no_room_for_are_told_counted_and_exported(draw):
    rows = [
        draw.pair(1, level="reported", eval_id="a"), draw.pair(2, 0.7, eval_id="b", decision="different"),
        draw.pair(3, 0.6, eval_id="a"), draw.pair(4, 0.62, eval_id="a"),
    ]  # fmt: skip
    page = Page(render_overlap_page(draw.report(rows, max_pairs=1)))
    assert "3 of 4 pairs are not on this page" in page.words
    assert page.data["pairs"]["score"] == [0.95]
    assert page.data["evals"] == [[2, "a", "", 0], [2]]
    assert page.data["rest"] == [[0, 1, -1, 0.62], [1, 1, 1, 0.7]]
    assert page.data["kept"] == [[f"{2:032x}", "own", "b", 1]]


def test_the_page_says_what_was_compared_with_what(draw, two):
    words = " ".join(Page(render_overlap_page(draw.report(two))).words.split())
    assert "1,000 training images (queries) were compared with 5,886 evaluation images (references)" in words
    assert "5,886,000 comparisons, by the descriptor dct" in words
    assert "Removed is a training image with a pair at score 0.8 or above, or one whose pictures are alike" in words
    assert "alike (SSIM 0.5 or more in the mean" in words
    assert "Published is only a pair at score 0.9 or above that is verified (three quarters of the picture" in words
    assert "agree with SSIM 0.85 or more" in words
    assert "Listed are pairs at 0.55 or above" in words
    assert "crop 45 of 50 90.0 % 78.0 to 97.0 %" in words
    assert "leaves no training image out" not in words
    assert "Sun et al. 2017" in words


def test_the_page_says_where_a_build_leaves_no_training_image_out(draw, two):
    words = " ".join(Page(render_overlap_page(draw.report(two, remove_from="eval"))).words.split())
    assert "this build leaves no training image out: remove_from is \u201ceval\u201d" in words


def test_a_pair_s_verdict_is_verified_alike_or_neither(draw):
    rows = [
        draw.pair(1), draw.pair(2, verified=False), draw.pair(3, alike=False),
        draw.pair(4, alike=False, verified=False),
    ]  # fmt: skip
    pairs = Page(render_overlap_page(draw.report(rows))).data["pairs"]
    assert pairs["verdict"] == [0, 1, 0, 2]
    assert (pairs["ssim"][0], pairs["ssim_low"][0]) == (0.8, 0.9)


def test_the_pair_that_set_a_threshold_reaches_it(draw):
    score = float(np.float32(0.6384792327880859))
    thresholds = Thresholds(score, score, score)
    data = Page(render_overlap_page(draw.report([draw.pair(1, score)], thresholds=thresholds))).data
    assert [data["thresholds"][name] for name in ("remove", "report", "listed")] == data["pairs"]["score"] * 3


def test_an_image_that_is_left_out_for_one_pair_is_so_in_all_of_its_pairs(draw):
    rows = [
        draw.pair(1, eval_id="a", removed=True), draw.pair(1, 0.6, eval_id="b"), draw.pair(2),
    ]  # fmt: skip
    assert Page(render_overlap_page(draw.report(rows))).data["pairs"]["removed"] == [2, 1, 0]
    shown = Page(render_overlap_page(draw.report(rows[::-1], max_pairs=2))).data["pairs"]
    assert shown["removed"] == [0, 2]


def test_json_has_the_counts_of_all_pairs_at_each_threshold(draw, tmp_path):
    rows = draw.many_pairs(400, decided=0.1)
    report = draw.report(rows, max_pairs=10)
    write_overlap_report(report, tmp_path)
    value = json.loads((tmp_path / "overlap_report/overlaps.json").read_text())
    found = {s["name"]: s["counts"]["remove"]["found"] for s in value["sets"]}
    assert found == {
        each.name: len({r["eval_id"] for r in rows if r["eval_set"] == each.name and r["score"] >= 0.8})
        for each in draw.sets
    }
    assert value["pairs"] == 400
    assert sum(s["overlap"] for s in value["sets"]) == len(
        {(r["eval_set"], r["eval_id"]) for r in rows if r["overlap"]}
    )
    assert value["removed_images"] == sum(r["removed"] for r in rows)
    assert value["thresholds"]["expected_false_pairs"]["report"]["expected"] == pytest.approx(1e-5)
    assert value["sets"][0]["paper"] == {"name": "ImageNet val", "images": 50_000, "found": 5_536}
    assert [r["transform"] for r in value["planted_recall"]] == ["none", "crop"]


def test_the_parquet_file_has_all_pairs(draw, tmp_path):
    report = draw.report(draw.many_pairs(50), max_pairs=10)
    write_overlap_report(report, tmp_path)
    assert pq.read_table(tmp_path / "overlap_report/overlaps.parquet").equals(report.pairs)


def test_a_build_without_pairs_has_a_page(draw):
    page = Page(render_overlap_page(draw.report([])))
    assert page.data["pairs"]["score"] == []
    assert [name for name, *_ in page.data["sets"]] == ["imagenet", "minival", "own"]


def test_the_extra_columns_may_be_missing(draw, two):
    pairs = draw.table(two).select(VERDICTS.names)
    assert Page(render_overlap_page(draw.report(pairs))).data["images"][0] == [f"{1:032x}", "", [], 0]


def changed(draw, **changes):
    return draw.report([draw.pair(1, **changes)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d.report([], build="../x"), "expected the build's digest"),
        (lambda d: changed(d, eval_set="voc"), "expected eval_set among imagenet, minival, own, found 'voc'"),
        (lambda d: changed(d, level="low"), "expected level among reported, removal, listed, found 'low'"),
        (lambda d: changed(d, decision="yes"), "expected decision among copy, different, unsure, found 'yes'"),
        (lambda d: changed(d, score=float("nan")), "expected finite scores"),
        (lambda d: d.report([d.pair(1), d.pair(1)]), "expected each pair once, found 1 again"),
        (lambda d: d.report(d.table([]).drop_columns("score")), "expected pairs with the column score"),
        (lambda d: d.report(d.table([]).drop_columns("labels").append_column("labels", pa.array([], pa.string()))),
         "expected labels as list"),
        (lambda d: d.report([], sets=d.sets + d.sets), "expected each evaluation set once"),
        (lambda d: d.report([], eval_pictures={("own", "x"): b"<svg>"}), "expected JPEG pictures"),
        (lambda d: Thresholds(float("inf"), 0.5, 0.4), "expected thresholds and a curve of finite numbers"),
        (lambda d: Thresholds(0.5, 0.5, 0.4, curve=(CurvePoint(0.5, 1, 1, 1),) * 2), "expected the curve's scores to"),
    ],
)  # fmt: skip
def test_a_report_that_makes_no_sense_is_refused(draw, make, message):
    with pytest.raises(ValueError, match=message):
        make(draw)
