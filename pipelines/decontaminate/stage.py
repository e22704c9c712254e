"""Stage `overlaps`: which training images are near an evaluation image, and whether they show it.

In: `embeddings/`, the evaluation sets of the configuration, and `images/` for the few images that match. Out:
`overlaps/BUCKET.parquet` (`openjft.dedup.schema.OVERLAPS`), one row for each pair at the listed score or above, with
the structural similarity of the aligned pictures; and under `evalsets/` the sets, the thresholds, the recall of
planted copies. Nothing is judged here: `verdicts` holds the pairs against the thresholds and an auditor's decisions.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from openjft.dedup import OVERLAPS, EvalIndex, default_remove_similarity, embedder_fingerprint, make_views, tail_form
from openjft.dedup.alignment import ALIGNMENT_VERSION, Alignment, Features
from openjft.dedup.background import Background
from openjft.dedup.planted import Recall, planted_recall, sample_rows
from openjft.dedup.thresholds import Thresholds, report_threshold
from openjft.dedup.transforms import TRANSFORMS_VERSION
from openjft.pipelines.config import Config, Decontaminate, Embed, Fetch
from openjft.pipelines.config import EvalSet as EvalSetConfig
from openjft.pipelines.embed import embedder_spec, load_embedder
from openjft.pipelines.engine import Stage, UnitResult, note
from openjft.pipelines.evalsets.files import BACKGROUND_FILE, FOLDER, PLANTED_FILE, SETS_FILE, THRESHOLDS_FILE
from openjft.pipelines.evalsets.images import Pixels, stored_copy
from openjft.pipelines.evalsets.sets import BuildPictures, BuildSets, load_index, read_headers
from openjft.pipelines.storage import Store, bucket_file

from .calibrate import CALIBRATION_VERSION, calibrate, read_background, write_background
from .search import Pairs, count_vectors, search_bucket
from .verify import Verifier


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
    heavy: ClassVar[bool] = True

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
        """What is searched and how; what is done about it is the affair of `verdicts` and of the shards."""
        return {
            "decontaminate": self.decontaminate.model_dump(exclude={"remove_from", "decisions"}, mode="json"),
            # None stands for the descriptor's own default, which may change with a release.
            "default_similarity": self._default_similarity(),
            "seed": self.seed,
            "sets": self._sets().fingerprint() if self.eval_sets else None,
            "versions": [CALIBRATION_VERSION, TRANSFORMS_VERSION, ALIGNMENT_VERSION],
        }

    def _default_similarity(self) -> float:
        return default_remove_similarity(embedder_spec(self.embed))

    def _sets(self) -> BuildSets:
        views = make_views(self.decontaminate.views)
        return BuildSets(self.eval_sets, self.fetch, views, embedder_fingerprint(embedder_spec(self.embed)))

    def prepare(self, store: Store) -> None:
        """Embeds the sets that are missing, measures the thresholds, and the recall of planted copies."""
        if not self.eval_sets:
            store.delete(FOLDER)
            return
        spec = embedder_spec(self.embed)
        self._sets().prepare(store, lambda: load_embedder(spec))
        if self.decontaminate.normalise:
            write_background(store, self.decontaminate, self.fetch, load_embedder(spec), num_buckets=self.num_buckets)
        else:
            store.delete(BACKGROUND_FILE)
        note("the thresholds, on this build's own different images")
        tools = load_tools(store, self.embed)
        thresholds = calibrate(
            store,
            tools.index,
            tools.verifier,
            self.decontaminate,
            default=self._default_similarity(),
            form=tail_form(embedder_spec(self.embed)),
            background=tools.background,
            seed=self.seed,
            num_buckets=self.num_buckets,
        )
        verification = {name: getattr(self.decontaminate, name) for name in ("verify_ssim", "remove_ssim")}
        store.write_json(THRESHOLDS_FILE, {**thresholds.to_json(), **verification})
        note("the recall of planted copies")
        recalls = self._plant(tools, thresholds)
        store.write_json(PLANTED_FILE, {"recall": [r.as_json() for r in recalls]})

    def _plant(self, tools: Tools, thresholds: Thresholds) -> tuple[Recall, ...]:
        index, verifier = tools.index, tools.verifier
        searchable = np.unique(index.rows[:, 0])
        sample = sample_rows(index.images.take(searchable), self.decontaminate.planted_per_transform, self.seed)
        rows = [int(searchable[row]) for row in sample]

        def verify(copy: Pixels, row: int, view: int) -> bool:
            found = verifier.align(Features(copy), row, view)
            return found is not None and found.is_alike(self.decontaminate.remove_ssim)

        pictures = ((row, tools.pictures.pixels(row)) for row in rows)
        return planted_recall(
            ((row, pixels) for row, pixels in pictures if pixels is not None),
            index,
            load_embedder(embedder_spec(self.embed)),
            seed=self.seed,
            remove=thresholds.remove,
            listed=thresholds.listed,
            neighbours=self.decontaminate.neighbours,
            background=tools.background,
            verify=verify,
            store=lambda pixels: stored_copy(pixels, self.fetch),
        )

    def run(self, unit: int, store: Store) -> UnitResult:
        """Searches one bucket and verifies what it finds."""
        target = bucket_file(self.name, unit, self.num_buckets)
        source = bucket_file("embeddings", unit, self.num_buckets)
        if not self.eval_sets:
            rows = count_vectors(store, [source])
            store.write_table(target, OVERLAPS.empty_table())
            return UnitResult(rows_in=rows, rows_out=rows)
        tools = load_tools(store, self.embed)
        pairs = search_bucket(
            store,
            source,
            tools.index,
            min_score=float(store.read_json(THRESHOLDS_FILE)["listed"]),
            neighbours=self.decontaminate.neighbours,
            background=tools.background,
        )
        found = _verified(store, bucket_file("images", unit, self.num_buckets, "tar"), tools.verifier, pairs)
        without = {row for row, alignment in zip(pairs.row.tolist(), found, strict=True) if alignment is None}
        table = overlaps_table(pairs, found, tools.index, self.decontaminate)
        store.write_table(target, table)
        return UnitResult(
            rows_in=pairs.rows_in,
            rows_out=pairs.rows_in,
            counters={
                "pairs": table.num_rows,
                "verified_pairs": sum(table["verified"].to_pylist()),
                "images_without_picture": len(without),
                "full_k_queries": pairs.full_k,
            },
        )

    def finish(self, store: Store, account: UnitResult) -> None:
        """Chooses the threshold of what is published, now that all pairs are known."""
        if not self.eval_sets:
            return
        scores, verified = [np.empty(0, np.float32)], [np.empty(0, bool)]
        for unit in range(self.num_buckets):
            table = store.read_table(bucket_file(self.name, unit, self.num_buckets), ["score", "verified"])
            scores.append(table["score"].to_numpy())
            verified.append(table["verified"].to_numpy(zero_copy_only=False))
        value = store.read_json(THRESHOLDS_FILE)
        thresholds = Thresholds.from_json(value)
        report = self.decontaminate.report_similarity
        if report is None:
            report = report_threshold(
                thresholds,
                np.concatenate(scores),
                np.concatenate(verified),
                false_reports=self.decontaminate.false_reports,
            )
        store.write_json(THRESHOLDS_FILE, {**value, **dataclasses.replace(thresholds, report=report).to_json()})


@dataclasses.dataclass(frozen=True, eq=False)
class Tools:
    """What a worker needs of the eval sets: loaded once."""

    index: EvalIndex
    pictures: BuildPictures
    verifier: Verifier
    background: Background | None


def load_tools(store: Store, embed: Embed) -> Tools:
    """The sets of a build, ready for search; the same ones for every unit of a process.

    Raises:
        DedupError: they are of another configuration or model.
    """
    spec = embedder_spec(embed)
    print_ = store.read_json(SETS_FILE)["fingerprint"]
    written = store.fs.get_file_info(store.path(BACKGROUND_FILE)).mtime_ns  # a former build's is not taken for it
    return _tools(store.root, embedder_fingerprint(spec), load_embedder(spec).dim, print_, written)


@functools.lru_cache(maxsize=1)
def _tools(root: str, embedder: str, dim: int, print_: str, background: int | None) -> Tools:
    store = Store(root)
    index = load_index(root, embedder, dim, print_)
    pictures = BuildPictures(store, read_headers(store))
    return Tools(
        index, pictures, Verifier(pictures, index.views), None if background is None else read_background(store)
    )


def _verified(store: Store, tar: str, verifier: Verifier, pairs: Pairs) -> list[Alignment | None]:
    """How each pair aligns."""
    places: dict[bytes, list[int]] = {}
    for place, key in enumerate(pairs.keys.to_pylist()):
        places.setdefault(key, []).append(place)
    asked = {key: [(int(pairs.eval_index[i]), int(pairs.view[i])) for i in mine] for key, mine in places.items()}
    found: list[Alignment | None] = [None] * len(pairs.row)
    for key, which, alignment in verifier.bucket(store, tar, asked):
        found[places[key][which]] = alignment
    return found


def overlaps_table(pairs: Pairs, found: list[Alignment | None], index: EvalIndex, options: Decontaminate) -> pa.Table:
    """OVERLAPS in its order."""
    names, ids = index.images["eval_set"].to_pylist(), index.images["eval_id"].to_pylist()
    # Ties of similarity break by set and id, not by the order of the configuration.
    place = {row: i for i, row in enumerate(sorted(set(pairs.eval_index.tolist()), key=lambda r: (names[r], ids[r])))}
    places = np.array([place[row] for row in pairs.eval_index.tolist()], np.int64)
    order = np.lexsort((places, -pairs.similarity, pairs.row))
    rows, aligned = pairs.eval_index[order].tolist(), [found[i] for i in order.tolist()]
    return pa.table(
        [
            pairs.keys.take(pa.array(order)),
            pa.array([names[row] for row in rows], pa.string()),
            pa.array([ids[row] for row in rows], pa.string()),
            pa.array([index.views[view].name for view in pairs.view[order].tolist()], pa.string()),
            pa.array(pairs.similarity[order]),
            pa.array(pairs.score[order]),
            pa.array([a and a.ssim for a in aligned], pa.float32()),
            pa.array([a and a.ssim_low for a in aligned], pa.float32()),
            pa.array([a and a.describe() for a in aligned], pa.string()),
            pa.array([a is not None and a.is_alike(options.remove_ssim) for a in aligned], pa.bool_()),
            pa.array([a is not None and a.is_verified(options.verify_ssim) for a in aligned], pa.bool_()),
        ],
        schema=OVERLAPS,
    )
