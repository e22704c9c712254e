"""Which labels a person judges: a uniform sample by permanent random numbers, the same one whoever draws it.

In: evidence/ and, for an audit, scores/ with the floor of precision.json. Out: `audit/drawn/` (or `gold/drawn/`), for
each bucket the candidates whose number `u = hash(salt, image, label) / 2^64` lies below a rate (Ohlsson 1995), never
more than are needed. A larger sample of the same salt holds the smaller one, so a person goes on where they stopped.

Two purposes. `gold` draws from all candidates: what the filter is fitted on. `audit` draws, for the certificate, from
the candidates that any threshold to be tried would keep, and never from images that the gold has: the sample on which
a score is judged must not be the one that it was made from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.keys import key_words
from openjft.pipelines.mixing import mix64, text_word
from openjft.pipelines.precision.files import CLASS_SCORES_FILE, EVIDENCE, GOLD_FILE
from openjft.pipelines.precision.threshold import to_steps
from openjft.pipelines.schema import KEY, KEY_TYPE, LABEL, URI
from openjft.pipelines.storage import Store, bucket_file

Purpose = Literal["audit", "gold"]
Words = npt.NDArray[np.uint64]

DRAWN: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field(URI, pa.string(), nullable=False),
        pa.field("steps", pa.int64(), nullable=False),  # probability in millionths; 0 for gold, which is drawn blind
        pa.field("u", pa.uint64(), nullable=False),
    ]
)


def permanent_numbers(keys: pa.Array | pa.ChunkedArray, labels: npt.NDArray[np.int32], salt: str) -> Words:
    """(n,) uint64 random numbers of (image, label) pairs: the same ones for the same salt, on any machine."""
    words = np.ascontiguousarray(key_words(keys)).view("<u8").astype(np.uint64)
    mixed = mix64(words[:, 0] ^ text_word(salt))
    return mix64(mix64(mixed ^ words[:, 1]) ^ labels.astype(np.int64).astype(np.uint64))


@dataclasses.dataclass(frozen=True)
class DrawStage(Stage):
    """Draws one bucket's part of the sample.

    Attributes:
        purpose: `audit` or `gold`, and the folder.
        num_buckets: of the build.
        salt: of the permanent numbers.
        limit: numbers below it are drawn.
        floor: least millionths of an audit's candidates.
    """

    name: ClassVar[str] = "audit/drawing"
    noun: ClassVar[str] = "labels"
    reads: ClassVar[tuple[str, ...]] = (EVIDENCE, "scores")
    purpose: Purpose
    num_buckets: int
    salt: str
    limit: int
    floor: int

    @property
    def folder(self) -> str:
        """Where the drawn rows lie."""
        return f"{self.purpose}/drawn"

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def outputs(self) -> Sequence[str]:
        """The drawn rows, and the records."""
        return (self.name, self.folder)

    def settings(self) -> Mapping[str, Any]:
        """All of it."""
        return dataclasses.asdict(self)

    def run(self, unit: int, store: Store) -> UnitResult:
        """Writes the rows of a bucket that are drawn."""
        rows = store.read_table(bucket_file(EVIDENCE, unit, self.num_buckets), [KEY, LABEL, URI])
        label = rows[LABEL].to_numpy()
        steps = np.zeros(len(label), np.int64)
        eligible, in_gold = np.ones(len(label), bool), np.zeros(len(label), bool)
        if self.purpose == "audit":
            scores = store.read_table(bucket_file("scores", unit, self.num_buckets), ["probability"])
            steps = to_steps(scores["probability"].to_numpy())
            floors = store.read_table(CLASS_SCORES_FILE, ["floor"])["floor"].to_numpy()
            eligible = steps >= np.maximum(floors[label], self.floor)
            in_gold = eligible & _images_of_gold(store, rows[KEY])
            eligible &= ~in_gold
        u = permanent_numbers(rows[KEY], label, f"{self.salt}/{self.purpose}")
        drawn = np.flatnonzero(eligible & (u < np.uint64(self.limit)))
        chosen = rows.take(pa.array(drawn))
        table = pa.table([*chosen.columns, pa.array(steps[drawn]), pa.array(u[drawn])], schema=DRAWN)
        store.write_table(bucket_file(self.folder, unit, self.num_buckets), table)
        # The account is of what is drawn: a sample leaves the others where they are.
        counters = {"candidates": len(label), "eligible": int(eligible.sum()), "in_gold": int(in_gold.sum())}
        return UnitResult(rows_in=len(drawn), rows_out=len(drawn), counters=counters)

    def collect(self, store: Store) -> pa.Table:
        """All drawn rows in the order of their numbers."""
        parts = [store.read_table(bucket_file(self.folder, b, self.num_buckets)) for b in range(self.num_buckets)]
        return pa.concat_tables(parts).sort_by([("u", "ascending"), (KEY, "ascending")]).combine_chunks()


def _images_of_gold(store: Store, keys: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """(n,) whether a row's image is in the gold."""
    if not store.exists(GOLD_FILE):
        return np.zeros(len(keys), bool)
    gold = store.read_table(GOLD_FILE, [KEY])[KEY].combine_chunks()
    found = pc.is_in(keys.combine_chunks().cast(pa.binary()), value_set=gold.cast(pa.binary()))
    return np.asarray(found.to_numpy(zero_copy_only=False), bool)


def limit_for(wanted: int, eligible: int) -> int:
    """The limit at which about `wanted` of `eligible` candidates are drawn; at most 2^64 - 1."""
    share = min(1.0, wanted / max(eligible, 1))
    return min(int(share * 2.0**64), 2**64 - 1)
