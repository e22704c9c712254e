"""The build's thresholds: how near different images come here, measured on a sample of its own vectors.

In: the first buckets of `embeddings/` (keys are hashes, so they are a uniform sample), the index, and `images/` where
it is there. Out: `evalsets/thresholds.json`, and the background vectors of normalised scores. Pairs of the sample
that verify as copies are taken out before the tail is fitted.
"""

from __future__ import annotations

import concurrent.futures
from typing import Final

import numpy as np
import numpy.typing as npt

from openjft.dedup import Embedder, EvalIndex, EvalSetSpec, default_threads, read_eval_set
from openjft.dedup.alignment import ALIGNMENT_VERSION
from openjft.dedup.background import Background
from openjft.dedup.resample import Float32
from openjft.dedup.tail import TailForm
from openjft.dedup.thresholds import Sample, Thresholds, choose_thresholds, fit_tails, listed_score, sample_pairs
from openjft.dedup.vectors import Float16
from openjft.pipelines.config import Decontaminate, Fetch
from openjft.pipelines.engine import note
from openjft.pipelines.evalsets.files import BACKGROUND_FILE
from openjft.pipelines.evalsets.images import EvalImages
from openjft.pipelines.storage import Store, bucket_file
from openjft.pipelines.stored import stored_images

from .search import count_vectors, read_vectors
from .verify import Verifier

BACKGROUND_IMAGES: Final = 10_000
CALIBRATION_VERSION: Final = (1, ALIGNMENT_VERSION)
_CHUNK: Final = 64  # pairs verified at a time, from the highest score down ...
_PATIENCE: Final = 2  # ... until so many chunks in a row hold no copy


def write_background(
    store: Store, options: Decontaminate, fetch: Fetch, embedder: Embedder, *, num_buckets: int
) -> None:
    """Keeps the vectors that scores are normalised by: of the configured folder, or the build's first ones.

    Raises:
        EvalSetError: the folder holds no images.
    """
    if options.background is None:
        vectors, _ = first_vectors(store, BACKGROUND_IMAGES, embedder.dim, num_buckets)
    else:
        spec = EvalSetSpec(name="background", format="folder", root=options.background)
        images = EvalImages(read_eval_set(spec), fetch)
        parts = [embedder.embed([images.framed(pixels)]) for _, pixels in images.originals()]
        images.check()
        vectors = np.concatenate(parts)
    with store.writing(BACKGROUND_FILE) as sink:
        np.save(sink, vectors.astype(np.float16), allow_pickle=False)


def read_background(store: Store) -> Background:
    """What `write_background` kept."""
    with store.reading(BACKGROUND_FILE) as source:
        vectors: Float16 = np.lib.format.read_array(source, allow_pickle=False)
    return Background(vectors)


def first_vectors(store: Store, wanted: int, dim: int, num_buckets: int) -> tuple[Float32, list[tuple[int, bytes]]]:
    """The build's first vectors in key order, a uniform sample: (n, dim), and (bucket, key) of each."""
    parts: list[Float32] = [np.empty((0, dim), np.float32)]
    places: list[tuple[int, bytes]] = []
    for bucket in range(num_buckets):
        source = bucket_file("embeddings", bucket, num_buckets)
        with store.reading(source) as stream:
            for keys, vectors in read_vectors(stream, dim, origin=source):
                take = min(len(keys), wanted - len(places))
                parts.append(vectors[:take])
                places += [(bucket, key) for key in keys[:take].to_pylist()]
                if len(places) == wanted:
                    return np.concatenate(parts), places
    return np.concatenate(parts), places


def calibrate(
    store: Store,
    index: EvalIndex,
    verifier: Verifier,
    options: Decontaminate,
    *,
    default: float,
    form: TailForm,
    background: Background | None,
    seed: int,
    num_buckets: int,
) -> Thresholds:
    """Fits the tails and chooses the thresholds.

    Args:
        store: the build's.
        index: all eval sets.
        verifier: tells copies in the sample.
        options: of the configuration.
        default: the descriptor's own removal threshold.
        form: of its tails.
        background: of normalised scores.
        seed: of the intervals' resampling.
        num_buckets: of the build.
    """
    vectors, places = first_vectors(store, options.tail_queries, index.dim, num_buckets)
    sample = sample_pairs(index, vectors, background=background)
    copies = _copies(store, sample, places, verifier, options.remove_ssim, num_buckets)
    references = len(np.unique(index.rows[:, 0]))
    images, pairs = fit_tails(sample, copies, references=references, form=form, seed=seed)
    return choose_thresholds(
        images,
        pairs,
        queries=count_vectors(store, (bucket_file("embeddings", b, num_buckets) for b in range(num_buckets))),
        references=references,
        false_removals=options.false_removals,
        default=default,
        configured=options.remove_similarity,
        normalised=background is not None,
        listed=listed_score(sample, copies, share=options.listed_images),
    )


def _copies(
    store: Store,
    sample: Sample,
    places: list[tuple[int, bytes]],
    verifier: Verifier,
    min_ssim: float,
    num_buckets: int,
) -> npt.NDArray[np.bool_]:
    """(pairs,) which pairs of the sample are alike, looked at from the highest score down; the images are read once."""
    matches = sample.matches
    keys = [places[query][1] for query in matches.query_index.tolist()]
    jpegs = stored_images(store, num_buckets, keys)
    copies = np.zeros(len(matches.score), bool)
    order = np.argsort(-matches.score, kind="stable")
    without = 0

    def is_copy(pair: int) -> bool:
        jpeg = jpegs.get(keys[pair])
        if jpeg is None:
            return False
        found = verifier.align_jpeg(jpeg, int(matches.eval_index[pair]), int(matches.view[pair]))
        return found is not None and found.is_alike(min_ssim)

    with concurrent.futures.ThreadPoolExecutor(default_threads()) as pool:
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            copies[chunk] = list(pool.map(is_copy, chunk.tolist()))
            note(f"thresholds: {start + len(chunk):,} near pairs looked at, {int(copies.sum()):,} copies left out")
            without = 0 if copies[chunk].any() else without + 1
            if without == _PATIENCE:
                break
    return copies
