"""`openjft audit sample`: draws the labels to judge, gets their pictures, writes the page that a person labels on.

In: a build with finished scores/ (for `gold`, evidence/ is enough once it is scored, too). Out:
`audit/sample.parquet`, the labels in the order in which they are judged; `audit/sample.json`, how they were drawn,
with the thresholds that will be tried, frozen before anybody has seen an answer; the page, with every picture inside.
For `gold` the same in `gold/`.

A label whose picture cannot be had is passed over and counted: it would not reach the shards either, so it does not
belong to the labels that are spoken of.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from openjft.pipelines.build import make_plan, run_stage
from openjft.pipelines.config import Config
from openjft.pipelines.engine import Listener, fingerprint
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.fetch import FetchStage, fetch_pictures
from openjft.pipelines.hierarchy import load_closure
from openjft.pipelines.precision.files import SUMMARY_FILE, read_histogram
from openjft.pipelines.precision.threshold import STEPS, Histogram
from openjft.pipelines.schema import KEY, LABEL, STATUS_OK, URI
from openjft.pipelines.storage import Store
from openjft.pipelines.stored import stored_images
from openjft.taxonomy import Closure, Taxonomy

from .certificate import threshold_grid
from .page import Question, render_audit_page
from .sampling import DrawStage, Purpose, limit_for

PICTURE_PX: Final = 448  # shorter side: large enough to judge by, 1,000 of them some 40 MB
PICTURE_QUALITY: Final = 82
CHUNK: Final = 128  # pictures fetched at a time

Progress = Callable[[int, int], None]  # pictures had, pictures wanted


@dataclasses.dataclass(frozen=True)
class Sample:
    """A drawn sample: `account` is what sample.json holds, `page` the path of the page."""

    account: Mapping[str, Any]
    page: str


def files_of(purpose: Purpose) -> tuple[str, str, str]:
    """(rows, account, page) of a sample, relative to the build's folder."""
    return f"{purpose}/sample.parquet", f"{purpose}/sample.json", f"{purpose}/judge.html"


def draw_sample(
    config: Config,
    *,
    purpose: Purpose = "audit",
    size: int | None = None,
    listener: Listener | None = None,
    progress: Progress | None = None,
) -> Sample:
    """Draws, fetches and writes.

    Args:
        config: of the build.
        purpose: `audit`, for the certificate, or `gold`, for the fit.
        size: labels to judge; `audit.size` if none is given.
        listener: told of the drawing.
        progress: told of the pictures.

    Raises:
        StaleError: the scores have not been made, or with other settings.
        PipelineError: nothing can be drawn.
    """
    store = Store(config.build.output)
    size = config.audit.size if size is None else size
    plan = make_plan(config, store)
    scores = plan.require(store, "scores", by="audit sample")
    summary = store.read_json(SUMMARY_FILE)
    floor = round(summary["audit_floor"] * STEPS) if purpose == "audit" else 0
    histogram = read_histogram(store)
    pool = histogram.kept(floor)[0]
    seen, unavailable = 0, Counter[str]()
    rows: list[dict[str, Any]] = []
    pictures: dict[bytes, bytes] = {}
    wanted = size + size // 4 + CHUNK
    while True:
        stage = DrawStage(purpose, config.build.buckets, config.audit.salt, limit_for(wanted, pool), floor)
        drawing = run_stage(stage, store, fingerprint(stage, [scores]), config, listener=listener)
        drawn = stage.collect(store)
        for chunk, found, failed in _fetched(config, store, drawn, seen, size - len(rows)):
            seen += chunk
            unavailable.update(failed)
            for row in found:
                pictures[row[0][KEY]] = row[1]
                rows.append(row[0])
            if progress is not None:
                progress(len(rows), size)
        if len(rows) >= size or stage.limit == 2**64 - 1:
            break
        wanted *= 2
    rows = rows[:size]
    if not rows:
        raise PipelineError(
            f"audit sample: expected labels to draw from, found {drawing.account.counters['eligible']:,} "
            f"({drawing.account.counters['in_gold']:,} more are in the gold), of which "
            f"{sum(unavailable.values()):,} pictures could not be had ({_told(unavailable)}). Is the network there?"
        )
    taxonomy, closure = load_closure(store)
    table = _with_ids(rows, taxonomy)
    account = {
        "purpose": purpose,
        "sample": _digest(purpose, scores, table),
        "scores": scores,
        "salt": config.audit.salt,
        "size": len(rows),
        "asked": size,
        "eligible": drawing.account.counters["eligible"],
        "in_gold": drawing.account.counters["in_gold"],
        "unavailable": dict(sorted(unavailable.items())),
        "floor": floor,
        "grid": _grid(config, histogram, floor, len(rows)) if purpose == "audit" else [],
        "target": config.precision.target,
        "delta": config.audit.delta,
        "min_judged": config.audit.min_judged,
        "plug_in": round(summary["threshold"] * STEPS),
    }
    return Sample(account, _write(config, store, purpose, table, account, pictures, (taxonomy, closure)))


