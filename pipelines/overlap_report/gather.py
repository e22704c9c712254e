"""The overlap report of a build, from what lies in its folder.

In: `verdicts/`, the summary, thresholds and planted recall under `evalsets/`, `labels/` for names and addresses. Out:
an `OverlapReport` with pictures of the pairs that the page will show; None where the build has no evaluation sets or
is not so far. The files of strangers are decoded under caps and encoded anew (`pictures.py`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup import Recall
from openjft.dedup.schema import EVAL_IMAGES, KEY, KEY_TYPE, VERDICTS
from openjft.pipelines.accounts import stage_totals
from openjft.pipelines.config import Config
from openjft.pipelines.evalsets.files import PLANTED_FILE, SUMMARY_FILE, THRESHOLDS_FILE, set_folder
from openjft.pipelines.evalsets.sets import BuildPictures, read_headers
from openjft.pipelines.evalsets.stored import IMAGES
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.schema import LABEL, URI
from openjft.pipelines.storage import Store, bucket_file

from .choose import shown_rows
from .model import EXTRAS, CurvePoint, OverlapReport, SetFacts, Thresholds
from .pictures import EvalPicture, eval_pictures, small_jpeg, training_pictures


def gather_report(config: Config, store: Store, *, eval_picture: EvalPicture | None = None) -> OverlapReport | None:
    """The report of a build; None before `verdicts/` and `evalsets/` are whole, or without evaluation sets.

    Args:
        config: of the build.
        store: its folder.
        eval_picture: (eval set, eval id) -> picture in any format, or None; by default the build's own small ones.
    """
    n = config.build.buckets
    files = [bucket_file("verdicts", bucket, n) for bucket in range(n)]
    if not config.eval_sets or not all(map(store.exists, (SUMMARY_FILE, THRESHOLDS_FILE, *files))):
        return None
    pairs = _described(store, n, pa.concat_tables([store.read_table(file).cast(VERDICTS) for file in files]))
    thresholds = _thresholds(store.read_json(THRESHOLDS_FILE))
    shown = pairs.take(pa.array(shown_rows(pairs, thresholds, config.report.max_pairs)))
    summary = store.read_json(SUMMARY_FILE)
    embedded = stage_totals(store, ("embeddings",)).get("embeddings")
    return OverlapReport(
        name=config.build.name,
        build=_digest(pairs),
        descriptor=summary.get("embedder") or config.embed.model,
        views=tuple(summary["views"]),
        queries=embedded.rows_out if embedded else 0,
        verify_ssim=summary["verify_ssim"],
        remove_ssim=summary["remove_ssim"],
        remove_from=summary["remove_from"],
        sets=tuple(
            SetFacts(each["name"], each["format"], each["images"], each["undecodable"]) for each in summary["sets"]
        ),
        thresholds=thresholds,
        pairs=pairs,
        recall=_recall(store),
        training_pictures=training_pictures(store, n, set(shown[KEY].to_pylist())),
        eval_pictures=eval_pictures(shown, eval_picture or _kept(store, config)),
        max_pairs=config.report.max_pairs,
    )


def _thresholds(value: dict[str, Any]) -> Thresholds:
    points = [CurvePoint(*map(float, point)) for point in value["curve"]]
    curve = {point.score: point for point in sorted(points)}  # from a listed score of 1 on all of them are one
    return Thresholds(value["remove"], value["report"], value["listed"], value["normalised"], tuple(curve.values()))


def _recall(store: Store) -> tuple[Recall, ...]:
    rows = store.read_json(PLANTED_FILE)["recall"] if store.exists(PLANTED_FILE) else []
    names = [field.name for field in dataclasses.fields(Recall)]
    return tuple(Recall(**{name: row[name] for name in names}) for row in rows)


def _digest(pairs: pa.Table) -> str:
    """Of which pairs there are: decisions stay in force when thresholds move, and when they come back as verdicts."""
    joined = pc.binary_join_element_wise(
        *(pairs[name].cast(pa.binary()) for name in (KEY, "eval_set", "eval_id")), b"\0"
    )
    digest = hashlib.sha256()
    for value in sorted(joined.to_pylist()):
        digest.update(len(value).to_bytes(8) + value)
    return digest.hexdigest()


# -- Labels, addresses, paths --------------------------------------------------------------------------------


def _described(store: Store, num_buckets: int, pairs: pa.Table) -> pa.Table:
    """The pairs with EXTRAS."""
    keys = pairs[KEY].to_pylist()
    names, uris = _labels(store, num_buckets, set(keys))
    paths = _paths(store, pairs)
    evals = zip(pairs["eval_set"].to_pylist(), pairs["eval_id"].to_pylist(), strict=True)
    columns = {
        "labels": [names.get(key, []) for key in keys],
        "uri": [uris.get(key) for key in keys],
        "eval_path": [paths.get(each) for each in evals],
    }
    for name, values in columns.items():
        pairs = pairs.append_column(name, pa.array(values, EXTRAS[name]))
    return pairs


def _labels(store: Store, num_buckets: int, keys: set[bytes]) -> tuple[dict[bytes, list[str]], dict[bytes, str]]:
    """Names of the kept labels, the surest first, and the address, of each image that has any."""
    names: dict[bytes, list[str]] = {}
    uris: dict[bytes, str] = {}
    if not keys or not store.exists("taxonomy/vocabulary.parquet"):
        return names, uris
    called = store.read_table("taxonomy/vocabulary.parquet", ["name"])["name"].to_pylist()
    wanted = pa.array(sorted(keys), KEY_TYPE)
    for bucket in np.unique(buckets_of(wanted, num_buckets)).tolist():
        path = bucket_file("labels", bucket, num_buckets)
        if not store.exists(path):
            continue
        table = store.read_table(path, [KEY, LABEL, URI, "probability"])
        table = table.filter(pc.is_in(table[KEY], value_set=wanted))
        for row in table.sort_by([("probability", "descending"), (LABEL, "ascending")]).to_pylist():
            names.setdefault(row[KEY], []).append(called[row[LABEL]])
            uris[row[KEY]] = row[URI]
    return names, uris


def _paths(store: Store, pairs: pa.Table) -> dict[tuple[str, str], str]:
    """Where the evaluation images of the pairs lie, as the build's index of them says."""
    sets = sorted(set(pairs["eval_set"].to_pylist()))
    found: dict[tuple[str, str], str] = {}
    for path in (f"{set_folder(name)}/{IMAGES}" for name in sets):
        if store.exists(path):
            table = store.read_table(path).select(EVAL_IMAGES.names)
            wanted = table.filter(pc.is_in(table["eval_id"], value_set=pc.unique(pairs["eval_id"])))
            found.update({(row["eval_set"], row["eval_id"]): row["path"] for row in wanted.to_pylist()})
    return found


def _kept(store: Store, config: Config) -> EvalPicture:
    """The pictures that the build keeps of its evaluation images, in the frame of the training images."""
    pictures = BuildPictures(store, read_headers(store))

    def read(eval_set: str, eval_id: str) -> bytes | None:
        data = pictures.jpeg_of(eval_set, eval_id)
        return None if data is None else small_jpeg(data, frame=config.fetch.resize)

    return read
