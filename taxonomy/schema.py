"""Arrow schemas of the hierarchy's two files. Field names stand here and nowhere else.

`vocabulary.parquet` has one row for each category, in label order: row i is label i. `edges.parquet` has one row
for each (child, parent), sorted. Both are written into every dataset, which so explains its own labels.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

VOCABULARY: Final = pa.schema(
    [
        pa.field("label", pa.int32(), nullable=False),  # dense: the position of the id among all ids, bytes order
        pa.field("id", pa.string(), nullable=False),  # external id: wnid, MID, name
        pa.field("name", pa.string(), nullable=False),
        pa.field("synonyms", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
        pa.field("definition", pa.string()),
        # further ids of the same category: a vocabulary's index, another release's id, an id merged into this one
        pa.field("aliases", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
    ]
)

EDGES: Final = pa.schema(
    [
        pa.field("child", pa.int32(), nullable=False),
        pa.field("parent", pa.int32(), nullable=False),
    ]
)
