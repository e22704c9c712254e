"""Decontamination: descriptors, evaluation sets, exact search, verification, planted recall.

What finds images of a training set that show an evaluation image. Knows nothing of Beam, buckets or where images come
from: `openjft.pipelines.embed` and `.decontaminate` feed it.

Descriptors: `EmbedderSpec`, `make_embedder`, `preprocessing`, `embedder_fingerprint`, `default_remove_similarity`,
`Embedder`.
Eval sets: `EvalSetSpec`, `read_eval_set`, `EvalSet`, `write_clean_list`.
Search: `make_views`, `View`, `EvalIndex`, `Matches`.
Verification and measurement: `ssim`, `grey`, `planted_recall`, `sample_rows`, `Recall`, `clopper_pearson`.
Review: `read_decisions`, `Decisions`, `Decision`.
Tables: `embeddings_schema`, `OVERLAPS`, `EVAL_IMAGES`, `embeddings_table`, `vectors_of`.
"""

from .decisions import Decision, Decisions, read_decisions
from .descriptors.factory import (
    default_remove_similarity,
    embedder_fingerprint,
    make_embedder,
    preprocessing,
    tail_form,
)
from .descriptors.onnx_model import default_threads
from .embedder import Embedder, EmbedderSpec
from .errors import DecisionsError, DedupError, EmbedderError, EvalSetError, IndexMismatchError
from .evalsets import EvalSet, EvalSetSpec, read_eval_set, write_clean_list
from .index import EvalIndex, Matches
from .interval import clopper_pearson
from .planted import Recall, planted_recall, sample_rows
from .resample import grey
from .schema import EVAL_IMAGES, OVERLAPS, embeddings_schema
from .ssim import ssim
from .vectors import embeddings_table, vectors_of
from .views import View, make_views

__all__ = [
    "EVAL_IMAGES",
    "OVERLAPS",
    "Decision",
    "Decisions",
    "DecisionsError",
    "DedupError",
    "Embedder",
    "EmbedderError",
    "EmbedderSpec",
    "EvalIndex",
    "EvalSet",
    "EvalSetError",
    "EvalSetSpec",
    "IndexMismatchError",
    "Matches",
    "Recall",
    "View",
    "clopper_pearson",
    "default_remove_similarity",
    "default_threads",
    "embedder_fingerprint",
    "embeddings_schema",
    "embeddings_table",
    "grey",
    "make_embedder",
    "make_views",
    "planted_recall",
    "preprocessing",
    "read_decisions",
    "read_eval_set",
    "sample_rows",
    "ssim",
    "tail_form",
    "vectors_of",
    "write_clean_list",
]
