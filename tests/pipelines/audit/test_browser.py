"""The labelling page in a real browser: labels by keys, nothing lost, nothing loaded, nothing of strangers run."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openjft.loaders.decoding import encode_jpeg
from openjft.pipelines.audit.answers import read_answers
from openjft.pipelines.audit.page import Question, render_audit_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

EVIL = "<script>alert(1)</script>"
SAMPLE = "0123456789ab" * 4
KEY = f"openjft-answers/1/{SAMPLE}/Ann"  # of the browser's storage
# Key, place on the keyboard; without Latin letters the place counts.
DISPATCH = "([key, code, repeat]) => dispatchEvent(new KeyboardEvent('keydown', {key, code, repeat, cancelable: true}))"


def picture(colour: int, width: int = 160, height: int = 120) -> str:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., colour % 3] = 40 + 20 * (colour % 10)
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(pixels, quality=80)).decode()


def question(i: int, **changes) -> Question:
    fields = {
        "id": f"{i:032x}/n{i}", "picture": picture(i), "category": f"thing {i}", "definition": f"what thing {i} is",
        "synonyms": (f"item {i}",), "path": ("object", "entity"), "uri": f"https://a.org/{i}.jpg",
    }  # fmt: skip
    return Question(**{**fields, **changes})


FIVE = [question(i) for i in range(5)]


class Judge:
    """A person at a page: waits for the picture, presses keys, reads what is shown."""

    def __init__(self, context, file: Path) -> None:
        self.context, self.file = context, file
        self.page = context.new_page()
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(file.as_uri())

    def begin(self, name: str = "Ann") -> Judge:
        self.page.fill("#name", name)
        self.page.press("#name", "Enter")
        return self

    def press(self, *keys: str) -> Judge:
        """Keys, each when the picture has been there for a moment."""
        for key in keys:
            self.wait()
            self.page.keyboard.press(key)
        return self

    def wait(self) -> None:
        self.page.wait_for_selector("#stage[aria-busy=false], #done:not([hidden])", state="attached")

    def reload(self) -> Judge:
        self.page.reload()
        return self

    @property
    def asked(self) -> str:
        """The category that is asked for; "" where no question is in view."""
        return self.page.inner_text("#category") if self.page.is_visible("#work") else ""

    @property
    def pressed(self) -> str | None:
        given = self.page.query_selector("[data-answer][aria-pressed=true]")
        return given.get_attribute("data-answer") if given else None

    @property
    def counts(self) -> list[int]:
        """Yes, no, unsure, left."""
        return [int(text) for text in self.page.locator("[data-count]").all_inner_texts()]

    @property
    def message(self) -> str:
        return self.page.inner_text("#message")

    def stored(self, name: str = "Ann", sample: str = SAMPLE) -> dict[str, str]:
        """Label and answer as the browser keeps them."""
        text = self.page.evaluate("key => localStorage.getItem(key)", f"openjft-answers/1/{sample}/{name}")
        return {a["id"].partition("/")[2]: a["answer"] for a in json.loads(text)["answers"]} if text else {}

    def export(self, way: str = "e") -> Path:
        with self.page.expect_download() as caught:
            self.press(way)
        path = self.file.parent / caught.value.suggested_filename
        caught.value.save_as(path)
        return path

    def choose(self, path: Path) -> Judge:
        """Gives a file to the import that is in view."""
        place = "#start" if self.page.is_visible("#start") else "header"
        self.page.set_input_files(f"{place} input[type=file]", path)
        return self


@pytest.fixture
def opened(browser, tmp_path) -> Iterator:
    """Opens a page of questions, each time in a browser of its own unless one is given; no script may fail in it."""
    contexts, judges = [], []

    def open_(
        questions=FIVE, *, context=None, prepare="", page=None, sample=SAMPLE, purpose="audit", **options
    ) -> Judge:
        if context is None:
            context = browser.new_context(accept_downloads=True, **options)
            contexts.append(context)
            context.set_default_timeout(10_000)
            if prepare:
                context.add_init_script(prepare)
        file = tmp_path / f"judge-{sample[:4]}-{purpose}.html"
        text = render_audit_page(questions, title="demo: labels to judge", sample=sample, purpose=purpose)
        file.write_text(page(text) if page else text, encoding="utf-8")
        judges.append(Judge(context, file))
        return judges[-1]

    yield open_
    errors = [error for judge in judges for error in judge.errors]
    for context in contexts:
        context.close()
    assert not errors


# -- Judging -------------------------------------------------------------------------------------------------


def test_keys_answer_and_go_on_and_every_answer_is_saved_at_once(opened):
    judge = opened().begin()
    assert judge.asked == "thing 0"
    assert judge.press("y").asked == "thing 1"
    assert judge.stored() == {"n0": "yes"}
    judge.press("n", "u", "1", "2")
    assert judge.stored() == {"n0": "yes", "n1": "no", "n2": "unsure", "n3": "yes", "n4": "no"}
    assert judge.counts == [2, 2, 1, 0]
    assert "All 5 answered" in judge.page.inner_text("#done")


def test_progress_counts_what_was_answered(opened):
    judge = opened().begin().press("y", "y", "n", "3")
    assert judge.counts == [2, 1, 1, 1]
    bar = judge.page.locator("#progress")
    assert bar.get_attribute("aria-valuenow") == "4"
    assert bar.get_attribute("aria-valuemax") == "5"
    widths = bar.locator("i").evaluate_all("parts => parts.map(part => part.style.width)")
    assert widths == ["40%", "20%", "20%"]
    assert judge.page.title() == "80 % \u00b7 demo: labels to judge"


def test_pace_and_time_left_are_told_after_some_answers(opened):
    judge = opened([question(i) for i in range(12)]).begin()
    judge.press(*"yyyyy")
    assert judge.page.inner_text("#pace") == ""
    judge.press(*"yy")
    assert re.fullmatch(r"\d+ a minute, under a minute left", judge.page.inner_text("#pace"))


def test_the_question_says_what_is_meant(opened):
    page = opened().begin().page
    assert page.inner_text("#question").split("\n\n")[:2] == ["Does this picture show", "thing 0?"]
    assert page.inner_text("#definition") == "what thing 0 is"
    assert page.inner_text("#also") == "also called: item 0"
    assert page.locator("#path li").all_inner_texts() == ["entity", "object"]
    assert not page.is_visible("#uri")  # a file's name may tell somebody else's answer


def test_buttons_answer_for_mouse_and_touch(opened):
    judge = opened().begin()
    for name in ("Yes", "No", "Unsure"):
        judge.wait()
        judge.page.get_by_role("button", name=name).click()
    assert judge.stored() == {"n0": "yes", "n1": "no", "n2": "unsure"}
    judge.page.get_by_role("button", name="Undo").click()
    assert judge.stored() == {"n0": "yes", "n1": "no"}
    judge.page.get_by_role("button", name="Back").click()
    assert (judge.asked, judge.pressed) == ("thing 1", "no")


def test_undo_restores_answers_and_question_many_levels_deep(opened):
    judge = opened().begin()
    judge.press("y", "n", "ArrowLeft", "u", "ArrowRight", "y")
    assert judge.stored() == {"n0": "yes", "n1": "unsure", "n3": "yes"}
    states = []
    for key in ("Backspace", "Control+z", "Backspace", "Backspace", "Backspace"):
        judge.press(key)
        states.append((judge.asked, judge.pressed, judge.stored()))
    assert states == [
        ("thing 3", None, {"n0": "yes", "n1": "unsure"}),
        ("thing 1", "no", {"n0": "yes", "n1": "no"}),
        ("thing 1", None, {"n0": "yes"}),
        ("thing 0", None, {}),
        ("thing 0", None, {}),
    ]
    assert judge.message == "There is nothing to undo."


def test_undo_still_works_after_a_reload(opened):
    judge = opened().begin().press("y", "n").reload().press("Backspace", "Backspace")
    assert (judge.asked, judge.stored()) == ("thing 0", {})


def test_moving_answers_nothing_and_an_answer_can_be_changed(opened):
    judge = opened().begin().press("y", "n", "ArrowLeft", "ArrowLeft")
    assert (judge.asked, judge.pressed) == ("thing 0", "yes")
    assert judge.press("u").asked == "thing 1"  # the one after it, to go through answers one by one
    assert judge.stored() == {"n0": "unsure", "n1": "no"}
    assert judge.press("ArrowRight", "ArrowRight", "ArrowLeft").asked == "thing 2"
    assert judge.counts == [0, 1, 1, 3]


def test_a_new_answer_goes_on_to_the_next_open_question_wherever_it_is(opened):
    judge = opened().begin().press("ArrowRight", "ArrowRight", "y", "y")
    assert judge.asked == "thing 4"
    assert judge.press("y").asked == "thing 0"
    assert judge.press("g").asked == "thing 1"
    assert judge.press("n").asked == "thing 0"


def test_unsure_answers_can_be_reviewed(opened):
    judge = opened().begin().press("y", "u", "n", "u", "y")
    judge.page.get_by_role("button", name="Look again at 2 unsure ones").click()
    assert (judge.asked, judge.pressed) == ("thing 1", "unsure")
    assert judge.press("r").asked == "thing 3"
    assert judge.press("y", "r").asked == "thing 1"


def test_the_end_of_the_list_says_what_is_still_open(opened):
    judge = opened().begin().press("y", *["ArrowRight"] * 4)
    assert "4 questions are still open" in judge.page.inner_text("#done")
    judge.page.get_by_role("button", name="Go to the open ones").click()
    assert judge.asked == "thing 1"


def test_a_held_key_and_a_key_that_bounces_count_once(opened):
    judge = opened().begin()
    judge.wait()
    judge.page.evaluate(
        f"() => {{ const press = {DISPATCH}; for (const r of [0, 0, 1, 1]) press(['y', 'KeyY', !!r]); }}"
    )
    judge.wait()
    judge.page.evaluate(DISPATCH, ["y", "KeyY", True])
    assert judge.stored() == {"n0": "yes"}


def test_keys_of_other_alphabets_count_by_their_place(opened):
    judge = opened().begin()
    for key, code in (("\u043d", "KeyY"), ("\u0442", "KeyN"), ("\u00e9", "Digit2"), ("z", "KeyY")):
        judge.wait()
        judge.page.evaluate(DISPATCH, [key, code, False])
    assert judge.stored() == {"n0": "yes", "n1": "no", "n2": "no"}


def test_help_lists_the_keys_and_nothing_is_answered_behind_it(opened):
    judge = opened().begin().press("?")
    told = judge.page.inner_text("#help")
    for key in ("y", "n", "u", "1", "2", "3", "Backspace", "Ctrl+Z", "\u2190", "\u2192", "g", "r", "z", "e", "?"):
        assert key in judge.page.locator("#keys kbd").all_inner_texts()
    assert "Answer yes if" in told
    judge.press("y", "Backspace", "?")
    assert not judge.page.is_visible("#help")
    assert judge.press("?").page.is_visible("#help")
    assert not judge.press("Escape").page.is_visible("#help")
    assert judge.stored() == {}


def test_a_picture_fits_the_window_and_z_or_a_click_magnifies(opened):
    large = question(0, picture=picture(0, 3000, 2000))
    judge = opened([large, question(1)], viewport={"width": 1000, "height": 700}).begin()
    judge.wait()
    size = "() => { const i = document.querySelector('#stage img'); return [i.clientWidth, i.clientHeight]; }"
    width, height = judge.page.evaluate(size)
    assert width < 760
    assert width / height == pytest.approx(1.5, abs=0.02)
    judge.press("z")
    assert judge.page.evaluate(size) == [3000, 2000]
    assert judge.page.inner_text("#scale") == "actual pixels"
    before = judge.page.evaluate("document.getElementById('stage').scrollLeft")
    judge.press("Shift+ArrowRight")
    assert judge.page.evaluate("document.getElementById('stage').scrollLeft") > before
    judge.page.click("#stage img")
    assert judge.page.evaluate(size) == [width, height]
    assert judge.press("z", "y").asked == "thing 1"
    assert not judge.page.is_visible("#scale")


@pytest.mark.parametrize("broken", [None, "data:image/jpeg;base64,AAAA"])
def test_a_picture_that_cannot_be_shown_is_told_and_can_be_answered(opened, broken):
    judge = opened([question(0, picture=broken), question(1)]).begin()
    judge.wait()
    assert "https://a.org/0.jpg" in judge.page.inner_text("#stage")
    assert judge.press("u").stored() == {"n0": "unsure"}
    judge.wait()
    assert judge.page.is_visible("#stage img")


def test_a_file_that_was_cut_off_says_so(opened):
    judge = opened(page=lambda text: text[: text.index('id="p3"') + 60])
    expect(judge.page.locator("#cut-off")).to_be_visible()
    judge.begin().press("y", "y", "y")
    judge.wait()
    assert "damaged" in judge.page.inner_text("#stage")
    assert not opened().page.is_visible("#cut-off")


# -- Nothing is lost -----------------------------------------------------------------------------------------


def test_a_reload_goes_on_where_it_was(opened):
    judge = opened().begin().press("y", "n", "ArrowRight").reload()
    assert judge.asked == "thing 3"
    assert judge.counts == [1, 1, 0, 3]
    assert judge.page.inner_text("#annotator") == "Ann"
    assert judge.press("ArrowLeft", "ArrowLeft").pressed == "no"


def test_each_annotator_has_answers_of_their_own(opened):
    judge = opened().begin("  Ann \u00a0 Lee ").press("y", "y")
    judge.page.click("#leave")
    judge.begin("Bob").press("n")
    assert judge.stored("Ann Lee") == {"n0": "yes", "n1": "yes"}
    assert judge.stored("Bob") == {"n0": "no"}
    judge.page.click("#leave")
    judge.page.get_by_role("button", name="Ann Lee").click()
    assert (judge.asked, judge.counts) == ("thing 2", [2, 0, 0, 3])


@pytest.mark.parametrize("name", ["   ", "a" * 81, "a\u202eb", "\x07"])
def test_a_name_that_cannot_be_one_is_refused(opened, name):
    judge = opened().begin(name)
    assert judge.asked == ""
    judge.page.evaluate("document.getElementById('name').value = ''")
    assert judge.begin("Ann").asked == "thing 0"


def test_tabs_with_the_same_page_are_kept_in_step(opened):
    one = opened().begin().press("y")
    two = opened(context=one.context)
    assert two.asked == "thing 1"
    one.press("n", "u")
    expect(two.page.locator("[data-count]")).to_have_text(["1", "1", "1", "2"])
    assert two.pressed == "no"
    two.press("g", "y")
    expect(one.page.locator("[data-count=yes]")).to_have_text("2")
    one.press("Backspace")
    assert one.stored() == two.stored() == {"n0": "yes", "n1": "no", "n2": "unsure"}


def test_what_another_tab_saved_is_kept_even_where_this_one_was_not_told_of_it(opened):
    judge = opened().begin().press("y")
    text = judge.page.evaluate("key => localStorage.getItem(key)", KEY)
    value = json.loads(text)
    value["answers"].append({"id": FIVE[3].id, "answer": "unsure"})
    judge.page.evaluate("([key, value]) => localStorage.setItem(key, value)", [KEY, json.dumps(value)])  # no event here
    assert judge.press("n").stored() == {"n0": "yes", "n1": "no", "n3": "unsure"}
    assert judge.counts == [1, 1, 1, 2]


NO_STORAGE = (
    "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied', 'SecurityError'); }})"
)
FULL_STORAGE = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"


@pytest.mark.parametrize("prepare", [NO_STORAGE, FULL_STORAGE])
def test_without_storage_a_warning_stays_and_the_answers_can_be_exported(opened, prepare):
    judge = opened(prepare=prepare).begin().press("y", "n")
    assert "live only until the page is closed" in judge.page.inner_text("#warning")
    assert judge.counts == [1, 1, 0, 3]
    judge.press("Backspace")
    judge.page.click("#leave")
    assert judge.message == "Export the answers first: they would be gone."
    assert read_answers(str(judge.export())).answers == {FIVE[0].id: "yes"}
    judge.page.click("#leave")
    assert judge.page.is_visible("#start")


def test_with_storage_there_is_no_warning(opened):
    assert not opened().begin().press("y").page.is_visible("#warning")


@pytest.mark.parametrize(
    "value", ["", "{", "null", "[]", "7", '{"format": "openjft-answers", "answers": 1}', "<b>" * 9]
)
def test_storage_that_something_else_has_changed_is_told_and_not_used(opened, value):
    judge = opened()
    judge.page.evaluate("([key, value]) => localStorage.setItem(key, value)", [KEY, value])
    judge.begin()
    assert "could not be read" in judge.message
    assert judge.press("y").stored() == {"n0": "yes"}
    kept = judge.page.evaluate("key => localStorage.getItem(key)", f"openjft-unreadable/1/{SAMPLE}/Ann")
    assert kept == value


def test_single_stored_values_that_cannot_be_meant_are_left_out_and_counted(opened):
    judge = opened().begin().press("y")
    entries = [
        {"id": FIVE[0].id, "answer": "no"}, {"id": FIVE[1].id, "answer": EVIL}, {"id": EVIL, "answer": "yes"},
        {"id": "__proto__", "answer": "yes"}, {"id": 3, "answer": "yes"}, None, {"id": FIVE[0].id, "answer": "yes"},
    ]  # fmt: skip
    value = {
        "format": "openjft-answers", "version": 1, "sample": SAMPLE, "purpose": "audit", "annotator": "Ann",
        "answers": entries, "steps": [[0, [[FIVE[2].id, "yes"]]], [EVIL, []], [0, [[FIVE[0].id, "yes"]]]],
    }  # fmt: skip
    judge.page.evaluate("([key, value]) => localStorage.setItem(key, value)", [KEY, json.dumps(value)])
    judge.page.evaluate("key => localStorage.setItem(key, '-1e9')", f"openjft-place/1/{SAMPLE}/Ann")
    judge.reload()
    assert "6 saved answers could not be read" in judge.message
    assert (judge.asked, judge.counts) == ("thing 1", [0, 1, 0, 4])
    judge.press("Backspace", "Backspace")  # the steps before the broken one are gone with it
    assert (judge.asked, judge.pressed, judge.message) == ("thing 0", "yes", "There is nothing to undo.")


# -- Nothing of strangers runs, nothing is loaded ------------------------------------------------------------


def test_hostile_texts_are_shown_as_text_and_nothing_runs(opened):
    evil = question(0, category=EVIL, definition=EVIL, synonyms=(EVIL, EVIL), path=(EVIL,), uri=EVIL)
    judge = opened([evil, question(1, category=EVIL + "<img src=x onerror=alert(2)>", picture=None, uri=EVIL)])
    judge.begin().press("y", "n")
    assert judge.message == f"Answered no: {EVIL}<img src=x onerror=alert(2)>"
    assert judge.press("ArrowLeft", "ArrowLeft").asked == EVIL
    assert judge.page.inner_text("#also") == f"also called: {EVIL}, {EVIL}"
    judge.page.click("#address summary")
    assert judge.page.inner_text("#uri") == EVIL
    assert judge.dialogs == []


def test_a_hostile_name_is_shown_as_text(opened):
    judge = opened().begin(EVIL).press("y")
    assert judge.page.inner_text("#annotator") == EVIL
    path = judge.export()
    assert re.fullmatch(r"answers-[\w.-]+-0123456789ab\.json", path.name)
    assert read_answers(str(path)).annotator == EVIL
    judge.page.click("#leave")
    assert judge.page.get_by_role("button", name=EVIL).is_visible()
    assert judge.dialogs == []


def test_nothing_but_the_page_itself_is_asked_for(opened):
    judge = opened().begin().press("y", "n", "ArrowLeft", "z", "?", "Escape")
    judge.export()
    judge.reload().press("u")
    inside = ("data:", "blob:")
    assert [url for url in judge.requests if not url.startswith(inside)] == [judge.file.as_uri()] * 2


# -- Export and import ---------------------------------------------------------------------------------------


def test_an_export_is_what_the_reader_reads(opened):
    judge = opened().begin("J\u00f6rg Ann").press("ArrowRight", "y", "n", "ArrowRight", "u")
    path = judge.export()
    assert path.name == "answers-J\u00f6rg_Ann-0123456789ab.json"
    found = read_answers(str(path))
    assert (found.annotator, found.sample, found.purpose) == ("J\u00f6rg Ann", SAMPLE, "audit")
    assert list(found.answers.items()) == [(FIVE[1].id, "yes"), (FIVE[2].id, "no"), (FIVE[4].id, "unsure")]
    document = json.loads(path.read_text())
    assert set(document) == {"format", "version", "sample", "purpose", "annotator", "exported_at", "answers"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["exported_at"])
    assert "Exported 3 answers" in judge.message


def test_there_is_no_empty_export(opened):
    judge = opened().begin().press("e")
    assert judge.message == "There is nothing to export yet."


def test_another_machine_goes_on_with_an_exported_file(opened):
    path = opened().begin().press("y", "n").export()
    judge = opened().choose(path)
    expect(judge.page.locator("#message")).to_have_text("Imported 2 answers.")
    assert (judge.asked, judge.counts) == ("thing 2", [1, 1, 0, 3])
    assert judge.page.inner_text("#annotator") == "Ann"
    assert judge.reload().press("y").stored() == {"n0": "yes", "n1": "no", "n2": "yes"}


@pytest.mark.parametrize(("choice", "expected"), [("Keep those given here", "no"), ("Take those of the file", "yes")])
def test_where_file_and_page_differ_the_person_decides(opened, choice, expected):
    path = opened().begin().press("y", "y").export()
    judge = opened().begin().press("n").choose(path)
    expect(judge.page.locator("#differ-words")).to_contain_text("1 answer in the file differs")
    judge.page.get_by_role("button", name=choice).click()
    expect(judge.page.locator("#message")).to_contain_text("Imported 1 answer; 1 that differed")
    assert judge.stored() == {"n0": expected, "n1": "yes"}
    judge.press("Backspace")  # an import is one step
    assert judge.stored() == {"n0": "no"}


def test_an_import_that_is_called_off_changes_nothing(opened):
    path = opened().begin().press("y", "y").export()
    judge = opened().begin().press("n").choose(path)
    expect(judge.page.locator("#differ")).to_be_visible()
    judge.page.keyboard.press("Escape")
    expect(judge.page.locator("#message")).to_have_text("Nothing was imported.")
    assert judge.stored() == {"n0": "no"}


def test_a_file_of_a_smaller_drawing_is_taken_as_far_as_its_labels_are_here(opened):
    path = opened([*FIVE[:2], question(9)], sample="aa" * 20).begin().press("y", "n", "y").export()
    judge = opened().begin().choose(path)
    expect(judge.page.locator("#message")).to_contain_text("Imported 2 answers; the file answers an earlier")
    assert "1 to labels that are not here" in judge.message
    assert judge.stored() == {"n0": "yes", "n1": "no"}


def refusals() -> dict[str, tuple[dict, str]]:
    """Changes of a right export, and what is said of it."""
    return {
        "sample": ({"sample": "bb" * 20, "answers": [{"id": "7/n7", "answer": "yes"}]}, "it answers another sample"),
        "annotator": ({"annotator": "Bob"}, "it holds the answers of Bob, and you are Ann"),
        "nobody": ({"annotator": 7}, "it does not say who answered"),
        "purpose": ({"purpose": "gold"}, "its labels were drawn for another purpose"),
        "version": ({"version": 2}, "it is of another version of this page"),
        "format": ({"format": EVIL}, "it is not an exported file of answers"),
        "answers": ({"answers": {"id": 1}}, "it is not an exported file of answers"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", refusals())
def test_a_file_of_something_else_is_refused_in_plain_words(opened, kind, tmp_path):
    changes, words = refusals()[kind]
    judge = opened().begin().press("n")
    right = json.loads(judge.export().read_text())
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**right, **changes}))
    judge.choose(path)
    expect(judge.page.locator("#message")).to_contain_text(f"other.json was not imported: {words}")
    assert judge.stored() == {"n0": "no"}
    assert judge.dialogs == []


def test_a_file_that_is_no_export_is_refused_at_the_start_too(opened, tmp_path):
    path = tmp_path / "cut.json"
    path.write_text('{"format": "openjft-answers", "answers": [{"id"')
    judge = opened().choose(path)
    expect(judge.page.locator("#message")).to_contain_text("cut.json was not imported: it is not an exported file")
    assert judge.begin().asked == "thing 0"


# -- Sizes of window -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(390, 844), (320, 568), (640, 400), (844, 390), (1440, 900)])
def test_everything_needed_is_in_view_on_phones_and_at_200_percent(opened, size):
    width, height = size
    wordy = question(
        0, category="a rather long name of a category " * 2, definition="what is meant by it, at length " * 9
    )
    judge = opened([wordy, *FIVE[1:]], viewport={"width": width, "height": height}).begin()
    judge.wait()
    assert judge.page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("[data-answer=yes]", "[data-answer=no]", "[data-answer=unsure]", "#undo", "#export", "#category"):
        box = judge.page.locator(selector).bounding_box()
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + min(box["height"], 20) <= height
    image = judge.page.locator("#stage img").bounding_box()
    assert min(image["width"], image["height"]) >= 90
