"""Arrow schemas and file names of everything the pipelines package owns. Field names stand here and nowhere else.

Owned elsewhere: embeddings and overlaps (`openjft.dedup.schema`), shards, their index and manifest
(`openjft.loaders.schema`), vocabulary and edges (`openjft.taxonomy.schema`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

KEY: Final = "image_key"
LABEL: Final = "label"
URI: Final = "uri"
KEY_TYPE: Final = pa.binary(16)

# -- ingest: what the mapping of column names must produce from any input format -----------------------------
# `label` is the text as given (external id, name, free text); null `page`, `score`, ... mean "not told".
RAW: Final = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("label", pa.string()),
        pa.field("source", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("page", pa.string()),
        pa.field("clicks", pa.int64()),
        pa.field("impressions", pa.int64()),
        pa.field("position", pa.float64()),  # mean place at which it was shown, 1 the first
        pa.field("text", pa.string()),  # that the row was read from
        pa.field("negative", pa.bool_()),  # a person saw the image and says that the label is wrong
    ]
)

# A rejected raw row: enough to find it again and to see why.
REJECTS: Final = pa.schema(
    [
        pa.field("reason", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # 0-based within the file
        pa.field("uri", pa.string()),
        pa.field("label", pa.string()),
        pa.field("source", pa.string()),
        pa.field("detail", pa.string()),
    ]
)

REJECT_REASONS: Final = (
    "missing_uri",
    "bad_uri",
    "forbidden_scheme",
    "missing_label",
    "unknown_label",
    "ambiguous_label",
    "no_match",  # free text in which no category's name occurs
    "ambiguous_text",  # free text in which names occur, but none that surely means one of the categories
    "unknown_source",
    "bad_score",  # NaN, infinite, or not a number
    "bad_count",  # clicks or impressions negative, or clicks above impressions
    "bad_position",  # below 1, or not a number
    "bad_negative",  # neither 0 nor 1
    "bad_row",  # the row does not parse: wrong number of fields, not JSON
)


def evidence_schema(sources: Sequence[str]) -> pa.Schema:
    """One row for each (image, label), sorted by (image_key, label), with each source's evidence.

    `opportunity` has bit i set where source i said anything about the image, whatever the label: it tells
    "had no chance" from "looked and stayed silent". For source s: `s.rows` raw rows that assert the label (0 =
    silent), `s.domains` distinct registered domains among their pages, `s.support` the number of independent statements
    that they are worth (pages of one domain and texts of one template count less), `s.statements` the same of all
    that the source says about the image, whatever the label; `s.score` the best score (null: none given), `s.clicks`
    and `s.impressions` sums, `s.exposure` the impressions by their places (METHODS.md, section 1).
    """
    fields = [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field(URI, pa.string(), nullable=False),
        pa.field("opportunity", pa.uint64(), nullable=False),
    ]
    for name in sources:
        fields += [
            pa.field(f"{name}.rows", pa.int32(), nullable=False),
            pa.field(f"{name}.domains", pa.int32(), nullable=False),
            pa.field(f"{name}.support", pa.float32(), nullable=False),
            pa.field(f"{name}.statements", pa.float32(), nullable=False),
            pa.field(f"{name}.score", pa.float32()),
            pa.field(f"{name}.clicks", pa.int64(), nullable=False),
            pa.field(f"{name}.impressions", pa.int64(), nullable=False),
            pa.field(f"{name}.exposure", pa.float32(), nullable=False),
        ]
    return pa.schema(fields)


# -- ingest: labels that a person refused, sorted by (image_key, label); a file for every bucket ---------------
NEGATIVES: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),  # raw rows that say so
    ]
)
VERIFIED_NEGATIVE: Final = "verified_negative"  # why `evidence` drops a candidate: a person refused this very label

# -- precision: the filter's probability of each candidate, row for row those of evidence/ ---------------------
SCORES: Final = pa.schema(
    [
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),  # whole millionths
    ]
)

# -- precision: kept labels, sorted by (image_key, label) ----------------------------------------------------
LABELS: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field(URI, pa.string(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("sources", pa.uint64(), nullable=False),  # bit i: source i fired
    ]
)

# -- expand: kept labels and their ancestors, sorted by (image_key, label) -----------------------------------
EXPANDED: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("asserted", pa.bool_(), nullable=False),  # False: inferred through the hierarchy
        pa.field("from_label", pa.int32(), nullable=False),  # asserted label that it comes from; itself if asserted
    ]
)

# -- expand: asserted labels that contradict each other or a person, sorted by (image_key, label_a, label_b) --
# "disjoint": two asserted labels, label_a < label_b, below a pair of categories that the data show to be disjoint.
# "verified_negative": label_a is asserted, and a person denied label_b, which is label_a or an ancestor of it.
CONTRADICTIONS: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field("label_a", pa.int32(), nullable=False),
        pa.field("label_b", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("lift", pa.float32()),  # of the disjoint pair; null for "verified_negative"
        # That at least one of the two is wrong; of "verified_negative", that label_a is.
        pa.field("probability", pa.float32(), nullable=False),
    ]
)

# -- fetch: one row for every image asked for, failures too, sorted by image_key -----------------------------
CATALOG: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(URI, pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # "ok" or one of FETCH_REASONS
        pa.field("detail", pa.string()),
        pa.field("http_status", pa.int16()),
        pa.field("attempts", pa.int16(), nullable=False),
        pa.field("sha256", pa.binary(32)),  # of the bytes as received
        pa.field("original_bytes", pa.int64()),
        pa.field("original_width", pa.int32()),
        pa.field("original_height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("bytes", pa.int32()),  # as stored
    ]
)

STATUS_OK: Final = "ok"
FETCH_REASONS: Final = (
    "forbidden_scheme",
    "forbidden_path",
    "private_address",
    "dns_failed",
    "connect_failed",
    "timeout",
    "tls_failed",
    "http_error",  # 4xx, or 5xx after the last retry; http_status tells which
    "redirect_loop",
    "disallowed",  # the server's X-Robots-Tag forbids use
    "too_many_bytes",
    "read_failed",
    "not_found",  # file or object
    "empty",
    "not_an_image",
    "truncated",
    "too_many_pixels",
    "too_small",
    "decode_failed",
)
