"""One image's way through a build: what each source said, what the filter made of it, what became of it.

In: a build's folder, however far it has come, and an image: the hex digits of its key, or its address. Out: plain
values, for `openjft explain` to print or a script to read; parts that have not been built are None. It reads one bucket
of each stage and computes nothing anew but the nearest evaluation image, which `overlaps/` does not keep where nothing
overlaps.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjft.loaders.schema import index_file, shard_name
from openjft.taxonomy import Taxonomy

from .config import Config
from .errors import PipelineError
from .hierarchy import load_taxonomy
from .ingest.uris import canonical_uris, key_bases
from .keys import KEY_BYTES, buckets_of, image_keys
from .precision.bins import SourceBins, state_columns, state_matrix
from .precision.files import (
    CLASS_SCORES_FILE,
    CLASSES_FILE,
    EVIDENCE,
    GOLD_FOLDER,
    SUMMARY_FILE,
    EvidenceModel,
    load_class_model,
    read_bins,
)
from .precision.keeping import KEPT_FILE
from .schema import KEY, KEY_TYPE, LABEL, STATUS_OK, URI
from .shard import DATASET
from .storage import Store, bucket_file

_HEX: Final = re.compile(r"[0-9a-fA-F]{8,32}")
_VALUES: Final = ("rows", "domains", "support", "statements", "score", "clicks", "impressions", "exposure")


def explain(config: Config, store: Store, image: str) -> dict[str, Any]:
    """All that the build knows of one image.

    Args:
        config: of the build.
        store: its folder.
        image: 8 or more hex digits of the key, or the address as the input has it.

    Raises:
        PipelineError: there is no such image, or several.
    """
    key, uri, bucket = find_image(config, store, image)
    here = _Here(config, store, key, bucket)
    taxonomy = load_taxonomy(store)
    return {
        "image_key": key.hex(),
        "uri": uri,
        "bucket": bucket,
        "candidates": _candidates(here, taxonomy),
        "denied": _names(here.rows("negatives"), taxonomy),
        "labels": _expanded(here, taxonomy),
        "contradictions": _contradictions(here, taxonomy),
        "image": _fetched(here),
        "nearest_eval_image": _nearest(here),
        "overlaps": here.lists("verdicts"),
        "shard": _shard(here),
    }


def find_image(config: Config, store: Store, image: str) -> tuple[bytes, str, int]:
    """(key, address, bucket) of an image.

    Raises:
        PipelineError: there is none, or the digits fit several.
    """
    n = config.build.buckets
    if _HEX.fullmatch(image):
        low, high = (bytes.fromhex(image.lower().ljust(2 * KEY_BYTES, fill)) for fill in "0f")
    else:
        uris = canonical_uris(pa.array([image]), config.ingest.allowed_schemes).uris
        if uris[0].as_py() is None:
            raise PipelineError(
                f"explain: expected 8 to 32 hex digits of an image key, or an address, found {image!r}. Keys stand in "
                "the report, in labels/ and in the names of the shards' members"
            )
        low = high = image_keys(key_bases(uris).to_pylist())[0].as_py()
    first, last = buckets_of(pa.array([low, high], KEY_TYPE), n).tolist()
    found: dict[bytes, tuple[str, int]] = {}
    for bucket in range(first, last + 1):
        path = bucket_file(EVIDENCE, bucket, n)
        if store.exists(path):
            table = store.read_table(path, [KEY, URI])
            keys = table[KEY].combine_chunks().cast(pa.binary())
            fits = pc.and_(pc.greater_equal(keys, low), pc.less_equal(keys, high))
            rows = table.filter(fits)
            found |= {row[KEY]: (row[URI], bucket) for row in rows.to_pylist()}
    if not found:
        raise PipelineError(
            f"explain: expected an image of this build, found none for {image!r} among the candidates of evidence/. "
            "All its rows were rejected (see rejects/), or it was never in the inputs"
        )
    if len(found) > 1:
        some = ", ".join(key.hex() for key in sorted(found)[:3])
        raise PipelineError(
            f"explain: expected one image, found {len(found):,} for {image!r}: {some}, ... Give more digits"
        )
    [(key, (uri, bucket))] = found.items()
    return key, uri, bucket


class _Here:
    """The bucket of one image."""

    def __init__(self, config: Config, store: Store, key: bytes, bucket: int) -> None:
        self.config, self.store, self.key, self.bucket = config, store, key, bucket

    def file(self, stage: str) -> str | None:
        """The bucket's file of a stage; None where it has not been made."""
        path = bucket_file(stage, self.bucket, self.config.build.buckets)
        return path if self.store.exists(path) else None

    def rows(self, stage: str, columns: list[str] | None = None) -> pa.Table | None:
        """The image's rows; None where the stage has not run."""
        path = self.file(stage)
        if path is None:
            return None
        table = self.store.read_table(path, columns)
        return table.filter(pc.equal(table[KEY], pa.scalar(self.key, KEY_TYPE)))

    def lists(self, stage: str) -> list[dict[str, Any]] | None:
        """The same as plain values, without the key."""
        table = self.rows(stage)
        return None if table is None else table.drop_columns([KEY]).to_pylist()


