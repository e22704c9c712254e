"""The stages `visual_sums` (sums of each class, then the fit) and `visual` (both scores of every candidate).

In: evidence/, scores/ and embeddings/ of a build, its hierarchy. Out: `visual/BUCKET.parquet`, rows of `VISUAL`: two
for each candidate whose image has a vector, of the sources "visual_margin" and "visual_mode". A second build names the
folder under [[inputs]], so that its filter weighs them like any other source; none of the two waits for the other.

A unit of the first stage is a group of buckets, lest the driver add up a table of all classes for each of thousands of
buckets. Sums are float64 and added in the order of images, buckets and groups, and a unit computes in one thread, since
the order of a matrix product's additions depends on the threads: any number of workers gives the same bytes on one kind
of machine.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
import pyarrow as pa

from openjft.pipelines.config import Config
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.hierarchy import load_closure, load_taxonomy
from openjft.pipelines.schema import URI
from openjft.pipelines.storage import Store, bucket_file
from openjft.pipelines.threads import one_thread

from .files import (
    FOLDER,
    MARGIN_SOURCE,
    MODE_SOURCE,
    SUMS,
    VISUAL,
    Bucket,
    load_model,
    load_related,
    read_bucket,
    read_moments,
    read_samples,
    write_model,
    write_moments,
    write_sample,
)
from .means import KAPPA
from .model import fit_model
from .modes import NUM_MODES, ModeSample
from .moments import IDENTITY_IMAGES, MIN_SHRINKAGE, MIN_WEIGHT, Accumulator, Int64s, Moments

MAX_GROUPS: Final = 64  # at 18k classes of 512 dimensions 75 MB each that the driver adds up
BATCH: Final = 8192  # images at a time: 32 MB of float64 at 512 dimensions
SAMPLE_VALUES: Final = 1 << 29  # float16 values that the driver holds for the modes: 1 GiB
SAMPLE_IMAGES: Final = (32, 256)  # of a class, at least and at most


@dataclasses.dataclass(frozen=True)
class VisualSumsStage(Stage):
    """Adds up the vectors of each class; in the end fits whitening, class means and modes."""

    name: ClassVar[str] = SUMS
    noun: ClassVar[str] = "labels"
    unit_noun: ClassVar[str] = "groups of buckets"
    heavy: ClassVar[bool] = True
    num_buckets: int
    seed: int

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(config.build.buckets, config.build.seed)

    def num_units(self) -> int:
        """One for each group."""
        return min(self.num_buckets, MAX_GROUPS)

    def settings(self) -> Mapping[str, Any]:
        """All that the fit depends on."""
        constants = {"kappa": KAPPA, "modes": NUM_MODES, "identity": IDENTITY_IMAGES, "shrinkage": MIN_SHRINKAGE}
        sample = {"values": SAMPLE_VALUES, "images": SAMPLE_IMAGES, "groups": self.num_units(), "batch": BATCH}
        return {**constants, "weight": MIN_WEIGHT, "sample": sample, "buckets": self.num_buckets, "seed": self.seed}

    def run(self, unit: int, store: Store) -> UnitResult:
        """Sums and sample of one group of buckets."""
        _, closure = load_closure(store)
        units = self.num_units()
        total: Accumulator | None = None
        rows_in, rows_out, dim, rejects = 0, 0, 0, Counter[str]()
        with one_thread():
            for number in range(unit * self.num_buckets // units, (unit + 1) * self.num_buckets // units):
                bucket = read_bucket(store, number, self.num_buckets)
                if total is None:
                    dim = bucket.vectors.shape[1]
                    total = Accumulator(closure.num_categories, dim)
                    sampler = Sampler(closure.num_categories, dim, units)
                _check_dim(bucket, number, dim)
                _add(total, bucket)
                sampler.add(bucket)
                rows_in, rows_out = rows_in + bucket.rows_in, rows_out + len(bucket.label)
                rejects.update(bucket.rejects)
        assert total is not None, "a group has buckets"
        write_moments(store, unit, units, total.total())
        write_sample(store, unit, units, sampler.sample())
        return UnitResult(rows_in=rows_in, rows_out=rows_out, rejects=dict(rejects))

    def finish(self, store: Store, account: UnitResult) -> None:
        """Adds up the groups and fits.

        Raises:
            PipelineError: no candidate has a vector, or the vectors are of two models.
        """
        if not account.rows_out:
            raise PipelineError(
                f"visual: expected candidates whose images have vectors, found none among {account.rows_in:,}: "
                f"{dict(account.rejects)}. Does embeddings/ belong to this build?"
            )
        _, closure = load_closure(store)
        units = self.num_units()
        total: Accumulator | None = None
        with one_thread():
            for unit in range(units):
                part = read_moments(store, unit, units)
                total = total or Accumulator(closure.num_categories, part.dim)
                if part.dim != total.dim:
                    raise _two_models(part.dim, total.dim)
                total.add(part)
            assert total is not None, "there are groups"
            moments = total.total()
            related = load_related(store, closure)
            model = fit_model(moments, read_samples(store, units), closure, related, seed=self.seed)
        write_model(store, model, _facts(moments, len(model.modes.label)))


@dataclasses.dataclass(frozen=True)
class VisualStage(Stage):
    """Scores the candidates of each bucket by the fitted model."""

    name: ClassVar[str] = FOLDER
    noun: ClassVar[str] = "labels"
    heavy: ClassVar[bool] = True
    num_buckets: int

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(config.build.buckets)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """All that counts is upstream."""
        return {"buckets": self.num_buckets}

    def run(self, unit: int, store: Store) -> UnitResult:
        """Scores one bucket."""
        bucket = read_bucket(store, unit, self.num_buckets)
        model = load_model(store)
        _check_dim(bucket, unit, len(model.whitening.centre))
        with one_thread():
            scores = model.score(bucket.vectors, bucket.row, bucket.label, bucket.weight)
        place = pa.array(bucket.place)
        uris = store.read_table(bucket_file("evidence", unit, self.num_buckets), [URI])[URI].take(place)
        ids = pa.array(load_taxonomy(store).ids, pa.string()).take(pa.array(bucket.label))
        twice = pa.array(np.repeat(np.arange(len(place)), 2))
        sources = pa.DictionaryArray.from_arrays(
            np.tile(np.arange(2, dtype=np.int8), len(place)), [MARGIN_SOURCE, MODE_SOURCE]
        )
        both = np.stack([scores.margin, scores.mode], axis=1).reshape(-1)
        columns = [uris.take(twice), ids.take(twice), sources.cast(pa.string()), pa.array(both)]
        store.write_table(bucket_file(self.name, unit, self.num_buckets), pa.table(columns, schema=VISUAL))
        counters = {"scores": len(both), "without_competitor": int(scores.alone.sum())}
        return UnitResult(rows_in=bucket.rows_in, rows_out=len(place), rejects=dict(bucket.rejects), counters=counters)


class Sampler:
    """Takes the first images of each class, in key order, up to a class's share of a group.

    Groups are equal ranges of hashed keys, so all of them together are a sample of the class's images that depends on
    nothing else than the keys.
    """

    def __init__(self, num_categories: int, dim: int, units: int) -> None:
        low, high = SAMPLE_IMAGES
        of_class = int(np.clip(SAMPLE_VALUES // (num_categories * dim), low, high))
        self._quota = -(-of_class // units)
        self._taken = np.zeros(num_categories, np.int64)
        self._parts = [ModeSample(np.zeros(0, np.int32), np.zeros(0), np.zeros((0, dim), np.float16))]

    def add(self, bucket: Bucket) -> None:
        """Takes what there is room for."""
        order = np.argsort(bucket.label, kind="stable")
        label = bucket.label[order]
        rank = np.arange(len(label)) - np.searchsorted(label, label)
        chosen = order[self._taken[label] + rank < self._quota]
        self._taken += np.bincount(bucket.label[chosen], minlength=len(self._taken))
        self._parts.append(ModeSample(bucket.label[chosen], bucket.weight[chosen], bucket.vectors[bucket.row[chosen]]))

    def sample(self) -> ModeSample:
        """All of it, by class and, within it, in key order."""
        label, weight, vectors = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.argsort(label, kind="stable")
        return ModeSample(label[order], weight[order], vectors[order])


def _add(total: Accumulator, bucket: Bucket) -> None:
    for start in range(0, len(bucket.vectors), BATCH):
        part = bucket.vectors[start : start + BATCH]
        rows = slice(*np.searchsorted(bucket.row, [start, start + len(part)]))
        row: Int64s = bucket.row[rows] - start
        total.add(Moments.of(part, row, bucket.label[rows], bucket.weight[rows]))


def _check_dim(bucket: Bucket, number: int, dim: int) -> None:
    if bucket.vectors.shape[1] != dim:
        raise _two_models(bucket.vectors.shape[1], dim, f" in bucket {number}")


def _two_models(found: int, expected: int, where: str = "") -> PipelineError:
    return PipelineError(
        f"visual: expected vectors of {expected} dimensions{where}, found {found}: embeddings/ is of two models. Run "
        "`openjft embed CONFIG` again"
    )


def _facts(moments: Moments, num_modes: int) -> dict[str, Any]:
    return {
        "dim": moments.dim,
        "classes": len(moments.labels),
        "labels": int(moments.images.sum()),
        "classes_of_one_image": int((moments.images == 1).sum()),
        "modes": num_modes,
    }
