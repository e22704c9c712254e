from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders.batch import Batch
from openjft.loaders.errors import LoaderError
from openjft.loaders.labels import all_labels, target_policy
from openjft.taxonomy import Category, Edge, build_taxonomy
from openjft.taxonomy.csr import offsets_of

# animal (0) > dog (2) > beagle (1), spaniel (4); rock (3)
IDS = ["animal", "beagle", "dog", "rock", "spaniel"]
TAXONOMY = build_taxonomy(
    [Category(i) for i in IDS],
    [Edge("dog", "animal"), Edge("beagle", "dog"), Edge("spaniel", "dog")],
    origin="test",
)


def batch_of(rows) -> Batch:
    """rows: (labels {id: (probability, asserted)}, negatives)."""
    lists = [sorted(labels.items()) for labels, _ in rows]
    flat = [item for part in lists for item in part]
    return Batch(
        images=np.zeros((0, 1, 1, 3), np.uint8),
        keys=np.zeros((len(rows), 16), np.uint8),
        label_values=np.array([c for c, _ in flat], np.int32),
        label_offsets=offsets_of(np.array([len(part) for part in lists], np.int64)),
        label_probabilities=np.array([p for _, (p, _) in flat], np.float32),
        label_asserted=np.array([a for _, (_, a) in flat], np.bool_),
        label_from=np.array([c for c, _ in flat], np.int32),
        negative_values=np.array([c for _, negatives in rows for c in sorted(negatives)], np.int32),
        negative_offsets=offsets_of(np.array([len(negatives) for _, negatives in rows], np.int64)),
        slots=np.arange(len(rows)),
    )


def lists_of(csr):
    return [] if csr is None else [csr.of(i).tolist() for i in range(csr.num_lists)]


DOG = {0: (0.9, False), 2: (0.9, True)}


def test_by_default_every_label_is_a_positive_and_nothing_is_left_out():
    targets = target_policy(TAXONOMY)(batch_of([(DOG, set()), ({3: (0.4, True)}, set())]))
    assert lists_of(targets.labels) == [[0, 2], [3]]
    assert targets.ignored is targets.values is targets.weights is None
    assert target_policy(TAXONOMY) is all_labels


def test_what_lies_below_an_asserted_label_is_left_out_unless_it_is_told_or_denied():
    policy = target_policy(TAXONOMY, ignore_descendants=True)
    rows = [
        (DOG, set()),
        (DOG, {1}),
        ({0: (0.9, True)}, {2}),
        ({**DOG, 1: (0.5, True)}, set()),
        ({3: (1, True)}, set()),
    ]
    assert lists_of(policy(batch_of(rows)).ignored) == [[1, 4], [4], [], [4], []]


def test_labels_too_unsure_count_neither_way_and_their_descendants_are_negatives():
    policy = target_policy(TAXONOMY, ignore_descendants=True, ignore_below=0.5)
    targets = policy(batch_of([({0: (0.9, False), 2: (0.4, True), 3: (0.5, True)}, set())]))
    assert lists_of(targets.labels) == [[0, 3]]
    assert lists_of(targets.ignored) == [[2]]


def test_targets_are_probabilities_and_weights_are_the_classes():
    weights = np.array([1, 2, 3, 4, 5], np.float32)
    policy = target_policy(TAXONOMY, targets="probability", class_weights=weights)
    targets = policy(batch_of([(DOG, set()), ({3: (0.25, True)}, set())]))
    assert targets.values.tolist() == pytest.approx([0.9, 0.9, 0.25])
    assert targets.weights.tolist() == [1, 3, 4]
    assert targets.ignored is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_below": 1.5}, "ignore_below: expected a probability"),
        ({"class_weights": np.ones(4, np.float32)}, "class_weights: expected 5 finite weights"),
        ({"class_weights": np.full(5, -1, np.float32)}, "class_weights"),
        ({"class_weights": np.full(5, np.nan, np.float32)}, "class_weights"),
    ],
)
def test_values_that_cannot_be_are_refused(options, message):
    with pytest.raises(LoaderError, match=message):
        target_policy(TAXONOMY, **options)


BELOW = {0: {1, 2, 4}, 1: set(), 2: {1, 4}, 3: set(), 4: set()}


def slow(labels, negatives, least):
    """The cells left out of one image, by sets."""
    judged = {c for c, (p, _) in labels.items() if np.float32(p) >= np.float32(least)}
    told = {d for c in judged if labels[c][1] for d in BELOW[c]}
    denied = negatives | {d for c in negatives for d in BELOW[c]}
    return sorted((told | set(labels)) - denied - judged), sorted(judged)


LABELS = st.dictionaries(st.integers(0, 4), st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), max_size=4)


@settings(deadline=None, max_examples=200)
@given(rows=st.lists(st.tuples(LABELS, st.sets(st.integers(0, 4))), min_size=1, max_size=4), least=st.floats(0, 1))
def test_masks_equal_those_by_sets(rows, least):
    targets = target_policy(TAXONOMY, ignore_descendants=True, ignore_below=least)(batch_of(rows))
    expected = [slow(labels, negatives, least) for labels, negatives in rows]
    assert lists_of(targets.ignored) == [ignored for ignored, _ in expected]
    assert lists_of(targets.labels) == [judged for _, judged in expected]
