"""The labelling page as text: self-contained, escaped, equal for equal input, and without a word about the machine."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import json

import pytest

from openjft.pipelines.audit.page import Question, render_audit_page

EVIL = "</script><script>alert(1)</script><!--<script> & \u2028\u2029 \ud800"
SAMPLE = "c0ffee" * 10
JPEG = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff one").decode()
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG another").decode()
FIRST = Question(f"{1:032x}/n1", JPEG, "tabby", "a grey cat", ("tabby cat",), ("cat", "animal"), "https://a.org/1")
SECOND = dataclasses.replace(FIRST, id=f"{2:032x}/n1", picture=PNG, uri="https://a.org/2")
OTHER_LABEL = Question(f"{1:032x}/n2", JPEG, "animal", "it lives", (), (), "https://a.org/1")
NO_PICTURE = dataclasses.replace(OTHER_LABEL, id=f"{3:032x}/n2", picture=None)


def render(*questions, **changes):
    return render_audit_page(questions or (FIRST,), **{"title": "t", "sample": SAMPLE, "purpose": "audit", **changes})


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
            self.raw.append([{"tag": tag, **dict(attrs)}, ""])

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within:
            self.raw[-1][1] += data
        else:
            self.words += data

    @property
    def data(self) -> dict:
        return json.loads(self.raw[1][1])

    @property
    def pictures(self) -> dict[str, str]:
        return {a["id"]: text for a, text in self.raw if a.get("type") == "text/plain"}


def test_texts_of_strangers_are_data_and_never_markup():
    question = Question(FIRST.id, JPEG, EVIL, EVIL, (EVIL,), (EVIL,), EVIL)
    text = render(question, title=EVIL, instructions=EVIL)
    page = Page(text)
    kinds = [a.get("type") for a, _ in page.raw]
    assert kinds == [None, "application/json", None, "text/plain"]
    readable = EVIL.replace("\ud800", "?")
    assert page.data["categories"] == [[readable, readable, [readable], [readable]]]
    assert readable.splitlines()[0] in page.words
    assert text.encode()


def test_scripts_set_text_and_never_markup_and_send_nothing():
    script = Page(render()).raw[2][1]
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser")
    senders = ("fetch(", "XMLHttpRequest", "sendBeacon", "WebSocket", "EventSource", "import(", "http:", "https:")
    assert not [way for way in ways + senders if way in script]


def test_the_policy_allows_just_the_page_s_own_script_style_and_pictures():
    page = Page(render(FIRST, SECOND))
    [policy] = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    digests = [base64.b64encode(hashlib.sha256(page.raw[i][1].encode()).digest()).decode() for i in (2, 0)]
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'"
    )
    names = [name for _, a in page.elements for name in a]
    assert not [name for name in names if name in ("src", "href", "style", "action") or name.startswith("on")]


def test_equal_questions_give_equal_bytes():
    assert render(FIRST, SECOND, OTHER_LABEL) == render(FIRST, SECOND, OTHER_LABEL)


def test_a_picture_and_a_category_stand_once_however_often_they_are_asked_for():
    page = Page(render(FIRST, SECOND, OTHER_LABEL, NO_PICTURE))
    assert page.pictures == {"p0": JPEG, "p1": PNG}
    assert page.data["categories"] == [
        ["tabby", "a grey cat", ["tabby cat"], ["cat", "animal"]], ["animal", "it lives", [], []],
    ]  # fmt: skip
    assert page.data["questions"] == [
        [FIRST.id, 0, 0, "https://a.org/1"],
        [SECOND.id, 0, 1, "https://a.org/2"],
        [OTHER_LABEL.id, 1, 0, "https://a.org/1"],
        [NO_PICTURE.id, 1, -1, "https://a.org/1"],
    ]


def test_pictures_come_after_the_script_so_that_it_need_not_wait_for_them():
    text = render(FIRST, SECOND)
    assert text.index("</script>", text.index('"use strict"')) < text.index(JPEG) < text.index(PNG)


def test_the_page_knows_nothing_of_what_the_machine_thinks():
    page = Page(render(FIRST))
    assert set(page.data) == {"title", "sample", "purpose", "max_name_chars", "categories", "questions"}
    assert "probab" not in render(FIRST)


def test_instructions_are_paragraphs_to_read_first_and_in_the_help():
    words = Page(render(instructions="Cats only.\n\nReal ones.")).words
    assert words.count("Cats only.") == words.count("Real ones.") == 2


@pytest.mark.parametrize(
    "picture",
    [
        "https://a.org/1.jpg",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:text/html;base64,AAAA",
        "data:image/jpeg,raw",
        "data:image/jpeg;base64,",
        'data:image/png;base64,AAAA"><script>',
        "data:image/png;base64,AAAA\n",
        "",
    ],
)
def test_only_pictures_inside_the_page_are_taken(picture):
    with pytest.raises(ValueError, match=r"expected a picture as data:image/jpeg, png or webp;base64"):
        render(dataclasses.replace(FIRST, picture=picture))


@pytest.mark.parametrize(
    "id_", ["", "n1", f"{1:032x}", f"{1:032x}/", f"{1:031x}/n1", f"{10:032X}/n1", f"{1:032x}/a\nb", f"{1:032x}/\ud800"]
)
def test_an_id_that_could_not_be_read_back_is_refused(id_):
    with pytest.raises(ValueError, match="expected an id of 32 hex digits"):
        render(dataclasses.replace(FIRST, id=id_))


@pytest.mark.parametrize(
    ("questions", "changes", "message"),
    [
        ((FIRST, FIRST), {}, "expected each id once"),
        ((FIRST,), {"sample": "xyz"}, "expected the sample's digest"),
        ((FIRST,), {"sample": "../" * 8}, "expected the sample's digest"),
        ((FIRST,), {"purpose": "fun"}, "expected the purpose 'audit' or 'gold', found 'fun'"),
    ],
)
def test_a_page_that_makes_no_sense_is_refused(questions, changes, message):
    with pytest.raises(ValueError, match=message):
        render(*questions, **changes)


def test_a_page_without_questions_is_refused():
    with pytest.raises(ValueError, match="expected questions to ask, found none"):
        render_audit_page([], title="t", sample=SAMPLE, purpose="audit")
