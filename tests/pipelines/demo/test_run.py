from __future__ import annotations

from types import SimpleNamespace

import pytest

from openjft.pipelines.demo.run import MOST_STEPS, PROBE_STEPS, TRAIN_S, _length


@pytest.mark.parametrize(
    ("step", "images_per_s", "expected"),
    [
        (PROBE_STEPS, 1e6, MOST_STEPS),
        (PROBE_STEPS, 32 * 50 / TRAIN_S, 50),
        (PROBE_STEPS, 0.1, 3 * PROBE_STEPS),
        (40, 5.0, 40),  # an earlier demo's training is not gone on with
        (PROBE_STEPS, None, PROBE_STEPS),
    ],
)
def test_the_training_takes_about_its_time_on_any_machine(step, images_per_s, expected):
    assert _length(SimpleNamespace(step=step, images_per_s=images_per_s), 32) == expected
