"""The overlap page in a real browser, with 10,000 pairs: counts, filters, keys, export; nothing of strangers runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openjft.dedup import read_decisions
from openjft.pipelines.overlap_report import SetFacts, render_overlap_page
from openjft.pipelines.overlap_report.counts import count_sets, expected_false_pairs

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

EVIL = "<script>alert(1)</script>"
COLUMNS = ("images", "undecodable", "found", "verified", "confirmed", "refuted", "counted", "overlap")
# What is in the window: number of the pair among all, of each row that is in the document.
ROWS = "() => [...document.querySelectorAll('.row')].map(row => Number(row.id.slice(3)))"


class Auditor:
    """A person at the page: moves the slider, filters, presses keys, reads what is shown."""

    def __init__(self, context, file: Path) -> None:
        self.file = file
        self.page = context.new_page()
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.goto(file.as_uri())

    def press(self, *keys: str) -> Auditor:
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def slide(self, score: float) -> Auditor:
        """Moves the slider as a drag does."""
        self.page.locator("#score").fill(str(score))
        expect(self.page.locator("#score-number")).to_have_value(f"{score:g}")
        return self

    def choose(self, id_: str, label: str) -> Auditor:
        self.page.select_option(f"#{id_}", label=label)
        return self

    def search(self, text: str) -> Auditor:
        self.page.fill("#by-text", text)
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        return self

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """The table's numbers, without the shares."""
        rows = self.page.locator("#counts tr").all()
        found = {}
        for row in rows:
            name = row.locator("th bdi").inner_text()
            cells = [int(text.split()[0].replace(",", "")) for text in row.locator("td").all_inner_texts()[:8]]
            found[name] = dict(zip(COLUMNS, cells, strict=True))
        return found

    @property
    def current(self) -> int:
        """Number of the pair that keys decide."""
        return int(self.page.locator(".row.current").get_attribute("id")[3:])

    @property
    def listed(self) -> int:
        return int(self.page.inner_text("#listed").split()[0].replace(",", ""))

    @property
    def rows(self) -> list[int]:
        return self.page.evaluate(ROWS)

    @property
    def message(self) -> str:
        return self.page.inner_text("#message")

    @property
    def progress(self) -> list[int]:
        """Copy, different, unsure, undecided."""
        return [int(text.replace(",", "")) for text in self.page.locator("[data-count]").all_inner_texts()]

    def sign(self, name: str = "Ann") -> Auditor:
        self.page.fill("#reviewer", name)
        self.page.press("#reviewer", "Enter")
        self.page.press("#reviewer", "Escape")
        return self

    def export(self) -> Path:
        with self.page.expect_download() as caught:
            self.page.click("#export")
        path = self.file.parent / caught.value.suggested_filename
        caught.value.save_as(path)
        return path

    def bring(self, path: Path) -> Auditor:
        self.page.set_input_files("#import", path)
        return self

    def reload(self) -> Auditor:
        self.page.reload()
        return self


