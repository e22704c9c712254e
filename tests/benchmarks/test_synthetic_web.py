"""The synthetic web of the benchmarks: what it promises, and how the table of methods measures it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.keys import buckets_of, image_keys, key_words, sortable_keys
from openjft.pipelines.precision.gold import match_rows, read_gold
from openjft.pipelines.schema import evidence_schema

MODULES = ("synthetic_web", "precision_fit", "precision_methods", "bench_precision")
SMALL = {"classes": 60, "rows": 20_000}


@pytest.fixture(scope="module")
def synthetic(scripts):
    return scripts["synthetic_web"]


@pytest.fixture(scope="module")
def web(synthetic):
    return synthetic.draw_web(5, **SMALL)


def column(web, name):
    return web.evidence()[name].to_numpy()


def test_class_sizes_have_the_published_shape_of_jft(synthetic):
    sizes = synthetic.class_sizes(18_291, 375_000_000)
    assert sizes.sum() == pytest.approx(375e6, rel=1e-3)
    assert (sizes < 20).sum() == pytest.approx(2001, abs=2)
    assert (sizes < 100).sum() == pytest.approx(3301, abs=2)


def test_evidence_is_sorted_by_keys_that_are_hashes_of_the_uris(synthetic, web):
    table = web.evidence()
    assert table.schema == evidence_schema(synthetic.NAMES)
    keys = sortable_keys(key_words(table["image_key"]))
    assert (keys[1:] > keys[:-1]).all()
    assert table["image_key"].to_pylist() == image_keys(table["uri"].to_pylist()).to_pylist()
    assert table.num_rows == len(web.state) == pytest.approx(SMALL["rows"], rel=0.1)


def test_a_web_is_a_function_of_its_seed(synthetic, web):
    again, other = synthetic.draw_web(5, **SMALL), synthetic.draw_web(6, **SMALL)
    assert again.evidence().equals(web.evidence())
    assert np.array_equal(again.state, web.state)
    assert not other.evidence().equals(web.evidence())


def test_labels_are_the_leaves_of_three_levels(web):
    depth = web.taxonomy.depth()
    assert sorted(set(depth.tolist())) == [0, 1, 2]
    assert (depth[column(web, "label")] == 2).all()


def test_a_row_exists_only_where_a_source_of_the_web_fired(web):
    fired = [column(web, f"{name}.rows") > 0 for name in ("alt", "caption", "anchor", "links")]
    assert np.logical_or.reduce([*fired, column(web, "clicks.clicks") > 0]).all()


def test_a_source_without_opportunity_says_nothing(synthetic, web):
    opportunity = column(web, "opportunity")
    for i, name in enumerate(synthetic.NAMES):
        looked = (opportunity >> np.uint64(i) & np.uint64(1)).astype(bool)
        assert 0 < looked.sum() < len(looked)
        for part in ("rows", "domains", "support", "statements", "clicks", "impressions", "exposure"):
            assert not column(web, f"{name}.{part}")[~looked].any()
        assert np.isnan(column(web, f"{name}.score").astype(float)[~looked]).all()


def test_counts_of_links_and_clicks_are_possible(web):
    rows, domains = column(web, "links.rows"), column(web, "links.domains")
    support, statements = column(web, "links.support"), column(web, "links.statements")
    assert (domains <= rows).all()
    assert ((rows > 0) == (domains > 0)).all()
    assert (rows > domains).any()  # mirrors
    assert (support <= statements * 1.0001).all()
    assert (support <= domains / 0.9).all()  # however many pages, a domain is hardly more than one statement
    assert (column(web, "clicks.clicks") <= column(web, "clicks.impressions")).all()
    assert (column(web, "clicks.exposure") <= column(web, "clicks.impressions")).all()


def test_texts_fire_at_the_rate_of_their_state(synthetic):
    world = synthetic.draw_world(1, classes=300, rows=200_000)
    web = synthetic.draw_bucket(dataclasses.replace(world, effects=np.zeros_like(world.effects)), 0, 1, hashed_rows=0)
    exists_anyway = column(web, "links.rows") > 0  # so that the choice of rows does not depend on the texts
    page = np.random.default_rng(0).normal(0, synthetic.EFFECT_OF_PAGE, 100_000)
    for source, name in enumerate(("alt", "caption", "anchor")):
        looked = (column(web, "opportunity") >> np.uint64(source) & np.uint64(1)).astype(bool) & exists_anyway
        for state, rate in enumerate(synthetic.FIRING[source]):
            rows = looked & (web.state == state)
            expected = (1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + page)))).mean()
            spread = np.sqrt(expected * (1 - expected) / rows.sum())
            assert (column(web, f"{name}.rows")[rows] > 0).mean() == pytest.approx(expected, abs=4 * spread + 0.005)


def test_a_variant_changes_only_what_it_names(synthetic, web):
    without = synthetic.draw_web(5, variant="no_classifier", **SMALL)
    assert not column(without, "classifier.rows").any()
    kept = [name for name in web.evidence().column_names if not name.startswith(("classifier", "opportunity"))]
    assert without.evidence().select(kept).equals(web.evidence().select(kept))


def test_places_tell_the_truth_unless_they_are_blind(synthetic, web):
    def ratio(drawn):
        """Mean weight of an impression of right labels over that of junk, among all that were shown and linked to."""
        rows = (column(drawn, "clicks.impressions") > 0) & (column(drawn, "links.rows") > 0)
        weight = column(drawn, "clicks.exposure")[rows] / column(drawn, "clicks.impressions")[rows]
        return weight[drawn.state[rows] == 0].mean() / weight[drawn.state[rows] == 3].mean()

    assert ratio(web) > 2
    assert ratio(synthetic.draw_web(5, variant="blind_positions", **SMALL)) == pytest.approx(1, abs=0.1)


def test_only_classes_of_200_candidates_have_a_classifier(web):
    scored = column(web, "classifier.rows") > 0
    assert np.array_equal(scored, (web.world.sizes >= 200)[column(web, "label")])
    assert 0 < scored.sum() < len(scored)


def test_buckets_are_ranges_of_the_keys_and_share_out_the_classes(synthetic):
    world = synthetic.draw_world(2, **SMALL)
    pairs = np.zeros(len(world.sizes))
    for bucket, web in enumerate(synthetic.draw_chunks(world, 3, hashed_rows=10)):
        table = web.evidence()
        assert (buckets_of(table["image_key"], 3) == bucket).all()
        keys = sortable_keys(key_words(table["image_key"]))
        assert (keys[1:] > keys[:-1]).all()
        hashed = np.array(image_keys(table["uri"].to_pylist()).to_pylist()) == np.array(table["image_key"].to_pylist())
        assert hashed.sum() == 10
        labels = synthetic._labels(world, bucket, 3, np.random.default_rng(0))
        pairs += np.bincount(labels, minlength=len(pairs))
    assert np.abs(pairs - world.sizes / synthetic.EXISTING).max() < 1


def test_gold_is_read_by_the_build_and_found_again(web, tmp_path):
    rows = web.gold(200, seed=1)
    assert len(set(rows.tolist())) == 200
    assert (np.diff(rows) > 0).all()
    path = tmp_path / "gold.csv"
    path.write_text(web.gold_csv(rows))
    gold = read_gold(str(path), web.taxonomy, labels="id", allowed_schemes=("https",))
    table = web.evidence()
    _, found = match_rows(gold.table, table["image_key"].combine_chunks(), table["label"].to_numpy())
    assert found.tolist() == rows.tolist()
    assert gold.table["correct"].to_pylist() == web.correct[rows].tolist()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [({"variant": "fulll"}, "'fulll'"), ({"classes": 0}, "found 0"), ({"classes": 30, "rows": 20}, "found 30")],
)
def test_an_impossible_web_is_refused(synthetic, arguments, found):
    with pytest.raises(ValueError, match=found):
        synthetic.draw_world(0, **arguments)


ranked = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30)


@given(ranked, st.sampled_from([0.5, 0.8, 1.0]))
def test_kept_share_is_the_largest_prefix_of_whole_ties(scripts, rows, target):
    scores, correct = np.array([s for s, _ in rows], float), np.array([c for _, c in rows])
    shares = [0.0]
    for threshold in set(scores.tolist()):
        kept = correct[scores >= threshold]
        if kept.sum() >= target * len(kept):
            shares.append(len(kept) / len(rows))
    assert scripts["precision_methods"].kept_share(scores, correct, target) == max(shares)


def test_calibration_error_is_the_mean_gap_of_its_bins(scripts):
    probability, correct = np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, False])
    # two bins: |0.15 - 0| and |0.7 - 0.5|
    assert scripts["bench_precision"].calibration_error(probability, correct, bins=2) == pytest.approx(0.175)
    # one bin: what is too low makes up for what is too high
    assert scripts["bench_precision"].calibration_error(probability, correct, bins=1) == pytest.approx(0.175)


def test_every_method_judges_and_the_model_beats_counting(scripts, web):
    methods = scripts["precision_methods"]
    problem = methods.Problem.from_web(web, gold=1000, seed=0)
    kept = {}
    for name, method in methods.METHODS.items():
        scores = method.scores(problem)
        judged = ~np.isnan(scores)
        assert judged.mean() > 0.45
        if method.probability:
            assert ((scores[judged] >= 0) & (scores[judged] <= 1)).all()
        kept[name] = methods.kept_share(scores[judged], web.correct[judged], 0.8)
    assert kept[methods.LR2] > kept["noisy-or, by domain"] > kept["best raw score"]
