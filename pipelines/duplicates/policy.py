"""Stage `duplicates`: of each group, what is kept.

In: `members/groups/`, `catalog/`; `expanded/` where labels are merged. Out: `duplicates/BUCKET.parquet`
(`openjft.dedup.schema.DUPLICATES`); with the policy "merge-labels" also `duplicates/lent/BUCKET.arrow`, the labels of
what is left out, for the bucket of its representative. Nothing is left out here: `shards` reads these files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup.schema import DUPLICATES
from openjft.pipelines.config import Config
from openjft.pipelines.config_duplicates import Policy
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.schema import KEY, STATUS_OK
from openjft.pipelines.storage import Store, bucket_file

from .files import FOLDER, GROUPS_FOLDER, LENT, LENT_FOLDER, places
from .parts import read_part, write_parts

_RUNS = "arrow"


@dataclasses.dataclass(frozen=True)
class DuplicatesStage(Stage):
    """members/ -> duplicates/."""

    policy: Policy
    num_buckets: int

    name: ClassVar[str] = FOLDER
    noun: ClassVar[str] = "images"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(config.duplicates.policy, config.build.buckets)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """The policy."""
        return {"policy": self.policy, "buckets": self.num_buckets}

    def run(self, unit: int, store: Store) -> UnitResult:
        """Decides on one bucket."""
        status = store.read_table(bucket_file("catalog", unit, self.num_buckets), ["status"])["status"]
        images = pc.sum(pc.equal(status, STATUS_OK)).as_py() or 0
        table = store.read_table(bucket_file(GROUPS_FOLDER, unit, self.num_buckets)).combine_chunks()
        own = np.asarray(pc.equal(table[KEY], table["group"]).to_numpy(), np.bool_)
        exact = np.asarray(pc.equal(table["kind"], "exact").to_numpy(), np.bool_)
        kept = own | (self.policy == "keep-all")
        decided = table.append_column("kept", pa.array(kept)).cast(DUPLICATES)
        store.write_table(bucket_file(FOLDER, unit, self.num_buckets), decided)
        if self.policy == "merge-labels":
            self._lend(store, unit, table.filter(pa.array(~own)))
        counters = {"groups": int(own.sum()), "exact": int((exact & ~own).sum()), "near": int((~exact).sum())}
        rejects = {name: int((of & ~kept).sum()) for name, of in (("exact", exact), ("near", ~exact))}
        rejects = {name: count for name, count in rejects.items() if count}
        out = images - sum(rejects.values())
        return UnitResult(rows_in=images, rows_out=out, rejects=rejects, counters=counters)

    def _lend(self, store: Store, unit: int, members: pa.Table) -> None:
        """Labels of the bucket's images that are left out, addressed to their representatives."""
        expanded = store.read_table(bucket_file("expanded", unit, self.num_buckets)).combine_chunks()
        at = places(expanded[KEY], members[KEY])
        lent = expanded.filter(pa.array(at >= 0))
        groups = members["group"].take(pa.array(at[at >= 0]))
        rows = pa.table([groups, *(lent[name] for name in LENT.names[1:])], schema=LENT).combine_chunks()
        path = bucket_file(LENT_FOLDER, unit, self.num_buckets, _RUNS)
        write_parts(store, path, buckets_of(rows[KEY], self.num_buckets), rows)


class Labels(NamedTuple):
    """Rows of (image, label), as EXPANDED has them; `image` is a row of the catalog."""

    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float32]
    asserted: npt.NDArray[np.bool_]
    from_label: npt.NDArray[np.int32]

    def take(self, rows: npt.NDArray[np.int64]) -> Labels:
        """Some of the rows."""
        return Labels(
            self.image[rows], self.label[rows], self.probability[rows], self.asserted[rows], self.from_label[rows]
        )

    def joined(self, other: Labels) -> Labels:
        """The rows of both."""
        return Labels(
            np.concatenate([self.image, other.image]),
            np.concatenate([self.label, other.label]),
            np.concatenate([self.probability, other.probability]),
            np.concatenate([self.asserted, other.asserted]),
            np.concatenate([self.from_label, other.from_label]),
        )


def read_lent(store: Store, bucket: int, num_buckets: int) -> pa.Table:
    """The labels lent to representatives in a bucket; none where the policy is another."""
    paths = [bucket_file(LENT_FOLDER, other, num_buckets, _RUNS) for other in range(num_buckets)]
    tables = [read_part(store, path, bucket) for path in paths if store.exists(path)]
    return pa.concat_tables([LENT.empty_table(), *tables]).combine_chunks()


def merge_labels(own: Labels, lent: Labels, denied: npt.NDArray[np.int64], num_labels: int) -> Labels:
    """The labels of images with those of their duplicates: each once, the greatest probability, asserted wins.

    Args:
        own: of the images.
        lent: of their duplicates.
        denied: image * num_labels + label of what a person denied: neither lent, nor inferred from what is not.
        num_labels: above every label.
    """
    of = lent.image * num_labels
    barred = np.isin(of + lent.label, denied) | np.isin(of + lent.from_label, denied)
    rows = own.joined(lent.take(np.flatnonzero(~barred)))
    # Asserted rows first, then the most probable ones; ties go to the smaller origin, so that no order matters.
    rows = rows.take(np.lexsort((rows.from_label, -rows.probability, ~rows.asserted, rows.label, rows.image)))
    pair = rows.image * num_labels + rows.label
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    best = np.maximum.reduceat(rows.probability, first) if len(pair) else rows.probability
    return rows.take(first)._replace(probability=best)


__all__ = ["DuplicatesStage", "Labels", "merge_labels", "read_lent"]
