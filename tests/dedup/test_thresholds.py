from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup import EVAL_IMAGES, DedupError, EvalIndex, IndexMismatchError, make_views
from openjft.dedup.background import Background
from openjft.dedup.thresholds import (
    FALSE_VERIFIED,
    Thresholds,
    choose_thresholds,
    fit_tails,
    listed_score,
    report_threshold,
    sample_pairs,
)

WHOLE = make_views(("identity",))


def unit(rng, n, dim=24):
    x = rng.normal(size=(n, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def index_of(vectors, name="set", embedder="model", views=WHOLE):
    n = len(vectors)
    table = pa.table([[name] * n, [str(i) for i in range(n)], [""] * n], schema=EVAL_IMAGES)
    rows = np.stack([np.arange(n, dtype=np.int32), np.zeros(n, np.int32)], axis=1)
    return EvalIndex(table, views, vectors.astype(np.float16), rows, embedder, {"images": n})


def fitted(seed=0, queries=3000, references=100, copies=0):
    rng = np.random.default_rng(seed)
    index, vectors = index_of(unit(rng, references)), unit(rng, queries)
    vectors[:copies] = index.vectors[np.arange(copies) % references]
    sample = sample_pairs(index, vectors)
    same = sample.matches.similarity > 0.99
    tails = fit_tails(sample, same, references=references, form="power", seed=0)
    return sample, tails, listed_score(sample, same, share=0.05)


def chosen(made, **more):
    _, tails, listed = made
    asked = {"queries": 1_000_000, "references": 100, "false_removals": 0.01, "default": 0.8, "configured": None}
    return choose_thresholds(*tails, **{**asked, "normalised": False, "listed": listed, **more})


def test_the_sample_holds_the_nearest_pairs_and_no_other():
    rng = np.random.default_rng(0)
    index, vectors = index_of(unit(rng, 50)), unit(rng, 400)
    sample = sample_pairs(index, vectors, wanted=100)
    scores = vectors.astype(np.float64) @ index.vectors.astype(np.float64).T
    assert len(sample.matches.score) == (scores >= sample.floor - 1e-6).sum()
    assert len(sample.matches.score) >= 100


def test_removal_lies_where_the_stated_share_would_go_wrongly():
    marks = chosen(fitted())
    rng = np.random.default_rng(9)
    best = (unit(rng, 40_000) @ unit(np.random.default_rng(0), 100).T).max(axis=1)
    assert 0.005 < (best >= marks.remove).mean() < 0.02
    assert 0.03 < (best >= marks.listed).mean() < 0.07
    assert marks.how == "tail"
    assert marks.listed < marks.remove


def test_copies_that_are_known_do_not_move_the_threshold():
    clean, dirty = (chosen(fitted(copies=n)) for n in (0, 300))
    assert dirty.remove == pytest.approx(clean.remove, abs=0.03)


def test_more_eval_images_make_removal_stricter():
    assert chosen(fitted(references=400)).remove > chosen(fitted(references=25)).remove


def test_a_configured_threshold_goes_before_the_tail_and_a_default_stands_in_for_none():
    made = fitted()
    assert (chosen(made, configured=0.95).remove, chosen(made, configured=0.95).how) == (0.95, "configured")
    without = chosen((None, (None, None), None))
    assert (without.remove, without.how, without.curve()) == (0.8, "default", [])
    assert without.listed < 0.8


def test_too_few_queries_give_no_tail():
    assert fitted(queries=20, references=3)[1] == (None, None)


def test_published_pairs_are_false_with_the_stated_share_at_most():
    marks = chosen(fitted(), queries=3000)
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.uniform(0.85, 1, 200), rng.uniform(marks.listed, 0.85, 50)]).astype(np.float32)
    verified = np.ones(250, bool)
    strict, loose = (report_threshold(marks, scores, verified, false_reports=share) for share in (0.0001, 0.2))
    assert loose < strict
    high = marks.expected_pairs(strict)[2][0]
    assert high * FALSE_VERIFIED <= 0.0001 * (scores >= strict).sum()
    assert report_threshold(marks, scores, ~verified, false_reports=0.1) == marks.remove


