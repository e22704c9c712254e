"""Stage `members`: the vectors of what hangs together, and at the end the groups.

In: `edges/members/`, `embeddings/`, `catalog/`. Out: `members/BUCKET.parquet`, vector, sha256 and size of each image
that has a link; then the driver holds each against its representative, and writes `members/groups/BUCKET.parquet` and
`members/_groups.json`. Memory of the driver: the vectors of the images that have a link.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.dedup import vectors_of
from openjft.dedup.groups import Groups, make_groups
from openjft.dedup.schema import VECTOR
from openjft.pipelines.config import Config
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.errors import StaleError
from openjft.pipelines.schema import KEY
from openjft.pipelines.storage import Store, bucket_file

from .edges import min_similarity_of
from .files import (
    COMPONENT,
    GROUPED,
    GROUPS_FOLDER,
    MEMBERS,
    MEMBERS_FOLDER,
    SUMMARY_FILE,
    places,
    read_images,
    sorted_words,
    write_by_bucket,
)

LARGEST: Final = 50  # groups that the summary names
Int64 = npt.NDArray[np.int64]


class _Members(NamedTuple):
    """All images that have a link, by key."""

    keys: pa.Array
    component: Int64
    rank: Int64
    content: Int64
    vectors: npt.NDArray[np.float16]


@dataclasses.dataclass(frozen=True)
class MembersStage(Stage):
    """edges/ -> members/."""

    min_similarity: float
    num_buckets: int

    name: ClassVar[str] = MEMBERS
    noun: ClassVar[str] = "images"
    section: ClassVar[str] = "duplicates"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(min_similarity_of(config), config.build.buckets)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """The threshold."""
        return {"min_similarity": self.min_similarity, "buckets": self.num_buckets}

    def run(self, unit: int, store: Store) -> UnitResult:
        """Takes the members out of one bucket.

        Raises:
            StaleError: an image that has a link is not in the catalog.
        """
        told = store.read_table(bucket_file(MEMBERS_FOLDER, unit, self.num_buckets)).combine_chunks()
        images = read_images(store, unit, self.num_buckets)
        at = places(told[KEY], images.keys)
        if (at < 0).any():
            raise StaleError(
                f"{store.path(MEMBERS_FOLDER)}: expected images of catalog/, found others: the two are not of one run. "
                "Run `openjft duplicates CONFIG` again"
            )
        table = images.rows(COMPONENT, told["component"].to_numpy(), at)
        store.write_table(bucket_file(MEMBERS, unit, self.num_buckets), table)
        return UnitResult(rows_in=len(at), rows_out=len(at))

    def finish(self, store: Store, account: UnitResult) -> None:
        """Holds every member against its representative and tells each bucket its groups."""
        members = self._read(store)
        groups = make_groups(
            members.component,
            members.rank,
            members.content,
            members.vectors,
            min_similarity=self.min_similarity,
        )
        grouped = np.flatnonzero(np.bincount(groups.leader, minlength=len(groups.leader))[groups.leader] > 1)
        exact = members.content[grouped] == members.content[groups.leader[grouped]]
        table = pa.table(
            [
                members.keys.take(pa.array(grouped)),
                members.keys.take(pa.array(groups.leader[grouped])),
                np.where(exact, "exact", "near").tolist(),
                groups.similarity[grouped],
            ],
            schema=GROUPED,
        )
        write_by_bucket(store, GROUPS_FOLDER, self.num_buckets, table)
        store.write_json(SUMMARY_FILE, self._summary(members, groups, grouped, exact))

    def _read(self, store: Store) -> _Members:
        paths = [bucket_file(MEMBERS, unit, self.num_buckets) for unit in range(self.num_buckets)]
        table = pa.concat_tables([store.read_table(path) for path in paths]).combine_chunks()
        keys = pa.concat_arrays(table[KEY].chunks) if table.num_rows else pa.array([], GROUPED.field(KEY).type)
        order = np.lexsort((sorted_words(keys), -table["pixels"].to_numpy()))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        digests = table["sha256"].combine_chunks().dictionary_encode() if table.num_rows else None
        content = np.empty(0, np.int64) if digests is None else _codes(digests)
        vectors = vectors_of(table[VECTOR], table.schema.field(VECTOR).type.list_size, origin=MEMBERS)
        return _Members(keys, table["component"].to_numpy(), rank, content, vectors)

    def _summary(
        self, members: _Members, groups: Groups, grouped: Int64, exact: npt.NDArray[np.bool_]
    ) -> dict[str, Any]:
        own = groups.leader[grouped] == grouped
        leaders, sizes = np.unique(groups.leader[grouped], return_counts=True)
        largest = np.lexsort((leaders, -sizes))[:LARGEST]
        counts, number = np.unique(sizes, return_counts=True)
        return {
            "min_similarity": self.min_similarity,
            "linked": len(members.keys),
            "groups": len(leaders),
            "images": len(grouped),
            "exact": int(np.count_nonzero(exact & ~own)),
            "near": int(np.count_nonzero(~exact)),
            "failures": groups.failures,
            "sizes": [[int(size), int(n)] for size, n in zip(counts, number, strict=True)],
            "largest": [
                {"group": members.keys[int(leaders[i])].as_py().hex(), "images": int(sizes[i])} for i in largest
            ],
        }


def _codes(digests: pa.Array | pa.ChunkedArray) -> Int64:
    array = digests.combine_chunks() if isinstance(digests, pa.ChunkedArray) else digests
    return np.asarray(array.indices.to_numpy(), np.int64)
