"""Which branch a source speaks of: a shop's "crane" lifts, a bird watcher's flies.

In: counts of categories that a source's texts name without ambiguity. Out: a bonus for every sense, in nats. Each
branch's share of its parent's counts is shrunk towards its share of the parent's categories, with one strength, so a
branch that a source never names fades, and where nothing was counted nothing changes. Branches smaller than
`MIN_BRANCH` share the bonus of the one above: which of two birds is meant is for the context to tell.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ..errors import TaxonomyError
from ..hierarchy import Taxonomy

MAX_BONUS: Final = 4.0  # nats: a source makes a sense e^4 times as likely, no more
MIN_BRANCH: Final = 1 / 128  # of all categories
FORMAT: Final = "openjft-sense-priors-1"


@dataclasses.dataclass(frozen=True)
class SenseCounts:
    """How often sources named categories without ambiguity.

    Attributes:
        counts: source -> node id -> mentions; a background's category is 'background:ID'.
    """

    counts: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    def __add__(self, other: SenseCounts) -> SenseCounts:
        """Both together; the order does not matter."""
        merged = {source: dict(found) for source, found in self.counts.items()}
        for source, found in other.counts.items():
            into = merged.setdefault(source, {})
            for node, number in found.items():
                into[node] = into.get(node, 0) + number
        return SenseCounts(merged)


@dataclasses.dataclass(frozen=True)
class SensePriors:
    """Counts of sources, and how strongly they are shrunk; make it with `fit`.

    Attributes:
        counts: as `SenseCounts`.
        strength: mentions that the shares of categories weigh as much as.
    """

    counts: SenseCounts
    strength: float = 50.0

    @classmethod
    def fit(cls, counts: SenseCounts, *, strength: float = 50.0) -> Self:
        """Priors from counts.

        Raises:
            ValueError: the strength is not positive.
        """
        if not strength > 0:
            raise ValueError(f"expected a positive strength, found {strength}")
        return cls(counts, strength)

    def to_json(self) -> str:
        """The priors as JSON text; equal priors give equal text."""
        return json.dumps(
            {"format": FORMAT, "strength": self.strength, "counts": self.counts.counts}, sort_keys=True, indent=1
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The priors that `to_json` wrote.

        Raises:
            TaxonomyError: it is no such JSON.
        """
        try:
            content = json.loads(text)
            counts = {
                str(source): {str(node): int(number) for node, number in found.items()}
                for source, found in content["counts"].items()
            }
            priors = cls.fit(SenseCounts(counts), strength=float(content["strength"]))
            written, least = (
                content["format"],
                min((min(found.values(), default=0) for found in counts.values()), default=0),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TaxonomyError(_not_priors(repr(error))) from None
        if written != FORMAT or least < 0:
            raise TaxonomyError(_not_priors(f"a count of {least}" if least < 0 else f"the format {written!r}"))
        return priors

    def bonus(self, source: str | None, graph: Taxonomy, keys: Mapping[str, int]) -> npt.NDArray[np.float32]:
        """(nodes,) float32 nats for each node of a graph; zeros for a source that was not counted.

        Args:
            source: a key of the counts.
            graph: the nodes.
            keys: node id, as in the counts -> node.
        """
        counted = np.zeros(graph.num_categories)
        for key, number in self.counts.counts.get(source or "", {}).items():
            if key in keys:
                counted[keys[key]] += number
        if not counted.any():
            return np.zeros(graph.num_categories, np.float32)
        return log_ratios(graph, counted, self.strength)


def _not_priors(found: str) -> str:
    return (
        f"expected sense priors as JSON with format {FORMAT!r}, found {found}. Write them with `SensePriors.to_json` "
        "or `openjft taxonomy match --learn-priors FILE`"
    )


def log_ratios(graph: Taxonomy, counted: npt.NDArray[np.float64], strength: float) -> npt.NDArray[np.float32]:
    """(nodes,) float32 log of a node's shrunk share over its share of the categories, cut at `MAX_BONUS`.

    A node with several parents hangs below the first: shares must sum to one.
    """
    n = graph.num_categories
    has_parent = graph.parents.lengths > 0
    parent = np.full(n, n, np.int64)  # node n: above all roots
    parent[has_parent] = graph.parents.values[graph.parents.offsets[:-1][has_parent]]
    size, mentions = np.append(np.ones(n), 0.0), np.append(counted, 0.0)
    depth = graph.depth()
    levels = [np.flatnonzero(depth == level) for level in range(int(depth.max(initial=0)) + 1)]
    for level in reversed(levels):
        np.add.at(size, parent[level], size[level])
        np.add.at(mentions, parent[level], mentions[level])
    ratio = np.zeros(n + 1)
    for level in levels:
        above = parent[level]
        by_size = size[level] / size[above]
        share = (mentions[level] + strength * by_size) / (mentions[above] + strength)
        large = size[level] >= MIN_BRANCH * n
        ratio[level] = ratio[above] + np.where(large, np.log(share / by_size), 0.0)
    return np.clip(ratio[:n], -MAX_BONUS, MAX_BONUS).astype(np.float32)