@pytest.fixture(scope="module")
def large_file(ten_thousand, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("overlaps") / "index.html"
    path.write_text(render_overlap_page(ten_thousand[1]), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, tmp_path) -> Iterator:
    """Opens a report, each time in a browser of its own unless one is given; no script may fail in it."""
    contexts, auditors = [], []

    def open_(report, *, context=None, **options) -> Auditor:
        if context is None:
            context = browser.new_context(accept_downloads=True, **options)
            contexts.append(context)
            context.set_default_timeout(10_000)
        file = report
        if not isinstance(report, Path):
            file = tmp_path / "index.html"
            file.write_text(render_overlap_page(report), encoding="utf-8")
        auditors.append(Auditor(context, file))
        return auditors[-1]

    yield open_
    errors = [error for auditor in auditors for error in auditor.errors]
    for context in contexts:
        context.close()
    assert not errors


def expected_counts(report, score: float) -> dict[str, dict[str, int]]:
    found = count_sets(report.pairs, report.sets, score)
    reported = count_sets(report.pairs.filter(report.pairs["overlap"]), report.sets, -1)
    return {
        each.name: {
            "images": each.images, "undecodable": each.undecodable, "overlap": reported[each.name].found,
            **{name: getattr(found[each.name], name) for name in COLUMNS[2:7]},
        }
        for each in report.sets
    }  # fmt: skip


# -- Ten thousand pairs --------------------------------------------------------------------------------------


def test_the_slider_recounts_every_set(opened, large_file, ten_thousand):
    _, report = ten_thousand
    auditor = opened(large_file)
    for score in (0.9, 0.56, 0.785, 0.99, 1.0):
        auditor.slide(score)
        assert auditor.counts == expected_counts(report, score)
        here = report.pairs["score"].to_numpy() >= np.float32(score)
        assert f"{here.sum():,} pairs" in auditor.page.inner_text("#at-score")


def test_pairs_that_are_not_on_the_page_count_all_the_same(opened, draw):
    report = draw.report(draw.many_pairs(900, decided=0.3), max_pairs=100)
    auditor = opened(report)
    assert auditor.listed == 100
    for score in (0.9, 0.56, 0.7, 0.85):
        auditor.slide(score)
        assert auditor.counts == expected_counts(report, score)
    assert "of this page" in auditor.page.inner_text("#at-score")


def test_the_slider_starts_at_the_reporting_threshold_and_goes_to_the_others(opened, large_file, ten_thousand):
    auditor = opened(large_file)
    assert auditor.page.input_value("#score-number") == "0.9"
    auditor.page.get_by_role("button", name="removal").click()
    assert auditor.page.input_value("#score") == "0.8"
    assert auditor.counts == expected_counts(ten_thousand[1], 0.8)
    auditor.page.fill("#score-number", "0.7512")
    auditor.page.press("#score-number", "Enter")
    assert auditor.counts == expected_counts(ten_thousand[1], 0.7512)


def test_false_pairs_to_expect_are_told_at_the_slider(opened, large_file, draw):
    auditor = opened(large_file)
    for score in (0.55, 0.625, 0.73):
        found = expected_false_pairs(draw.curve, score)
        words = auditor.slide(score).page.inner_text("#expected")
        numbers = [float(text.replace(",", "")) for text in re.findall(r"[\d.,]+", words)]
        assert numbers == [pytest.approx(found[k], rel=0.06) for k in ("expected", "low", "high")]
    assert "at most 1\u00a0\u00d7\u00a010\u207b\u2075" in auditor.slide(0.95).page.inner_text("#expected")


def test_only_rows_near_the_window_are_in_the_document(opened, large_file):
    auditor = opened(large_file, viewport={"width": 1440, "height": 900})
    assert auditor.listed == 10_000
    assert len(auditor.rows) < 20
    auditor.press("End")
    assert auditor.page.locator(".row.current").get_attribute("aria-posinset") == "10000"
    assert auditor.page.locator(".row.current").is_visible()
    assert len(auditor.rows) < 20
    auditor.page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    auditor.page.wait_for_function("() => document.querySelectorAll('.row').length > 3")
    assert len(auditor.rows) < 20
    auditor.page.wait_for_function(
        "() => [...document.querySelectorAll('.row img')].every(i => i.complete && i.naturalWidth === 64)"
    )


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"by-set": "minival"}, lambda r: r["eval_set"] == "minival"),
        ({"by-level": "removal"}, lambda r: r["level"] == "removal"),
        ({"by-verdict": "verified"}, lambda r: r["verified"]),
        ({"by-verdict": "alike"}, lambda r: r["alike"] and not r["verified"]),
        ({"by-verdict": "neither"}, lambda r: not r["alike"] and not r["verified"]),
        ({"by-view": "mirror"}, lambda r: r["view"] == "mirror"),
        ({"by-decision": "undecided"}, lambda r: True),
        ({"by-decision": "copy"}, lambda r: False),
        ({"by-set": "own", "by-level": "reported"}, lambda r: (r["eval_set"], r["level"]) == ("own", "reported")),
    ],
)
def test_filters_list_the_pairs_that_pass(opened, large_file, ten_thousand, filters, passes):
    auditor = opened(large_file)
    for id_, label in filters.items():
        auditor.choose(id_, label)
    assert auditor.listed == sum(map(passes, ten_thousand[0]))
    assert all(passes(ten_thousand[0][i]) for i in auditor.rows)
    assert auditor.page.is_visible("#empty") == (auditor.listed == 0)
    auditor.page.get_by_role("button", name="Clear").click()
    assert auditor.listed == 10_000


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("object nowhere", lambda r: False),
        ("A.ORG/777.jpg", lambda r: r["uri"] == "https://a.org/777.jpg"),
        (f"{513:032x}", lambda r: r["image_key"] == (513).to_bytes(16)),
        ("img_17_3 imagenet", lambda r: "img_17_3" in r["eval_id"] and r["eval_set"] == "imagenet"),
        ("turned degrees", lambda r: r["transform"] is not None),
    ],
)
def test_search_looks_at_ids_labels_addresses_and_transforms(opened, large_file, ten_thousand, text, passes):
    auditor = opened(large_file).search(text)
    assert auditor.listed == sum(map(passes, ten_thousand[0]))


