"""The drawn hierarchy: self-contained, escaped, equal for equal input, and alive in a browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from openjft.taxonomy import Category, Edge, Taxonomy, build_taxonomy
from openjft.taxonomy.draw import draw_page

EVIL = "</script><script>alert(1)</script><!--<script> & \u2028\u2029 \ud800"


class Page(html.parser.HTMLParser):
    """The page as a browser sees it: elements, and what stands inside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.raw = ""
        self.parts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in self.inside:
            self.raw = tag
            self.inside[tag].append("")

    def handle_endtag(self, tag):
        self.raw = ""

    def handle_data(self, data):
        if self.raw:
            self.inside[self.raw][-1] += data
        else:
            self.parts.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.parts).split())

    @property
    def data(self) -> dict:
        return json.loads(self.inside["script"][0])


@pytest.fixture
def evil() -> Taxonomy:
    categories = [
        Category("root", EVIL, (EVIL,), EVIL, (EVIL + "alias",)),
        Category(EVIL, "plain"),
        Category('"><img src=x onerror=alert(1)>'),
    ]
    edges = [Edge(EVIL, "root"), Edge('"><img src=x onerror=alert(1)>', "root")]
    return build_taxonomy(categories, edges, origin="test")


def test_names_of_strangers_are_data_and_never_markup(evil):
    page = Page(draw_page(evil, title=EVIL))
    kinds = [attrs.get("type") for tag, attrs in page.elements if tag == "script"]
    assert kinds == ["application/json", None]
    assert "img" not in {tag for tag, _ in page.elements}
    assert page.data["names"][0] == EVIL.replace("\ud800", "?")


def test_scripts_set_text_and_never_markup(animals):
    script = Page(draw_page(animals, title="x")).inside["script"][1]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert way not in script


def test_the_policy_allows_just_the_page_s_own_script_and_style(animals):
    page = Page(draw_page(animals, title="animals"))
    [policy] = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for tag, text in (("script", page.inside["script"][1]), ("style", page.inside["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [a for _, a in page.elements for name in a if name in ("src", "href", "style") or name.startswith("on")]


def test_equal_hierarchies_give_equal_pages(animals):
    counts = np.arange(8)
    first = draw_page(animals, title="animals", asserted=counts, expanded=counts + 1)
    again = Taxonomy.from_tables(*animals.to_tables())
    assert draw_page(again, title="animals", asserted=counts, expanded=counts + 1) == first


def test_siblings_stand_by_the_categories_below_them_then_by_name(animals):
    data = Page(draw_page(animals, title="animals")).data
    names = [name or id_ for name, id_ in zip(data["names"], data["ids"], strict=True)]
    assert names == ["entity", "animal", "canine", "domestic animal", "car", "cat", "dog", "wolf"]
    assert data["below"] == [7, 5, 2, 2, 0, 0, 0, 0]
    assert data["parents"] == [-1, 0, 1, 1, 0, 3, [2, 3], 2]
    assert data["synonyms"][6] == ["Hound"]
    assert data["definitions"][1] == "a living thing that moves"


def test_siblings_stand_by_their_images_where_these_are_given(animals):
    expanded = np.zeros(8, np.int64)
    expanded[[animals.index_of(name) for name in ("entity", "car", "animal", "wolf")]] = [120, 110, 15, 5]
    page = Page(draw_page(animals, title="animals", asserted=expanded // 5, expanded=expanded))
    assert page.data["ids"][:4] == ["entity", "car", "animal", "wolf"]
    assert page.data["expanded"][:4] == [120, 110, 15, 5]
    assert page.data["asserted"][:4] == [24, 22, 3, 1]
    assert "with images 4 50.0 % of 8 under 20 images 2 50.0 % of 4 under 100 images 2 50.0 % of 4" in page.words


def test_tiles_tell_the_shape(animals):
    words = Page(draw_page(animals, title="animals")).words
    assert "categories 8 one root, 4 leaves depth 3" in words
    assert "largest fan-out 2 below animal several parents 1" in words


@pytest.mark.parametrize("counts", [np.zeros(7, np.int64), np.full(8, -1)])
def test_counts_of_another_taxonomy_are_refused(animals, counts):
    with pytest.raises(ValueError, match=r"expected expanded counts of shape \(8,\), 0 or more"):
        draw_page(animals, title="x", asserted=np.zeros(8, np.int64), expanded=counts)


def test_one_of_two_counts_is_refused(animals):
    with pytest.raises(ValueError, match="both or none"):
        draw_page(animals, title="x", asserted=np.zeros(8, np.int64))


@pytest.mark.parametrize("ids", [["only"], ["a", "b", "c"]])
def test_a_flat_list_has_a_page_too(ids):
    taxonomy = build_taxonomy([Category(id_) for id_ in ids], [], origin="test")
    assert Page(draw_page(taxonomy, title="flat")).data["parents"] == [-1] * len(ids)


class Rows(html.parser.HTMLParser):
    """The tree's rows in a dumped page: attributes and text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[tuple[dict, str]] = []
        self.ready = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ready = found.get("data-ready-ms", self.ready)
        if found.get("role") == "treeitem":
            self.rows.append((found, ""))

    def handle_data(self, data):
        if self.rows:
            self.rows[-1] = (self.rows[-1][0], self.rows[-1][1] + data)


def dumped(page: str, fragment: str, folder: Path) -> Rows:
    """The page after its script has run in Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    try:
        done = subprocess.run(
            [chromium, *flags, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
             f"{path.as_uri()}#{fragment}"],
            capture_output=True, timeout=60, check=False, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip("Chromium does not answer on this machine")
    if "<html" not in done.stdout:
        pytest.skip("Chromium does not start on this machine")
    return Rows(done.stdout)


def test_a_link_with_an_id_opens_the_tree_there(animals, tmp_path):
    page = dumped(draw_page(animals, title="animals"), "dog", tmp_path)
    assert page.ready
    [(attributes, text)] = [row for row in page.rows if row[0]["aria-selected"] == "true"]
    assert text.startswith("dog")
    assert attributes["aria-level"] == "4"
    assert [text[:5] for _, text in page.rows].count("dog2\u2191") >= 1


def test_hostile_names_are_shown_in_a_browser_and_nothing_runs(evil, tmp_path):
    page = dumped(draw_page(evil, title=EVIL), "", tmp_path)
    assert page.ready
    assert page.rows[0][1].startswith("</script><script>alert(1)")
