"""What this package reads and writes in a build's folder: buckets joined, the fitted model, the scores.

`visual_sums/` sums of groups of buckets, with a sample of each class and, under fit/, the model; `visual/` the scores,
of the columns that any input has, so that another build names the folder under [[inputs]].
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.dedup import vectors_of
from openjft.dedup.schema import KEY, VECTOR
from openjft.pipelines.contradictions import Images
from openjft.pipelines.errors import StaleError
from openjft.pipelines.hierarchy import CONFUSIONS_FILE, load_closure
from openjft.pipelines.schema import LABEL
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Closure, Csr

from .distances import Competitors, relatives
from .means import ClassMeans
from .model import VisualModel
from .modes import Modes, ModeSample
from .moments import MIN_WEIGHT, Floats, Int32s, Int64s, Moments, Whitening

SUMS: Final = "visual_sums"
SECOND_FOLDER: Final = f"{SUMS}/second"
SAMPLE_FOLDER: Final = f"{SUMS}/sample"
WHITENING_FILE: Final = f"{SUMS}/fit/whitening.parquet"
MEANS_FILE: Final = f"{SUMS}/fit/means.parquet"
MODES_FILE: Final = f"{SUMS}/fit/modes.parquet"
FIT_FILE: Final = f"{SUMS}/fit/fit.json"  # written last
FOLDER: Final = "visual"

MARGIN_SOURCE: Final = "visual_margin"
MODE_SOURCE: Final = "visual_mode"
NO_EMBEDDING: Final = "no_embedding"  # the image was not fetched, or could not be decoded
BAD_VECTOR: Final = "bad_vector"  # NaN, infinite, or all zeros

# Two rows for each candidate whose image has a vector, one a source, in the order of evidence/.
VISUAL: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field(LABEL, pa.string(), nullable=False),  # external id
        pa.field("source", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True)
class Bucket:
    """The candidates of a bucket whose images have vectors.

    Attributes:
        vectors: (images, d) float16 of images with candidates, in key order; finite, none all zeros.
        row: (n,) int64 image of each candidate, rising.
        label: (n,) int32.
        weight: (n,) its probability, at least `MIN_WEIGHT`.
        place: (n,) int64 its row of evidence/.
        rows_in: candidates of the bucket.
        rejects: those that are left out, by reason.
    """

    vectors: npt.NDArray[np.float16]
    row: Int64s
    label: Int32s
    weight: Floats
    place: Int64s
    rows_in: int
    rejects: Mapping[str, int]


def read_bucket(store: Store, bucket: int, num_buckets: int) -> Bucket:
    """Joins evidence/, scores/ and embeddings/ of one bucket.

    Raises:
        StaleError: a file is missing, or the files are of two builds.
    """
    evidence, scores, embeddings = (
        bucket_file(stage, bucket, num_buckets) for stage in ("evidence", "scores", "embeddings")
    )
    for path, command in ((evidence, "ingest"), (scores, "precision"), (embeddings, "embed")):
        if not store.exists(path):
            raise StaleError(
                f"visual: expected {path} in {store.root}, found none: not made yet, or made with another "
                f"build.buckets. Run `openjft {command} CONFIG` first"
            )
    rows = store.read_table(evidence, [KEY, LABEL])
    scored = store.read_table(scores, [LABEL, "probability"])
    if not scored[LABEL].equals(rows[LABEL]):
        raise StaleError(
            f"visual: expected {scores} to have the {rows.num_rows:,} rows of {evidence}, found "
            f"{scored.num_rows:,} or other labels: they are of two builds. Run `openjft precision CONFIG` again"
        )
    table = store.read_table(embeddings, [KEY, VECTOR])
    vectors = vectors_of(table[VECTOR], table.schema.field(VECTOR).type.list_size, origin=embeddings)
    images = Images.of(table[KEY])
    found = images.find(rows[KEY])
    usable = np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1)
    has = found >= 0
    kept = has.copy()
    kept[has] = usable[found[has]]
    weight = scored["probability"].to_numpy().astype(np.float64)
    rejects = {NO_EMBEDDING: int((~has).sum()), BAD_VECTOR: int((has & ~kept).sum())}
    used, row = np.unique(found[kept], return_inverse=True)
    return Bucket(
        vectors if len(used) == len(vectors) else vectors[used],  # NaN would spread, though with weight 0
        row,
        rows[LABEL].to_numpy()[kept],
        np.maximum(weight[kept], MIN_WEIGHT),
        np.flatnonzero(kept),
        rows.num_rows,
        {reason: count for reason, count in rejects.items() if count},
    )


def load_related(store: Store, closure: Closure) -> Csr:
    """For each category those that are no competitors of it, by the build's hierarchy and its list of confusions."""
    pairs = store.read_table(CONFUSIONS_FILE, [LABEL, "inside_label"])
    return relatives(closure, pairs[LABEL].to_numpy(), pairs["inside_label"].to_numpy())