def test_pairs_below_the_slider_can_be_left_out_of_the_list(opened, large_file, ten_thousand):
    auditor = opened(large_file)
    auditor.page.check("#by-score")
    for score in (0.9, 0.7):
        auditor.slide(score)
        assert auditor.listed == sum(r["score"] >= score for r in ten_thousand[0])


ORDERS = {
    "highest score": lambda r: -r["score"],
    "lowest score": lambda r: r["score"],
    "near the slider": lambda r: abs(r["score"] - 0.9),
    "highest SSIM": lambda r: -(r["ssim"] if r["ssim"] is not None else -2),
    "lowest SSIM": lambda r: r["ssim"] if r["ssim"] is not None else 2,
    "nearly verified or just": lambda r: abs(r["ssim_low"] - 0.85) if r["ssim_low"] is not None else 3,
    "evaluation id": lambda r: (r["eval_set"], r["eval_id"], -r["score"]),
    "training key": lambda r: r["image_key"],
}


@pytest.mark.parametrize("order", ORDERS)
def test_pairs_are_listed_in_the_order_asked_for(opened, large_file, ten_thousand, order):
    auditor = opened(large_file).choose("order", order)
    auditor.page.evaluate("scrollTo(0, 0)")
    rows = ten_thousand[0]
    expected = sorted(range(len(rows)), key=lambda i: (ORDERS[order](rows[i]), i))
    found = auditor.rows
    assert [ORDERS[order](rows[i]) for i in found] == [ORDERS[order](rows[i]) for i in expected[: len(found)]]


def test_pairs_near_the_slider_follow_it(opened, large_file, ten_thousand):
    auditor = opened(large_file).choose("order", "near the slider")
    for score in (0.7, 0.8):
        auditor.slide(score)
        expect(auditor.page.locator(".row[aria-posinset='1'] .fact b").first).to_have_text(f"{score:.4f}")
    assert any(r["score"] == 0.7 for r in ten_thousand[0])


def test_nothing_but_the_page_itself_is_asked_for(opened, large_file):
    auditor = opened(large_file).sign().press("y", "n", " ", "b", "?", "Escape")
    auditor.slide(0.7).choose("by-set", "own").search("thing")
    auditor.export()
    auditor.reload()
    inside = ("data:", "blob:")
    assert [url for url in auditor.requests if not url.startswith(inside)] == [large_file.as_uri()] * 2


