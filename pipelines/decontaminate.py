"""Decontaminate: which training images show an evaluation image.

In: `embeddings/`, the evaluation sets of the configuration, and `images/` for the few images that match. Out:
`overlaps/BUCKET.parquet` (`openjft.dedup.schema.OVERLAPS`), one row for each pair at the removal similarity or above,
with the SSIM of the aligned grey images; and under `evalsets/` the index, the recall of planted copies and a summary.

Two thresholds: `remove_similarity` is loose, since a wrong removal costs one image of millions and a miss soils a
benchmark; `verified` is strict, for counts that are published. Nothing is left out here: `shard` reads the overlaps.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import IO, Any, ClassVar, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.dedup import (
    OVERLAPS,
    EvalIndex,
    EvalSet,
    EvalSetSpec,
    Matches,
    View,
    default_remove_similarity,
    embedder_fingerprint,
    grey,
    make_views,
    planted_recall,
    read_eval_set,
    sample_rows,
    ssim,
    vectors_of,
)
from openjft.dedup.embedder import hash_json
from openjft.dedup.resample import Float32
from openjft.dedup.schema import KEY, VECTOR
from openjft.dedup.transforms import TRANSFORMS_VERSION
from openjft.loaders.tar import read_tar

from .config import Config, Decontaminate, Embed, Fetch
from .config import EvalSet as EvalSetConfig
from .embed import decode_member, embedder_spec, key_of, load_embedder
from .engine import Stage, UnitResult
from .errors import PipelineError
from .eval_images import (
    FOLDER,
    IMAGES_FILE,
    THUMBS_FILE,
    EvalImages,
    load_index,
    prepare_index,
    read_thumb,
    stored_copy,
)
from .schema import KEY_TYPE
from .storage import Store, bucket_file

PLANTED_FILE: Final = f"{FOLDER}/planted.json"
SUMMARY_FILE: Final = f"{FOLDER}/summary.json"
SEARCH_ROWS: Final = 32_768  # vectors read and searched at a time: 64 MB of float32 at 512 dimensions
VERIFY_IMAGES: Final = 256  # matching images whose grey planes are held at a time


class Pairs(NamedTuple):
    """Pairs of one bucket, by image, falling similarity, eval image; `rows_in` images were searched."""

    rows_in: int
    full_k: int
    row: npt.NDArray[np.int64]  # of the embeddings file
    keys: pa.Array
    eval_index: npt.NDArray[np.int32]
    view: npt.NDArray[np.int16]
    similarity: Float32


@dataclasses.dataclass(frozen=True)
class OverlapStage(Stage):
    """embeddings/ and eval sets -> overlaps/."""

    embed: Embed
    decontaminate: Decontaminate
    eval_sets: tuple[EvalSetConfig, ...]
    fetch: Fetch
    seed: int
    num_buckets: int

    name: ClassVar[str] = "overlaps"
    noun: ClassVar[str] = "images"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(
            config.embed, config.decontaminate, config.eval_sets, config.fetch, config.build.seed, config.build.buckets
        )

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """Thresholds, and what the index depends on; `remove` is the shards' affair."""
        return {
            "decontaminate": self.decontaminate.model_dump(exclude={"remove"}, mode="json"),
            # None stands for the descriptor's own default, which may change with a release.
            "min_similarity": self.min_similarity(),
            "seed": self.seed,
            "index": self._fingerprint(self._read_sets()) if self.eval_sets else None,
        }

    def _read_sets(self) -> list[EvalSet]:
        return [read_eval_set(EvalSetSpec(**section.model_dump())) for section in self.eval_sets]

    def _fingerprint(self, sets: list[EvalSet]) -> str:
        """Of the index: model, sets, views, and the frame of the images."""
        return hash_json(
            {
                "embedder": embedder_fingerprint(embedder_spec(self.embed)),
                "sets": [s.fingerprint() for s in sets],
                "views": [view.name for view in make_views(self.decontaminate.views)],
                "frame": self.fetch.model_dump(include={"size", "resize", "max_pixels", "max_bytes"}),
            }
        )

    def min_similarity(self) -> float:
        """The removal threshold: the configuration's, or the descriptor's own."""
        told = self.decontaminate.remove_similarity
        return default_remove_similarity(embedder_spec(self.embed)) if told is None else told

    def prepare(self, store: Store) -> None:
        """Builds the index of the eval sets where it is missing, and measures the recall of planted copies."""
        if not self.eval_sets:
            store.delete(FOLDER)
            return
        spec = embedder_spec(self.embed)
        images = EvalImages(self._read_sets(), self.fetch)
        views = make_views(self.decontaminate.views)
        fingerprint = self._fingerprint(list(images.sets))
        prepare_index(store, images, lambda: load_embedder(spec), views, fingerprint)
        self._plant(store, images, fingerprint)

    def _plant(self, store: Store, images: EvalImages, fingerprint: str) -> None:
        index = load_index(store.root, embedder_fingerprint(embedder_spec(self.embed)), fingerprint)
        settings = {
            "fingerprint": fingerprint,
            "min_similarity": self.min_similarity(),
            "neighbours": self.decontaminate.neighbours,
            "per_transform": self.decontaminate.planted_per_transform,
            "seed": self.seed,
            "transforms": TRANSFORMS_VERSION,
        }
        if store.exists(PLANTED_FILE) and store.read_json(PLANTED_FILE)["settings"] == settings:
            return
        searchable = np.unique(index.rows[:, 0])
        sample = sample_rows(index.images.take(searchable), self.decontaminate.planted_per_transform, self.seed)
        recalls = planted_recall(
            images.originals([int(searchable[row]) for row in sample]),
            index,
            load_embedder(embedder_spec(self.embed)),
            seed=self.seed,
            min_similarity=self.min_similarity(),
            neighbours=self.decontaminate.neighbours,
            store=lambda pixels: stored_copy(pixels, self.fetch),
        )
        store.write_json(PLANTED_FILE, {"settings": settings, "recall": [r.as_json() for r in recalls]})

    def run(self, unit: int, store: Store) -> UnitResult:
        """Searches one bucket and verifies what it finds."""
        target = bucket_file(self.name, unit, self.num_buckets)
        source = bucket_file("embeddings", unit, self.num_buckets)
        if not self.eval_sets:
            with store.reading(source) as stream:
                rows = pq.ParquetFile(stream).metadata.num_rows
            store.write_table(target, OVERLAPS.empty_table())
            return UnitResult(rows_in=rows, rows_out=rows)
        spec = embedder_spec(self.embed)
        index = load_index(store.root, embedder_fingerprint(spec), store.read_json(IMAGES_FILE)["fingerprint"])
        pairs = search_bucket(
            store, source, index, min_similarity=self.min_similarity(), neighbours=self.decontaminate.neighbours
        )
        similar = _structural(store, bucket_file("images", unit, self.num_buckets, "tar"), index.views, pairs)
        table = _table(pairs, similar, index, self.decontaminate.verify_ssim)
        store.write_table(target, table)
        overlapping = len(np.unique(pairs.row))
        return UnitResult(
            rows_in=pairs.rows_in,
            rows_out=pairs.rows_in - overlapping,
            rejects={"overlap": overlapping} if overlapping else {},
            counters=_counters(table, pairs.full_k, [section.name for section in self.eval_sets]),
        )

    def finish(self, store: Store, account: UnitResult) -> None:
        """Sums up each eval set: images, how many of them were found, and how many of those verified."""
        hit: Counter[tuple[str, str]] = Counter()
        verified: Counter[tuple[str, str]] = Counter()
        by_view: Counter[str] = Counter()
        for unit in range(self.num_buckets if self.eval_sets else 0):
            table = store.read_table(bucket_file(self.name, unit, self.num_buckets))
            pairs = list(zip(table["eval_set"].to_pylist(), table["eval_id"].to_pylist(), strict=True))
            hit.update(pairs)
            verified.update(p for p, sure in zip(pairs, table["verified"].to_pylist(), strict=True) if sure)
            by_view.update(table["view"].to_pylist())
        known = store.read_json(IMAGES_FILE) if self.eval_sets else {"sets": {}, "undecodable": []}
        undecodable = Counter(u["eval_set"] for u in known["undecodable"])
        store.write_json(
            SUMMARY_FILE,
            {
                "min_similarity": self.min_similarity() if self.eval_sets else None,
                "verify_ssim": self.decontaminate.verify_ssim,
                "embedder": known.get("embedder"),
                "pairs_by_view": dict(by_view),
                "sets": [
                    {
                        "name": section.name,
                        "images": known["sets"][section.name],
                        "undecodable": undecodable[section.name],
                        "hit": sum(name == section.name for name, _ in hit),
                        "verified": sum(name == section.name for name, _ in verified),
                        "pairs": sum(n for (name, _), n in hit.items() if name == section.name),
                    }
                    for section in self.eval_sets
                ],
            },
        )


