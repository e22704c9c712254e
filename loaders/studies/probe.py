"""How long a study will take, from a few real steps of each kind of network in it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .plan import Run, Study
from .runs import Planned

_STEPS: Final = 6
_WARM_UP: Final = 2  # the first steps allocate, and wait for the first batch


def seconds_left(study: Study, planned: Sequence[Planned]) -> float:
    """Estimated time of all training that is missing, seconds; scoring comes on top.

    Trains a few steps of one run for each different network, in a folder that is removed.

    Raises:
        LoaderError: see `train`.
    """
    missing = [item for item in planned if item.missing]
    rates: dict[object, float] = {}
    total = 0.0
    for item in missing:
        network = item.run.changes.get("arch"), item.run.changes.get("classes")
        if network not in rates:
            rates[network] = _seconds_per_step(study, item.run)
        done = max(item.scores, default=0)
        total += (item.run.steps - done) * rates[network]
    return total


def _seconds_per_step(study: Study, run: Run) -> float:
    from openjft.loaders.training import ProgressEvent, train

    events: list[ProgressEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        options = study.train_options(run, Path(folder), _STEPS)
        train(dataclasses.replace(options, log_every=1, checkpoint_every_steps=_STEPS), events.append)
    warm = events[_WARM_UP:]
    return study.options.batch_size * sum(1 / event.images_per_s for event in warm) / len(warm)