def test_a_row_has_all_that_is_known_of_its_pair(opened, draw):
    row = draw.pair(
        7, 0.8125, similarity=0.875, ssim=0.654, ssim_low=0.5, level="removal", verified=False, view="mirror",
        removed=True, transform="mirrored, 71 % of it", labels=["tabby", "cat"], eval_path="/data/7.jpg",
    )  # fmt: skip
    page = opened(draw.report([row])).page
    assert page.locator(".fact").all_inner_texts() == [
        "score 0.8125", "similarity 0.8750", "SSIM mean 0.65", "three quarters reach 0.50",
    ]  # fmt: skip
    assert page.locator(".chip").all_inner_texts() == ["removal", "alike, not verified", "left out"]
    lines = page.locator(".texts p").all_inner_texts()[1:]
    assert lines == [
        "view mirror \u00b7 mirrored, 71 % of it",
        "evaluation own e7 /data/7.jpg",
        f"training {7:032x} https://a.org/7.jpg",
        "labels tabby, cat",
    ]
    assert page.locator("figcaption").all_inner_texts() == ["training image", "evaluation image"]
    assert page.locator(".none").all_inner_texts() == ["No picture", "No picture"]


def test_a_pair_whose_pictures_could_not_be_compared_says_so(opened, draw):
    row = draw.pair(7, ssim=None, ssim_low=None, alike=False, verified=False)
    page = opened(draw.report([row])).choose("by-verdict", "neither").page
    assert page.locator(".fact").all_inner_texts() == ["score 0.9500", "similarity 0.9500"]
    assert page.locator(".chip").all_inner_texts() == ["listed", "pictures not compared", "kept"]


# -- Review by keys ------------------------------------------------------------------------------------------


@pytest.fixture
def six(draw):
    """Six pairs of falling score: numbers 0 to 5 in the order of the list."""
    rows = [draw.pair(i, 0.99 - 0.03 * i, level="removal", eval_id=f"e{i // 2}") for i in range(6)]
    return draw.report(rows, **draw.with_pictures(rows))


def test_keys_decide_go_on_and_recount(opened, six):
    auditor = opened(six)
    assert auditor.current == 0
    auditor.press("y", "n", "3")
    assert auditor.progress == [1, 1, 1, 3]
    assert auditor.current == 3
    assert auditor.message == "Decided unsure: own e1"
    counts = auditor.counts["own"]
    assert (counts["found"], counts["confirmed"], counts["refuted"], counts["counted"]) == (2, 1, 0, 2)
    auditor.press("ArrowUp", "n", "n")
    counts = auditor.counts["own"]
    assert (counts["confirmed"], counts["refuted"], counts["counted"]) == (1, 1, 1)
    bar = auditor.page.locator("#progress")
    assert (bar.get_attribute("aria-valuenow"), bar.get_attribute("aria-valuemax")) == ("4", "6")


def test_moving_decides_nothing_and_a_decision_can_be_changed(opened, six):
    auditor = opened(six).press("j", "ArrowDown", "k", "y", "k")
    assert auditor.current == 1
    auditor.press("u")
    assert auditor.message == "Changed from copy to unsure: own e0"
    assert (auditor.current, auditor.progress) == (2, [0, 0, 1, 5])
    auditor.press("Home", "y", "g")
    assert auditor.current == 3
    auditor.press("End", "y")
    assert auditor.current == 2  # from the first again


def test_undo_restores_decisions_and_place_many_levels_deep_and_after_a_reload(opened, six):
    auditor = opened(six).press("y", "n", "k", "u")
    assert auditor.progress == [1, 0, 1, 4]
    auditor.press("Backspace")
    assert (auditor.progress, auditor.current) == ([1, 1, 0, 4], 1)
    auditor.reload()
    assert auditor.progress == [1, 1, 0, 4]
    auditor.press("Control+z", "Backspace")
    assert (auditor.progress, auditor.current) == ([0, 0, 0, 6], 0)
    assert auditor.press("Backspace").message == "There is nothing to undo."


def test_nobody_decides_a_pair_that_is_out_of_view(opened, six):
    auditor = opened(six, viewport={"width": 844, "height": 390}).press("y")
    assert auditor.message == "Look at this pair first: it was out of view."
    assert auditor.progress == [0, 0, 0, 6]
    assert auditor.press("y").progress == [1, 0, 0, 5]


