"""Arrow schemas of embeddings, overlaps and the evaluation images. Field names stand here and nowhere else."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

KEY: Final = "image_key"
VECTOR: Final = "vector"
PERCEPTUAL: Final = "perceptual"
KEY_TYPE: Final = pa.binary(16)


def embeddings_schema(dim: int) -> pa.Schema:
    """One row for each image that could be embedded, sorted by image_key; unit vectors, rounded to float16.

    `perceptual` is the hash of 64 bits of `openjft.dedup.bands`; null: too plain, or (a file without the column)
    embedded before there was one.
    """
    return pa.schema(
        [
            pa.field(KEY, KEY_TYPE, nullable=False),
            pa.field(VECTOR, pa.list_(pa.field("item", pa.float16(), nullable=False), dim), nullable=False),
            pa.field(PERCEPTUAL, pa.uint64()),
        ]
    )


# One row for each (training image, eval image) that is listed, the best view of the eval image only; sorted by
# image_key, similarity (falling), eval_set, eval_id. `score` is what thresholds are held against: the similarity,
# less the training image's mean similarity to a background set where scores are normalised.
OVERLAPS: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field("eval_set", pa.string(), nullable=False),
        pa.field("eval_id", pa.string(), nullable=False),
        pa.field("view", pa.string(), nullable=False),  # what was done to the eval image: identity, mirror, ...
        pa.field("similarity", pa.float32(), nullable=False),  # cosine, in [-1, 1]
        pa.field("score", pa.float32(), nullable=False),
        pa.field("ssim", pa.float32()),  # mean over the common part of the aligned grey images; null: not computed
        pa.field("ssim_low", pa.float32()),  # its 25th percentile
        pa.field("transform", pa.string()),  # "mirrored, 71 % of it, turned by 4 degrees"; null: not aligned
        pa.field("alike", pa.bool_(), nullable=False),  # aligned and alike, maybe another shot of the scene
        pa.field("verified", pa.bool_(), nullable=False),  # shows a copy
    ]
)

# The eval images of an index, in the order of the configuration and, within a set, of its ids.
EVAL_IMAGES: Final = pa.schema(
    [
        pa.field("eval_set", pa.string(), nullable=False),
        pa.field("eval_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
    ]
)

# One row for each row of OVERLAPS, in its order, with what was decided about the pair.
VERDICTS: Final = pa.schema(
    [
        *OVERLAPS,
        pa.field("level", pa.string(), nullable=False),  # one of LEVELS, by the two thresholds
        pa.field("decision", pa.string()),  # an auditor's, one of DECISIONS; null: none
        pa.field("overlap", pa.bool_(), nullable=False),  # counts as a copy in what is published
        pa.field("removed", pa.bool_(), nullable=False),  # the training image is left out for this pair
    ]
)
# Verified, and at the reporting threshold; alike or verified, or at the removal threshold; for slider and review.
LEVELS: Final = ("reported", "removal", "listed")
DECISIONS: Final = ("copy", "different", "unsure")

# Images of the training set that show one picture; one row for each image in a group of two or more, by image_key.
DUPLICATES: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field("group", KEY_TYPE, nullable=False),  # image_key of the group's representative
        pa.field("kind", pa.string(), nullable=False),  # "exact": the same bytes as received; "near"
        pa.field("similarity", pa.float32(), nullable=False),  # to the representative; its own is 1
        pa.field("kept", pa.bool_(), nullable=False),  # by the policy
    ]
)
