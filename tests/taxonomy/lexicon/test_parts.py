"""The automaton, the tagger, priors and senses by themselves."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.taxonomy import Category, Csr, Edge, TaxonomyError, build_taxonomy
from openjft.taxonomy.csr import offsets_of
from openjft.taxonomy.lexicon import SenseCounts, SensePriors
from openjft.taxonomy.lexicon.automaton import FIRST_WORD, MAX_WORDS, Automaton, find_all
from openjft.taxonomy.lexicon.priors import MAX_BONUS, log_ratios
from openjft.taxonomy.lexicon.tagging import NOUN, PLURAL, TAG_BITS, Tagger, can_be_verb, is_plural


def patterns(runs):
    return Csr(np.array([word for run in runs for word in run], np.int32), offsets_of(np.array([len(r) for r in runs])))


RUN = st.lists(st.integers(FIRST_WORD, FIRST_WORD + 2), min_size=1, max_size=3).map(tuple)


@given(st.lists(RUN, min_size=1, max_size=6, unique=True), st.lists(st.integers(0, FIRST_WORD + 2), max_size=15))
def test_the_longest_run_from_the_left_is_found(runs, words):
    expected, at = [], 0
    while at < len(words):
        here = [run for run in runs if tuple(words[at : at + len(run)]) == run]
        if here:
            best = max(here, key=len)
            expected.append((runs.index(best), at, at + len(best)))
            at += len(best)
        else:
            at += 1
    found = Automaton(patterns(runs)).find(np.array(words, np.int32))
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


@given(st.lists(RUN, min_size=1, max_size=6, unique=True), st.lists(st.integers(0, FIRST_WORD + 2), max_size=15))
def test_every_run_is_found(runs, words):
    expected = {
        (i, at, at + len(run))
        for i, run in enumerate(runs)
        for at in range(len(words))
        if tuple(words[at : at + len(run)]) == run
    }
    found = find_all(patterns(runs), np.array(words, np.int32))
    assert set(zip(*(column.tolist() for column in found), strict=True)) == expected


def test_words_beyond_the_surrogates_are_told_apart():
    numbers = [0xD7FE, 0xD7FF, 0xD800, 0xDFFF, 0xE000, MAX_WORDS - 1]
    found = Automaton(patterns([(n,) for n in numbers])).find(np.array(numbers[::-1], np.int32))
    assert found.pattern.tolist() == [5, 4, 3, 2, 1, 0]


def test_more_words_than_code_points_are_an_error():
    with pytest.raises(TaxonomyError, match="distinct words"):
        Automaton(patterns([(MAX_WORDS,)]))


def test_the_tagger_knows_names_that_its_lexicon_does_not():
    tagger = Tagger(english=True, nouns=frozenset({"blorping", "wugs"}), plurals=frozenset({"wugs"}))
    assert tagger("blorping") & ((1 << TAG_BITS) - 1) == NOUN
    assert tagger("wugs") & ((1 << TAG_BITS) - 1) == PLURAL
    assert tagger("zzyzx") & ((1 << TAG_BITS) - 1) == NOUN
    assert Tagger(english=False)("can") & ((1 << TAG_BITS) - 1) == NOUN


@pytest.mark.parametrize(
    ("word", "verb"), [("park", True), ("parks", True), ("watch", True), ("tortoise", False), ("shopping", True)]
)
def test_words_with_the_forms_of_verbs_are_known(word, verb):
    assert can_be_verb(word) is verb


@pytest.mark.parametrize(("word", "plural"), [("glasses", True), ("people", True), ("lens", False), ("bus", False)])
def test_plural_nouns_are_known(word, plural):
    assert is_plural(word) is plural


def test_the_bonus_of_a_branch_is_its_share_over_its_size_and_bounded():
    categories = [Category("thing"), Category("a"), Category("b"), Category("a1"), Category("b1")]
    edges = [Edge("a", "thing"), Edge("b", "thing"), Edge("a1", "a"), Edge("b1", "b")]
    graph = build_taxonomy(categories, edges, origin="test")
    counted = np.zeros(5)
    counted[graph.index_of("a1")] = 1e9
    bonus = dict(zip(graph.ids, log_ratios(graph, counted, 1.0).tolist(), strict=True))
    assert bonus["thing"] == 0
    assert bonus["a"] > 0 > bonus["b"]
    assert bonus["b1"] >= -MAX_BONUS
    # By hand: the root has 5 of 5 categories, a two of them, a1 one of the two.
    assert bonus["a"] == pytest.approx(np.log(1 / (2 / 5)), rel=1e-5)
    assert not log_ratios(graph, np.zeros(5), 1.0).any()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"format": "other", "strength": 1, "counts": {}}),
        json.dumps({"format": "openjft-sense-priors-1", "strength": 0, "counts": {}}),
        json.dumps({"format": "openjft-sense-priors-1", "strength": 1, "counts": {"s": {"a": -1}}}),
        json.dumps({"format": "openjft-sense-priors-1", "strength": 1, "counts": {"s": 3}}),
    ],
)
def test_what_is_no_prior_is_an_error(text):
    with pytest.raises(TaxonomyError, match="expected sense priors as JSON"):
        SensePriors.from_json(text)


def test_a_strength_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="positive strength"):
        SensePriors.fit(SenseCounts(), strength=0)
