"""Where a stream of batches stands: a few integers and the digest of what is read.

World size, threads and the place of the shards are not in it: none of them changes what the next batch is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from .errors import LoaderError


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoaderState:
    """The next batch of a stream, and all that decides it.

    `epoch` and `step` name the next batch; the rest must be the same in the loader that goes on from here. `low` and
    `high` are the shares of the hash space that the subset lies between.
    """

    epoch: int
    step: int
    seed: int
    batch_size: int
    num_samples: int
    low: float
    high: float
    shuffle: bool
    drop_last: bool
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The state of plain values.

        Raises:
            LoaderError: a field is missing, unknown, or of a wrong type.
        """
        fields = {f.name: str(f.type) for f in dataclasses.fields(cls)}
        kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "bool": (bool,), "str": (str,)}
        if not isinstance(value, Mapping) or value.keys() != fields.keys():
            found = sorted(value) if isinstance(value, Mapping) else type(value).__name__
            raise LoaderError(f"loader state: expected the fields {sorted(fields)}, found {found}")
        for name, kind in fields.items():
            item = value[name]
            if not isinstance(item, kinds[kind]) or (isinstance(item, bool) and kind != "bool"):
                raise LoaderError(f"loader state: {name}: expected {kind}, found {item!r:.80}")
        return cls(**value)

    def differences(self, other: LoaderState) -> list[str]:
        """What is not the same in another state, but for the place in the stream; a line each."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in {"epoch", "step"}]
        return [
            f"{name}: state {getattr(self, name)!r}, now {getattr(other, name)!r}"
            for name in names
            if getattr(self, name) != getattr(other, name)
        ]