def test_who_scrolls_away_decides_what_is_in_view(opened, large_file):
    auditor = opened(large_file).press("j", "j")
    auditor.page.evaluate("scrollTo(0, 500000)")
    auditor.page.wait_for_function("() => document.querySelector('.row.current')?.ariaPosInSet > 1000")
    box = auditor.page.locator(".row.current").bounding_box()
    place = int(auditor.page.locator(".row.current").get_attribute("aria-posinset"))
    assert 0 <= box["y"] <= 720
    auditor.press("n")
    assert auditor.page.locator(f".row[aria-posinset='{place}']").get_attribute("data-choice") == "different"


def test_buttons_decide_for_mouse_and_touch(opened, six):
    auditor = opened(six)
    auditor.page.locator("#row1").get_by_role("button", name="Different").click()
    assert auditor.progress == [0, 1, 0, 5]
    assert auditor.page.locator("#row1 [aria-pressed=true]").get_attribute("data-choice") == "different"
    assert auditor.current == 2
    auditor.page.get_by_role("button", name="Undo").click()
    assert auditor.progress == [0, 0, 0, 6]


def test_both_pictures_flip_on_one_place(opened, six):
    auditor = opened(six)
    place = "figure => { const box = figure.getBoundingClientRect(); return [box.left, box.top]; }"
    pictures = [auditor.page.locator(f"#row0 .{name}") for name in ("training", "eval")]
    assert pictures[0].evaluate(place) != pictures[1].evaluate(place)
    auditor.press(" ")
    assert [p.is_visible() for p in pictures] == [False, True]
    auditor.press(" ")
    assert [p.is_visible() for p in pictures] == [True, False]
    assert pictures[0].evaluate(place) == pictures[1].evaluate(place)
    auditor.press("Escape")
    assert [p.is_visible() for p in pictures] == [True, True]
    auditor.press("b")
    expect(pictures[0]).to_be_hidden()
    expect(pictures[0]).to_be_visible()
    auditor.press("j")
    assert [p.is_visible() for p in pictures] == [True, True]


def test_a_mirrored_copy_is_mirrored_back_where_pictures_flip(opened, draw):
    rows = [draw.pair(1, view="mirror")]
    auditor = opened(draw.report(rows, **draw.with_pictures(rows))).press(" ")
    turn = "i => getComputedStyle(i).transform"
    assert auditor.page.locator(".eval img").evaluate(turn) == "matrix(-1, 0, 0, 1, 0, 0)"
    assert auditor.press(" ").page.locator(".training img").evaluate(turn) == "none"


def test_letters_in_the_search_decide_nothing_and_escape_returns_to_the_list(opened, six):
    auditor = opened(six).press("/", *"yny")
    assert auditor.page.input_value("#by-text") == "yny"
    assert auditor.progress == [0, 0, 0, 6]
    auditor.page.get_by_role("button", name="Clear").click()
    auditor.press("/", "Escape", "y")
    assert auditor.progress == [1, 0, 0, 5]


def test_a_decided_pair_stays_in_the_list_until_the_filter_is_set_again(opened, six):
    auditor = opened(six).choose("by-decision", "undecided")
    auditor.page.press("#by-decision", "Escape")
    auditor.press("y")
    assert auditor.listed == 6
    auditor.choose("by-set", "own")
    assert auditor.listed == 5


def test_help_lists_the_keys_and_nothing_is_decided_behind_it(opened, six):
    auditor = opened(six).press("?")
    named = auditor.page.locator("#keys kbd").all_inner_texts()
    for key in ("y", "n", "u", "Backspace", "j", "k", "g", "Space", "b", "e", "?"):
        assert key in named
    auditor.press("y", "?")
    assert not auditor.page.is_visible("#help")
    assert auditor.progress == [0, 0, 0, 6]


