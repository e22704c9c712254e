"""The dataset's own contract: names, schemas and fields of every file. They stand here and nowhere else.

A dataset is a folder:

    manifest.json                 what it is, and size and sha256 of every other file
    config.json                   the configuration that decided its content
    README.md                     a data card
    class_counts.parquet          CLASS_COUNTS
    taxonomy/vocabulary.parquet   `openjft.taxonomy.VOCABULARY`
    taxonomy/edges.parquet        `openjft.taxonomy.EDGES`
    shards/NAME-000012.tar        samples in key order: HEXKEY.jpg, HEXKEY.json
    shards/NAME-000012.parquet    INDEX of that tar
    shards/sizes.json             open_clip's count of each tar's samples
    groups.parquet                GROUPS, where samples show one picture

Shards are in key order among themselves, too: shard i's keys all lie before those of shard i + 1. Keys are hashes,
so a prefix of the dataset is a uniform sample of it.
"""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

FORMAT: Final = "openjft-dataset"
# Raised when a reader of the former version would go wrong. 2: the index tells where inferred labels come from, and the
# verified negatives; a reader of version 1 refuses its columns. 3: groups of samples that show one picture, which a
# subset must not tear apart.
FORMAT_VERSION: Final = 3
READABLE_VERSIONS: Final = (2, 3)  # a data set of version 2 has no groups

KEY: Final = "image_key"
KEY_BYTES: Final = 16

MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.json"
README: Final = "README.md"
CLASS_COUNTS_FILE: Final = "class_counts.parquet"
VOCABULARY_FILE: Final = "taxonomy/vocabulary.parquet"
EDGES_FILE: Final = "taxonomy/edges.parquet"
GROUPS_FILE: Final = "groups.parquet"
SHARDS: Final = "shards"
SIZES: Final = f"{SHARDS}/sizes.json"

SHARD_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
MAX_IMAGE_BYTES: Final = 1 << 28  # of one stored JPEG; an index that claims more is damaged
MAX_MANIFEST_BYTES: Final = 1 << 29  # 65,536 shards take 30 MB

# One row for each sample of a tar, in the tar's order. Offsets are of the members' data, in bytes from the tar's start.
INDEX: Final = pa.schema(
    [
        pa.field(KEY, pa.binary(KEY_BYTES), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),  # the JPEG's
        pa.field("size", pa.int32(), nullable=False),
        pa.field("json_offset", pa.int64(), nullable=False),
        pa.field("json_size", pa.int32(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),  # of the JPEG as stored
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        # These four lists are of one length; labels rise.
        pa.field("labels", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("probabilities", pa.list_(pa.field("item", pa.float32(), nullable=False)), nullable=False),
        pa.field("asserted", pa.list_(pa.field("item", pa.bool_(), nullable=False)), nullable=False),
        # The asserted label that each comes from: itself, or for an inferred one the surest below it.
        pa.field("from_labels", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        # Rising labels that a person denied, none of them in `labels`. All below them is denied, too; where an asserted
        # label lies below one, the two contradict each other and both are told.
        pa.field("negatives", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        # Key of the representative of the images that show the same picture, be that one here or not; null: alone.
        pa.field("group", pa.binary(KEY_BYTES)),
    ]
)
INDEX_2: Final = pa.schema([field for field in INDEX if field.name != "group"])  # of version 2

# Samples whose group has another key than their own, by number; the file is there only where there are some.
GROUPS: Final = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),  # of the sample, in the dataset's order
        pa.field(KEY, pa.binary(KEY_BYTES), nullable=False),
        pa.field("group", pa.binary(KEY_BYTES), nullable=False),
    ]
)

# One row for each category: images that carry it as asserted label, and at all (asserted or inferred).
CLASS_COUNTS: Final = pa.schema(
    [
        pa.field("label", pa.int32(), nullable=False),
        pa.field("asserted", pa.int64(), nullable=False),
        pa.field("expanded", pa.int64(), nullable=False),
    ]
)

PROBABILITY_DIGITS: Final = 6  # in a sample's JSON; the index holds the float32 itself


def shard_name(name: str, number: int) -> str:
    """Name of a shard without ending: `NAME-000012`."""
    return f"{name}-{number:06d}"


def tar_file(shard: str) -> str:
    """Path of a shard's tar inside the dataset."""
    return f"{SHARDS}/{shard}.tar"


def index_file(shard: str) -> str:
    """Path of a shard's index inside the dataset."""
    return f"{SHARDS}/{shard}.parquet"