def _named(taxonomy: Taxonomy, label: int) -> dict[str, Any]:
    return {"label": label, "id": taxonomy.ids[label], "name": taxonomy.names[label]}


def _names(table: pa.Table | None, taxonomy: Taxonomy) -> list[dict[str, Any]] | None:
    return None if table is None else [_named(taxonomy, label) for label in table[LABEL].to_pylist()]


def _candidates(here: _Here, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Every label that something was said for: signals, states, weights, probability, and whether it was kept."""
    table = here.rows(EVIDENCE)
    assert table is not None, "the image was found there"
    rows = table.to_pylist()
    found = [
        {**_named(taxonomy, row[LABEL]), "signals": _signals(row, here.config.source_names), "filter": None}
        for row in rows
    ]
    if not here.store.exists(SUMMARY_FILE) or here.file("scores") is None:
        return found
    columns, evidence, classes = read_bins(here.store), EvidenceModel.load(here.store), load_class_model(here.store)
    whole = here.store.read_table(str(here.file(EVIDENCE)), state_columns(columns, KEY, LABEL))
    states = state_matrix(table.select(state_columns(columns, KEY, LABEL)), columns)
    at = np.flatnonzero(pc.equal(whole[KEY], pa.scalar(here.key, KEY_TYPE)).to_numpy())
    scores = here.store.read_table(str(here.file("scores")), ["probability"])["probability"].take(pa.array(at))
    each_class = here.store.read_table(CLASSES_FILE)
    least = _thresholds(here.store)
    gold = here.rows(GOLD_FOLDER)
    judged = {} if gold is None else dict(zip(gold[LABEL].to_pylist(), gold["correct"].to_pylist(), strict=True))
    ratio = evidence.log_ratio(states)
    for i, (item, probability) in enumerate(zip(found, scores.to_pylist(), strict=True)):
        label = item["label"]
        item["filter"] = {
            "states": [
                {
                    "column": column.name,
                    "state": column.state_names()[state],
                    "weight": float(evidence.model.weights[j][state]),
                    "strength": _strength(column, rows[i]),
                }
                for j, (column, state) in enumerate(zip(columns, states[i].tolist(), strict=True))
            ],
            "log_likelihood_ratio": float(ratio[i]),
            "class_candidates": each_class["candidates"][label].as_py(),
            "class_prior": each_class["prior"][label].as_py(),
            "class_log_odds": float(classes.offset[label]),
            "slope": classes.slope,
            "log_odds": float(classes.slope * ratio[i] + classes.offset[label]),
            "probability": probability,
            "threshold": float(least[label]),
            "kept": bool(probability >= np.float32(least[label])),
            "judged": judged.get(label),
        }
    return found


def _signals(row: dict[str, Any], sources: tuple[str, ...]) -> dict[str, dict[str, Any] | None]:
    """What each source said; None where it never looked at the image."""
    looked = {name: bool(row["opportunity"] >> i & 1) for i, name in enumerate(sources)}
    return {name: {value: row[f"{name}.{value}"] for value in _VALUES} if looked[name] else None for name in sources}


def _strength(column: Any, row: dict[str, Any]) -> float | None:
    """The number that was cut into states; None where nothing fired or none was told."""
    if not isinstance(column, SourceBins) or not row[f"{column.name}.rows"]:
        return None
    parts = [name.partition(".")[2] for name in column.columns()]
    values = [
        np.array([np.nan if row[f"{column.name}.{part}"] is None else row[f"{column.name}.{part}"]], np.float64)
        for part in parts
        if part != "rows"
    ]
    strength = float(column.strengths(values)[0])
    return None if np.isnan(strength) else strength


def _thresholds(store: Store) -> Any:
    """(c,) least probability of each class."""
    floors = store.read_table(CLASS_SCORES_FILE, ["floor"])["floor"].to_numpy() / 1e6
    used = store.read_json(KEPT_FILE if store.exists(KEPT_FILE) else SUMMARY_FILE)["threshold"]
    return np.maximum(floors, used)


def _expanded(here: _Here, taxonomy: Taxonomy) -> list[dict[str, Any]] | None:
    table = here.rows("expanded")
    if table is None:
        return None
    return [
        {
            **_named(taxonomy, row[LABEL]),
            "probability": row["probability"],
            "asserted": row["asserted"],
            "from": taxonomy.names[row["from_label"]],
        }
        for row in table.to_pylist()
    ]


def _contradictions(here: _Here, taxonomy: Taxonomy) -> list[dict[str, Any]] | None:
    table = here.rows("contradictions")
    if table is None:
        return None
    return [
        {
            "kind": row["kind"],
            "between": [taxonomy.names[row["label_a"]], taxonomy.names[row["label_b"]]],
            "probability": row["probability"],
        }
        for row in table.to_pylist()
    ]


def _fetched(here: _Here) -> dict[str, Any] | None:
    """How the download went; None before it, or where no label was kept."""
    found = here.lists("catalog")
    if not found:
        return None
    row = found[0]
    row["sha256"] = row["sha256"].hex() if row["sha256"] else None
    return row


def _nearest(here: _Here) -> dict[str, Any] | None:
    """The evaluation image most like this one, below the threshold too; None without embedding or eval sets."""
    table = here.rows("embeddings")
    if table is None or not table.num_rows or not here.config.eval_sets:
        return None
    from .decontaminate.stage import load_tools
    from .evalsets.files import SETS_FILE

    if not here.store.exists(SETS_FILE):
        return None
    index = load_tools(here.store, here.config.embed).index
    vector = np.array(table["vector"][0].as_py(), np.float32)[None]
    found = index.search(vector, min_score=-1.0, neighbours=1)
    if not len(found.eval_index):
        return None
    image = index.images.slice(int(found.eval_index[0]), 1).to_pylist()[0]
    return {
        "eval_set": image["eval_set"],
        "eval_id": image["eval_id"],
        "view": index.views[int(found.view[0])].name,
        "similarity": float(found.similarity[0]),
    }


def _shard(here: _Here) -> dict[str, Any] | None:
    """Where it lies in the data set, or why it does not; None before the shards are written."""
    name = shard_name(here.config.build.name, here.bucket)
    path = f"{DATASET}/{index_file(name)}"
    if not here.store.exists(path):
        return None
    table = here.store.read_table(path)
    row = table.filter(pc.equal(table[KEY].cast(pa.binary()), pa.scalar(here.key, pa.binary()))).to_pylist()
    if row:
        return {"shard": name, "written": True, "why": None}
    return {"shard": name, "written": False, "why": _why_left_out(here)}


def _why_left_out(here: _Here) -> str:
    image = _fetched(here)
    if image is None:
        return "no label was kept"
    if image["status"] != STATUS_OK:
        return f"not fetched: {image['status']}"
    overlaps = any(each["removed"] for each in here.lists("verdicts") or [])
    return "it overlaps an evaluation set" if overlaps else "see the account of `shards`"
