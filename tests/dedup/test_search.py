from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.dedup import search
from openjft.dedup.search import MIN_BATCH, FlatSearcher, batches


def unit(rng, n, dim=16):
    x = rng.normal(size=(n, dim)).astype(np.float32)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


def brute_force(queries, rows, least):
    q, r = queries.astype(np.float64), rows.astype(np.float64)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    return [(i, j) for i in range(len(q)) for j in range(len(r)) if np.float32(q[i] @ r[j]) >= np.float32(least)]


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 50), st.sampled_from([-0.5, 0.0, 0.3, 0.6]))
@settings(deadline=None, max_examples=40)
def test_range_and_nearest_find_what_brute_force_finds(seed, num_queries, num_rows, least):
    rng = np.random.default_rng(seed)
    queries, rows = unit(rng, num_queries, 4), unit(rng, num_rows, 4)
    searcher = FlatSearcher(rows, gpu=False)
    expected = brute_force(queries, rows, least)
    for nearest in (False, True):
        hits = searcher.search(queries.astype(np.float32), least, nearest=nearest)
        assert list(zip(hits.query.tolist(), hits.row.tolist(), strict=True)) == expected
        assert hits.full_k == 0


def test_similarities_do_not_depend_on_batch_or_method():
    rng = np.random.default_rng(0)
    rows, queries = unit(rng, 500), unit(rng, 1100).astype(np.float32)
    searcher = FlatSearcher(rows, gpu=False)
    whole = searcher.search(queries, 0.5)
    nearest = searcher.search(queries, 0.5, nearest=True)
    alone = [searcher.search(queries[i : i + 1], 0.5) for i in range(0, 1100, 50)]
    np.testing.assert_array_equal(whole.similarity, nearest.similarity)
    for i, hits in zip(range(0, 1100, 50), alone, strict=True):
        np.testing.assert_array_equal(hits.similarity, whole.similarity[whole.query == i])


def test_a_copy_is_found_at_similarity_one():
    rows = unit(np.random.default_rng(3), 300, 170)
    hits = FlatSearcher(rows, gpu=False).search(rows.astype(np.float32), 1.0)
    np.testing.assert_array_equal(hits.query, hits.row)
    assert len(hits.query) == 300
    assert (hits.similarity == 1).all()


def test_queries_that_stay_full_at_the_largest_k_are_counted_and_searched_again_to_the_end():
    rng = np.random.default_rng(5)
    rows = np.concatenate([np.tile(unit(rng, 1), (100, 1)), unit(rng, 200)])
    searcher = FlatSearcher(rows, gpu=False)
    queries = rows[[0, 150, 0]].astype(np.float32)
    hits = searcher.search(queries, 0.99, nearest=True, max_k=64)
    assert hits.full_k == 2
    assert list(zip(hits.query.tolist(), hits.row.tolist(), strict=True)) == [
        *((0, row) for row in range(100)),
        (1, 150),
        *((2, row) for row in range(100)),
    ]


def test_the_largest_cosines_of_a_query_fall_and_are_padded_where_rows_are_few():
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float16)
    top = FlatSearcher(rows, gpu=False).top(np.array([[1, 0], [0, 1]], np.float32), 5)
    np.testing.assert_allclose(top, [[1, 0.6, 0, -1, -1], [1, 0.8, 0, -1, -1]], atol=1e-3)


def test_k_grows_until_all_are_found(monkeypatch):
    monkeypatch.setattr(search, "FIRST_K", 2)
    rng = np.random.default_rng(6)
    rows = np.concatenate([np.tile(unit(rng, 1), (100, 1)), unit(rng, 200)])
    hits = FlatSearcher(rows, gpu=False).search(rows[:1].astype(np.float32), 0.99, nearest=True)
    assert hits.row.tolist() == list(range(100))
    assert hits.full_k == 0


@given(st.integers(0, 5000))
def test_batches_cover_all_and_are_never_small(total):
    parts = list(batches(total))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(total))
    assert all(part.stop - part.start >= min(total, MIN_BATCH) for part in parts)


@pytest.mark.parametrize(("queries", "rows"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_search_gives_nothing(queries, rows):
    rng = np.random.default_rng(0)
    hits = FlatSearcher(unit(rng, rows), gpu=False).search(unit(rng, queries).astype(np.float32), 0.1)
    assert len(hits.query) == len(hits.row) == len(hits.similarity) == 0


@pytest.mark.parametrize("nearest", [True, False])
def test_a_row_of_zeros_is_near_to_nothing_on_either_side(nearest):
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.zeros((1, 8), np.float16), unit(rng, 2, 8)])
    hits = FlatSearcher(rows, gpu=False).search(rows.astype(np.float32), -1.0, nearest=nearest)
    assert list(zip(hits.query.tolist(), hits.row.tolist(), strict=True)) == [(1, 1), (1, 2), (2, 1), (2, 2)]