def _grid(config: Config, histogram: Histogram, floor: int, judged: int) -> list[int]:
    audit = config.audit
    grid = threshold_grid(
        histogram.steps,
        histogram.counts,
        floor=floor,
        num=audit.thresholds,
        judged=judged,
        min_judged=audit.min_judged,
    )
    return [int(steps) for steps in grid]


def _told(unavailable: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in sorted(unavailable.items())) or "none"


def _fetched(
    config: Config, store: Store, drawn: pa.Table, start: int, wanted: int
) -> Iterator[tuple[int, list[tuple[dict[str, Any], bytes]], Counter[str]]]:
    """(rows looked at, (row, picture) of those that can be shown, reasons of the others) until so many are shown."""
    settings = {"size": PICTURE_PX, "resize": "shorter_side", "jpeg_quality": PICTURE_QUALITY}
    stage = dataclasses.replace(FetchStage.from_config(config), fetch=config.fetch.model_copy(update=settings))
    while wanted > 0 and start < drawn.num_rows:
        rows = drawn.slice(start, CHUNK).to_pylist()
        of_key = {row[KEY]: row[URI] for row in rows}
        found, catalog = fetch_pictures(stage, sorted(of_key.items()))
        found |= stored_images(store, config.build.buckets, [key for key in of_key if key not in found])
        status = dict(zip(catalog[KEY].to_pylist(), catalog["status"].to_pylist(), strict=True))
        shown = [(row, found[row[KEY]]) for row in rows if row[KEY] in found]
        failed = Counter(status[row[KEY]] for row in rows if row[KEY] not in found)
        assert STATUS_OK not in failed, "what was fetched has a picture"
        start += len(rows)
        wanted -= len(shown)
        yield len(rows), shown, failed


def _with_ids(rows: Sequence[Mapping[str, Any]], taxonomy: Taxonomy) -> pa.Table:
    columns: dict[str, Any] = {"id": [f"{row[KEY].hex()}/{taxonomy.ids[row[LABEL]]}" for row in rows]}
    columns[KEY] = pa.array([row[KEY] for row in rows], pa.binary(16))
    columns[LABEL] = pa.array([row[LABEL] for row in rows], pa.int32())
    columns[URI] = [row[URI] for row in rows]
    columns["steps"] = np.array([row["steps"] for row in rows], np.int64)
    columns["u"] = pa.array([row["u"] for row in rows], pa.uint64())
    return pa.table(columns)


def _digest(purpose: str, scores: str, table: pa.Table) -> str:
    """Of what is judged: answers to another sample are told by it."""
    text = json.dumps([purpose, scores, table["id"].to_pylist()])
    return hashlib.sha256(text.encode()).hexdigest()


def _write(
    config: Config,
    store: Store,
    purpose: Purpose,
    table: pa.Table,
    account: Mapping[str, Any],
    pictures: Mapping[bytes, bytes],
    hierarchy: tuple[Taxonomy, Closure],
) -> str:
    rows, told, page = files_of(purpose)
    questions = [question(row, pictures[row[KEY]], *hierarchy) for row in table.to_pylist()]
    title = f"{config.build.name}: labels to judge"
    text = render_audit_page(questions, title=title, sample=account["sample"], purpose=purpose)
    store.write_table(rows, table)
    store.write_json(told, account)
    store.write_bytes(page, text.encode())
    return store.path(page)


def question(row: Mapping[str, Any], picture: bytes, taxonomy: Taxonomy, closure: Closure) -> Question:
    """What a person is asked of one label."""
    label = row[LABEL]
    above = sorted(closure.of(label).tolist(), key=lambda a: (-int(closure.depth[a]), a))
    return Question(
        id=row["id"],
        picture="data:image/jpeg;base64," + base64.b64encode(picture).decode(),
        category=taxonomy.names[label],
        definition=taxonomy.definitions[label] or "",
        synonyms=tuple(taxonomy.synonyms[label]),
        path=tuple(taxonomy.names[a] for a in above),
        uri=row[URI],
    )
