"""The files of an index of plain tars: names, schemas and fields. They stand here and nowhere else.

    .openjft/collection.json     the tars, what became of their samples, the options
    .openjft/tars/NAME.parquet   TAR_INDEX: a row for each sample of NAME.tar that can be used, in the order of the tar
    .openjft/labels/DIGEST.parquet    LABEL_COUNTS of some of the tars, made again when it is missing
    .openjft/taxonomy/           vocabulary and edges, where a vocabulary was given

Labels are text here: which number each gets depends on the vocabulary that the reader takes.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from openjft.loaders.schema import KEY, KEY_BYTES

FOLDER: Final = ".openjft"
COLLECTION: Final = "collection.json"
FORMAT: Final = "openjft-tar-index"
FORMAT_VERSION: Final = 1
ENTRY: Final = b"openjft.entry"  # metadata of a tar's file: its entry in the list, as JSON

TAR_INDEX: Final = pa.schema(
    [
        pa.field(KEY, pa.binary(KEY_BYTES), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # of the sample: up to the first dot of the base name
        pa.field("offset", pa.int64(), nullable=False),  # of the image
        pa.field("size", pa.int32(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # pixels, as stored
        pa.field("height", pa.int32(), nullable=False),
        pa.field("labels", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
    ]
)

# How many images carry each label, by rising label.
LABEL_COUNTS: Final = pa.schema(
    [pa.field("label", pa.string(), nullable=False), pa.field("images", pa.int64(), nullable=False)]
)


def index_name(tar: str) -> str:
    """File of a tar's index, below the index's folder."""
    return f"tars/{tar.removesuffix('.tar')}.parquet"


def labels_name(digest: str) -> str:
    """File of the counts of some tars."""
    return f"labels/{digest[:32]}.parquet"
