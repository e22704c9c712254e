from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from openjft.pipelines.demo.hierarchy import category_name, leaves, synonyms
from openjft.pipelines.demo.phrases import BARE, BRANDS, COMPOUNDS, NOTHING, SENSES, STRANGERS
from openjft.pipelines.demo.signals import STATES, draw_signals
from openjft.pipelines.demo.texts import KINDS, SOURCE, TEXTS, draw_texts, plural_of

PICTURES = 1500
URIS = [f"http://a.example/{i}" for i in range(PICTURES)]


@pytest.fixture(scope="module")
def signals():
    return draw_signals(np.random.default_rng(7), PICTURES, strong_leaves=np.arange(50) % len(leaves()))


@pytest.fixture(scope="module")
def texts(signals):
    return draw_texts(signals, URIS, np.random.default_rng(1))


def test_every_candidate_of_the_source_has_one_text(signals, texts):
    assert texts.schema == TEXTS
    fired = signals.evidence[SOURCE].fired
    expected = [
        (URIS[p], leaves()[label].id)
        for p, label in zip(signals.picture[fired].tolist(), signals.label[fired].tolist(), strict=True)
    ]
    rows = texts.to_pylist()
    assert [(row["uri"], row["label"]) for row in rows if row["label"] is not None] == expected


def test_other_texts_stand_by_pictures_that_the_source_looked_at_in_vain(signals, texts):
    evidence = signals.evidence[SOURCE]
    said = set(signals.picture[evidence.fired].tolist())
    silent = {URIS[i] for i in np.flatnonzero(evidence.looked).tolist() if i not in said}
    others = [row for row in texts.to_pylist() if row["label"] is None]
    assert {row["kind"] for row in others} == {"stranger", "nothing"}
    assert all(row["meant"] is None for row in others)
    assert {row["uri"] for row in others} < silent
    assert 0.45 < len(others) / len(silent) < 0.75


def test_a_text_means_its_label_unless_it_is_a_brand_on_a_picture_of_the_product(signals, texts):
    state = dict(zip(zip(signals.picture.tolist(), signals.label.tolist(), strict=True), signals.state, strict=True))
    place = {leaf.id: i for i, leaf in enumerate(leaves())}
    for row in texts.to_pylist():
        if row["label"] is None:
            continue
        polysemy = STATES[state[URIS.index(row["uri"]), place[row["label"]]]] == "polysemy"
        brand = polysemy and row["label"] in BRANDS
        assert row["meant"] == (BRANDS[row["label"]][0] if brand else row["label"])
        assert (row["kind"] == "brand") == brand


def test_every_kind_occurs_and_most_texts_use_the_name(texts):
    counts = Counter(texts["kind"].to_pylist())
    assert counts.keys() == KINDS.keys()
    assert counts["name"] > texts.num_rows / 3


def test_texts_are_dressed_up(texts):
    every = texts["text"].to_pylist()
    for junk in ("#", "_", "\u201c", "\u00a0", "\u2026", "&amp;", ".jpg", "stock photo"):
        assert any(junk in text for text in every), junk
    assert any(text.isupper() for text in every)
    assert not [text for text in every if "{" in text]


def test_equal_seeds_give_equal_texts(signals, texts):
    assert draw_texts(signals, URIS, np.random.default_rng(1)) == texts
    assert draw_texts(signals, URIS, np.random.default_rng(2)) != texts


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"), ("computer mouse", "computer mice"), ("butterfly", "butterflies"), ("jellyfish", "jellyfish"),
        ("cactus", "cacti"), ("bus", "buses"), ("airplane", "airplanes"), ("fortress", "fortresses"),
    ],
)  # fmt: skip
def test_plurals_are_those_that_people_write(one, many):
    assert plural_of(one) == many


def test_phrases_are_of_leaves_and_a_word_alone_is_shared_by_two():
    ids = {leaf.id for leaf in leaves()}
    assert COMPOUNDS.keys() | SENSES.keys() | BARE.keys() | BRANDS.keys() <= ids
    assert SENSES.keys() == BARE.keys() == {name for name in ids if "(" in category_name(name)}


def test_a_stranger_holds_a_name_and_what_names_nothing_holds_none():
    names = {re.sub(r" \(.*", "", category_name(leaf.id)) for leaf in leaves()}
    names |= {name for leaf in leaves() for name in synonyms(leaf.id)}
    named = re.compile(rf"\b({'|'.join(sorted(names))})s?\b")
    assert all(named.search(text) for text in STRANGERS)
    assert not [text for text in NOTHING if named.search(text.lower())]
