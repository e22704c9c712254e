"""Stage `cells`: vectors into cells and hashes into blocks, so that what may be alike meets in one place.

In: `embeddings/`, and sha256 and size from `catalog/`, bucket by bucket. Out: `cells/BUCKET.vectors.arrow`, each vector
in its two nearest cells, and `cells/BUCKET.marks.arrow`, a mark for the sha256 and four for the bands of the perceptual
hash; both cut into parts, one for each unit of `edges`. It is the only time that vectors move. The centres of the cells
are trained once, in the driver, on the first images of each bucket: keys are hashes, so these are a uniform sample.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.dedup.bands import BANDS, band_blocks
from openjft.dedup.quantiser import (
    IMAGES_OF_A_CELL,
    ITERATIONS,
    NEAREST,
    assign_cells,
    num_cells,
    sample_size,
    train_cells,
)
from openjft.dedup.schema import VECTOR
from openjft.dedup.vectors import vectors_of
from openjft.pipelines.config import Config
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.storage import Store, bucket_file
from openjft.pipelines.threads import one_thread

from .files import CELL, CELLS, CENTRES_FILE, MARK, MARKS, PHASH, SHA256, VECTORS, Images, read_images
from .parts import write_parts

UInt64 = npt.NDArray[np.uint64]
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: neighbouring blocks go to different parts


@dataclasses.dataclass(frozen=True)
class CellsStage(Stage):
    """embeddings/ -> cells/."""

    cells: int | None  # none: by the number of images
    seed: int
    num_buckets: int

    name: ClassVar[str] = CELLS
    noun: ClassVar[str] = "images"
    section: ClassVar[str] = "duplicates"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(config.duplicates.cells, config.build.seed, config.build.buckets)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """Number and training of the cells."""
        training = {"images": IMAGES_OF_A_CELL, "nearest": NEAREST, "iterations": ITERATIONS, "bands": BANDS}
        return {"cells": self.cells, "seed": self.seed, "buckets": self.num_buckets, **training}

    def prepare(self, store: Store) -> None:
        """Trains the centres where they are missing."""
        if store.exists(CENTRES_FILE):
            return
        paths = [bucket_file("embeddings", unit, self.num_buckets) for unit in range(self.num_buckets)]
        images, dim = 0, 0
        for path in paths:
            with store.reading(path) as source:
                file = pq.ParquetFile(source)
                images += file.metadata.num_rows
                dim = file.schema_arrow.field(VECTOR).type.list_size
        cells = self.cells or num_cells(images)
        share = -(-sample_size(cells, dim) // self.num_buckets)
        parts = [_first_vectors(store, path, dim, share) for path in paths] if share else []
        # One cell needs no centre that means anything: whatever is no zero is nearest to it.
        centres = train_cells(np.concatenate(parts), cells, seed=self.seed) if parts else np.ones((1, dim), np.float32)
        with store.writing(CENTRES_FILE) as sink:
            np.lib.format.write_array(sink, centres, allow_pickle=False)

    def run(self, unit: int, store: Store) -> UnitResult:
        """Sorts one bucket."""
        images = read_images(store, unit, self.num_buckets)
        data = io.BytesIO(store.read_bytes(CENTRES_FILE))
        centres = np.lib.format.read_array(data, allow_pickle=False)
        with one_thread():
            cells = assign_cells(images.vectors, centres)
        row, nearest = np.nonzero(cells >= 0)
        cell = cells[row, nearest]
        vectors = bucket_file(CELLS, unit, self.num_buckets, VECTORS)
        write_parts(store, vectors, cell % self.num_buckets, images.rows(CELL, cell, row), compression=None)
        marks = _marks(images)
        blocks = marks["block"].to_numpy()
        mixed = (blocks ^ (blocks >> np.uint64(32))) * _GOLDEN >> np.uint64(32)
        parts = mixed.astype(np.int64) % self.num_buckets
        write_parts(store, bucket_file(CELLS, unit, self.num_buckets, MARKS), parts, marks)
        counters = {
            "vectors": len(row),
            "without_vector": int((cells < 0).all(axis=1).sum()),
            "without_perceptual": images.perceptual.null_count,
        }
        return UnitResult(rows_in=len(images), rows_out=len(images), counters=counters)


def _first_vectors(store: Store, path: str, dim: int, rows: int) -> npt.NDArray[np.float16]:
    """The first vectors of a bucket."""
    with store.reading(path) as source:
        batches = pq.ParquetFile(source).iter_batches(rows, columns=[VECTOR])
        first = next(batches, None)
        if first is None:
            return np.empty((0, dim), np.float16)
        return vectors_of(first.column(0), dim, origin=path)


def _marks(images: Images) -> pa.Table:
    """Rows of MARK: one of the bytes, four of the perceptual hash where there is one."""
    words = _words(images.sha256)
    tables = [pa.table([np.full(len(images), SHA256, np.uint8), words[:, 0], words[:, 1], images.keys], schema=MARK)]
    has = np.flatnonzero(images.perceptual.is_valid().to_numpy(zero_copy_only=False))
    hashes: UInt64 = images.perceptual.drop_null().to_numpy().astype(np.uint64)
    blocks = band_blocks(hashes)
    keys = images.keys.take(pa.array(has))
    for band in range(BANDS):
        kinds = np.full(len(has), PHASH, np.uint8)
        tables.append(pa.table([kinds, blocks[:, band], hashes, keys], schema=MARK))
    return pa.concat_tables(tables).combine_chunks()


def _words(digests: pa.FixedSizeBinaryArray) -> UInt64:
    """(n, 2) uint64: half of each sha256, which nobody can make equal on purpose; all of it is compared later."""
    if not len(digests):
        return np.empty((0, 2), np.uint64)
    data = np.frombuffer(digests.buffers()[1], np.uint8, len(digests) * 32, digests.offset * 32)
    return np.ascontiguousarray(data.reshape(-1, 32)[:, :16]).view(np.uint64)