def test_what_the_build_already_knew_is_where_the_page_begins(opened, draw):
    rows = [draw.pair(1, 0.99, decision="copy"), draw.pair(2, 0.98), draw.pair(3, 0.97, decision="unsure")]
    auditor = opened(draw.report(rows))
    assert auditor.progress == [1, 0, 1, 1]
    auditor.press("n", "Backspace")
    assert auditor.progress == [1, 0, 1, 1]
    assert auditor.message == "Undone"


# -- Export and import ---------------------------------------------------------------------------------------


def decisions_of(path: Path) -> dict[int, str]:
    return {int.from_bytes(key): choice for (key, _, _), choice in read_decisions([path]).items()}


def test_an_export_is_what_the_reader_reads(opened, draw):
    rows = [
        draw.pair(1, 0.99, level="reported"), draw.pair(2, 0.98, eval_id="\u00e9 \n'\"", level="reported"),
        draw.pair(3, 0.97, level="reported"), draw.pair(4, 0.96, decision="different"),
    ]  # fmt: skip
    auditor = opened(draw.report(rows, max_pairs=3)).sign("J\u00f6rg  Ann").press("Home", "y", "n")
    path = auditor.export()
    assert path.name == "decisions-J\u00f6rg_Ann-0123456789ab.json"
    found = read_decisions([path])
    assert dict(found) == {
        ((1).to_bytes(16), "own", "e1"): "copy",
        ((2).to_bytes(16), "own", "\u00e9 \n'\""): "different",
        ((4).to_bytes(16), "own", "e4"): "different",  # known to the build, not on the page
    }
    assert {each.reviewer for each in found.records} == {"J\u00f6rg Ann"}
    assert found.builds == (draw.build,)
    assert "Exported 3 decisions" in auditor.message


def test_an_export_asks_for_a_name_and_for_decisions(opened, six):
    auditor = opened(six).press("e")
    assert auditor.message == "There is nothing to export yet."
    auditor.press("y", "e")
    assert auditor.message == "Give your name first: it goes into the file."
    assert auditor.page.evaluate("document.activeElement.id") == "reviewer"


def test_another_machine_goes_on_with_an_exported_file(opened, six):
    path = opened(six).sign().press("y", "n").export()
    auditor = opened(six).bring(path)
    expect(auditor.page.locator("#message")).to_have_text("Imported 2 decisions.")
    assert auditor.progress == [1, 1, 0, 4]
    assert auditor.page.input_value("#reviewer") == "Ann"
    assert decisions_of(auditor.export()) == {0: "copy", 1: "different"}
    auditor.press("Backspace")  # an import is one step
    assert auditor.progress == [0, 0, 0, 6]


@pytest.mark.parametrize(
    ("choice", "expected"), [("Keep those given here", [0, 1, 0, 5]), ("Take those of the file", [1, 0, 0, 5])]
)
def test_where_file_and_page_differ_the_person_decides(opened, six, choice, expected):
    path = opened(six).sign().press("y").export()
    auditor = opened(six).press("n").bring(path)
    expect(auditor.page.locator("#differ-words")).to_contain_text("1 decision in the file differs")
    auditor.page.get_by_role("button", name=choice).click()
    expect(auditor.page.locator("#message")).to_contain_text("Imported 0 decisions; 1 that differed")
    assert auditor.progress == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": EVIL}, "it is not an exported file of decisions"),
        ({"version": 2}, "it is of another version of this page"),
        ({"build": "ff" * 8, "decisions": []}, "it is of another build"),
        ({"decisions": 3}, "it is not an exported file of decisions"),
    ],
)
def test_a_file_of_something_else_is_refused_in_plain_words(opened, six, tmp_path, changes, words):
    auditor = opened(six).sign().press("n")
    right = json.loads(auditor.export().read_text())
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**right, **changes}))
    auditor.bring(path)
    expect(auditor.page.locator("#message")).to_contain_text(f"other.json was not imported: {words}")
    assert auditor.progress == [0, 1, 0, 5]