def search_bucket(store: Store, source: str, index: EvalIndex, *, min_similarity: float, neighbours: int) -> Pairs:
    """Streams an embeddings file past the index.

    Raises:
        DedupError: the vectors are of another model, or hold NaN.
    """
    found: list[Matches] = []
    keys: list[pa.Array] = [pa.array([], KEY_TYPE)]
    rows_in = 0
    with store.reading(source) as stream:
        for block, vectors in read_vectors(stream, index.dim, origin=source):
            matches = index.search(vectors, min_similarity=min_similarity, neighbours=neighbours)
            keys.append(block.take(pa.array(matches.query_index)))
            found.append(matches._replace(query_index=matches.query_index + rows_in))
            rows_in += len(block)
    return Pairs(
        rows_in,
        sum(m.full_k for m in found),
        np.concatenate([np.empty(0, np.int64), *(m.query_index for m in found)]),
        pa.concat_arrays(keys),
        np.concatenate([np.empty(0, np.int32), *(m.eval_index for m in found)]),
        np.concatenate([np.empty(0, np.int16), *(m.view for m in found)]),
        np.concatenate([np.empty(0, np.float32), *(m.similarity for m in found)]),
    )


def read_vectors(stream: IO[bytes], dim: int, *, origin: str) -> Iterator[tuple[pa.Array, Float32]]:
    """(n keys, vectors (n, dim) float32) of an embeddings file, SEARCH_ROWS at a time."""
    for batch in pq.ParquetFile(stream).iter_batches(SEARCH_ROWS, columns=[KEY, VECTOR]):
        vectors = vectors_of(batch.column(VECTOR), dim, origin=origin)
        yield batch.column(KEY), vectors.astype(np.float32)


