from __future__ import annotations

import numpy as np
import pytest

from openjft.pipelines.demo.hierarchy import OTHER_MEANING, leaves, siblings
from openjft.pipelines.demo.signals import CORRECT, SOURCES, STATES, draw_signals

STRONG = np.arange(50) % len(leaves())


@pytest.fixture(scope="module")
def signals():
    return draw_signals(np.random.default_rng(7), 1500, strong_leaves=STRONG)


def test_every_picture_has_one_to_four_candidates_of_different_labels(signals):
    counts = np.bincount(signals.picture, minlength=1500)
    assert counts.min() == 1
    assert counts.max() <= 4
    assert len(set(zip(signals.picture.tolist(), signals.label.tolist(), strict=True))) == len(signals.label)
    assert np.all(np.diff(signals.picture) >= 0)


def test_a_candidate_exists_because_a_source_fired_that_looked(signals):
    fired = np.zeros(len(signals.label), bool)
    for source in SOURCES:
        evidence = signals.evidence[source]
        assert not np.any(evidence.fired & ~evidence.looked[signals.picture])
        fired |= evidence.fired
    assert fired.all()


def test_the_state_is_the_relation_of_label_and_picture(signals):
    every = leaves()
    for leaf, label, state in zip(
        signals.leaf[signals.picture].tolist(), signals.label.tolist(), signals.state.tolist(), strict=True
    ):
        shown, claimed = every[leaf], every[label]
        name = STATES[state]
        assert (name == "correct") == (shown == claimed)
        assert (name == "polysemy") == (OTHER_MEANING.get(claimed.id) == shown.id)
        assert (name == "sibling") == (shown.id in siblings(claimed))


def test_about_half_of_the_candidates_are_correct_and_every_wrong_state_occurs(signals):
    shares = np.bincount(signals.state, minlength=len(STATES)) / len(signals.state)
    assert 0.35 < shares[CORRECT] < 0.65
    assert shares.min() > 0.01


def test_sources_fire_more_for_correct_labels(signals):
    correct = signals.state == CORRECT
    for source in ("alt", "caption", "anchor", "classifier"):
        fired = signals.evidence[source].fired
        assert fired[correct].mean() > fired[~correct].mean()
    classifier = signals.evidence["classifier"]
    assert classifier.score[correct].mean() > classifier.score[~correct].mean() + 0.1


def test_the_strong_pictures_show_what_was_asked_for_and_have_a_correct_candidate(signals):
    assert np.array_equal(signals.leaf[:50], STRONG)
    correct = signals.picture[(signals.state == CORRECT)]
    assert np.isin(np.arange(50), correct).mean() > 0.95


def test_clicks_do_not_exceed_impressions(signals):
    clicks = signals.evidence["clicks"]
    assert np.all(clicks.clicks <= clicks.impressions)
