"""A batch's plan against the samples one by one, in whatever order they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.loaders import Dataset
from openjft.loaders.plan import plan_batch

IMAGES = 40


@pytest.fixture(scope="module")
def dataset(make_dataset, tmp_path_factory) -> Dataset:
    return Dataset.open(make_dataset(tmp_path_factory.mktemp("data"), IMAGES, 3, 32, 0, shards=3, mixed=True))


@pytest.fixture(scope="module")
def samples(dataset):
    return [dataset[number] for number in range(IMAGES)]


@given(numbers=st.lists(st.integers(0, IMAGES - 1), max_size=60))
def test_a_plan_has_every_sample_asked_for_in_that_order(dataset, samples, numbers):
    plan = plan_batch(dataset, np.array(numbers, np.int64))
    assert len(plan.keys) == len(numbers) == len(plan.label_offsets) - 1 == len(plan.negative_offsets) - 1
    for i, number in enumerate(numbers):
        sample = samples[number]
        assert plan.keys[i].tobytes() == sample.key
        place = (int(plan.shards[i]), int(plan.offsets[i]), int(plan.sizes[i]))
        assert dataset.read_bytes(*place) == sample.jpeg
        row = dataset.locate(np.array([number]))[1][0]
        index = dataset.index(place[0])
        assert plan.shapes[i].tolist() == [index.heights[row], index.widths[row]]
        assert plan.sha256[i].tobytes() == index.sha256[row].tobytes()
        labels = slice(*plan.label_offsets[i : i + 2].tolist())
        assert plan.label_values[labels].tolist() == sample.labels.tolist()
        assert plan.label_probabilities[labels].tolist() == sample.probabilities.tolist()
        assert plan.label_asserted[labels].tolist() == sample.asserted.tolist()
        assert plan.label_from[labels].tolist() == sample.from_labels.tolist()
        denied = slice(*plan.negative_offsets[i : i + 2].tolist())
        assert plan.negative_values[denied].tolist() == sample.negatives.tolist()
    assert plan.shapes.dtype == plan.sizes.dtype == np.int64
