"""Stage `edges`: compares what met in one cell or block, and joins what hangs together.

In: one part of every file of `cells/`. Out: `edges/PART.parquet`, links between images: equal sha256, hashes that
differ in at most three bits, vectors at the similarity. n vectors of a cell that hang together get n - 1 links, however
many pairs are alike.
At the end the driver, which holds all links, numbers the connected components: `edges/members/BUCKET.parquet`.

Before vectors of a cell are compared, those of equal bytes are reduced to one, and one of more than 32,768 is taken
apart by its most important images (`openjft.dedup.links`): a placeholder under 100,000 addresses costs one comparison
each.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.dedup import default_remove_similarity, vectors_of
from openjft.dedup.bands import MAX_DISTANCE, MAX_VALUES, close_values
from openjft.dedup.groups import connected
from openjft.dedup.links import WHOLE, link_similar
from openjft.dedup.schema import VECTOR
from openjft.pipelines.config import Config
from openjft.pipelines.embed import embedder_spec
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.schema import KEY
from openjft.pipelines.storage import Store, bucket_file
from openjft.pipelines.threads import one_thread

from .files import (
    CELLS,
    EDGE,
    EDGES,
    MARKS,
    MEMBER,
    MEMBERS_FOLDER,
    PHASH,
    SHA256,
    VECTORS,
    key_array,
    sorted_words,
    write_by_bucket,
)
from .parts import read_part

Keys = npt.NDArray[np.bytes_]
Int64 = npt.NDArray[np.int64]


class Links(NamedTuple):
    """Links between images by key, each from the more important one."""

    a: Keys
    b: Keys


@dataclasses.dataclass(frozen=True)
class EdgesStage(Stage):
    """cells/ -> edges/."""

    min_similarity: float
    num_buckets: int
    whole: int = WHOLE

    name: ClassVar[str] = EDGES
    noun: ClassVar[str] = "vectors"
    section: ClassVar[str] = "duplicates"
    unit_noun: ClassVar[str] = "parts"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(min_similarity_of(config), config.build.buckets)

    def num_units(self) -> int:
        """One for each part; there are as many as buckets."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """Thresholds."""
        bands = {"distance": MAX_DISTANCE, "values": MAX_VALUES}
        return {"min_similarity": self.min_similarity, "whole": self.whole, "buckets": self.num_buckets, **bands}

    def run(self, unit: int, store: Store) -> UnitResult:
        """Compares one part."""
        counters: Counter[str] = Counter()
        with one_thread():
            vectors, links = self._cells(store, unit, counters)
        links += self._blocks(store, unit, counters)
        a, b = (np.concatenate([np.empty(0, "S16"), *column]) for column in zip(*links, Links(*_NONE), strict=True))
        edges = np.unique(np.stack([a, b], axis=1), axis=0) if len(a) else np.empty((0, 2), "S16")
        table = pa.table([key_array(edges[:, 0]), key_array(edges[:, 1])], schema=EDGE)
        store.write_table(bucket_file(EDGES, unit, self.num_buckets), table)
        return UnitResult(rows_in=vectors, rows_out=vectors, counters={**counters, "edges": table.num_rows})

    def _parts(self, store: Store, unit: int, ending: str) -> pa.Table:
        paths = [bucket_file(CELLS, bucket, self.num_buckets, ending) for bucket in range(self.num_buckets)]
        return pa.concat_tables([read_part(store, path, unit) for path in paths]).combine_chunks()

    def _cells(self, store: Store, unit: int, counters: Counter[str]) -> tuple[int, list[Links]]:
        """Links of similar vectors; and how many vectors were looked at."""
        table = self._parts(store, unit, VECTORS)
        dim = table.schema.field(VECTOR).type.list_size
        vectors = vectors_of(table[VECTOR], dim, origin=f"{CELLS}/")
        keys, cell = sorted_words(table[KEY]), table["cell"].to_numpy()
        digest = np.unique(np.asarray(table["sha256"].to_pylist(), "S32"), return_inverse=True)[1].reshape(-1)
        order = np.lexsort((keys, -table["pixels"].to_numpy(), cell))
        links = []
        for rows in _runs(order, cell[order]):
            first = np.sort(np.unique(digest[rows], return_index=True)[1])  # of equal bytes the most important
            used = rows[first]
            counters["repeated_in_cell"] += len(rows) - len(used)
            counters["cells"] += 1
            counters["clumped_cells"] += len(used) > self.whole
            linked = link_similar(vectors[used], self.min_similarity, whole=self.whole)
            other = np.flatnonzero(linked != np.arange(len(used)))
            counters["similar"] += len(other)
            links.append(Links(keys[used[linked[other]]], keys[used[other]]))
        return len(keys), links

    def _blocks(self, store: Store, unit: int, counters: Counter[str]) -> list[Links]:
        """Links of equal bytes and of close hashes."""
        table = self._parts(store, unit, MARKS)
        keys = sorted_words(table[KEY])
        kind, block, value = (table[name].to_numpy() for name in ("kind", "block", "value"))
        order = np.lexsort((keys, value, block, kind))
        kind, block, value, keys = kind[order], block[order], value[order], keys[order]
        begins = np.flatnonzero(_starts(kind, block, value))
        of = np.repeat(begins, np.diff(np.append(begins, len(keys))))
        same = np.flatnonzero(of != np.arange(len(keys)))
        counters["same_bytes"] += int(np.count_nonzero(kind[same] == SHA256))
        links = [Links(keys[of[same]], keys[same])]
        hashed = begins[kind[begins] == PHASH]
        for rows in _runs(hashed, block[hashed]):
            counters["crowded_blocks"] += len(rows) > MAX_VALUES
            a, b = close_values(value[rows])
            counters["close_hashes"] += len(a)
            links.append(Links(keys[rows[a]], keys[rows[b]]))
        return links

    def finish(self, store: Store, account: UnitResult) -> None:
        """Numbers the components, and tells each bucket its members. Memory: the links."""
        tables = [store.read_table(bucket_file(EDGES, unit, self.num_buckets)) for unit in range(self.num_buckets)]
        edges = pa.concat_tables(tables).combine_chunks()
        ends = np.concatenate([sorted_words(edges["a"]), sorted_words(edges["b"])])
        keys, number = np.unique(ends, return_inverse=True)
        a, b = np.split(number.reshape(-1).astype(np.int64), 2)
        component = connected(a, b, len(keys))
        members = pa.table([key_array(keys), component], schema=MEMBER)
        write_by_bucket(store, MEMBERS_FOLDER, self.num_buckets, members)


_NONE = (np.empty(0, "S16"), np.empty(0, "S16"))


def min_similarity_of(config: Config) -> float:
    """The threshold: the configuration's, or the descriptor's own for removal."""
    told = config.duplicates.min_similarity
    return default_remove_similarity(embedder_spec(config.embed)) if told is None else told


def _starts(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(n,) where a row differs from the one before it."""
    first = np.zeros(len(columns[0]), np.bool_)
    first[:1] = True
    for column in columns:
        first[1:] |= column[1:] != column[:-1]
    return first


def _runs(rows: Int64, value: npt.NDArray[Any]) -> Iterator[Int64]:
    """The rows of each run of equal values that has more than one."""
    starts = np.flatnonzero(_starts(value))
    for start, stop in itertools.pairwise([*starts.tolist(), len(rows)]):
        if stop - start > 1:
            yield rows[start:stop]