def test_the_curve_falls_from_the_listed_score_to_one():
    marks = chosen(fitted())
    scores, expected, low, high = np.array(marks.curve()).T
    assert scores[0] == pytest.approx(max(marks.listed, marks.pairs.level))
    assert scores[-1] == 1
    assert (np.diff(expected) <= 0).all()
    assert (low <= expected + 1e-9).all()
    assert (expected <= high * 1.5 + 1e-9).all()


def test_json_gives_the_same_thresholds():
    marks = chosen(fitted())
    again = Thresholds.from_json(json.loads(json.dumps(marks.to_json())))
    assert again.to_json() == marks.to_json()


def test_a_picture_near_to_everything_scores_less():
    rng = np.random.default_rng(2)
    middle = unit(rng, 1)
    crowd = middle + 0.4 * unit(rng, 200)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    background = Background(crowd.astype(np.float16))
    queries = np.concatenate([middle, unit(rng, 1)])
    usual = background.usual(queries.astype(np.float32))
    top = np.sort(queries @ crowd.T, axis=1)[:, ::-1][:, :3].mean(axis=1)
    np.testing.assert_allclose(usual[1], top[1], atol=2e-3)
    assert usual[0] > usual[1] + 0.3


def test_copies_of_the_query_in_the_background_are_passed_over():
    rng = np.random.default_rng(3)
    others = unit(rng, 30)
    query = unit(rng, 1)
    with_copies = Background(np.concatenate([others, query, query]).astype(np.float16))
    np.testing.assert_allclose(with_copies.usual(query), Background(others.astype(np.float16)).usual(query), atol=2e-3)


def test_a_background_of_a_few_images_is_an_error():
    with pytest.raises(DedupError, match="expected 8 images or more"):
        Background(unit(np.random.default_rng(0), 5).astype(np.float16))


def test_scores_are_held_against_the_threshold_and_similarities_are_told():
    rng = np.random.default_rng(4)
    index, background = index_of(unit(rng, 40)), Background(unit(rng, 300).astype(np.float16))
    queries = unit(rng, 200)
    usual = background.usual(queries)
    found = index.search(queries, min_score=0.1, neighbours=40, background=background)
    np.testing.assert_allclose(found.score, found.similarity - usual[found.query_index], atol=1e-6)
    scores = queries @ index.vectors.astype(np.float32).T - usual[:, None]
    sure = {(int(q), int(r)) for q, r in zip(*np.nonzero(scores >= 0.101), strict=True)}
    pairs = set(zip(found.query_index.tolist(), found.eval_index.tolist(), strict=True))
    assert sure <= pairs
    assert min(scores[q, r] for q, r in pairs) > 0.099


def test_sets_of_one_model_are_searched_as_one():
    rng = np.random.default_rng(5)
    a, b = unit(rng, 3), unit(rng, 2)
    both = EvalIndex.concat([index_of(a, "a"), index_of(b, "b")], dim=24, embedder="model")
    found = both.search(np.concatenate([a, b]), min_score=0.99, neighbours=1)
    assert found.eval_index.tolist() == [0, 1, 2, 3, 4]
    assert both.images["eval_set"].to_pylist() == ["a"] * 3 + ["b"] * 2
    assert both.counts == {"images": 5}


@pytest.mark.parametrize(
    "other", [{"embedder": "another"}, {"views": make_views(("identity", "mirror"))}], ids=["model", "views"]
)
def test_sets_that_were_made_in_another_way_are_refused(other):
    rng = np.random.default_rng(6)
    parts = [index_of(unit(rng, 3), "a"), index_of(unit(rng, 3), "b", **other)]
    with pytest.raises(IndexMismatchError, match="eval set b: expected vectors of 24 values by the model"):
        EvalIndex.concat(parts, dim=24, embedder="model")
