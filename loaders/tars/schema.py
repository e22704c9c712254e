"""The files of an index of plain tars: names, schemas and fields. They stand here and nowhere else.

    .openjft/collection.json     COLLECTION: the tars, what became of their samples, how often each label occurs
    .openjft/NAME.parquet        TAR_INDEX: a row for each sample of NAME.tar, in the order of the tar

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

TAR_INDEX: Final = pa.schema(
    [
        pa.field(KEY, pa.binary(KEY_BYTES), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # of the sample: up to the first dot of the base name
        pa.field("offset", pa.int64(), nullable=False),  # of the image
        pa.field("size", pa.int32(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("labels", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
    ]
)


def index_name(tar: str) -> str:
    """File of a tar's index, below the index's folder."""
    return f"{tar.removesuffix('.tar').replace('/', '__')}.parquet"
