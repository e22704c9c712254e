from __future__ import annotations

import numpy as np
import pytest

from openjft.dedup import DedupError
from openjft.dedup.quantiser import MAX_CELLS, assign_cells, num_cells, sample_size, train_cells


def unit(rng, n, dim=16):
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("images", "cells"),
    [(0, 1), (100, 1), (8_191, 1), (8_192, 2), (200_000, 32), (300_000_000, MAX_CELLS), (10**12, MAX_CELLS)],
)
def test_cells_grow_with_the_images_up_to_a_bound(images, cells):
    assert num_cells(images) == cells


def test_a_sample_is_large_enough_for_its_cells_and_bounded():
    assert sample_size(1, 512) == 0
    assert sample_size(4, 512) == 256
    assert sample_size(MAX_CELLS, 512) == 1 << 21
    assert sample_size(MAX_CELLS, 1 << 20) == MAX_CELLS


def test_equal_samples_give_equal_centres_of_unit_length():
    sample = unit(np.random.default_rng(0), 300)
    centres = train_cells(sample, 5, seed=3)
    assert centres.shape == (5, 16)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(centres, train_cells(sample.copy(), 5, seed=3))


def test_vectors_go_to_the_cells_whose_centres_are_nearest():
    rng = np.random.default_rng(1)
    centres, vectors = unit(rng, 7), unit(rng, 50)
    expected = np.argsort(-(vectors @ centres.T), axis=1)[:, :2]
    np.testing.assert_array_equal(assign_cells(vectors, centres), expected)


def test_fewer_vectors_than_cells_give_fewer_cells():
    vectors = unit(np.random.default_rng(2), 3)
    assert train_cells(vectors, 50, seed=1).shape[0] == 3
    assert assign_cells(vectors, train_cells(vectors[:1], 9, seed=1)).tolist() == [[0]] * 3
    assert train_cells(vectors[:0], 9, seed=1).shape == (0, 16)


def test_a_zero_vector_is_in_no_cell_and_trains_none():
    vectors = np.concatenate([np.zeros((5, 16), np.float32), unit(np.random.default_rng(3), 2)])
    centres = train_cells(vectors, 4, seed=1)
    assert centres.shape == (2, 16)
    assert (assign_cells(vectors, centres)[:5] == -1).all()
    assert (assign_cells(vectors, centres)[5:] >= 0).all()


def test_a_number_of_cells_out_of_range_is_refused():
    with pytest.raises(DedupError, match="65,536 cells, found 0"):
        train_cells(np.ones((1, 2), np.float32), 0, seed=1)
