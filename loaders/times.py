"""What a loader's time goes to: each stage's seconds, and how long the consumer waited.

A stage that reads and a stage that decodes run in many threads at once: their seconds are summed over threads, so that
divided by the threads they say which of them limits. Waiting is the consumer's own time in `next`.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any


@dataclasses.dataclass(frozen=True)
class StageTimes:
    """Seconds of each stage since the epoch began, or since another reading (`later - earlier`).

    `plan_s`, `read_s` and `decode_s` are summed over threads; `wait_s` is the consumer's.
    """

    plan_s: float = 0.0
    read_s: float = 0.0
    decode_s: float = 0.0
    wait_s: float = 0.0
    read_bytes: int = 0
    samples: int = 0
    batches: int = 0

    def __sub__(self, earlier: StageTimes) -> StageTimes:
        names = [field.name for field in dataclasses.fields(self)]
        return StageTimes(**{name: getattr(self, name) - getattr(earlier, name) for name in names})

    def share_waiting(self, wall_s: float) -> float:
        """The share of a stretch of `wall_s` seconds that the consumer stood waiting for a batch, in [0, 1]."""
        return min(self.wait_s / wall_s, 1.0) if wall_s > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values; seconds to the millisecond."""
        values = dataclasses.asdict(self)
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}


class StageClock:
    """Collects the times; safe from many threads, and asked once a task, not once a sample."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = dict.fromkeys((f.name for f in dataclasses.fields(StageTimes)), 0)

    def add(self, **amounts: float) -> None:
        """Adds to some of the fields of `StageTimes`."""
        with self._lock:
            for name, amount in amounts.items():
                self._values[name] += amount

    def read(self) -> StageTimes:
        """The times so far."""
        with self._lock:
            v = dict(self._values)
        return StageTimes(
            plan_s=v["plan_s"],
            read_s=v["read_s"],
            decode_s=v["decode_s"],
            wait_s=v["wait_s"],
            read_bytes=int(v["read_bytes"]),
            samples=int(v["samples"]),
            batches=int(v["batches"]),
        )
