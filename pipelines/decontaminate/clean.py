"""Lists of the eval images without a copy in the training set, in each benchmark's own format.

In: the pairs that were found. Out: below `evalsets/clean/NAME/`, what `openjft.dedup` writes for the set's layout:
the clean images, the ones found, and the ones that could not be decoded and so are neither. Where the set itself does
not lie on this machine any more, plain lists of ids.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup import EvalSetSpec
from openjft.dedup.errors import EvalSetError
from openjft.dedup.evalsets.clean import write_clean_list
from openjft.pipelines.evalsets.files import CLEAN_FOLDER
from openjft.pipelines.evalsets.sets import read_headers, read_ids
from openjft.pipelines.evalsets.stored import SetHeader
from openjft.pipelines.storage import Store


def write_clean_lists(store: Store, found: pa.Table) -> dict[str, list[str]]:
    """Writes the lists of all sets; returns the files of each, relative to the build's folder."""
    return {header.name: _write(store, header, found) for header in read_headers(store)}


def _write(store: Store, header: SetHeader, found: pa.Table) -> list[str]:
    folder = f"{CLEAN_FOLDER}/{header.name}"
    hit = pc.unique(found.filter(pc.equal(found["eval_set"], header.name))["eval_id"]).to_pylist()
    unknown = [each["eval_id"] for each in header.undecodable]

    def write(name: str, data: bytes) -> None:
        store.write_bytes(f"{folder}/{name}", data)

    try:
        names = write_clean_list(EvalSetSpec(**header.spec), hit, write, unknown_ids=unknown)
    except EvalSetError:  # the set is not here, or is another one by now
        ids = read_ids(store, header.name)
        parts = {"removed": set(hit), "unknown": set(unknown) - set(hit)}
        parts["clean"] = set(ids) - parts["removed"] - parts["unknown"]
        names = [f"{header.name}.{part}.txt" for part in parts]
        for name, part in zip(names, parts.values(), strict=True):
            write(name, "".join(f"{id_}\n" for id_ in ids if id_ in part).encode())
    return [f"{folder}/{name}" for name in names]
