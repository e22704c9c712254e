"""Labels that are text: matched once for each distinct text, as many pairs as labels, every row accounted for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.hierarchy import load_taxonomy
from openjft.pipelines.ingest import SpillStage, plan_splits, spill
from openjft.pipelines.ingest.columns import distinct
from openjft.pipelines.ingest.labels import TextMatcher
from openjft.pipelines.ingest.raw import NO_LABEL
from openjft.pipelines.ingest.words import PRIORS
from openjft.taxonomy import Category
from openjft.taxonomy.lexicon.matches import OUTCOMES, Matches

WORDS = {"cat": 0, "kitty": 0, "dog": 1}


class FakeLexicon:
    """Whole words; 'jaguar' is ambiguous; sources other than `alt` are half as sure of a kitty."""

    def __init__(self):
        self.calls = []

    def match(self, texts, *, source=None, min_probability=0.5):
        self.calls.append((source, texts.to_pylist()))
        text, label, probability, outcome = [], [], [], []
        for i, words in enumerate(value.strip(".").split() for value in texts.to_pylist()):
            sure = [
                (WORDS[w], (0.9 if w == "kitty" else 0.7) * (1 if source == "alt" else 0.5))
                for w in words
                if w in WORDS
            ]
            sure = [item for item in sure if item[1] >= min_probability]
            text += [i] * len(sure)
            label += [item[0] for item in sure]
            probability += [item[1] for item in sure]
            ends = "empty" if not words else "matched" if sure else "ambiguous" if "jaguar" in words else "no_match"
            outcome.append(OUTCOMES.index(ends))
        zeros = np.zeros(len(text), np.int32)
        return Matches(
            np.array(text, np.int64), zeros, zeros, np.array(label, np.int32), np.array(probability, np.float32),
            np.array(outcome, np.int8), np.zeros(len(texts), bool),
        )  # fmt: skip


@pytest.fixture
def lexicon(monkeypatch):
    fake = FakeLexicon()
    monkeypatch.setattr(spill, "load_lexicon", lambda *_: fake)
    monkeypatch.setattr(spill, "write_priors", lambda *_: None)
    return fake


def _spill(workshop, config):
    """The stage as the driver runs it: with what it prepares."""
    store = workshop.store(config)
    SpillStage.from_config(config, plan_splits(config)).prepare(store)
    return workshop.spill(config, store)


def test_a_text_has_each_label_once_with_its_highest_probability():
    lexicon = FakeLexicon()
    text = distinct(pa.array(["a cat and a kitty", "dog cat", None, "dog cat", "nothing", "jaguar", "..."]), trim=True)
    found = TextMatcher(lexicon, ("alt", "anchor"), 0.5)(text, np.zeros(7, np.int16), keep_unmatched=False)
    row, label, probability = found.of(np.arange(7))
    assert row.tolist() == [0, 1, 1, 2, 3, 3, 4, 5, 6]
    assert label.tolist() == [0, 0, 1, NO_LABEL, 0, 1, NO_LABEL, NO_LABEL, NO_LABEL]
    assert probability[0] == np.float32(0.9)
    assert np.isnan(probability[label == NO_LABEL]).all()
    assert {reason: np.flatnonzero(rows).tolist() for reason, rows in found.rejected.items()} == {
        "ambiguous_text": [5], "no_match": [4], "missing_label": [6],
    }  # fmt: skip
    assert found.of(np.array([3, 0]))[1].tolist() == [0, 1, 0]


def test_a_text_is_matched_once_for_each_source_that_says_it():
    lexicon = FakeLexicon()
    text = distinct(pa.array(["kitty", "kitty", "kitty", "cat", "kitty"]), trim=True)
    matcher = TextMatcher(lexicon, ("alt", "anchor"), 0.4)
    found = matcher(text, np.array([1, 0, 1, 0, -1], np.int16), keep_unmatched=False)
    assert lexicon.calls == [("alt", ["kitty", "cat"]), ("anchor", ["kitty"])]
    assert found.of(np.arange(5))[2].tolist() == pytest.approx([0.45, 0.9, 0.45, 0.7, np.nan], nan_ok=True)


def test_no_text_at_all_is_no_match_for_anything():
    text = distinct(pa.array([None, None], pa.string()), trim=True)
    found = TextMatcher(FakeLexicon(), ("alt",), 0.5)(text, np.zeros(2, np.int16), keep_unmatched=True)
    assert found.of(np.arange(2))[1].tolist() == [NO_LABEL, NO_LABEL]
    assert not any(rows.any() for rows in found.rejected.values())


CAPTIONS = (
    "uri,label,source,strength\n"
    "http://a.b/1,a dog beside a cat,alt,3\n"
    "http://a.b/1,dog dog,alt,\n"
    "http://a.b/2,a jaguar,alt,\n"
    "http://a.b/2,sunset,alt,\n"
    "http://a.b/2,,alt,\n"
    "http://a.b/2,...,alt,\n"
    "http://a.b/3,a dog,elsewhere,\n"
)


def test_a_row_of_text_brings_a_pair_for_each_label_and_every_row_is_accounted_for(workshop, lexicon):
    (workshop.folder / "a.csv").write_text(CAPTIONS)
    config = workshop.config({"path": "a.csv", "labels": "text", "columns": {"source": "source"}})
    spilled = _spill(workshop, config)
    account = workshop.evidence(config)
    assert (spilled.rows_in, spilled.rows_out) == (7, 2)
    assert dict(spilled.rejects) == {"ambiguous_text": 1, "no_match": 1, "missing_label": 2, "unknown_source": 1}
    assert spilled.counters["pairs"] == spilled.counters["text_matches"] == account.rows_in == 3
    assert spilled.counters["text_rows"] == 7
    found = {(row["uri"], row["label"], row["alt.rows"], round(row["alt.score"], 3)) for row in workshop.rows(config)}
    assert found == {("http://a.b/1", 0, 1, 0.7), ("http://a.b/1", 1, 2, 0.7)}
    assert [row["label"] for row in workshop.rejects(config) if row["reason"] == "no_match"] == ["sunset"]


def test_a_text_without_a_match_may_say_that_its_source_looked(workshop, lexicon):
    (workshop.folder / "a.csv").write_text(CAPTIONS)
    item = {"path": "a.csv", "labels": "text", "columns": {"source": "source"}, "empty_label": "opportunity"}
    spilled = _spill(workshop, workshop.config(item))
    assert dict(spilled.rejects) == {"ambiguous_text": 1, "unknown_source": 1}
    assert (spilled.rows_out, spilled.counters["opportunity_rows"], spilled.counters["pairs"]) == (5, 3, 6)


def test_a_score_column_goes_before_the_probability_of_the_match(workshop, lexicon):
    (workshop.folder / "a.csv").write_text(CAPTIONS)
    config = workshop.config({"path": "a.csv", "labels": "text", "columns": {"source": "source", "score": "strength"}})
    _spill(workshop, config)
    workshop.evidence(config)
    assert {(row["label"], row["alt.score"]) for row in workshop.rows(config)} == {(0, 3.0), (1, 3.0)}


# TextBlob leaves the files of its word list to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_with_the_lexicon_itself_a_tortoise_shell_is_no_tortoise(workshop):
    (workshop.folder / "a.tsv").write_text(
        "a tortoise on the beach\thttp://a.b/1\ntortoise shell glasses\thttp://a.b/2\ntwo tortoises\thttp://a.b/3\n"
    )
    item = {"path": "a.tsv", "labels": "text", "source": "alt", "header": ["caption", "url"]}
    config = workshop.config({**item, "columns": {"uri": "url", "label": "caption"}})
    store = workshop.store(config, extra=[Category("n5", "tortoise"), Category("n6", "tortoise shell")])
    workshop.spill(config, store)
    workshop.evidence(config)
    tortoise = load_taxonomy(store).index_of("n5")
    assert {row["uri"] for row in workshop.rows(config) if row["label"] == tortoise} == {"http://a.b/1", "http://a.b/3"}


def test_priors_do_not_depend_on_the_splits(workshop):
    lines = [f"a {'tortoise' if i % 3 else 'dog'} by the sea, {i}\thttp://a.b/{i}" for i in range(300)]
    (workshop.folder / "a.tsv").write_text("\n".join(lines))
    item = {"path": "a.tsv", "labels": "text", "source": "alt", "header": ["label", "uri"]}
    config = workshop.config(item)
    config = config.model_copy(update={"lexicon": config.lexicon.model_copy(update={"learn_priors": True})})
    store = workshop.store(config, extra=[Category("n5", "tortoise")])
    SpillStage.from_config(workshop.config(item), ()).prepare(store)
    assert not store.exists(PRIORS)  # only where they are asked for
    priors = []
    for split_bytes in (1_000_000, 700):
        SpillStage.from_config(config, plan_splits(config, split_bytes=split_bytes)).prepare(store)
        priors.append(store.read_json(PRIORS))
    assert priors[0] == priors[1]
    assert priors[0]["counts"] == {"alt": {"n2": 100, "n5": 200}}