def lists_of(values: npt.NDArray[Any]) -> pa.FixedSizeListArray:
    """(n, d) as a column of lists."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    kind = pa.list_(pa.field("item", flat.type, nullable=False), values.shape[1])
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def matrix_of(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """(n, d) of a column of lists."""
    column = column.combine_chunks()
    values: npt.NDArray[Any] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return values


def write_moments(store: Store, unit: int, units: int, moments: Moments) -> None:
    """The moments of a group of buckets, in two files."""
    columns = {
        LABEL: pa.array(moments.labels),
        "images": pa.array(moments.images),
        "weight": pa.array(moments.weight),
        "weight_squares": pa.array(moments.weight_squares),
        "sums": lists_of(moments.sums),
    }
    store.write_table(bucket_file(SUMS, unit, units), pa.table(columns))
    store.write_table(bucket_file(SECOND_FOLDER, unit, units), pa.table({"second": lists_of(moments.second)}))


def read_moments(store: Store, unit: int, units: int) -> Moments:
    """Those of `write_moments`."""
    table = store.read_table(bucket_file(SUMS, unit, units))
    second = matrix_of(store.read_table(bucket_file(SECOND_FOLDER, unit, units))["second"])
    counts = [table[name].to_numpy() for name in (LABEL, "images", "weight", "weight_squares")]
    return Moments(counts[0], counts[1], counts[2], counts[3], matrix_of(table["sums"]), second)


def write_sample(store: Store, unit: int, units: int, sample: ModeSample) -> None:
    """A group's sample of each class."""
    columns = [pa.array(sample.label), pa.array(sample.weight), lists_of(sample.vectors)]
    store.write_table(bucket_file(SAMPLE_FOLDER, unit, units), pa.table(columns, [LABEL, "weight", VECTOR]))


def read_samples(store: Store, units: int) -> ModeSample:
    """The samples of all groups as one, by class and, within it, in key order."""
    tables = [store.read_table(bucket_file(SAMPLE_FOLDER, unit, units)) for unit in range(units)]
    label, weight = (np.concatenate([table[name].to_numpy() for table in tables]) for name in (LABEL, "weight"))
    order = np.argsort(label, kind="stable")
    vectors = np.concatenate([matrix_of(table[VECTOR]) for table in tables])
    return ModeSample(label[order], weight[order], vectors[order])


def write_model(store: Store, model: VisualModel, account: Mapping[str, Any]) -> None:
    """The fitted model, and what is told of it."""
    whitening, means, modes = model.whitening, model.means, model.modes
    columns = {
        "centre": pa.array(whitening.centre),
        "overall": pa.array(means.overall),
        "matrix": lists_of(whitening.matrix),
    }
    store.write_table(WHITENING_FILE, pa.table(columns))
    used = np.flatnonzero(means.below > 0)
    store.write_table(
        MEANS_FILE,
        pa.table(
            {
                LABEL: pa.array(used.astype(np.int32)),
                "below": pa.array(means.below[used]),
                "weight": pa.array(means.weight[used]),
                "images": pa.array(means.images[used]),
                "inner": pa.array(means.inner[used]),
                "branch": lists_of(means.branch[used]),
                "mean": lists_of(means.mean[used]),
            }
        ),
    )
    columns = {
        LABEL: pa.array(modes.label),
        "weight": pa.array(modes.weight),
        "images": pa.array(modes.images),
        "score": pa.array(modes.score),
        "mean": lists_of(modes.mean),
    }
    store.write_table(MODES_FILE, pa.table(columns))
    digest = hashlib.sha256()
    for values in (whitening.matrix, means.mean, modes.mean, modes.score):
        digest.update(np.ascontiguousarray(values).data)
    value = {**account, "digest": digest.hexdigest(), "shrinkage": whitening.shrinkage}
    store.write_json(FIT_FILE, {**value, "total": means.total, "kappa": means.kappa})


def load_model(store: Store) -> VisualModel:
    """The fitted model; read once a process."""
    return _load(store.root, store.read_json(FIT_FILE)["digest"])


@functools.lru_cache(maxsize=1)
def _load(root: str, digest: str) -> VisualModel:
    del digest  # the key of the cache
    store = Store(root)
    _, closure = load_closure(store)
    fit, table = store.read_json(FIT_FILE), store.read_table(WHITENING_FILE)
    centre, overall, matrix = table["centre"].to_numpy(), table["overall"].to_numpy(), matrix_of(table["matrix"])
    table = store.read_table(MEANS_FILE)
    used, n = table[LABEL].to_numpy(), closure.num_categories

    def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        out = np.zeros((n, *values.shape[1:]), values.dtype)
        out[used] = values
        return out

    means = ClassMeans(
        branch=spread(matrix_of(table["branch"])),
        below=spread(table["below"].to_numpy()),
        mean=spread(matrix_of(table["mean"])),
        weight=spread(table["weight"].to_numpy()),
        images=spread(table["images"].to_numpy()),
        inner=spread(table["inner"].to_numpy()),
        overall=overall,
        total=fit["total"],
        kappa=fit["kappa"],
        closure=closure,
    )
    table = store.read_table(MODES_FILE)
    counts = [table[name].to_numpy() for name in (LABEL, "weight", "images", "score")]
    modes = Modes(counts[0], matrix_of(table["mean"]), counts[1], counts[2], counts[3])
    whitening = Whitening(centre, matrix, fit["shrinkage"])
    return VisualModel(whitening, means, Competitors.of(means, load_related(store, closure)), modes)