def test_entries_that_cannot_be_meant_are_left_out_and_counted(opened, six, tmp_path):
    auditor = opened(six).sign().press("n")
    value = json.loads(auditor.export().read_text())
    known = value["decisions"][0]
    value["decisions"] += [{**known, "eval_id": "zzz"}, {**known, "decision": "yes"}, 7, {**known, "image_key": 5}]
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(value))
    auditor.bring(path)
    expect(auditor.page.locator("#message")).to_have_text(
        "Imported 0 decisions; 1 on pairs that are not here were left out; 3 entries that cannot be read left out."
    )
    assert auditor.progress == [0, 1, 0, 5]


def test_two_tabs_share_their_decisions(opened, browser, six):
    context = browser.new_context()
    one, other = opened(six, context=context), opened(six, context=context)
    one.press("y")
    expect(other.page.locator("[data-count=copy]")).to_have_text("1")
    other.press("j", "n")
    expect(one.page.locator("[data-count=different]")).to_have_text("1")
    assert other.reload().progress == [1, 1, 0, 4]
    context.close()


def test_a_storage_that_something_else_has_changed_is_told_and_not_used(opened, six, draw):
    auditor = opened(six)
    auditor.page.evaluate("key => localStorage.setItem(key, '{\"format\": 1')", f"openjft-overlaps/1/{draw.build}")
    auditor.reload()
    assert "could not be read" in auditor.message
    assert auditor.press("y").progress == [1, 0, 0, 5]


# -- Nothing of strangers runs -------------------------------------------------------------------------------


def test_hostile_texts_are_shown_as_text_and_nothing_runs(opened, draw):
    markup = EVIL + "<img src=x onerror=alert(2)>"
    row = draw.pair(
        1, eval_set=EVIL, eval_id=markup, view=EVIL, transform=EVIL, labels=[EVIL, markup], uri=EVIL, eval_path=EVIL
    )
    sets = (SetFacts(EVIL, EVIL, 1, 0),)
    auditor = opened(draw.report([row], name=EVIL, descriptor=EVIL, views=(EVIL,), sets=sets)).sign(EVIL)
    auditor.press("y")
    assert auditor.message == f"Decided copy: {EVIL} {markup}"
    assert auditor.page.locator(".labels bdi").all_inner_texts() == [EVIL, markup]
    assert auditor.page.locator(".facts code").all_inner_texts() == [markup, EVIL, f"{1:032x}", EVIL]
    assert auditor.page.inner_text("#counts th bdi") == EVIL
    assert auditor.page.inner_text("h1") == f"{EVIL}: overlaps"
    assert auditor.page.locator("#by-set option").all_inner_texts() == ["all sets", EVIL]
    assert auditor.search(EVIL).listed == 1
    path = auditor.export()
    assert dict(read_decisions([path])) == {((1).to_bytes(16), EVIL, markup): "copy"}
    assert re.fullmatch(r"decisions-[\w.-]+-0123456789ab\.json", path.name)
    assert auditor.reload().page.locator("script, img").count() == 2  # the page's own scripts
    assert auditor.dialogs == []


@pytest.mark.parametrize("size", [(390, 844), (844, 390), (1100, 800), (1440, 900)])
def test_pictures_and_answers_of_the_current_pair_fit_the_window(opened, six, size):
    width, height = size
    auditor = opened(six, viewport={"width": width, "height": height}).press("j", "j")
    assert auditor.page.evaluate("document.documentElement.scrollWidth") <= width
    row = auditor.page.locator(".row.current").bounding_box()
    for name in (".training img", ".eval img", "[data-choice=copy]", "[data-choice=unsure]"):
        box = auditor.page.locator(f".row.current {name}").bounding_box()
        assert row["x"] <= box["x"]
        assert box["x"] + box["width"] <= row["x"] + row["width"]
        assert box["y"] + box["height"] <= row["y"] + row["height"]
    assert row["height"] >= height or (row["y"] >= 0 and row["y"] + row["height"] <= height)