def _structural(store: Store, tar: str, views: tuple[View, ...], pairs: Pairs) -> Float32:
    """(pairs,) float32 SSIM of each pair; NaN where the training image cannot be decoded.

    Raises:
        PipelineError: an image with an embedding is missing from the tar.
    """
    out = np.full(len(pairs.row), np.nan, np.float32)
    if not len(out):
        return out
    rows, first = np.unique(pairs.row, return_index=True)
    first_of = dict(zip(pairs.keys.take(pa.array(first)).to_pylist(), range(len(rows)), strict=True))
    ends = np.append(first, len(out))
    with store.reading(tar) as stream, store.reading(THUMBS_FILE) as thumbs:
        for chunk in _grey_images(stream, tar, first_of):
            at = np.concatenate([np.arange(ends[image], ends[image + 1]) for image, _ in chunk])
            repeats = [int(ends[image + 1] - ends[image]) for image, _ in chunk]
            ours = np.repeat(np.stack([plane for _, plane in chunk]), repeats, axis=0)
            theirs = np.stack([read_thumb(thumbs, int(pairs.eval_index[i]), views[pairs.view[i]]) for i in at])
            out[at] = ssim(ours, theirs)
    return out


def _grey_images(stream: IO[bytes], tar: str, wanted: Mapping[bytes, int]) -> Iterator[list[tuple[int, Float32]]]:
    """(number, grey plane) of the wanted images of a tar, VERIFY_IMAGES at a time; no other is decoded."""
    chunk: list[tuple[int, Float32]] = []
    seen = 0
    for member in read_tar(stream, origin=tar):
        number = wanted.get(key_of(member.name, origin=tar))
        if number is None:
            continue
        seen += 1
        pixels = decode_member(member)
        if pixels is not None:
            chunk.append((number, grey(pixels)))
        if len(chunk) == VERIFY_IMAGES or (chunk and seen == len(wanted)):
            yield chunk
            chunk = []
        if seen == len(wanted):
            return
    raise PipelineError(
        f"{tar}: expected {len(wanted)} images that have embeddings, found {seen}: images/ and embeddings/ are of two "
        "builds; run `openjft embed CONFIG` again"
    )


def _table(pairs: Pairs, similar: Float32, index: EvalIndex, verify_ssim: float) -> pa.Table:
    """OVERLAPS in its order."""
    names, ids = index.images["eval_set"].to_pylist(), index.images["eval_id"].to_pylist()
    # Ties of similarity break by set and id, not by the order of the configuration.
    place = {row: i for i, row in enumerate(sorted(set(pairs.eval_index.tolist()), key=lambda r: (names[r], ids[r])))}
    places = np.array([place[row] for row in pairs.eval_index.tolist()], np.int64)
    order = np.lexsort((places, -pairs.similarity, pairs.row))
    eval_index, ssims = pairs.eval_index[order].tolist(), similar[order]
    return pa.table(
        [
            pairs.keys.take(pa.array(order)),
            pa.array([names[row] for row in eval_index], pa.string()),
            pa.array([ids[row] for row in eval_index], pa.string()),
            pa.array([index.views[view].name for view in pairs.view[order].tolist()], pa.string()),
            pa.array(pairs.similarity[order]),
            pa.array(ssims, mask=np.isnan(ssims)),
            pa.array(ssims >= np.float32(verify_ssim)),  # NaN is not
        ],
        schema=OVERLAPS,
    )


def _counters(table: pa.Table, full_k: int, sets: list[str]) -> dict[str, int]:
    """Pairs of all sets and of each."""
    by_set = Counter(table["eval_set"].to_pylist())
    return {
        "pairs": table.num_rows,
        "verified_pairs": sum(table["verified"].to_pylist()),
        "full_k_queries": full_k,
        **{f"pairs.{name}": by_set[name] for name in sets},
    }
